"""Writes the tables of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = Sequence[Any]

MEASURED = {
    "result": ("status", 1),
    "categories": ("categories", 1),
    "first s": ("seconds_first", 1),
    "median s": ("seconds_median", 1),
    "kernel s": ("kernel_s", 1),
    "upload s": ("upload_s", 1),
    "host s": ("host_s", 1),
    "prepare s": ("prepare_s", 1),
    "compile s": ("compile_s", 1),
    "performed e9/s": ("performed_per_second", 1e9),
    "nominal e9/s": ("nominal_per_second", 1e9),
    "threads": ("threads", 1),
    "instances at a time": ("block_rows", 1),
    "device memory GB": ("used_bytes", 1e9),
    "layers copied": ("layers_copied", 1),
}
"""Columns of a run: its figure, and what it is divided by."""


def table(title: str, heads: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table with its title."""
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(value) for value in row)} |" for row in rows)])


def cell(value: Any) -> str:
    """Return what stands in a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "/").split())


def one(title: str, found: list[dict[str, Any]] | None) -> str:
    """Return a table of rows as they are; nothing, if there are none."""
    if not found:
        return ""
    heads = list(dict.fromkeys(key for row in found for key in row))
    return table(title, heads, ([row.get(key) for key in heads] for row in found))


def rows_of(title: str, rows: list[dict[str, Any]], names: Sequence[str]) -> str:
    """Return a table of runs, which `names` tell apart; nothing, if there are none."""
    if not rows:
        return ""
    heads = [*names, *MEASURED, "remark"]
    return table(title, heads, ([*(row[name] for name in names), *_measured(row)] for row in rows))


def _measured(row: dict[str, Any]) -> list[Any]:
    found = [_share(row.get(key), divisor) for key, divisor in MEASURED.values()]
    return [*found, row.get("error") or row.get("difference")]


def _share(value: Any, divisor: float) -> Any:
    return value / divisor if divisor != 1 and value is not None else value

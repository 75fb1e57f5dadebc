"""Makes the report of ``experiment=gpu_check``: one Markdown file, to be sent to the developers of this project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.run.environment import environment
from sparsednn.system.json_fields import to_json

FILE = "gpu_report.md"

Row = Sequence[Any]


def report(figures: dict[str, Any]) -> tuple[str, str]:
    """Return the report's file name and its text; of figures that are not all there yet, it has those that are."""
    failed = figures["failed"]
    parts = [
        "# sparsednn on a GPU",
        "Made by `python run.py experiment=gpu_check`. Please send this file, with result.json beside it, to the project.",
        _verdict(failed, figures["unfinished"]),
        *(f"- {line}" for line in failed),
        _devices(figures["devices"]),
        *([] if figures["conformance"] is None else [_conformance(figures["conformance"])]),
        _networks("The networks of the challenge, kernel=fused", figures["networks"], ("neurons", "layers", "columns")),
        _networks("Kernels and schedulers, 1024 x 120", figures["kernels"], ("kernel", "scheduler")),
        _networks("Layers streamed from the host", figures["streaming"], ("neurons", "layers", "columns")),
        _layers(figures["layers"]),
        *([] if figures["launches"] is None else [_launches(figures["launches"])]),
        *([] if figures["copies"] is None else [_copies(figures["copies"])]),
        _environment(),
    ]
    return FILE, "\n\n".join(parts) + "\n"


def _verdict(failed: Sequence[str], n_unfinished: int) -> str:
    if n_unfinished:
        return f"**Unfinished**: {n_unfinished} parts were still to come, {len(failed)} failures so far"
    if failed:
        return f"**{len(failed)} failures**"
    return "**All right**: conformance passed, and all categories are the true ones."


def _table(title: str, heads: Sequence[str], rows: Iterable[Row]) -> str:
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.replace("|", "/").split())


def _devices(devices: list[dict[str, Any]]) -> str:
    heads = list(dict.fromkeys(key for device in devices for key in device))
    return _table("Devices", heads, ([device.get(key) for key in heads] for device in devices))


def _conformance(found: dict[str, Any]) -> str:
    heads = ("passed", "failed", "skipped", "seconds")
    table = _table("Conformance on the GPU", heads, [[found[head] for head in heads]])
    return "\n".join([table, "", *(f"- `{line}`" for line in found["failures"])]).rstrip()


def _networks(title: str, rows: list[dict[str, Any]], names: Sequence[str]) -> str:
    heads = (
        *names, "result", "categories", "inference s", "device s a row group", "performed e9/s", "nominal e9/s",
        "instances at a time", "device memory GB", "layers copied", "remark",
    )  # fmt: skip
    return _table(title, heads, ([*(row[name] for name in names), row["status"], *_measured(row)] for row in rows))


def _measured(row: dict[str, Any]) -> list[Any]:
    if "seconds_median" not in row:
        return [None] * 8 + [row["error"]]
    return [
        row["categories"], row["seconds_median"], row["device_s_per_row_group"], row["performed_per_second"] / 1e9,
        row["nominal_per_second"] / 1e9, row["block_rows"], row["used_bytes"] / 1e9, row["layers_copied"], None,
    ]  # fmt: skip


def _layers(rows: list[dict[str, Any]]) -> str:
    heads = ("neurons", "columns", "kernel", "instances", "microseconds", "multiply-adds e9/s")
    return _table(
        "One layer, by the device's clock",
        heads,
        (
            [row["neurons"], row["columns"], row["kernel"], row["instances"], row["seconds_median"] * 1e6,
             row["multiply_adds_per_second"] / 1e9]
            for row in rows
        ),
    )  # fmt: skip


def _launches(found: dict[str, Any]) -> str:
    rows = [[found["kernel"], found["launches"], 1e6 * found["seconds_per_launch"]]]
    return _table(
        "Launches of a layer so small that the device waits for the host", ("kernel", "launches", "microseconds"), rows
    )


def _copies(found: dict[str, Any]) -> str:
    pinned = "pinned" if found["pinned"] else "could not be pinned"
    rows = [
        [pinned, found["bytes"], found["bytes_per_second"] / 1e9],
        ["pageable", found["bytes"], found["pageable_bytes_per_second"] / 1e9],
    ]
    return _table("Copies from the host", ("memory", "bytes", "GB/s"), rows)


def _environment() -> str:
    rows = sorted((key, str(value)) for key, value in to_json(environment()).items())
    return _table("Environment", ("what", "value"), rows)

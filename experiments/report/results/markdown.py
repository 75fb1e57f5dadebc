"""Writes what generated parts of pages are made of: tables, values with their spreads, and where they are from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from statistics import median

from experiments.records.read import Point
from experiments.records.statistics import Interval
from experiments.report.results.kept import Kept, KeptExperiment, ProgramRecord

WIDTH = 138
REVISION_DIGITS = 10
SIMULATED = "*simulated*"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], n_left: int = 1) -> str:
    """Return a table of Markdown; all columns after the first `n_left` are to the right."""
    marks = ["---" if place < n_left else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, marks, *rows))


def paragraph(text: str) -> str:
    """Return a text in lines of a page's width."""
    return "\n".join(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def number(value: float, digits: int = 2) -> str:
    """Return a value with that many significant digits, never as a power of ten."""
    shown = float(f"{value:.{digits}g}")
    return f"{shown:,.0f}" if abs(shown) >= 10 ** (digits - 1) else f"{shown:.{digits}g}" if shown >= 1e-4 else f"{shown:f}"


def seconds(times_s: Sequence[float], spread: bool = True) -> str:
    """Return the median of times, with the smallest and the largest."""
    middle = number(median(times_s), 3) if median(times_s) < 100 else f"{median(times_s):,.0f}"
    if not spread or len(times_s) < 2:
        return middle
    return f"{middle} ({number(min(times_s), 3)} to {number(max(times_s), 3)})"


def interval(found: Interval | None) -> str:
    """Return a median with the ends of its 95 % interval."""
    if found is None:
        return ""
    middle, low, high = found
    return f"{middle:.2f}" if low == high else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def network(point: Point) -> str:
    """Name a point's network, as pages do."""
    return f"{point.run.neurons} x {point.run.layers}"


def marked(text: str, simulated: bool) -> str:
    """Return a text that says so if it is simulated."""
    return f"{SIMULATED} {text}" if simulated else text


def source(*kept: Kept, briefly: bool = False) -> str:
    """Say where a table is from: machine, revision, day, rounds and command; briefly, without a program's flags."""
    by_place: dict[str, list[str]] = {}
    for one in kept:
        how = one.compiler if briefly and isinstance(one, ProgramRecord) else _how(one)
        by_place.setdefault(_place(one), []).append(how)
    return "\n\n".join(paragraph(f"{place}: {'; '.join(found)}") for place, found in by_place.items())


def _place(one: Kept) -> str:
    changed = " with changes that were not committed" if one.revision.endswith("+changes") else ""
    toy = ", toy size, which says nothing about speed" if isinstance(one, KeptExperiment) and one.toy else ""
    code = one.name if isinstance(one, ProgramRecord) else "revision"
    return f"{one.machine.name}; {code} {one.revision[:REVISION_DIGITS]}{changed}, {one.date}{toy}"


def _how(one: Kept) -> str:
    if isinstance(one, ProgramRecord):
        return f"{one.compiler}, {one.flags}, `{one.command}`"
    figures = [figures for point in one.points for kept in point.rounds for figures in (kept.figures or {}).values()]
    n_rounds = sum(found.get("rounds", 1) for found in figures) or one.n_rounds
    return f"`{one.command}` ({n_rounds} rounds in turn)" if n_rounds > 1 else f"`{one.command}` (one round)"

"""Shows the roofline as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

MODEL = """\
roof: the least of the arithmetic rate and, of each level, bandwidth x multiply-adds / bytes that it has to deliver; with the
limit, the multiply-adds per byte. L1 delivers 4 bytes for each multiply-add, and ids and weights once for each tile; levels
further out what the nearer ones cannot hold, in any order of the work (roof: a bound), or what LRU caches miss in the
kernel's order (in order). columns=merge: equal columns are computed once. See the docstring of experiments/roofline/measure.py.
"""


def tables(figures: Mapping[str, Any]) -> Group:
    """Return what the machine does and what the kernel reaches, for each number of threads."""
    guess = ", assumed: the system does not tell"
    sizes = (f"{c['name']} {c['size_bytes'] >> 10:,} KiB{guess if c['assumed'] else ''}" for c in figures["caches"])
    quiet = f"{figures['disturbed']} of {figures['measured']} measurements disturbed by other programs"
    parts: list[Text | Table] = [
        Text(f"caches: {', '.join(sizes)}; medians of {figures['rounds']} rounds (95 % intervals); {quiet}")
    ]
    for n_threads in sorted({rate["threads"] for rate in figures["rates"]}):
        parts += [_machine(figures, n_threads), _kernels(figures, n_threads)]
    return Group(*parts, Text(MODEL))


def threads_name(n_threads: int) -> str:
    """Return "1 thread", "2 threads together"."""
    return f"{n_threads} threads together" if n_threads > 1 else "1 thread"


def _machine(figures: Mapping[str, Any], n_threads: int) -> Table:
    table = Table(title=f"the machine, {threads_name(n_threads)}")
    for name in ("what", "of each thread", "lanes", "e9/s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for rate in sorted(figures["rates"], key=lambda rate: (rate["kind"], rate["set_bytes"], rate["name"])):
        if rate["threads"] == n_threads:
            arithmetic = rate["kind"] == "arithmetic"
            what = f"multiply-adds, {rate['name']}" if arithmetic else f"bytes loaded from {rate['name']}"
            size = "" if arithmetic else f"{rate['set_bytes'] >> 10:,} KiB"
            table.add_row(what, size, str(rate["lanes"]), _interval(rate, 1e9, 1))
    return table


def _kernels(figures: Mapping[str, Any], n_threads: int) -> Table:
    table = Table(title=f"the kernel, {threads_name(n_threads)}: multiply-adds e9/s")
    for name in (
        "layer",
        "columns",
        "instances",
        "set KiB",
        "reached",
        "roof",
        "limit",
        "share %",
        "in order",
        "limit",
        "share %",
    ):
        table.add_column(name, justify="left" if name in ("layer", "columns", "limit") else "right", no_wrap=True)
    for case in figures["kernels"]:
        if case["threads"] == n_threads:
            row = [case["name"], case["columns"], str(case["stride"]), f"{case['set_bytes'] >> 10:,}", _interval(case, 1e9, 1)]
            for count in ("any_order", "this_order"):
                one = case[count]
                row += [f"{one['rate'] / 1e9:.1f}", f"{one['limit']} {one['intensity']:.2f}", _interval(one["share"], 0.01, 0)]
            table.add_row(*row)
    return table


def _interval(one: Mapping[str, float], unit: float, digits: int) -> str:
    middle, low, high = (f"{one[name] / unit:.{digits}f}" for name in ("median", "low", "high"))
    return f"{middle} ({low} to {high})"

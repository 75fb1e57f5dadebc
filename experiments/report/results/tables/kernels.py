"""Generates the tables of kernels, walks, whole networks, optimisations and the roofline."""

from __future__ import annotations

from experiments.figures.ablation import CUMULATIVE, TITLES
from experiments.figures.linear_cost import LABELS, SIZES, fit
from experiments.figures.pairs import compared
from experiments.figures.roofline import STRIDE
from experiments.figures.walking import CSC, DCSC, panels_of, verdicts, walks_of
from experiments.records.point import benchmark_figures
from experiments.records.read import Point
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.markdown import interval, marked, network, number, seconds, source, table
from experiments.roofline.rates import best_median, joined, levels


def kernel_rates(records: CommittedRecords) -> str:
    """Return what each kernel takes, its rates, and the ratios within each group."""
    rows = []
    for one in compared(records.points("kernel_rates").points):
        point, run = one.point, one.point.run
        rates = (run.performed_edges / point.median_s, run.instances * run.network_nnz / point.median_s)
        rows.append(
            (
                one.point.sweep if point is one.first else "",
                point.label,
                str(run.threads),
                f"{run.instances:,}",
                seconds(point.times_s),
                *(number(rate / 1e9, 3) for rate in rates),
                interval(one.interval),
            )
        )
    header = (
        "group",
        "variant",
        "threads",
        "instances",
        "seconds",
        "performed e9/s",
        "nominal e9/s",
        "first of the group / this",
    )
    return "\n\n".join([table(header, rows, n_left=2), source(records.read("kernel_rates"))])


def walking(records: CommittedRecords) -> str:
    """Return what a connection costs in each format and in C, and up to which occupancy DCSC is faster than CSC."""
    walks, rows = walks_of(records.points("walking")), []
    names = list(walks[0].seconds)
    others = [name for name in names if name not in (CSC, DCSC)]
    for place, walk in enumerate(walks):
        share = walk.about["occupancy"]
        ratios = [interval(walk.ratio(*pair)) for pair in ((DCSC, CSC), *((CSC, other) for other in others))]
        rows.append(
            (
                walk.name if place == 0 or walk.name != walks[place - 1].name else "",
                "as it comes" if share is None else f"{100 * share:g} %",
                *(f"{walk.ns(name):.2f}" for name in names),
                *ratios,
            )
        )
    header = (
        "network, row group", "columns with an entry", *(f"{name}, ns" for name in names), f"{DCSC} / {CSC}",
        *(f"{CSC} / {other}" for other in others),
    )  # fmt: skip
    said = "\n".join(f"- {line}" for line in verdicts(panels_of(walks)))
    return "\n\n".join([table(header, rows, n_left=2), said, source(records.read("walking"))])


def whole_networks(records: CommittedRecords) -> str:
    """Return times, work and memory of all networks of the challenge."""
    rows = [
        (
            network(point),
            seconds(point.times_s),
            number(point.run.performed_edges / 1e9, 3),
            f"{max(run.peak_rss_bytes for run in point.runs) / 1e9:.1f}",
        )
        for point in records.points("dataset_table").points
    ]
    header = ("network", "seconds", "multiply-adds e9", "peak memory GB")
    return "\n\n".join([table(header, rows), source(records.read("dataset_table"))])


def ablation(records: CommittedRecords) -> str:
    """Return times with optimisations switched on one after the other, and with each left out."""
    points = records.points("ablation")
    base = points.of(CUMULATIVE)[0]
    rows = [
        (title if place == 0 else "", point.label, seconds(point.times_s), f"{base.median_s / point.median_s:.1f}",
         number(point.run.performed_edges / 1e9, 3))
        for sweep, title in TITLES.items() for place, point in enumerate(points.of(sweep))
    ]  # fmt: skip
    header = ("", "optimisations", "seconds", "times as fast as the first", "multiply-adds e9")
    return "\n\n".join([table(header, rows, n_left=2), source(records.read("ablation"))])


def linear_cost(records: CommittedRecords) -> str:
    """Return the slope of the time against each size, through the logarithms."""
    points, rows = records.points("linear_cost"), []
    for sweep, size in SIZES.items():
        for simulated in (False, True):
            line = [point for point in points.of(sweep) if point.simulated is simulated]
            line.sort(key=lambda point: _size(point, size))
            if line:
                fitted = fit([_size(point, size) for point in line], [point.median_s for point in line])
                ends = [f"{_size(point, size):,}" for point in (line[0], line[-1])]
                name = marked(LABELS.get(sweep, sweep), simulated)
                times = [seconds(point.times_s, spread=False) for point in (line[0], line[-1])]
                rows.append((name, " to ".join(ends), " to ".join(times), "" if fitted is None else fitted.text))
    header = ("time against", "sizes", "seconds", "slope")
    return "\n\n".join([table(header, rows), source(records.read("linear_cost"))])


def _size(point: Point, name: str) -> int:
    return int(getattr(point.run, name))


def roofline(records: CommittedRecords) -> str:
    """Return what the machine does, and the share of the roof that each layer reaches."""
    points = records.points("roofline")
    figures = joined([found for record in points.records if (found := benchmark_figures(record, "roofline")) is not None])
    rates, cases = figures["rates"], figures["kernels"]
    names = ["unfused", "fused", *levels(rates)]
    there = [name for name in names if any(rate["name"] == name and rate["threads"] == 1 for rate in rates)]
    machine = [
        (f"multiply-adds, {name}" if name in ("unfused", "fused") else f"bytes from {name}",
         number(best_median(rates, 1, name) / 1e9, 3))
        for name in there
    ]  # fmt: skip
    reached = [
        (
            case["name"], case["columns"], number(case["median"] / 1e9, 3),
            *(text for count in ("any_order", "this_order") for text in _share(case[count])),
        )
        for case in cases if case["threads"] == 1 and case["stride"] == STRIDE
    ]  # fmt: skip
    what = table(("one thread", "e9/s"), machine)
    header = ("layer", "columns", "e9/s", "share of the roof", "limit", "share, in order", "limit")
    said = f"Layers, one thread, blocks of {STRIDE} instances:"
    return "\n\n".join([what, said, table(header, reached, n_left=2), source(records.read("roofline"))])


def _share(count: dict[str, object]) -> tuple[str, str]:
    share = count["share"]
    assert isinstance(share, dict)
    return f"{100 * share['median']:.0f} %", str(count["limit"])

"""Generates the tables of schedulers: pairs, the published C++ program, the simulator's errors, processes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from experiments.figures.base.bars import asked_scheduler
from experiments.figures.pairs import compared
from experiments.figures.parallelisms import MEASURED
from experiments.figures.stragglers import Loss, job, losses
from experiments.figures.validation import APART_PERCENT, Case, cases_of, errors_by_part, pairs_of, repeated_errors, share_near
from experiments.records.read import Point
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.kept import ProgramRecord
from experiments.report.results.markdown import interval, network, seconds, source, table

CPP = "distsparsednn"
"""Name of the record of the paper's published program."""


def scheduler_pairs(records: CommittedRecords) -> str:
    """Return each pair with its times and the ratio of the first to the second."""
    return _pairs(records, "scheduler_pairs")


def process_pairs(records: CommittedRecords) -> str:
    """Return two processes beside two threads."""
    return _pairs(records, "process_pairs")


def _pairs(records: CommittedRecords, name: str) -> str:
    rows = []
    for one in compared(records.points(name).points):
        if one.point is not one.first:
            pair = f"`{one.first.label}` / `{one.point.label}`"
            times = (seconds(one.first.times_s), seconds(one.point.times_s))
            rows.append((one.point.sweep, pair, *times, interval(one.interval), str(len(one.ratios))))
    header = ("run", "pair", "first, s", "second, s", "first / second", "rounds")
    return "\n\n".join([table(header, rows, n_left=2), source(records.read(name))])


def stragglers(records: CommittedRecords) -> str:
    """Return what each straggler costs each scheduler: a row for each kind and job, a column for each scheduler."""
    found = [loss for loss in losses(records.points("stragglers").points) if loss.ratios]
    names = list(dict.fromkeys(asked_scheduler(loss.point) for loss in found))
    places: dict[tuple[str, str], dict[str, Loss]] = {}
    for loss in found:
        places.setdefault((str(loss.straggler), job(loss.point)), {})[asked_scheduler(loss.point)] = loss
    rows = []
    for (kind, name), cells in places.items():
        shares = [100 * share for loss in cells.values() for share in loss.shares]
        took = f"{median(shares):.0f} % ({min(shares):.0f} to {max(shares):.0f})" if shares else ""
        rows.append((kind, name, took, *(_spread(cells[one].ratios) if one in cells else "" for one in names)))
    header = ("straggler", "job", "share taken", *(f"`{name}`" for name in names))
    return "\n\n".join([table(header, rows, n_left=2), source(records.read("stragglers"))])


def _spread(ratios: Sequence[float]) -> str:
    middle = f"{median(ratios):.2f}"
    return middle if len(ratios) < 2 else f"{middle} ({min(ratios):.2f} to {max(ratios):.2f})"


def beside_cpp(records: CommittedRecords) -> str:
    """Return the published C++ program beside this project's kernel without anything that the paper lacks."""
    program, rows, sources = records.program(CPP), [], [records.read(CPP)]
    for variant in program.variants:
        ours = ours_beside(records, program, variant.label)
        times, ratio = ("", "") if ours is None else (seconds(ours.times_s), f"{median(variant.seconds) / ours.median_s:.2f}")
        rows.append((variant.label, seconds(variant.seconds), times, ratio))
    if any(row[2] for row in rows):
        sources.append(records.read("parallelisms"))
    header = ("parallelism", f"{program.name}, s", "`kernel=csc optimize=paper`, s", "C++ / ours")
    job = f"{program.neurons} x {program.layers}, {program.instances:,} instances, {program.threads} threads:"
    return "\n\n".join([job, table(header, rows), source(*sources)])


def ours_beside(records: CommittedRecords, program: ProgramRecord, scheduler: str) -> Point | None:
    """Return the measured point of the same job and parallelism, on the same machine, if there is one."""
    if not records.path("parallelisms").is_file() or records.experiment("parallelisms").machine.name != program.machine.name:
        return None
    found = records.points("parallelisms").of(MEASURED)
    return next((point for point in found if point.run.scheduler == scheduler and is_job_of(program, point)), None)


def is_job_of(program: ProgramRecord, point: Point) -> bool:
    """Whether a point has the job of another program, as many threads, and found as many categories."""
    run = point.run
    mine = (run.neurons, run.layers, run.instances, run.threads, run.categories_count)
    return mine == (program.neurons, program.layers, program.instances, program.threads, program.truth_count)


def validation(records: CommittedRecords) -> str:
    """Return the errors of simulated times, of all cases and of parts of them, and how often the order is right."""
    cases, rows = cases_of(records.points("validation")), []
    parts = {
        name: errors for name, errors in errors_by_part(cases).items() if not name.startswith(("kernel, threads", "network"))
    }
    if again := repeated_errors(cases):
        parts |= {"measured again: the last round by those before it": again}
    for name, errors in parts.items():
        absolute, near = f"{100 * median(map(abs, errors)):.0f} %", f"{100 * share_near(errors):.0f} %"
        rows.append((name, str(len(errors)), absolute, near, f"{100 * median(errors):+.0f} %"))
    networks = ", ".join(dict.fromkeys(network(case.measured) for case in cases))
    header = ("cases", "number", "median of absolute errors", "within 25 %", "median error")
    return "\n\n".join([f"Networks: {networks}.", table(header, rows), _order(cases), source(records.read("validation"))])


def _order(cases: list[Case]) -> str:
    """Say how many pairs of parallelisms the simulator has in the order of their measured times."""
    pairs = pairs_of(cases)
    n_right = sum(pair.right for pair in pairs)
    apart = f"Pairs of the five parallelisms whose measured times are more than {APART_PERCENT} % apart"
    return f"{apart}: {n_right} of {len(pairs)} in the right order."

"""Generates the README's table, and the list of machines."""

from __future__ import annotations

from experiments.figures.peers import OURS, best_library
from experiments.records.read import Point
from experiments.report.results.committed import CommittedRecords
from experiments.report.results.kept import MeasuringMachine
from experiments.report.results.markdown import network, paragraph, seconds, source, table
from experiments.report.results.tables.schedulers import CPP, is_job_of, ours_beside

WAYS = {
    "numba": "sparsednn, as it comes",
    "numba, columns=none": "sparsednn without the use of repeated columns (`optimize.columns=none`)",
    "numba, paper (csc)": "sparsednn, the paper's algorithm (`kernel=csc optimize=paper`)",
}
"""Points of ours in the experiment peers, as the README calls them."""

NAMES = {"mkl": "MKL", "graphblas": "GraphBLAS", "torch": "PyTorch", "scipy": "scipy"}


def overview(records: CommittedRecords) -> str:
    """Return times of this project, other libraries and the published program, for the same job."""
    points, sources = records.points("peers"), [records.read("peers")]
    ours = {point.label: (WAYS[point.label], seconds(point.times_s)) for point in points.of(OURS) if point.label in WAYS}
    rows = [ours[label] for label in WAYS if label in ours]
    best = best_library(points)
    if best is not None:
        others = [point for point in points.points if point.sweep != OURS and point is not best]
        said = ", ".join(f"{_name(point)}: {seconds(point.times_s, spread=False)}" for point in others)
        rows.insert(2, (f"best other library, {_name(best)}{f' ({said})' if said else ''}", seconds(best.times_s)))
    first = points.points[0]
    program = records.program_if_there(CPP)
    if program is not None and is_job_of(program, first):
        fastest = program.fastest()
        same = ours_beside(records, program, fastest.label)
        rows += [] if same is None else [(f"the same with `scheduler={fastest.label}`", seconds(same.times_s))]
        text = f"the paper's published C++ program, {program.name}, `{fastest.label}`"
        rows.append((text, seconds(fastest.seconds)))
        sources += [program] if same is None else [records.read("parallelisms"), program]
    job = paragraph(
        f"{network(first)}, {first.run.instances:,} instances, {first.run.threads} threads, medians (smallest to largest); "
        f"every program finds the same {first.run.categories_count:,} categories."
    )
    return "\n\n".join([job, table(("program", "seconds"), rows), source(*sources, briefly=True)])


def _name(point: Point) -> str:
    return NAMES.get(point.label, point.label)


def machines(records: CommittedRecords) -> str:
    """Return the machines of all records, with the records that were measured there."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, kept in records.all().items():
        found.setdefault(_machine(kept.machine), []).append(name)
    rows = [(*machine, ", ".join(names)) for machine, names in found.items()]
    return table(("machine", "caches", "memory", "system", "versions", "records"), rows, n_left=6)


def _machine(machine: MeasuringMachine) -> tuple[str, ...]:
    caches = ", ".join(f"{size >> 10:,} KiB {name}" for name, size in (machine.caches or {}).items()) or "not known"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return machine.name, caches, f"{machine.memory_bytes / 1e9:.0f} GB", machine.system, versions

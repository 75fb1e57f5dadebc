"""Puts claims, figures, a timeline and the environment into one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import sparsednn
from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.figures.base.style import provenance
from experiments.records.point import environment_of
from experiments.report.claim import HOLDS, NOT, PARTLY, UNTESTED
from experiments.report.claims import all_claims
from experiments.report.collect import NewestRun
from experiments.report.timeline import timeline
from sparsednn.results.simulated_record import SimulatedRun

CLASSES = {HOLDS: "holds", PARTLY: "part", NOT: "not", UNTESTED: "untested"}
TIMELINE_OF = "straggler_timeline"
TITLES = {
    "dataset_table": "The data: inputs and networks beside the published counts",
    "parallelisms": "The five parallelisms",
    "recruiting_strategies": "Who recruits helpers",
    "locking": "What the mechanisms between threads take",
    "strong_scaling": "Strong scaling",
    "weak_scaling": "Weak scaling",
    "hashing": "Hashing, and super-linear scaling",
    "straggler_timeline": "Stragglers, and their cure",
    "ablation": "What each optimisation brings",
    "linear_cost": "Cost where no work is avoided",
    "peers": "Other libraries",
    "few_instances": "A few instances, beside other libraries",
    "random_networks": "Random networks, beside other libraries",
    "kernel_rates": "What the kernels take",
    "scheduler_pairs": "Schedulers in pairs",
    "process_pairs": "Processes against threads",
    "validation": "The simulator against real runs",
    "roofline": "The kernel beside its roofline",
    "walking": "What a connection costs",
    "gpu_check": "GPU check",
}
"""Experiments in the order of the report; others come after them."""


def page(runs: Mapping[str, NewestRun], problems: Sequence[str], known: Sequence[str], toy: bool) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    runs : mapping of NewestRun
        By experiment.
    problems : sequence of str
        Records that could not be used, a line each.
    known : sequence of str
        Names of all experiments, to say which are missing.
    toy : bool
        Say that it is of toy size.
    """
    problems, shown = list(problems), []
    for name in [*(name for name in TITLES if name in runs), *(name for name in runs if name not in TITLES)]:
        try:
            shown.append(_section(runs[name]))
        except ConfigError as error:
            problems.append(str(error))
    chart = None
    if TIMELINE_OF in runs:
        try:
            chart = Markup(timeline(runs[TIMELINE_OF].points))
        except ConfigError as error:
            problems.append(str(error))
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("page.html.j2")
    return template.render(
        version=sparsednn.__version__, toy=toy, claims=all_claims(runs), classes=CLASSES, runs=shown, problems=problems,
        timeline=chart, environments=_environments(runs), calibrations=_calibrations(runs),
        missing=[name for name in known if name not in runs], date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip


def _section(run: NewestRun) -> dict[str, Any]:
    """A figure, drawn anew from its records."""
    with tempfile.TemporaryDirectory() as folder:
        figures.redraw(run.figure, [run.folder], Path(folder))
        image = base64.b64encode((Path(folder) / f"{run.figure}.png").read_bytes()).decode()
    return {
        "name": run.name,
        "title": TITLES.get(run.name, run.name),
        "image": image,
        "provenance": provenance(run.points, "medians of repeats" if run.points.records[0].has_run else "one record"),
        "folder": run.folder.name,
        "n_others": run.n_others,
        "failed": run.points.failed,
        "command": _command(run),
    }


def _command(run: NewestRun) -> str:
    """How to run an experiment again: at the same revision, at the same size."""
    toy = " experiment.toy=true" if run.points.toy else ""
    revisions = {str(environment_of(record).git_revision or "unknown") for record in run.points.records}
    checkout = [f"git checkout {revision}" for revision in sorted(revisions) if "+" not in revision and revision != "unknown"]
    return "\n".join([*checkout, f"python run.py experiment={run.name}{toy}"])


def _environments(runs: Mapping[str, NewestRun]) -> list[dict[str, str]]:
    """Machines and code, each combination once, with the experiments that ran there."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, run in runs.items():
        for record in run.points.records:
            env = environment_of(record)
            key = (
                f"{env.cpu}, {env.cores_usable} cores, {env.memory_bytes / 1e9:.0f} GB",
                str(env.system),
                str(env.git_revision or "unknown"),
                ", ".join(f"{package} {version}" for package, version in env.versions.items() if version),
            )
            found[key].add(name)
    names = ("machine", "system", "code", "versions")
    return [dict(zip(names, key, strict=True)) | {"experiments": ", ".join(sorted(of))} for key, of in sorted(found.items())]


def _calibrations(runs: Mapping[str, NewestRun]) -> list[str]:
    """The machines that the simulator was calibrated on."""
    machines = [
        record.body.calibration["machine"]
        for run in runs.values() for record in run.points.records if isinstance(record.body, SimulatedRun)
    ]  # fmt: skip
    return sorted({f"{m.get('cpu', 'unknown')}, {m.get('cores', '?')} cores, {m.get('date', 'no date')}" for m in machines})

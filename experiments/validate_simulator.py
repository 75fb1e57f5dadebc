"""The simulator against real runs: ``python -m experiments.validate_simulator``.

Networks that were not used to calibrate are run with all schedulers on 1, 2 and 4 threads, round after round in turn, and
simulated by a calibration file; reported are both times and how far the simulated one is off, none of which is fitted to the
other. Runs that other programs disturb are run again, as far as patience goes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

import sparsednn
from experiments.calibrate.idle_machine import Quiet
from experiments.records.statistics import WIDTH, benchmark_parser, check_common, write_figures
from sparsednn.backend import load_backend
from sparsednn.data.radixnet import CHALLENGE_SEED
from sparsednn.network import Network
from sparsednn.schedulers import ONE_PROCESS_SCHEDULERS
from sparsednn.simulator.calibration import read_calibration
from sparsednn.simulator.cluster import Cluster
from sparsednn.simulator.simulate import simulate
from sparsednn.system.console import run_program
from sparsednn.system.cores import usable_cores

THREADS = (1, 2, 4)


PLAIN: dict[str, Any] = {"rows": "prune", "columns": "none"}
"""Switches of all runs: what is merged depends on a network's structure more than on the machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A network (with another seed than the challenge's, if given), and with how many instances each kernel runs it."""

    neurons: int
    layers: int
    instances: dict[str, int]
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.neurons} x {self.layers}" + (f", seed {self.seed}" if self.seed is not None else "")

    def network(self) -> Network:
        """Build it."""
        return sparsednn.radixnet(self.neurons, self.layers, seed=CHALLENGE_SEED if self.seed is None else self.seed)


WORKS = (
    Work(1024, 480, {"udc": 12_000, "csc": 3_000}),
    Work(4096, 120, {"udc": 10_000, "csc": 1_500}),
    Work(1024, 240, {"udc": 20_000, "csc": 4_000}, seed=2026),
)


@dataclass(slots=True)
class Case:
    """One way to run one network."""

    work: Work
    kernel: str
    scheduler: str
    threads: int
    simulated_s: float = 0.0
    measured_s: list[float] = field(default_factory=list)

    @property
    def error(self) -> float:
        """Simulated over the median of the measured seconds, less 1."""
        return self.simulated_s / median(self.measured_s) - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation; return the exit code."""
    parser = benchmark_parser("validate_simulator", __doc__, rounds=3)
    parser.add_argument("--calibration", type=Path, help="a calibration file (default: the one that comes with the package)")
    parser.add_argument(
        "--patience", type=float, default=120, metavar="S",
        help="seconds to wait, in all, for other programs to leave the cores alone (default: %(default)s)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    check_common(parser, args)
    _check(parser, args)
    quiet = Quiet(args.patience)
    cases = validate(WORKS, args.rounds, args.calibration, quiet)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(cases_table(cases))
    console.print(errors_table(cases))
    console.print(quiet.say(), highlight=False)
    calibration = read_calibration(args.calibration)
    write_figures(
        args.json, {"cases": [_plain(case) for case in cases], "calibration": calibration.content, "quiet": quiet.say()}
    )
    return 0


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program if the calibration or the patience cannot be used."""
    if not 0 <= args.patience < float("inf"):
        parser.error(f"--patience {args.patience}: seconds, 0 or more, are needed")
    try:
        read_calibration(args.calibration)
    except (OSError, ValueError) as error:
        parser.error(f"--calibration: {error}")


def validate(works: Sequence[Work], rounds: int, calibration: Path | None, quiet: Quiet) -> list[Case]:
    """Simulate and measure all cases: in turn, `rounds` times and once before to warm up."""
    schedulers = load_backend("numba").schedulers
    data = {work: (work.network(), sparsednn.challenge_inputs(work.neurons, max(work.instances.values()))) for work in works}
    cases = [
        Case(work, kernel, scheduler, threads)
        for work in works
        for kernel in work.instances
        for threads in THREADS
        for scheduler in schedulers[f"{kernel}_csc"]
        if scheduler in ONE_PROCESS_SCHEDULERS
    ]
    cores = usable_cores()
    for case in cases:
        network, inputs = _data(data, case)
        cluster = Cluster(cores_per_node=cores, threads=case.threads)
        record = simulate(
            network,
            inputs,
            **PLAIN,
            kernel=case.kernel,
            scheduler=case.scheduler,
            cluster=cluster,
            n_threads=cores,
            calibration=calibration,
        ).record
        case.simulated_s = record["seconds"]["inference_median"]
    for number in range(rounds + 1):
        for case in cases:
            seconds = _measure(case, *_data(data, case), quiet if number else None)
            case.measured_s += [seconds] if number else []
        print(f"round {number} of {rounds}" + (" (to warm up)" if number == 0 else ""), flush=True)
    return cases


def _data(data: dict[Work, tuple[Network, sp.csr_array]], case: Case) -> tuple[Network, sp.csr_array]:
    network, inputs = data[case.work]
    return network, inputs[: case.work.instances[case.kernel]]


def _measure(case: Case, network: Network, inputs: sp.csr_array, quiet: Quiet | None) -> float:
    """Inference seconds of one real run; of one without a disturbance, if that is wanted."""

    def once() -> float:
        result = sparsednn.infer(network, inputs, **PLAIN, kernel=case.kernel, scheduler=case.scheduler, threads=case.threads)
        return float(result.record["seconds"]["inference_median"])

    return once() if quiet is None else quiet.run(once)


def cases_table(cases: Sequence[Case]) -> Table:
    """Every case."""
    table = Table(title="inference: measured (median, smallest to largest) and simulated seconds")
    for name in ("network", "kernel", "instances", "scheduler", "threads", "measured s", "simulated s", "error"):
        table.add_column(name, justify="left" if name in ("network", "kernel", "scheduler") else "right")
    for case in cases:
        times = case.measured_s
        table.add_row(
            str(case.work), case.kernel, f"{case.work.instances[case.kernel]:,}", case.scheduler, str(case.threads),
            f"{median(times):.3f} ({min(times):.3f} to {max(times):.3f})", f"{case.simulated_s:.3f} (simulated)",
            f"{100 * case.error:+.0f} %",
        )  # fmt: skip
    return table


def errors_table(cases: Sequence[Case]) -> Table:
    """Medians of the errors, and of their sizes, over all cases and over parts of them."""
    table = Table(title="simulated / measured - 1")
    for name in ("cases", "number", "median of absolute errors", "median error"):
        table.add_column(name, justify="left" if name == "cases" else "right")
    for name, errors in errors_by_part(cases).items():
        table.add_row(name, str(len(errors)), f"{100 * median(map(abs, errors)):.1f} %", f"{100 * median(errors):+.1f} %")
    return table


PARTS: dict[str, Callable[[Case], str]] = {
    "": lambda case: "all",
    "kernel": lambda case: case.kernel,
    "threads": lambda case: str(case.threads),
    "scheduler": lambda case: case.scheduler,
    "network": lambda case: str(case.work),
    "kernel, threads": lambda case: f"{case.kernel}, {case.threads}",
}


def errors_by_part(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Group the errors."""
    found: dict[str, list[float]] = {}
    for name, part in PARTS.items():
        for case in cases:
            found.setdefault(f"{name} {part(case)}".strip(), []).append(case.error)
    return found


def _plain(case: Case) -> dict[str, Any]:
    return {
        "network": str(case.work),
        "instances": case.work.instances[case.kernel],
        "kernel": case.kernel,
        "scheduler": case.scheduler,
        "threads": case.threads,
        "measured_s": case.measured_s,
        "simulated_s": case.simulated_s,
        "simulated": True,
        "error": case.error,
    }


if __name__ == "__main__":
    sys.exit(run_program(main))

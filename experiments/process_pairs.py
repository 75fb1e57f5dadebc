"""Benchmark of processes: ``python -m experiments.process_pairs``.

The challenge's 1024 x 120 network with ``kernel=csc``, on two processes of one thread each and on one process of two threads in
turn, round after round, so that both see the same machine. All processes are new ones each time, since memory that a process
has had before makes a run faster. Reported are the medians of the inference times, and the median of the ratios round by round
with its 95 % interval.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.config.schema import Config
from experiments.launch.mpiexec import run_point
from experiments.records.statistics import WIDTH, median_interval, parse, write_figures
from experiments.run.display import Display
from sparsednn.system.console import run_program

SHAPES = ((2, 1), (1, 2))
"""Processes and threads of each; the first is divided by the second."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    args = parse(arguments, "process_pairs", __doc__, rounds=20)
    console = Console()
    try:
        seconds = measure(args.rounds)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.width = max(console.width, WIDTH)
    console.print(table(seconds))
    middle, low, high = median_interval(ratios(seconds))
    write_figures(args.json, {"seconds": seconds, "ratio": {"median": middle, "low": low, "high": high}})
    return 0


def measure(rounds: int, **changes: Any) -> list[list[float]]:
    """Run both in turn, `rounds` times and once before to warm up; return their inference times, round by round.

    Raises
    ------
    RuntimeError
        If a run fails.
    """
    seconds: list[list[float]] = [[] for _ in SHAPES]
    for number in range(rounds + 1):
        for (processes, threads), times in zip(SHAPES, seconds, strict=True):
            config = Config(kernel="csc", processes=processes, threads=threads, **changes)
            with tempfile.TemporaryDirectory() as folder:
                record = run_point(config, Path(folder), [], Display(Console(quiet=True)), None)
            if record["status"] != "complete":
                raise RuntimeError(f"processes={processes} threads={threads}: {record['error']}")
            if number > 0:
                times.append(record["seconds"]["inference_median"])
    return seconds


def ratios(seconds: list[list[float]]) -> list[float]:
    """Two processes over two threads, round by round."""
    return [one / other for one, other in zip(*seconds, strict=True)]


def table(seconds: list[list[float]]) -> Table:
    """Medians and their ratio."""
    found = Table(title="kernel=csc, 1024 neurons x 120 layers, 60,000 instances")
    for name in ("2 processes x 1 thread, s", "1 process x 2 threads, s", "ratio", "95 % interval", "rounds"):
        found.add_column(name, justify="right")
    middle, low, high = median_interval(ratios(seconds))
    one, other = (f"{median(times):.3f}" for times in seconds)
    found.add_row(one, other, f"{middle:.3f}", f"{low:.3f} to {high:.3f}", str(len(seconds[0])))
    return found


if __name__ == "__main__":
    sys.exit(run_program(main))

"""Benchmark of the schedulers, in pairs: ``python -m experiments.scheduler_pairs``.

Each pair differs in one thing and is run in turn, round after round, so that both see the same machine: data_then_model against
data, where the split is as bad as can be (the instances that end alive before all others) and where it is balanced (hashed);
and a traced run against one that is not. Reported are the medians, the median of the ratios round by round with its 95 %
interval, and where the workers' time went.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

import sparsednn
from experiments.records.statistics import WIDTH, median_interval, parse, write_figures
from experiments.run.display import LOCKING
from sparsednn.rows.partition import alive_first
from sparsednn.system.console import run_program


@dataclass(slots=True)
class Pair:
    """Two ways to run the 1024 x 120 network; `one` is divided by `other`."""

    name: str
    worst: bool
    one: dict[str, Any]
    other: dict[str, Any]
    records: tuple[list[dict[str, Any]], list[dict[str, Any]]] = field(default_factory=lambda: ([], []))

    def seconds(self) -> tuple[list[float], list[float]]:
        """Inference seconds of both, round by round."""
        one, other = ([record["seconds"]["inference_median"] for record in records] for records in self.records)
        return one, other

    def ratios(self) -> list[float]:
        """One over the other, round by round."""
        return [a / b for a, b in zip(*self.seconds(), strict=True)]


DATA, TEAMS = {"scheduler": "data"}, {"scheduler": "data_then_model"}
HASHED = {"hashing": "input"}
CSC = {"kernel": "csc", "threads": 2}
UDC = {"kernel": "udc", "threads": 2, "rows": "prune", "columns": "none"}
PAPER = {"rows": "none", "order": "given", "full_columns": False}
PAIRS = (
    ("csc, worst split: data / data_then_model", True, CSC | DATA, CSC | TEAMS),
    ("csc, nothing the paper lacks, worst split: data / data_then_model", True, CSC | PAPER | DATA, CSC | PAPER | TEAMS),
    ("udc, worst split: data / data_then_model", True, UDC | DATA, UDC | TEAMS),
    ("csc, balanced: data_then_model / data", False, CSC | HASHED | TEAMS, CSC | HASHED | DATA),
    ("csc: traced / not traced", False, CSC | TEAMS | {"trace": True}, CSC | TEAMS),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    args = parse(arguments, "scheduler_pairs", __doc__, rounds=20)
    pairs = [Pair(*pair) for pair in PAIRS]
    measure(pairs, args.rounds)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(times_table(pairs))
    console.print(locking_table(pairs))
    write_figures(args.json, {"pairs": [_plain(pair) for pair in pairs]})
    return 0


def measure(pairs: list[Pair], rounds: int) -> None:
    """Run all pairs in turn, `rounds` times and once before to warm up."""
    network, inputs = sparsednn.radixnet(1024, 120), sparsednn.challenge_inputs(1024)
    order = alive_first(sparsednn.infer(network, inputs).categories, inputs.shape[0])
    rows: dict[bool, sp.csr_array] = {True: inputs[order], False: inputs}
    for number in range(rounds + 1):
        for pair in pairs:
            for options, records in zip((pair.one, pair.other), pair.records, strict=True):
                record = sparsednn.infer(network, rows[pair.worst], **options).record
                if number > 0:
                    records.append(record)


def times_table(pairs: list[Pair]) -> Table:
    """Medians and ratios."""
    table = Table(title="1024 neurons x 120 layers, 60,000 instances, 2 threads")
    for name in ("pair", "s", "s", "ratio", "95 % interval", "rounds"):
        table.add_column(name, justify="left" if name == "pair" else "right")
    for pair in pairs:
        one, other = pair.seconds()
        middle, low, high = median_interval(pair.ratios())
        table.add_row(
            pair.name, f"{median(one):.3f}", f"{median(other):.3f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}", str(len(one))
        )
    return table


def locking_table(pairs: list[Pair]) -> Table:
    """The parts of the locking mechanism, and sleep: medians over the rounds, for each worker of data_then_model."""
    table = Table(title="locking mechanism of data_then_model: medians in ms")
    for name in ("pair", "worker", *LOCKING, "all", "share of the run", "asleep"):
        table.add_column(name, justify="left" if name == "pair" else "right")
    for pair in pairs:
        records = next(records for records in pair.records if records[0]["scheduler"] == "data_then_model")
        elapsed = median(record["seconds"]["inference_median"] for record in records)
        for worker in range(len(records[0]["workers"])):
            parts = {
                part: median(record["workers"][worker][f"{part}_s"] for record in records)
                for part in (*LOCKING, "locking", "wait")
            }
            table.add_row(
                pair.name if worker == 0 else "",
                str(worker),
                *(f"{parts[part] * 1e3:.3f}" for part in (*LOCKING, "locking")),
                f"{100 * parts['locking'] / elapsed:.2f} %",
                f"{parts['wait'] * 1e3:.1f}",
            )
    return table


def _plain(pair: Pair) -> dict[str, Any]:
    one, other = pair.seconds()
    middle, low, high = median_interval(pair.ratios())
    return {
        "name": pair.name,
        "seconds": [one, other],
        "ratio": {"median": middle, "low": low, "high": high},
        "records": [pair.records[0][-1], pair.records[1][-1]],
    }


if __name__ == "__main__":
    sys.exit(run_program(main))

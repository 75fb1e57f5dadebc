"""Benchmark of the kernels: ``python -m experiments.kernel_rates``.

Variants are run in turn, round after round, so that all see the same machine; medians over the rounds and ratios round by round
are reported. Each time is an inference, from the input in memory to the categories; loading, preparing and compiling
are not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

import sparsednn
from experiments.records.statistics import WIDTH, parse, write_figures
from sparsednn.system.console import run_program


@dataclass(slots=True)
class Variant:
    """One way to run the 1024 x 120 network, and the records it has left."""

    name: str
    instances: int
    options: dict[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)

    def seconds(self) -> list[float]:
        """Inference seconds, round by round."""
        return [record["seconds"]["inference_median"] for record in self.records]


ALL = {"kernel": "udc", "rows": "none", "columns": "none"}
PRUNED = {"kernel": "udc", "rows": "prune", "columns": "none"}
VARIANTS = (
    ("reference", 6_000, {"backend": "scipy_reference", "threads": 1}),
    ("csc", 6_000, {"kernel": "csc", "threads": 1}),
    ("csc, all ids looked at", 6_000, {"kernel": "csc", "threads": 1, "full_columns": False}),
    ("csr", 6_000, {"kernel": "csr", "threads": 1}),
    ("udc, all rows kept", 6_000, ALL | {"threads": 1}),
    ("udc, all rows kept, 2 threads", 6_000, ALL | {"threads": 2}),
    (
        "udc, all rows kept, given order",
        6_000,
        ALL | {"threads": 1, "order": "given"},
    ),
    ("main job, dead rows dropped only, 1 thread", 60_000, PRUNED | {"threads": 1}),
    (
        "main job, dead rows dropped only, 2 threads",
        60_000,
        PRUNED | {"threads": 2},
    ),
    ("main job, all columns", 60_000, {"threads": 2, "columns": "none"}),
    ("main job, 1 thread", 60_000, {"threads": 1}),
    ("main job, 2 threads", 60_000, {"threads": 2}),
)
SWITCHES = ("rows", "columns", "order", "full_columns")
RATIOS = (
    ("reference", "csc"),
    ("reference", "csc, all ids looked at"),
    ("reference", "csr"),
    ("udc, all rows kept", "udc, all rows kept, 2 threads"),
    ("main job, dead rows dropped only, 1 thread", "main job, dead rows dropped only, 2 threads"),
    ("main job, all columns", "main job, 2 threads"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    args = parse(arguments, "kernel_rates", __doc__, rounds=7)
    variants = measure(args.rounds)
    show(variants)
    write_figures(args.json, {"variants": [_plain(variant) for variant in variants]})
    return 0


def measure(rounds: int) -> list[Variant]:
    """Run all variants in turn, `rounds` times and once before to warm up."""
    network, inputs = sparsednn.radixnet(1024, 120), sparsednn.challenge_inputs(1024)
    variants = [Variant(*variant) for variant in VARIANTS]
    for number in range(rounds + 1):
        for variant in variants:
            result = sparsednn.infer(network, inputs[: variant.instances], **variant.options)
            if number > 0:
                variant.records.append(result.record)
    return variants


def show(variants: list[Variant]) -> None:
    """Print medians with their spread, and ratios."""
    console = Console()
    console.width = max(console.width, WIDTH)
    table = Table(title="1024 neurons x 120 layers; medians (smallest to largest)")
    for name in ("variant", "instances", "inference s", "performed e9/s", "nominal e9/s", "optimizations"):
        table.add_column(name, justify="left" if name in ("variant", "optimizations") else "right")
    for variant in variants:
        record, seconds = variant.records[0], variant.seconds()
        on = [f"{key}={value}".lower() for key, value in record["optimizations"].items() if key in SWITCHES]
        table.add_row(
            variant.name,
            f"{variant.instances:,}",
            f"{median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})",
            f"{record['performed_edges'] / median(seconds) / 1e9:.2f}",
            f"{variant.instances * record['network_nnz'] / median(seconds) / 1e9:.0f}",
            ", ".join(on),
        )
    console.print(table)
    by_name = {variant.name: variant.seconds() for variant in variants}
    for slow, fast in RATIOS:
        ratios = sorted(a / b for a, b in zip(by_name[slow], by_name[fast], strict=True))
        console.print(f"{slow} / {fast}: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", highlight=False)


def _plain(variant: Variant) -> dict[str, Any]:
    return {"name": variant.name, "instances": variant.instances, "seconds": variant.seconds(), "record": variant.records[0]}


if __name__ == "__main__":
    sys.exit(run_program(main))

"""Benchmark against other libraries: ``python -m experiments.peers``.

The Numba backend, with equal columns merged and without, and the libraries that are installed (extra ``peers``) run the same
networks in turn, round after round: the challenge's 1024 x 120, and random networks without any structure to make use of
(see `experiments.sweeps.random_networks`). Every result is checked before its time counts. Each time is an inference, from the
input in memory to the categories; loading, preparing and compiling are not in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

import sparsednn
from experiments.records.statistics import benchmark_parser, check_common, median_interval, write_figures
from experiments.sweeps.random_networks import FAMILY, QUICK_FAMILY, RandomNetwork
from sparsednn.backend import load_backend
from sparsednn.system.console import run_program

PEERS = ("mkl", "torch", "graphblas")
OURS: dict[str, dict[str, Any]] = {"numba": {"columns": "merge"}, "all columns": {"columns": "none"}}
"""The Numba backend as it is by default, and without the switch that makes use of structure in columns."""

CHECKED_INSTANCES = 32
TOLERANCE = 1e-4
"""Of the largest activation: libraries add in orders of their own."""

MINIMUM_INSTANCES, MAXIMUM_INSTANCES = 256, 8192
REPEATS = 3
"""Inferences in a round for each preparation, on random networks; their median counts."""

IDLE_S = {"mkl": 0.25}
"""Libraries whose threads keep their cores busy for a while after a call (Intel's OpenMP: 0.2 s), and how long to wait."""

WIDTH = 185


@dataclass(frozen=True, slots=True)
class Contest:
    """A network and its inputs."""

    name: str
    network: sparsednn.Network
    inputs: sp.csr_array
    repeats: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The records of every contestant, round by round."""

    name: str
    n_instances: int
    records: Mapping[str, list[dict[str, Any]]]

    def seconds(self, name: str) -> list[float]:
        """Inference seconds of a contestant, round by round."""
        return [record["seconds"]["inference_median"] for record in self.records[name]]

    def best_peer(self) -> str:
        """The peer with the smallest median."""
        return min((name for name in self.records if name not in OURS), key=lambda name: median(self.seconds(name)))

    def rate(self, name: str) -> float:
        """Multiply-adds that a contestant has really done, a second."""
        return float(self.records[name][0]["performed_edges"]) / median(self.seconds(name))

    def ratio(self, ours: str) -> tuple[float, float, float]:
        """Best peer over ours, round by round: the median and its 95 % interval."""
        peer = self.seconds(self.best_peer())
        return median_interval([a / b for a, b in zip(peer, self.seconds(ours), strict=True)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code: 1 without any peer, or where a result is wrong."""
    args = parse_arguments(arguments)
    console = Console()
    console.width = max(console.width, WIDTH)
    peers = usable_peers(args.peers, console)
    if not peers:
        print(
            "peers: none of the libraries asked for can be used; install them with: pip install -e '.[peers]'", file=sys.stderr
        )
        return 1
    contestants = OURS | {name: {"backend": name} for name in peers}
    try:
        outcomes = [measured(contest, contestants, args.rounds) for contest in contests_of(args)]
    except WrongResultError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    console.print(times_table(outcomes, [*contestants]))
    for line in verdicts(outcomes):
        console.print(line, highlight=False)
    write_figures(args.json, {"contests": [_plain(outcome) for outcome in outcomes]})
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; a value that cannot be used ends the program before anything is run."""
    parser = benchmark_parser("peers", __doc__, rounds=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="libraries to run (default: all)")
    parser.add_argument(
        "--instances", type=int, default=60_000, help="of the challenge, 0 to leave it out (default: %(default)s)"
    )
    parser.add_argument(
        "--work", type=float, default=5e8,
        help=f"multiply-adds on each random network, within {MINIMUM_INSTANCES} to {MAXIMUM_INSTANCES} instances "
        "(default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--only", default="", help="run random networks with this in their names, such as '4096 x'")
    parser.add_argument(
        "--quick", action="store_true", help="two small networks in place of the family, and 50 challenge instances"
    )
    args = parser.parse_args(arguments)
    check_common(parser, args)
    if not 0 <= args.instances <= 60_000:
        parser.error(f"--instances {args.instances}: the challenge has 60000 (0 leaves it out)")
    if not args.work > 0:
        parser.error(f"--work {args.work}: more than 0 is needed")
    if args.quick:
        args.instances = min(args.instances, 50)
    args.family = [spec for spec in (QUICK_FAMILY if args.quick else FAMILY) if args.only in spec.name]
    if not args.family and args.only:
        parser.error(f"--only {args.only!r}: no network has this in its name; one of them is {FAMILY[0].name!r}")
    return args


def usable_peers(names: Sequence[str], console: Console) -> list[str]:
    """Return the peers whose packages are there; say of the others why they are left out."""
    usable = []
    for name in names:
        try:
            load_backend(name)
        except ImportError as error:
            console.print(f"{name} is left out: {error}", highlight=False, markup=False)
        else:
            usable.append(name)
    return usable


def contests_of(args: argparse.Namespace) -> Iterator[Contest]:
    """Make the contests one by one, so that only one network is in memory at a time."""
    if args.instances:
        inputs = sparsednn.challenge_inputs(1024)[: args.instances]
        yield Contest("challenge 1024 x 120", sparsednn.radixnet(1024, 120), inputs, repeats=1)
    for spec in args.family:
        yield random_contest(spec, args.work)


def random_contest(spec: RandomNetwork, work: float) -> Contest:
    """Draw a network, and as many instances as make about `work` multiply-adds."""
    network = spec.network()
    n_instances = spec.n_instances or int(np.clip(work / max(network.nnz, 1), MINIMUM_INSTANCES, MAXIMUM_INSTANCES))
    return Contest(spec.name, network, spec.inputs(n_instances), REPEATS)


class WrongResultError(Exception):
    """A contestant's result is not what it has to be; its times say nothing."""


def measured(contest: Contest, contestants: Mapping[str, Mapping[str, Any]], rounds: int) -> Outcome:
    """Check all contestants, then run them in turn, `rounds` times and once before to warm up."""
    check_values(contest, contestants)
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    names, expected = [*contestants], None
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:  # not always after the same one
            result = sparsednn.infer(contest.network, contest.inputs, repeats=contest.repeats, **contestants[name])
            time.sleep(IDLE_S.get(name, 0))
            expected = result.categories if expected is None else expected
            if not np.array_equal(result.categories, expected):
                raise WrongResultError(f"{contest.name}: {name} has other categories than {names[0]}")
            if number > 0:
                records[name].append(result.record)
    return Outcome(contest.name, contest.inputs.shape[0], records)


def check_values(contest: Contest, contestants: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold some instances' last activations against the reference: bit for bit, or for libraries within rounding."""
    n = contest.inputs.shape[0]
    some = contest.inputs[np.linspace(0, n - 1, min(n, CHECKED_INSTANCES)).astype(np.int64)]
    expected = _output(contest, some, {"backend": "scipy_reference", "threads": 1})
    scale = max(float(np.abs(expected).max(initial=0)), 1.0)
    for name, options in contestants.items():
        found = _output(contest, some, options)
        if name in OURS:
            if found.tobytes() != expected.tobytes():
                raise WrongResultError(f"{contest.name}: {name} has not the reference's bits")
        elif np.abs(found - expected).max(initial=0) > TOLERANCE * scale:
            raise WrongResultError(
                f"{contest.name}: {name} differs from the reference by more than {TOLERANCE:g} of the largest value"
            )


def _output(contest: Contest, inputs: sp.csr_array, options: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    output = sparsednn.infer(contest.network, inputs, output=True, **options).output
    assert output is not None
    dense: np.ndarray[Any, Any] = output.toarray()
    return dense + np.float32(0)  # -0 and 0 are one


def times_table(outcomes: list[Outcome], names: list[str]) -> Table:
    """Times, the rates of ours and of the best peer, and how often ours goes into the best peer's time."""
    table = Table(title="inference, medians in ms; best peer / ours with 95 % intervals (above 1: ours is faster)")
    table.add_column("network", no_wrap=True)
    for column in ("instances", *names, "numba e9/s", "best peer e9/s", *(f"best peer / {name}" for name in OURS)):
        table.add_column(column, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            f"{outcome.n_instances:,}",
            *(f"{1e3 * median(outcome.seconds(name)):.1f}" for name in names),
            f"{outcome.rate('numba') / 1e9:.1f}",
            f"{outcome.rate(outcome.best_peer()) / 1e9:.1f}",
            *("{:.2f} ({:.2f} to {:.2f})".format(*outcome.ratio(ours)) for ours in OURS),
        )
    return table


def verdicts(outcomes: list[Outcome]) -> list[str]:
    """Say where ours is slower than the best peer; or that it is nowhere."""
    lines = []
    for outcome in outcomes:
        for ours in OURS:
            middle, low, high = outcome.ratio(ours)
            if middle < 1:
                surely, peer = "slower" if high < 1 else "perhaps slower", outcome.best_peer()
                figures = f"{middle:.2f} ({low:.2f} to {high:.2f}) times as fast"
                lines.append(f"{outcome.name}, {outcome.n_instances:,} instances: {ours} is {surely} than {peer}: {figures}")
    return lines or [f"Nowhere is numba slower than the best peer ({len(outcomes)} networks)."]


def _plain(outcome: Outcome) -> dict[str, Any]:
    ratios = {ours: dict(zip(("median", "low", "high"), outcome.ratio(ours), strict=True)) for ours in OURS}
    return {
        "name": outcome.name,
        "best_peer": outcome.best_peer(),
        "ratios": ratios,
        "seconds": {name: outcome.seconds(name) for name in outcome.records},
        "records": {name: records[-1] for name, records in outcome.records.items()},
    }


if __name__ == "__main__":
    sys.exit(run_program(main))

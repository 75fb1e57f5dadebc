"""What benchmarks have in common: their arguments, pairs of times, and intervals."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from experiments.run.environment import environment
from sparsednn.system.files import write_json

WIDTH = 150


def parse(arguments: Sequence[str] | None, module: str, about: str | None, rounds: int) -> argparse.Namespace:
    """Read ``--rounds`` and ``--json``; a value that cannot be used ends the program before anything is run."""
    parser = benchmark_parser(module, about, rounds)
    args = parser.parse_args(arguments)
    check_common(parser, args)
    return args


def benchmark_parser(module: str, about: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks take; its result is to go through `check_common`."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{module}", description=about)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="rounds that count, after one that does not (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    return parser


def check_common(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program if a value cannot be used."""
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1 is needed")
    if args.json is not None and not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write figures and the environment, if a file was asked for."""
    if path is not None:
        write_json(path, {"environment": environment(), **figures})


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of `values` and the ends of its 95 % interval (bootstrap, percentiles; Efron 1979)."""
    middle = float(np.median(values))
    if len(values) < 2:
        return middle, middle, middle
    found = scipy.stats.bootstrap((values,), np.median, method="percentile", rng=np.random.default_rng(0), n_resamples=5000)
    return middle, float(found.confidence_interval.low), float(found.confidence_interval.high)

"""Compares with other libraries on random networks: ``python run.py experiment=random_networks``.

The Numba backend, with equal columns merged and without, and the libraries that are installed (extra ``peers``) run the same
networks in turn, round after round: networks without any structure to make use of (see `experiments.sweeps.random_networks`).
Every result is checked before its time counts. Each time is an inference, from the input in memory to the categories; loading,
preparing and compiling are not in it. (``experiment=peers`` has the challenge's network.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsednn
from experiments.config.resolve import Config, ConfigError
from experiments.sweeps.random_networks import FAMILY, QUICK_FAMILY, RandomNetwork
from sparsednn.backend import load_backend

PEERS = ("mkl", "torch", "graphblas")
OURS: dict[str, dict[str, Any]] = {"numba": {"columns": "merge"}, "all columns": {"columns": "none"}}
"""The Numba backend as it is by default, and without the switch that makes use of structure in columns."""

CHECKED_INSTANCES = 32
TOLERANCE = 1e-4
"""The largest difference, as a share of the largest activation: libraries add in orders of their own."""

MULTIPLY_ADDS, TOY_MULTIPLY_ADDS = 5e8, 1e5
"""On each network, as far as `MINIMUM_INSTANCES` and `MAXIMUM_INSTANCES` allow."""

MINIMUM_INSTANCES, MAXIMUM_INSTANCES = 256, 8192
REPEATS = 3
"""Inferences in a round for each preparation; their median counts."""

IDLE_S = {"mkl": 0.25}
"""Libraries whose threads keep their cores busy for a while after a call (Intel's OpenMP: 0.2 s), and how long to wait."""

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contest:
    """A network and its inputs."""

    name: str
    network: sparsednn.Network
    inputs: sp.csr_array


class WrongResultError(Exception):
    """A contestant's result is not what it has to be; its times say nothing."""


def require_usable() -> None:
    """Raise ConfigError where there is nothing to compare with."""
    if not usable_peers()[0]:
        raise ConfigError(
            "experiment=random_networks: none of the libraries to compare with can be used; install them with: "
            "pip install -e '.[peers]'"
        )


def usable_peers() -> tuple[list[str], list[str]]:
    """Return the peers whose packages are there; and of the others, in a line each, why they are left out."""
    usable, left_out = [], []
    for name in PEERS:
        try:
            load_backend(name)
        except ImportError as error:
            left_out.append(f"{name} is left out: {error}")
        else:
            usable.append(name)
    return usable, left_out


def benchmark(config: Config, toy: bool, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure as a configuration says: ``threads``, and ``repeats`` as rounds.

    Returns
    -------
    dict
        ``contests``: of each network its name, instances, and by contestant the seconds of all rounds, the kernel and the
        multiply-adds that were really done; ``ours``, ``left_out``; and ``failed``: wrong results, in words.
    """
    peers, left_out = usable_peers()
    contestants = {
        name: {"threads": config.threads, **options}
        for name, options in (OURS | {name: {"backend": name} for name in peers}).items()
    }
    contests: list[dict[str, Any]] = []
    failed: list[str] = []
    family = QUICK_FAMILY if toy else FAMILY
    for number, spec in enumerate(family):
        contest = random_contest(spec, TOY_MULTIPLY_ADDS if toy else MULTIPLY_ADDS)
        try:
            contests.append(measure_contest(contest, contestants, config.repeats))
        except WrongResultError as error:
            failed.append(str(error))
        progress(number + 1, len(family))
    return {"rounds": config.repeats, "ours": list(OURS), "contests": contests, "left_out": left_out, "failed": failed}


def random_contest(spec: RandomNetwork, work: float) -> Contest:
    """Draw a network, and the instances that it is meant for, or as many as make about `work` multiply-adds."""
    network = spec.network()
    enough = int(np.clip(work / max(network.nnz, 1), MINIMUM_INSTANCES, MAXIMUM_INSTANCES))
    return Contest(spec.name, network, spec.inputs(spec.n_instances or enough))


def measure_contest(contest: Contest, contestants: Mapping[str, Options], rounds: int) -> dict[str, Any]:
    """Check all contestants, then run them in turn, `rounds` times and once before to warm up.

    Raises
    ------
    WrongResultError
    """
    check_values(contest, contestants)
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    names, expected = [*contestants], None
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:  # not always after the same one
            result = sparsednn.infer(contest.network, contest.inputs, repeats=REPEATS, **contestants[name])
            time.sleep(IDLE_S.get(name, 0))
            expected = result.categories if expected is None else expected
            if not np.array_equal(result.categories, expected):
                raise WrongResultError(f"{contest.name}: {name} has other categories than {names[0]}")
            if number > 0:
                records[name].append(result.record)
    return {
        "name": contest.name,
        "instances": contest.inputs.shape[0],
        "seconds": {name: [one["seconds"]["inference_median"] for one in of] for name, of in records.items()},
        "kernel": {name: of[0]["kernel"] for name, of in records.items()},
        "performed_edges": {name: of[0]["performed_edges"] for name, of in records.items()},
    }


def check_values(contest: Contest, contestants: Mapping[str, Options]) -> None:
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


def _output(contest: Contest, inputs: sp.csr_array, options: Options) -> np.ndarray[Any, Any]:
    output = sparsednn.infer(contest.network, inputs, output=True, **options).output
    assert output is not None
    dense: np.ndarray[Any, Any] = output.toarray()
    return dense + np.float32(0)  # -0 and 0 are one

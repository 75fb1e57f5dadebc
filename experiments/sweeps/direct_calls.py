"""Measures direct calls: ``python run.py experiment=crossover`` and ``experiment=latency``.

A compiled network and other libraries answer the same dense batches in turn, round after round. Each contestant calls for a
while before its calls count, so that the threads of the one before sleep (OpenMP's spin for 0.2 s) and its own caches are warm.
A time is that of a whole call: NumPy array in, array out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsednn
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import ExperimentConfig
from experiments.sweeps.direct_peers import PACKAGES, PEERS, Float32, is_installed
from experiments.sweeps.turns import OURS, InTurn
from sparsednn.engine import default_threads

WARM_S, TIMED_S = 0.3, 0.06
TOY_WARM_S, TOY_TIMED_S = 0.001, 0.002
IDLE_CALLS, TOY_IDLE_CALLS = 9, 2
"""Calls after a pause that each contestant makes in a round."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A network and a batch.

    Attributes
    ----------
    family : str
    widths : tuple of int
    sparsity : float
        Share of the weights that are zero.
    batch : int
    threads : int, optional
        As many as the experiment has, unless it is said.
    """

    family: str
    widths: tuple[int, ...]
    sparsity: float
    batch: int
    threads: int | None = None


CHALLENGE = "challenge"
"""The family of the challenge's own networks, with its inputs."""

WIDTHS = {"mlp": (784, 4096, 4096, 1000), "ffn": (768, *(3072, 768) * 12)}
DEAD_ONES = 286
"""Inputs that are passed over: the next one is the first that survives the challenge's network of 1024 x 120."""

TOY_WIDTHS = {"mlp": (78, 120, 40), "ffn": (48, *(64, 48) * 2)}


def crossover_settings(toy: bool) -> list[Setting]:
    """Return those of the figure "where does pruning pay", sparsity against batch, and the challenge's network by batch."""
    widths = (TOY_WIDTHS if toy else WIDTHS)["mlp"]
    sparsities, batches = ((0.5, 0.9), (1, 40)) if toy else ((0.5, 0.8, 0.9, 0.95, 0.99), (1, 2, 8, 32, 64, 256, 1024, 8192))
    grid = [Setting("mlp", widths, sparsity, batch) for sparsity in sparsities for batch in batches]
    layers, of_challenge = (6, (1,)) if toy else (120, (1, 8, 64, 1024, 8192))
    return grid + [Setting(CHALLENGE, (1024,) * (layers + 1), 1 - 32 / 1024, batch) for batch in of_challenge]


def latency_settings(toy: bool) -> list[Setting]:
    """Return small batches of both families."""
    widths, batches = (TOY_WIDTHS, (1, 8)) if toy else (WIDTHS, (1, 8, 32, 64))
    sparsities = {"mlp": (0.9, 0.99), "ffn": (0.9,)}
    return [Setting(name, widths[name], s, batch) for name, some in sparsities.items() for s in some for batch in batches]


def crossover(config: Config, experiment: ExperimentConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure the settings of `crossover_settings`: ``threads``, and ``repeats`` as rounds. See `measure`."""
    return measure(_chosen(crossover_settings(experiment.toy), experiment), config, experiment.toy, progress)


def latency(config: Config, experiment: ExperimentConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure the settings of `latency_settings`, with one thread and with all, and calls after idling too. See `measure`."""
    toy, most = experiment.toy, config.threads or default_threads()
    settings = [
        replace(setting, threads=threads)
        for setting in _chosen(latency_settings(toy), experiment)
        for threads in sorted({1, most})
    ]
    return measure(settings, config, toy, progress, TOY_IDLE_CALLS if toy else IDLE_CALLS)


def crossover_choices(toy: bool) -> dict[str, list[Any]]:
    """Return the networks and sparsities of the crossover."""
    return _choices(crossover_settings(toy))


def latency_choices(toy: bool) -> dict[str, list[Any]]:
    """Return the networks and sparsities of the latencies."""
    return _choices(latency_settings(toy))


def _choices(settings: Sequence[Setting]) -> dict[str, list[Any]]:
    return {
        "networks": list(dict.fromkeys(setting.family for setting in settings)),
        "sparsities": list(dict.fromkeys(setting.sparsity for setting in settings)),
    }


def _chosen(settings: Sequence[Setting], experiment: ExperimentConfig) -> list[Setting]:
    """Return the settings of the networks and sparsities that were chosen.

    Raises
    ------
    ConfigError
        If there are none.
    """
    networks, sparsities = experiment.networks, experiment.sparsities
    found = [s for s in settings if (not networks or s.family in networks) and (not sparsities or s.sparsity in sparsities)]
    if not found:
        raise ConfigError(f"experiment.sparsities={sparsities}: experiment.networks={networks} has none of these; change one")
    return found


def require_usable() -> None:
    """Do nothing: NumPy and scipy are always there to compare with."""


def measure(
    settings: Sequence[Setting], config: Config, toy: bool, progress: Callable[[int, int], None], idle_calls: int = 0
) -> dict[str, Any]:
    """Run all contestants on each setting in turn.

    Returns
    -------
    dict
        ``settings``: of each its family, sparsity, batch, threads, connections, and for each contestant the median, 95th and
        99th percentile of the seconds of a call, round by round, None where it sat out, and the median of `idle_calls` calls
        that come after a pause; ``left_out``, ``failed`` in words.
    """
    most = config.threads or default_threads()
    missing = {name for name, package in PACKAGES.items() if not is_installed(package)}
    found: dict[str, Any] = {"rounds": config.repeats, "settings": [], "left_out": [], "failed": []}
    found["left_out"] += [f"{name} is left out: {PACKAGES[name]} is not installed (extra peers)" for name in sorted(missing)]
    for number, setting in enumerate(settings):
        threads = setting.threads or most
        contest = _Contest(setting, threads, [name for name in PEERS if name not in missing])
        found["left_out"] += contest.left_out
        found["failed"] += contest.failed
        times = contest.times(config.repeats, *((TOY_WARM_S, TOY_TIMED_S) if toy else (WARM_S, TIMED_S)), idle_calls)
        about = {"family": setting.family, "sparsity": setting.sparsity, "batch": setting.batch, "threads": threads}
        found["settings"].append(about | {"connections": contest.network.nnz, "seconds": times})
        contest.close()
        progress(number + 1, len(settings))
    return found


class _Contest(InTurn):
    """The contestants of a setting; ours is checked against the reference."""

    def __init__(self, setting: Setting, threads: int, peers: Sequence[str]) -> None:
        self.network, x = (challenge if setting.family == CHALLENGE else random_layers)(setting)
        self.compiled = sparsednn.compile(self.network, threads=threads)
        super().__init__(x, self.compiled, f"{setting.family}, {100 * setting.sparsity:g} %, {setting.batch} instances")
        self._check_bits(self.expected)
        for name in peers:
            self.add(name, PEERS[name](self.network, threads, setting.batch))

    def _check_bits(self, found: Float32) -> None:
        few = self.x[:8]
        output = sparsednn.infer(self.network, few, backend="scipy_reference", threads=1, output=True).output
        assert output is not None
        if (found[:8] + np.float32(0)).tobytes() != (output.toarray() + np.float32(0)).tobytes():
            self.failed.append(f"{OURS} has not the reference's bits")

    def close(self) -> None:
        """End the threads."""
        self.compiled.close()


def random_layers(setting: Setting) -> tuple[sparsednn.Network, Float32]:
    """Return a random network, and a batch of which half of the values are zero."""
    rng = np.random.default_rng(1)
    shape = (setting.batch, setting.widths[0])
    return random_network(setting), np.where(rng.random(shape) < 0.5, rng.random(shape, np.float32), np.float32(0))


def challenge(setting: Setting) -> tuple[sparsednn.Network, Float32]:
    """Return a network of the challenge, and as many of its inputs. Where nothing arrives, its bias is clamped to zero."""
    inputs = sparsednn.challenge_inputs(setting.widths[0], instances=DEAD_ONES + setting.batch)
    return sparsednn.radixnet(setting.widths[0], len(setting.widths) - 1), inputs[DEAD_ONES:].toarray()


def random_network(setting: Setting) -> sparsednn.Network:
    """Return a network of random weights with a bias everywhere and relu, whose activations neither die nor grow."""
    rng = np.random.default_rng(7)
    density = 1 - setting.sparsity
    weights = []
    for n, m in pairwise(setting.widths):
        matrix = sp.random_array((n, m), density=density, rng=rng, dtype=np.float32)
        matrix.data = (rng.standard_normal(len(matrix.data)) * np.sqrt(2 / (density * n))).astype(np.float32)
        weights.append(matrix)
    biases = [rng.standard_normal(m).astype(np.float32) * np.float32(0.1) for m in setting.widths[1:]]
    return sparsednn.Network(weights, bias=biases, bias_on="all", activation=sparsednn.relu())

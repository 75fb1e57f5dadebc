"""Measures walks: ``python run.py experiment=walking``.

What does a connection cost that hardly anything comes through? A kernel in CSC visits all of them twice (`optimize=paper`); one
in DCSC looks for those whose inputs have an entry. Both take the same row groups through the same layers, in turn, round after
round, and so does a C program of the same two steps, where there is a compiler. Times are CPU seconds of one thread, so that
other programs count as little as may be, and those for bringing the inputs into the format are not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy as np
import scipy.sparse as sp

from experiments.calibrate.kernels import PreparedKernel
from experiments.config.resolve import Config, ConfigError
from experiments.sweeps.walking.c_program import CProgram, Float32, compiler, version
from experiments.sweeps.walking.cases import cases
from sparsednn.backend import Backend, KernelOptions, load_backend
from sparsednn.network import Network

KERNELS = {
    name: KernelOptions(f"{name}_csc", rows="none", columns="none", order="given", full_columns=False, empty_columns="walk")
    for name in ("csc", "dcsc")
}
"""Kernels with the options of ``optimize=paper``."""

IN_C = "C"


def require_usable() -> None:
    """Do nothing: without a C compiler, kernels are measured alone."""


def benchmark(config: Config, toy: bool, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure all cases, ``repeats`` rounds of each.

    Returns
    -------
    dict
        ``rounds``; ``compiler``: its version and flags, or None; ``failed``: in words; ``cases``: of each what it is, its
        connections and multiply-adds (of all layers, for all instances), and CPU seconds by contestant, round by round.

    Raises
    ------
    ConfigError
        For more than one thread, or if the C compiler fails.
    """
    if config.threads != 1:
        raise ConfigError(f"threads={config.threads}: experiment=walking measures one thread; leave it out")
    path, backend, settings = compiler(), load_backend("numba"), list(cases(toy))
    program = None if path is None else CProgram(path)
    found: dict[str, Any] = {"rounds": config.repeats, "compiler": path and version(path), "cases": [], "failed": []}
    for number, case in enumerate(settings):
        network, inputs = case.made()
        contest = WalksInTurn(backend, program, network, inputs)
        found["failed"] += [f"{case}: {line}" for line in contest.check()]
        found["cases"].append(
            {
                "family": case.family, "neurons": case.neurons, "layers": case.layers, "instances": case.instances,
                "alive": case.alive, "occupancy": case.occupancy, "connections": network.nnz,
                "multiply_adds": contest.multiply_adds, "seconds": contest.times(config.repeats),
            }
        )  # fmt: skip
        progress(number + 1, len(settings))
    return found


class KernelWalk:
    """A row group of all inputs that a kernel takes through a network."""

    def __init__(self, backend: Backend, options: KernelOptions, network: Network, inputs: sp.csr_array) -> None:
        plan = backend.prepare(network, options, 1)
        backend.warm_up(plan, inputs.shape[0])
        self._backend, self._plan = backend, plan
        self._job = PreparedKernel(backend, plan, inputs, len(network.layers))

    def cpu_s(self) -> float:
        """Run all layers; return CPU seconds, without those for bringing the inputs into place."""
        row_groups = self._job.row_groups(self._job.inputs.shape[0], 1, n_workers=1, n_cores=1)
        row_groups.open(0, 0)
        team = row_groups.team((0,))
        began = thread_time()
        row_groups.run(0, team, 0)
        return thread_time() - began


class WalksInTurn:
    """What takes the same inputs through the same layers."""

    def __init__(self, backend: Backend, program: CProgram | None, network: Network, inputs: sp.csr_array) -> None:
        self._network, self._inputs = network, inputs
        self._walks: dict[str, Any] = {name: KernelWalk(backend, options, network, inputs) for name, options in KERNELS.items()}
        self._in_c = None if program is None else program.prepared(network, inputs)
        if self._in_c is not None:
            self._walks[IN_C] = self._in_c
        self.multiply_adds = 0

    def check(self) -> list[str]:
        """Run each once; return a line for each that has not the bits of the first, or has counted otherwise."""
        from sparsednn import infer

        failed, expected = list[str](), None
        for name, options in KERNELS.items():
            result = infer(
                self._network,
                self._inputs,
                kernel=options.kernel,
                rows="none",
                full_columns=False,
                empty_columns="walk",
                threads=1,
                output=True,
            )
            assert result.output is not None
            seen = _bits(result.output), int(result.record["performed_edges"])
            expected = expected or seen
            failed += [] if seen == expected else [f"{name} differs from {next(iter(KERNELS))}"]
        assert expected is not None
        self.multiply_adds = expected[1]
        if self._in_c is not None:
            self._in_c.cpu_s()
            if (_bits(self._in_c.output()), self._in_c.multiply_adds) != expected:
                failed.append(f"{IN_C} differs from {next(iter(KERNELS))}")
        return failed

    def times(self, rounds: int) -> dict[str, list[float]]:
        """Return CPU seconds by contestant, of each round; they begin in turn, and their first run does not count."""
        names, found = list(self._walks), {name: list[float]() for name in self._walks}
        for number in range(rounds + 1):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds = self._walks[name].cpu_s()
                if number > 0:
                    found[name].append(seconds)
        return found


def _bits(output: sp.csr_array) -> bytes:
    dense: Float32 = output.toarray() + np.float32(0)  # minus zero and zero are one
    return dense.tobytes()

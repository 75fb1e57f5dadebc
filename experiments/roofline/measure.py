"""Measures the roofline of the dense-block kernel: ``python run.py experiment=roofline``.

A layer on a block of instances is one multiply-add of a weight and a vector of instances for each connection. What can it
reach at most? Measured in the same run as the kernel, round by round in turn, are

- the arithmetic rate: multiply, then add, on vectors that stay in registers (fused ones for comparison);
- the bandwidth of loads from sets that fit L1, L2, L3 and none of them.

The roof is the least of the arithmetic rate and, for every level, its bandwidth times the multiply-adds per byte that it has
to deliver. Rates and bandwidths are those of the faster of two vector widths. Bytes are counted so:

- *L1* delivers every operand that is loaded. Where outputs are computed one by one: 4 bytes for each multiply-add of a lane,
  and for each connection its id and weight once for each tile of up to 64 or 128 lanes. Where 16 outputs have the same inputs
  they are computed together: 64 bytes for each input of a tile of 16 lanes and 4 to 16 outputs, its id, and a weight for each
  output. Stores (4 bytes for each output and lane) go through a port of their own: they are recorded, but do not count here.
- *Levels further out* deliver what the nearer ones do not hold. Which level serves a load is a matter of reuse: an input row
  is used by as many outputs as it has connections (32 in a RadiX-Net), 16 of which have the same 32 inputs and are computed
  together. So there are two counts. *In any order*: everything that a layer touches (inputs, outputs,
  connections), less what the nearer cache can hold; no order of the work and no cache can do with less, so that this roof is a
  bound. *In this order*: what LRU caches of these sizes miss when rows are touched in the kernel's order; this roof says what
  the present order allows, and the distance between both what a better order could gain. Rows that are written are
  brought in as well; writing back is not counted.

All levels are taken to work at the same time, and none to wait. Latency, address translation, conflicts within a cache,
mispredicted branches, what each output takes besides its connections, and loads of weights (one for each tile, which takes the
place of a vector's) are not in the model: they keep the kernel below its roof. One group of columns by itself, which
stays in L1, shows what the kernel reaches without any of the outer levels: what it lacks there is lost within the core.
Threads are not pinned, and share what lies beyond L2.

Rates are per second that a thread has a core, and those of threads that run at the same time are added up: other programs on
the cores would lower wall clock rates by any factor. A measurement during which a thread had to leave its core is made again,
for a limited time in all; how many stayed disturbed is reported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from backends.common.jit import JIT_DISABLED
from experiments.config.resolve import Config, ConfigError
from experiments.roofline.model import caches
from experiments.roofline.probes import LayerCase, Probe, ProbeThreads, group_case, machine_probes, radixnet_case
from experiments.roofline.rates import summed_up
from sparsednn.engine import default_threads

GROUP, GROUP_STRIDE = "one group of columns", 64


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes that are measured: neurons of layers, instances of blocks, least seconds for each, most bytes to load from."""

    neurons: tuple[int, ...]
    strides: tuple[int, ...]
    least_s: float
    most_bytes: int


FULL = Size((1024, 4096, 16384, 65536), (128, 32, 64, 256), 0.004, sys.maxsize)
"""A measurement takes far longer than threads take to start together, and is short enough to be left alone often."""

TOY = Size((64,), (128, 24), 1e-4, 1 << 23)
"""Loads from a set beyond a large cache would take most of the time: that of each thread has to be written first."""


def require_usable() -> None:
    """Raise ConfigError where there is nothing to measure."""
    if JIT_DISABLED:
        raise ConfigError("NUMBA_DISABLE_JIT is set: only compiled kernels have a roofline; run without it")


def benchmark(config: Config, toy: bool, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Measure as a configuration says: ``threads``, and ``repeats`` as rounds."""
    return measure(config.repeats, config.threads or default_threads(), TOY if toy else FULL, progress)


def measure(
    rounds: int, threads: int, size: Size = FULL, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Run all probes in turn, `rounds` times and once before to warm up, on one thread and on `threads`.

    `progress` is told how many of all rounds are done.

    Returns
    -------
    dict
        rounds, caches; ``rates``: what the machine does; ``kernels``: what the kernel does, with its roofs.
    """
    levels, numbers = caches(), sorted({1, threads})
    cases = layer_cases(size)
    machine = {n: machine_probes(levels, n, size.most_bytes) for n in numbers}
    layers = {n: [(case, case.probe(name, neurons, stride)) for case, name, neurons, stride in cases] for n in numbers}
    probes = {n: machine[n] + [probe for _, probe in layers[n]] for n in numbers}
    team = run_in_turn(probes, rounds, size.least_s, progress)
    figures = {
        "rounds": rounds,
        "measured": team.n_measured,
        "disturbed": team.n_disturbed,
        "caches": [asdict(level) for level in levels],
        "rates": [{"threads": n, **probe.about, "values": probe.rates} for n in numbers for probe in machine[n]],
        "kernels": [
            {
                "threads": n,
                **probe.about,
                "values": probe.rates,
                "any_order": {"bytes": case.work(probe.about["stride"]).least_bytes(levels, n)},
                "this_order": {"bytes": case.bytes_in_order(probe.about["stride"], levels, n)},
            }
            for n in numbers
            for case, probe in layers[n]
        ],
    }
    return summed_up(figures)


def layer_cases(size: Size) -> list[tuple[LayerCase, str, int, int]]:
    """Return each layer with its name, neurons and the block's width: one group by itself, then whole layers."""
    found = [(group_case(), GROUP, 0, GROUP_STRIDE)]
    for neurons in size.neurons:
        for columns in ("none", "merge"):
            case = radixnet_case(neurons, columns)
            found += [(case, f"{neurons} neurons", neurons, stride) for stride in size.strides]
        case = radixnet_case(neurons, "none", one_weight=False)
        found += [(case, f"{neurons} neurons, weights differ", neurons, stride) for stride in size.strides]
    return found


def run_in_turn(
    probes: dict[int, list[Probe]], rounds: int, least_s: float, progress: Callable[[int, int], None]
) -> ProbeThreads:
    """Measure each probe on its number of threads, round after round; the first round does not count."""
    team = ProbeThreads(max(probes), max(probe.n_bytes for group in probes.values() for probe in group))
    try:
        for group in probes.values():
            for probe in group:
                team.calibrate(probe, least_s)
        for number in range(rounds + 1):
            for n_threads, group in probes.items():
                for probe in group:
                    rate = team.rate(probe, n_threads)
                    if number > 0:
                        probe.rates.append(rate)
            progress(number + 1, rounds + 1)
    finally:
        team.close()
    return team

"""Writes a calibration file of this machine: ``python -m experiments.calibrate FILE [--quick]``.

Real runs of the kernels on one thread, of parts of the challenge's networks, give the parameters of the cost model by a fit;
runs of teams and of threads side by side give what meeting and sharing a node take; the rest is what the protocol takes. What
cannot be measured here (more cores than there are, a network) is taken from the file that comes with the package and
says that it is assumed. Takes 4 minutes, with ``--quick`` less than one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import sparsednn
from experiments.calibrate.idle_machine import Quiet
from experiments.calibrate.kernels import FULL, KERNELS, QUICK, Part, entry, kernel_parameters, samples
from experiments.calibrate.overheads import MEETINGS, barriers, protocol, sharing
from experiments.roofline.model import caches
from experiments.run.environment import environment
from sparsednn.backend import Backend, ProfilingBackend, load_backend
from sparsednn.simulator.calibration import (
    CACHES,
    KERNEL_PARAMETERS,
    OVERHEADS,
    SCHEMA_VERSION,
    check_calibration,
    read_calibration,
)
from sparsednn.simulator.features import Caches
from sparsednn.system.cores import pinning_order, usable_cores
from sparsednn.system.files import write_json

CLUSTER_CORES = 28
"""Cores of the nodes that the paper ran on; the losses of so many to each other are assumed where there are fewer."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort of a calibration.

    parts : networks for one thread
    rounds : of everything that is measured in turn
    barrier_layers : of the network on which teams only meet
    shared : (neurons, layers) of the networks on which kernels share the machine, each with the instances for each kernel
    """

    parts: tuple[Part, ...]
    rounds: int
    barrier_layers: int
    shared: tuple[tuple[int, int, dict[str, int]], ...]


SHARED_1024 = dict.fromkeys(KERNELS, 1_000) | {"rowwise_first": 40_000, "udc_csc": 6_000, "csc_csc": 1_500}
SHARED_16384 = dict.fromkeys(KERNELS, 60) | {"rowwise_first": 2_000, "udc_csc": 300}
EFFORTS = {
    "full": Effort(FULL, 7, 3_000, ((1024, 120, SHARED_1024), (16384, 20, SHARED_16384))),
    "quick": Effort(QUICK, 3, 600, ((1024, 120, SHARED_1024),)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.calibrate",
        description="Measure what kernels and threads take on this machine, and write it into a file, by which "
        "executor=simulated, scheduler=auto and scheduler=adaptive predict (cluster.calibration=FILE). It takes 4 minutes, "
        "with --quick less than one.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="where the calibration goes; it is overwritten")
    parser.add_argument("--quick", action="store_true", help="measure less: for a first look")
    parser.add_argument(
        "--patience", type=float, default=60, metavar="S",
        help="seconds to wait, in all, for other programs to leave the cores alone (default: %(default)s)",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    _check(parser, args)
    quiet = Quiet(args.patience)
    content = calibrate(EFFORTS["quick" if args.quick else "full"], quiet)
    check_calibration(content, str(args.file))
    write_json(args.file, content)
    print(f"{args.file}: written; {quiet.say()}")
    return 0


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program if it could not write or measure."""
    if not args.file.parent.is_dir():
        parser.error(f"{args.file}: there is no folder {args.file.parent}")
    if args.file.is_dir():
        parser.error(f"{args.file}: is a folder; name a file")
    if not os.access(args.file.parent, os.W_OK):
        parser.error(f"{args.file}: the folder {args.file.parent} cannot be written")
    if not 0 <= args.patience < float("inf"):
        parser.error(f"--patience {args.patience}: seconds, 0 or more, are needed")
    if usable_cores() < 2:
        parser.error(
            "one core: meetings of threads cannot be measured; let this process use at least 2 (taskset; a container's quota)"
        )


def calibrate(effort: Effort, quiet: Quiet) -> dict[str, Any]:
    """Measure everything; return what a calibration file holds."""
    backend, cores = load_backend("numba"), pinning_order()[: usable_cores()]
    assert isinstance(backend, ProfilingBackend)  # or there would be no simulator
    shipped, near = read_calibration().content, _caches()
    _say("kernels on one thread")
    found = samples(effort.parts, backend, Caches(*(one["value"] for one in near.values())))
    kernels = {name: kernel_parameters(name, found) for name in KERNELS}
    _say("meetings of teams")
    barrier_s, shared_core_s = barriers(backend, quiet, cores, effort.rounds, effort.barrier_layers)
    _say("threads side by side, and teams")
    for name, parameters in kernels.items():
        parameters |= _team_parameters(name, backend, effort, quiet, cores, shipped)
    _say("the protocol")
    overheads = protocol(quiet, effort.rounds) | _meeting_parameters(barrier_s, shared_core_s, effort)
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": _machine(effort, quiet, len(cores)),
        "caches": near,
        "kernels": {name: {key: kernels[name][key] for key in KERNEL_PARAMETERS[name]} for name in KERNELS},
        "overheads": {key: overheads[key] for key in OVERHEADS},
        "assumed": shipped["assumed"],
    }


def _say(what: str) -> None:
    print(f"measuring: {what}", flush=True)


def _machine(effort: Effort, quiet: Quiet, n_cores: int) -> dict[str, Any]:
    """Describe the machine and the measurement."""
    known = environment()
    return {
        "cpu": known.cpu,
        "cpu_model": _cpu_model(),
        "cores": n_cores,
        "date": datetime.now(UTC).date().isoformat(),
        "revision": known.git_revision or "none",
        "versions": known.versions,
        "networks": [str(part) for part in effort.parts],
        "quiet": quiet.say(),
    }


def _cpu_model() -> str:
    """Return the numbers that tell processors of the same name apart; nothing where the system does not tell them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    told = {name.strip(): number.strip() for name, _, number in (line.partition(":") for line in lines)}
    return ", ".join(f"{name} {told[name]}" for name in ("cpu family", "model", "stepping") if name in told)


def _caches() -> dict[str, Any]:
    """Return the sizes of the first core's caches; where there are fewer levels than three, the last one's again."""
    levels = caches()
    parameters = {}
    for name, level in zip(CACHES, [*levels, *[levels[-1]] * len(CACHES)], strict=False):
        source, note = ("assumed", "usual: the system does not tell") if level.assumed else ("measured", "as the system tells")
        parameters[name] = {"value": level.size_bytes, "unit": f"bytes ({level.name})", "source": source, "note": note}
    return parameters


def _team_parameters(
    name: str, backend: Backend, effort: Effort, quiet: Quiet, cores: Sequence[int], shipped: dict[str, Any]
) -> dict[str, Any]:
    """Measure the losses of workers to each other with one kernel, by neurons; meetings (and the rows of a block)."""
    slow: list[dict[int, float]] = []
    share, factor = {}, {}
    for neurons, layers, sizes in effort.shared:
        network, inputs = sparsednn.radixnet(neurons, layers), sparsednn.challenge_inputs(neurons, sizes[name])
        found = sharing(backend, quiet, cores, effort.rounds, name, network, inputs)
        slow.append(found.slowdown)
        note = f"fastest of {effort.rounds} runs of a team of 2 on {sizes[name]} instances x {layers} layers"
        share[str(neurons)] = entry(found.serial_share, "share of a layer's time that is the leader's", "measured", note)
        factor[str(neurons)] = entry(found.team_factor, "times as long when split by 2", "measured", note)
    parameters = {
        "serial_share": share,
        "team_factor": factor,
        "meetings": entry(MEETINGS[name], "meetings per layer (udc: and block)", "assumed", "as the kernel is written"),
        "slowdown": _slowdown(slow, shipped["kernels"][name]["slowdown"]),
    }
    if "block_rows" in KERNEL_PARAMETERS[name]:
        parameters["block_rows"] = shipped["kernels"]["udc_csc"]["block_rows"]
    return parameters


def _slowdown(found: Sequence[dict[int, float]], shipped: dict[str, Any]) -> dict[str, Any]:
    """Means over the networks, by the number of active cores."""
    note = "CPU times of row groups side by side, each on a core of its own, over those of one alone; mean over the networks"
    table = {
        str(n): entry(float(np.mean([one[n] for one in found])), f"times as long with {n} active cores", "measured", note)
        for n in found[0]
    }
    if max(found[0]) < CLUSTER_CORES:
        table[str(CLUSTER_CORES)] = _at_least(shipped[str(CLUSTER_CORES)], table[str(max(found[0]))]["value"])
    return table


def _at_least(assumed: dict[str, Any], least: float) -> dict[str, Any]:
    """An assumed parameter, raised to what was measured with fewer cores."""
    return {**assumed, "value": max(assumed["value"], least), "source": "assumed"}


def _meeting_parameters(barrier_s: dict[int, float], shared_core_s: float, effort: Effort) -> dict[str, Any]:
    """Barriers by the number of members, and with more threads than cores."""
    note = f"{effort.barrier_layers} layers of 12 neurons in a team, less the time of one thread; best of {effort.rounds}"
    table = {str(n): entry(seconds, "s per meeting", "measured", note) for n, seconds in barrier_s.items()}
    if max(barrier_s) < CLUSTER_CORES:
        guess = barrier_s[max(barrier_s)] * float(np.log2(CLUSTER_CORES) / np.log2(max(barrier_s)))
        why = f"{max(barrier_s)} members' time, growing with the logarithm of their number"
        table[str(CLUSTER_CORES)] = entry(guess, "s per meeting", "assumed", why)
    shared = "the same with a team of 4 on 2 cores, halved because there each core has two threads"
    return {
        "barrier_s": table,
        "barrier_shared_core_s": entry(shared_core_s, "s per meeting and thread of a core", "measured", shared),
    }

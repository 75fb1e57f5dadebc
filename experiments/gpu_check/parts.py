"""Lists the parts of the check: what is quick and tells what the machine is, comes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from experiments.config.resolve import Config
from experiments.gpu_check import cold, difference, facts, points, probes, suite, transfers

FIRST = (
    "devices", "tools", "smi", "attributes", "cold", "copies", "bandwidth", "peers", "layers", "launches", "conformance",
)  # fmt: skip
"""Sections that are found at once, each in a process of its own."""

LISTS = ("bits", "networks", "kernels", "streaming", "cpu")
"""Sections of several runs, one part each."""

START_S = 10.0
"""A process begins, imports and asks CUDA."""

EXPECTED_S = {"attributes": 30.0, "cold": 60.0, "layers": 60.0, "launches": 5.0, "conformance": 400.0}
"""What sections may take beyond that: guesses, since none has been run on a GPU."""

SECONDS_OF_A_NEURON, SECONDS_OF_A_NEURON_AND_LAYER = 3e-4, 1.5e-6
"""What the host takes for the inputs of a width, and for packing: guesses by runs on the CPU."""


@dataclass(frozen=True, slots=True)
class CheckPart:
    """A part of the check.

    Attributes
    ----------
    section : str
        Where what it finds belongs.
    work : callable
        A function of a module, which is called in another process.
    arguments : tuple
    expected_s : float
        How long it may take, as a guess.
    about : dict, optional
        What identifies it among several of a section.
    n_compared : int
        Instances that are compared with the reference, to find out where a run has gone wrong.
    """

    section: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    expected_s: float = START_S
    about: dict[str, Any] | None = None
    n_compared: int = difference.INSTANCES

    @property
    def name(self) -> str:
        """The section, and what identifies the part there."""
        return " ".join([self.section, *(str(value) for value in (self.about or {}).values())])


def parts(config: Config, toy: bool) -> list[CheckPart]:
    """Return all parts in their order, for a configuration with ``repeats`` and ``instances``."""
    repeated = (toy, config.repeats)
    works: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "devices": (facts.devices, ()),
        "tools": (facts.tools, ()),
        "smi": (facts.smi, ()),
        "attributes": (facts.kernels, ()),
        "cold": (cold.cold, (toy, config.instances)),
        "copies": (transfers.copies, repeated),
        "bandwidth": (transfers.bandwidth, repeated),
        "peers": (transfers.peers, repeated),
        "layers": (probes.layers, repeated),
        "launches": (probes.launches, repeated),
        "conformance": (suite.conform, (suite.TOY_SUITE if toy else suite.SUITE,)),
    }
    scale, n_compared = (0.1, difference.TOY_INSTANCES) if toy else (1.0, difference.INSTANCES)
    found = [CheckPart(name, *works[name], expected_s=START_S + scale * EXPECTED_S.get(name, 0.0)) for name in FIRST]
    compared = [CheckPart("bits", difference.find_of, (about,), START_S, about) for about in _compared(toy, n_compared)]
    runs = [
        CheckPart(
            section,
            points.run,
            (points.point_config(config, **changes),),
            scale * _expected_s(config, **changes),
            about,
            n_compared,
        )
        for section, about, changes in points.points(toy)
    ]
    return [*found[:-1], *compared, found[-1], *runs]  # the suite takes longest of what comes before the networks


def _compared(toy: bool, n_instances: int) -> list[dict[str, Any]]:
    """Return what is compared with the reference, layer by layer."""
    return [
        {"neurons": neurons, "layers": 12 if toy else 120, "columns": columns, "instances": n_instances}
        for neurons in (points.NEURONS[:1] if toy else points.NEURONS)
        for columns in points.COLUMNS
    ]


def _expected_s(config: Config, neurons: int, layers: int, backend: str = "cupy", **changes: Any) -> float:
    """Return what a run may take: the host brings inputs and layers into memory, and the CPU computes a little longer."""
    inputs_s, packing_s = SECONDS_OF_A_NEURON * neurons, SECONDS_OF_A_NEURON_AND_LAYER * neurons * layers
    computing_s = config.repeats * neurons * (2e-4 if backend == "numba" else 2e-5)
    return START_S / 4 + inputs_s + packing_s + computing_s

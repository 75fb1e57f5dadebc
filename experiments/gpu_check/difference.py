"""Finds where a GPU's activations first differ from the reference's, and says it so that it can be seen again.

``python -m experiments.gpu_check.difference --neurons 1024 --layers 120`` does that for a network of the challenge.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

import sparsednn
from experiments.gpu_check.probes import period
from sparsednn.backend import load_backend, tolerance_of
from sparsednn.errors import mendable
from sparsednn.network import Network
from sparsednn.system.console import run_program

LAW = "scipy_reference"
"""The backend whose bits all others must have."""

INSTANCES, TOY_INSTANCES = 600, 60
ASKED: dict[str, Any] = {
    "neurons": 1024, "layers": 120, "instances": INSTANCES, "kernel": "fused", "columns": "merge", "scheduler": "data",
    "residency": "memory",
}  # fmt: skip
"""What a comparison can be asked for, with what it is unless told otherwise."""

Activations = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place, layer by layer and instance by instance, where activations differ.

    Attributes
    ----------
    layer : int
        How many layers were run.
    instance, neuron : int
        0-based.
    expected, found : float
    n_different : int
        Activations that differ after this layer.
    """

    layer: int
    instance: int
    neuron: int
    expected: float
    found: float
    n_different: int

    def __str__(self) -> str:
        return (
            f"after layer {self.layer}, {self.n_different:,} activations differ; the first: instance {self.instance}, neuron "
            f"{self.neuron}: {self.found!r} ({bits(self.found)}) in place of {self.expected!r} ({bits(self.expected)})"
        )


def bits(value: float) -> str:
    """Return the bits of a float32, in hexadecimal."""
    return f"0x{np.float32(value).view(np.uint32):08x}"


def first_difference(
    network: Network, inputs: sp.csr_array, run: Callable[[Network, sp.csr_array], Activations], *, exact: bool = True
) -> Difference | None:
    """Compare a network's activations after some layers, and then after each of those where they have come to differ.

    Parameters
    ----------
    network : Network
    inputs : csr_array of float32, shape (instances, network.n_inputs)
    run : callable
        Returns the last activations of a network, float32 of shape (instances, outputs), as they are to be judged.
    exact : bool
        All bits must be the same; else activations may be off as far as kernels that add in an order of their own.
    """
    expected, done = inputs, 0
    for end in _stops(len(network.layers)):
        goes_on = _by_the_law(_part(network, done, end), expected)
        if _different(goes_on, run(_part(network, 0, end), inputs), end, exact).any():
            break
        expected, done = goes_on, end
    for layer in range(done + 1, len(network.layers) + 1):
        expected = _by_the_law(_part(network, layer - 1, layer), expected)
        found = run(_part(network, 0, layer), inputs)
        different = _different(expected, found, layer, exact)
        if different.any():
            instance, neuron = (int(n) for n in np.argwhere(different)[0])
            right, wrong = float(expected.toarray()[instance, neuron]), float(found[instance, neuron])
            return Difference(layer, instance, neuron, right, wrong, int(different.sum()))
    return None


def _stops(n_layers: int) -> Iterator[int]:
    """Yield how many layers to run: 1, 2, 3, 4, 6, 8, 12, ... and all."""
    power = 1
    while power < n_layers:
        yield power
        if power > 1 and power * 3 // 2 < n_layers:
            yield power * 3 // 2
        power *= 2
    yield n_layers


def _part(network: Network, start: int, stop: int) -> Network:
    return Network.from_layers(network.layers[start:stop], network.bias_on)


def _by_the_law(network: Network, inputs: sp.csr_array) -> sp.csr_array:
    return sparsednn.infer(network, inputs, backend=LAW, output=True).output


def _different(expected: sp.csr_array, found: Activations, n_layers: int, exact: bool) -> NDArray[np.bool_]:
    """Say which activations differ: bool, shape (instances, neurons)."""
    right: Activations = expected.toarray()
    if exact:
        different: NDArray[np.bool_] = (right.view(np.uint32) != found.view(np.uint32)) & ~((right == 0) & (found == 0))
        return different
    farther: NDArray[np.bool_] = ~(np.abs(right - found) <= tolerance_of(n_layers) * np.abs(right).max(initial=0.0))
    return farther


def find(**given: Any) -> dict[str, Any]:
    """Compare a network of the challenge on the GPU with the reference.

    Returns
    -------
    dict
        What was compared (see `ASKED`), ``same``, and if it is not: ``difference``, in words, and ``again``, a command.
    """
    asked = ASKED | given
    backend: Any = load_backend("cupy")
    network = _challenge(asked["neurons"], asked["layers"])
    inputs = sparsednn.challenge_inputs(asked["neurons"], instances=asked["instances"])
    options = {name: asked[name] for name in ("kernel", "columns", "scheduler", "residency")}
    exact = backend.kernels[asked["kernel"]] in backend.same_bits

    def run(part: Network, rows: sp.csr_array) -> Activations:
        output: sp.csr_array = sparsednn.infer(part, rows, backend=backend, output=True, **options).output
        return np.ascontiguousarray(output.toarray(), np.float32)

    found = first_difference(network, inputs, run, exact=exact)
    if found is None:
        return asked | {"same": True}
    return asked | {"same": False, "difference": str(found), "again": command(asked | {"layers": found.layer})}


def find_of(about: dict[str, Any]) -> dict[str, Any]:
    """Compare what is `about` among what can be asked; return a row with a ``status``, as of a run."""
    found = find(**{name: value for name, value in about.items() if name in ASKED})
    status = {"status": "right"} if found["same"] else {"status": "wrong", "difference": said(found)}
    return found | status


def said(found: dict[str, Any]) -> str:
    """Say what differs, and how that can be seen again."""
    return f"{found['difference']}; again: {found['again']}"


def _challenge(neurons: int, n_layers: int) -> Network:
    """Return the first layers of the challenge's networks, which come in blocks."""
    block = period(neurons)
    return _part(sparsednn.radixnet(neurons, -(-n_layers // block) * block), 0, n_layers)


def command(asked: dict[str, Any]) -> str:
    """Return the command that shows a difference again: networks of the challenge begin with the same layers."""
    given = (f"--{name} {asked[name]}" for name, usual in ASKED.items() if asked[name] != usual)
    return " ".join(["python -m experiments.gpu_check.difference", *given])


def main() -> int:
    """Compare as the command line says; print what differs. Returns 1 if something does, or it cannot be found out."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.gpu_check.difference",
        description="Find where a GPU's activations of a network of the challenge first differ from the reference's.",
    )
    for name, usual in ASKED.items():
        parser.add_argument(f"--{name}", type=type(usual), default=usual, help=f"unless given: {usual}")
    asked = vars(parser.parse_args())
    try:
        found = find(**asked)
    except Exception as error:
        if mendable(error) is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("all bits are the same" if found["same"] else said(found))
    return int(not found["same"])


if __name__ == "__main__":
    sys.exit(run_program(main))

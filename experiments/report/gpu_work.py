"""Counts what the challenge's networks ask of a GPU: the rows that are left, layer by layer, and the launches of their layers.

``python -m experiments.report.gpu_work`` writes it into ``gpu_work.json``, from which the predictions are made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.layout.packed import PackedLayer
from backends.cupy_gpu.layout.packing import pack_network
from sparsednn.backend import KernelOptions
from sparsednn.network import Network
from sparsednn.system.console import run_program
from sparsednn.system.files import atomic_path

PATH = Path(__file__).parent / "results" / "gpu_work.json"
NEURONS = (1024, 4096, 16384, 65536)
INSTANCES = 600
"""How many are counted; among more, more are the same, so that fewer are left."""

LAST = 32
"""From this layer on nothing changes any more: instances are dead, or at the maximum."""

LAYER = ("kernel", "n_inputs", "n_outputs", "n_bytes")


def count(neurons: int, instances: int = INSTANCES) -> dict[str, Any]:
    """Return what a width's networks ask.

    Returns
    -------
    dict
        ``nonzeros`` of an instance of the inputs; ``rows``: for ``prune`` and ``merge`` the shares of instances that are left
        before each of the first layers; ``layers``: for ``merge`` and ``none`` of columns those of the
        first block, and of the others.
    """
    block = (neurons // 16).bit_length() - 1
    network, inputs = sparsednn.radixnet(neurons, -(-LAST // block) * block), sparsednn.challenge_inputs(neurons, instances)
    return {
        "instances": instances,
        "nonzeros": inputs.nnz / instances,
        "rows": rows_left(network, inputs),
        "layers": {columns: launches(Network.from_layers(network.layers[: 2 * block], network.bias_on), columns, block)
                   for columns in ("merge", "none")},
    }  # fmt: skip


def rows_left(network: Network, inputs: sp.csr_array) -> dict[str, list[float]]:
    """Return the shares of instances that are left before each layer, where dead ones are dropped, and all that can be."""
    n, left, standing_for, n_full = inputs.shape[0], inputs, np.ones(inputs.shape[0]), 0.0
    found: dict[str, list[float]] = {"prune": [], "merge": []}
    for number in range(LAST):
        alive = np.diff(left.indptr) > 0
        full = (np.diff(left.indptr) == left.shape[1]) & np.fromiter(_all_at(left, network.layers[0].activation.high), bool)
        n_full += standing_for[alive & full].sum()
        left, standing_for = _distinct(left[np.flatnonzero(alive & ~full)], standing_for[alive & ~full])
        found["prune"].append(round(float(standing_for.sum() + n_full) / n, 5))
        found["merge"].append(round(left.shape[0] / n, 5))
        if left.shape[0]:
            layer = Network.from_layers(network.layers[number : number + 1], network.bias_on)
            left = sparsednn.infer(layer, left, backend="scipy_reference", output=True).output
    return found


def _all_at(rows: sp.csr_array, value: float) -> list[bool]:
    """Say of each row whether all its entries have a value."""
    return [bool((rows.data[a:b] == value).all()) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)]


def _distinct(rows: sp.csr_array, standing_for: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[sp.csr_array, Any]:
    """Return the rows that differ from each other, and for how many instances each stands."""
    first: dict[tuple[bytes, bytes], int] = {}
    places = []
    for number, (a, b) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        places.append(first.setdefault((rows.indices[a:b].tobytes(), rows.data[a:b].tobytes()), number))
    kept = np.unique(places).astype(np.int64) if places else np.zeros(0, np.int64)
    return rows[kept], np.bincount(places, standing_for, minlength=rows.shape[0])[kept] if places else standing_for


def launches(network: Network, columns: str, block: int) -> dict[str, list[dict[str, Any]]]:
    """Return the layers of the first block and of all others, as they are packed."""
    layers = pack_network(network, KernelOptions("fused", columns=columns), fused=True).layers
    return {"first": [_about(layer) for layer in layers[:block]], "others": [_about(layer) for layer in layers[block:]]}


def _about(layer: PackedLayer) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in LAYER} | {"terms": int(layer.slice_work[-1])}


def text(found: dict[str, Any]) -> str:
    """Return the file's text: a line for each list."""
    lines = []
    for neurons, work in found.items():
        of = [f'  "instances": {work["instances"]},', f'  "nonzeros": {json.dumps(work["nonzeros"])},']
        rows = ",\n".join(f'   "{rule}": {json.dumps(shares)}' for rule, shares in work["rows"].items())
        layers = ",\n".join(
            f'   "{columns}": {{\n' + ",\n".join(f'    "{name}": {json.dumps(some)}' for name, some in both.items()) + "\n   }"
            for columns, both in work["layers"].items()
        )
        lines.append(
            f' "{neurons}": {{\n' + "\n".join(of) + f'\n  "rows": {{\n{rows}\n  }},\n  "layers": {{\n{layers}\n  }}\n }}'
        )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Count all widths, or those that are named, and write the file anew."""
    names = [int(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    found = json.loads(PATH.read_text()) if PATH.exists() else {}
    found |= {str(neurons): count(neurons) for neurons in names or NEURONS}
    with atomic_path(PATH) as temporary:
        temporary.write_text(text({name: found[name] for name in sorted(found, key=int)}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

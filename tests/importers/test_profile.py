"""A model's profile: which node has which layers, entries and living activations; times are only asked to be there."""

from __future__ import annotations

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled


def test_living_activations_and_entries_are_those_of_the_layers() -> None:
    """By hand: 2 of 4 inputs live; the first layer makes (1, 0, 0) and (3, 0, 5), the second copies the first neuron."""
    first = np.array([[1, -1, 0], [2, 0, 5]], np.float32)
    second = np.array([[1], [0], [0]], np.float32)
    model = sparsednn.Model(network=sparsednn.Network([first, second]))
    with model.compile(threads=1) as compiled:
        found = compiled.profile(np.array([[1, 0], [0, 1.5]], np.float32), calls=3)
    assert [(one.node, one.operator, one.layers, one.entries, one.alive) for one in found.nodes] == [
        ("layer 1", "", (1,), 4, 3 / 6), ("layer 2", "", (2,), 1, 1.0),
    ]  # fmt: skip
    assert (found.instances, found.calls, found.alive) == (2, 3, 0.5)
    assert all(one.seconds > 0 for one in found.nodes)
    assert found.seconds == sum(one.seconds for one in found.nodes)


@pytest.mark.parametrize("kernel", ["auto", "csc"])
def test_layers_are_joined_by_the_nodes_they_were_made_for(kernel: str) -> None:
    images, _ = labelled.digits_test()
    model = sparsednn.from_onnx(labelled.digits_network("cnn_80"))
    with model.compile(threads=1, kernel=kernel) as compiled:
        found = compiled.profile(images[:40], calls=2)
    nodes = list(dict.fromkeys(layer.node for layer in model.report.layers))
    assert [one.node for one in found.nodes] == nodes
    assert sorted(number for one in found.nodes for number in one.layers) == list(range(1, len(model.network.layers) + 1))
    assert sum(one.entries for one in found.nodes) == model.network.nnz
    y = images[:40].astype(np.float64).reshape(40, -1)  # what lives, by dense products in double precision
    alive = []
    for layer in model.network.layers:
        z = y @ layer.to_scipy().toarray().astype(np.float64) + layer.bias
        y = layer.activation(z.astype(np.float32)).astype(np.float64)
        alive.append((np.count_nonzero(y), y.size))
    for one in found.nodes:
        of = [alive[number - 1] for number in one.layers]
        assert one.alive == pytest.approx(sum(n for n, _ in of) / sum(n for _, n in of), abs=1e-3)
    table = str(found).splitlines()
    assert table[0].split() == ["node", "operator", "layers", "ms", "time", "entries", "alive"]
    assert len(table) == len(nodes) + 4
    assert table[-2].split()[0] == "all"
    assert "medians of 2 calls with 40 instances, each layer compiled and called by itself" in table[-1]


def test_no_instances_and_no_calls_are_refused() -> None:
    with sparsednn.Model(network=sparsednn.Network([np.eye(2)])).compile(threads=1) as compiled:
        with pytest.raises(ValueError, match="profile: x has no instances"):
            compiled.profile(np.zeros((0, 2), np.float32))
        with pytest.raises(ValueError, match="calls=0"):
            compiled.profile(np.zeros((1, 2), np.float32), calls=0)

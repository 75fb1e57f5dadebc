"""A check names the first node at which a model and its file differ, where an accuracy sees nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled
from sparsednn.network import Layer
from tests.importers.graphs import Node, graph

IMAGES, LABELS = labelled.digits_test()


def changed(model: sparsednn.Model, number: int, **fields: Any) -> sparsednn.Model:
    """The model with another layer."""
    layers = list(model.network.layers)
    layer = layers[number]
    assert isinstance(layer, Layer)
    layers[number] = replace(layer, **fields)
    return replace(model, network=sparsednn.Network.from_layers(layers, bias_on="all"))


@pytest.mark.parametrize("name", labelled.DIGITS_NETWORKS)
def test_imported_networks_agree_at_every_node(name: str) -> None:
    model = sparsednn.from_onnx(labelled.digits_network(name))
    found = model.check(IMAGES[:5])
    assert found
    assert found.nodes >= len(model.report.nodes)
    assert 0 < found.largest < 1e-6
    assert "nodes agree with onnx.reference" in str(found)


def test_a_wrong_bias_that_accuracy_does_not_find_is_found_at_its_node() -> None:
    model = sparsednn.from_onnx(labelled.digits_network("mlp_80"))
    bias = model.network.layers[1].bias.copy()
    bias[3] += 0.02
    wrong = changed(model, 1, bias=bias)
    with model.compile(threads=1) as right, wrong.compile(threads=1) as compiled:
        assert compiled.accuracy(IMAGES, LABELS).correct == right.accuracy(IMAGES, LABELS).correct
        found = compiled.check(IMAGES[:20])
    assert not found
    assert (found.first_node, found.first_operator) == ("/4/Relu", "Relu")
    assert found.first_difference > 1e-3
    assert "node '/4/Relu' (Relu) is the first that differs" in str(found)


def test_a_forgotten_activation_is_found() -> None:
    model = sparsednn.from_onnx(labelled.digits_network("cnn_80"))
    found = changed(model, 0, activation=sparsednn.identity()).check(IMAGES[:3])
    assert found.first_operator == "Relu"


def test_a_preprocessing_and_a_postprocessing_are_part_of_it() -> None:
    nodes: list[Node] = [("Gemm", ["x", "w"], "z", {}), ("Softmax", ["z"], "y", {})]
    data = graph(nodes, ["n", 6], {"w": np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)})
    model = sparsednn.from_onnx(data).with_preprocessing(scale=255)
    assert model.check(np.arange(12, dtype=np.uint8).reshape(2, 6))
    assert replace(model, postprocess="sigmoid").check(np.ones((1, 6), np.uint8)).first_operator == "Softmax"


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph([("Gemm", ["x", "w"], "y", {})], ["n", 2], {"w": np.eye(2, dtype=np.float32)}))
    model, x = sparsednn.from_onnx(path), np.ones((1, 2), np.float32)
    assert model.check(x)
    with pytest.raises(ValueError, match="tolerance=-1.0"):
        model.check(x, tolerance=-1)
    with pytest.raises(ValueError, match="x has no instances"):
        model.check(x[:0])
    with pytest.raises(ValueError, match="not of an ONNX file"):
        sparsednn.Model(network=model.network).check(x)
    other = sparsednn.Network.from_dense([np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)])
    with pytest.raises(ValueError, match="layer 1 of the model is not the one that this file has"):
        replace(model, network=other).check(x)
    path.write_bytes(graph([("Gemm", ["x", "w"], "y", {})], ["n", 2], {"w": np.ones((2, 2), np.float32)}))
    with pytest.raises(ValueError, match="has changed since the model was imported"):
        model.check(x)
    pool: list[Node] = [("MaxPool", ["x"], "y", {"kernel_shape": [2], "pads": [1, 0]})]
    with pytest.raises(ValueError, match=r"onnx\.reference cannot run it") as caught:
        sparsednn.from_onnx(graph(pool, ["n", 1, 2])).check(np.ones((1, 2), np.float32))
    assert "\n" not in str(caught.value)

"""Saved models come back to the bit; damaged files, folders and files of others are refused in a line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sparsednn
from sparsednn.data import labelled
from sparsednn.errors import SparseDnnError
from tests.networks import shifted_network


@pytest.fixture
def model() -> sparsednn.Model:
    return sparsednn.from_onnx(labelled.digits_network("cnn_80")).with_preprocessing(scale=16, mean=(0.1,), std=(0.5,))


def assert_same_network(one: sparsednn.Network, other: sparsednn.Network) -> None:
    assert one.bias_on == other.bias_on
    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.n_inputs, a.n_outputs, a.activation) == (b.n_inputs, b.n_outputs, b.activation)
        for name in ("indptr", "indices", "values", "bias"):
            assert getattr(a, name).dtype == getattr(b, name).dtype
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


def test_a_model_comes_back_to_the_bit(model: sparsednn.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "digits.safetensors")
    again = sparsednn.load_model(str(tmp_path / "digits.safetensors"))
    assert_same_network(model.network, again.network)
    for one in fields(model):
        if one.name not in ("network", "source"):
            assert getattr(model, one.name) == getattr(again, one.name), one.name
    pixels = np.random.default_rng(1).integers(0, 17, (9, 64), np.uint8)
    with model.compile(threads=1) as a, again.compile(threads=1) as b:
        assert a(pixels).tobytes() == b(pixels).tobytes()
    assert again.check(pixels[:2])


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(sparsednn.radixnet(12, 4, radices=(2, 3), dense_width=2, bias=-0.1, weight=0.25), id="repeated columns"),
        pytest.param(
            sparsednn.Network.from_dense(
                [np.zeros((3, 4), np.float32), np.eye(4, 2, dtype=np.float32)], [None, [-0.0, 1e-40]], activation="hardtanh"
            ),
            id="no connections, small biases",
        ),
        pytest.param(
            sparsednn.Network.from_dense(
                [np.eye(3, dtype=np.float32)] * 4,
                layout="in_out",
                activation=[
                    sparsednn.Activation.per_neuron(low=[-1, -np.inf, 0], high=[1, 2, np.inf], slope=[0.1, 1, 1]),
                    sparsednn.Activation.per_neuron(function=["none", "tanh", "sigmoid"]),
                    "leaky_relu(0.3)",
                    "gelu",
                ],
            ),
            id="activations of neurons, slopes, smooth functions",
        ),
        pytest.param(shifted_network(), id="shifted templates"),
    ],
)
def test_any_network_comes_back(network: sparsednn.Network, tmp_path: Path) -> None:
    path = tmp_path / "any"
    sparsednn.Model(network=network, class_names=tuple("abcdefghijkl"[: network.n_outputs])).save(path)
    again = sparsednn.load_model(path)
    assert_same_network(network, again.network)
    assert [layer.n_stored for layer in again.network.layers] == [kept(layer).n_stored for layer in network.layers]
    assert again.class_names == tuple("abcdefghijkl"[: network.n_outputs])
    assert [path.name for path in tmp_path.iterdir()] == ["any"]


def kept(layer: Any) -> Any:
    """The saved form of a layer: repeated columns are written out, shifted ones are not."""
    return layer if isinstance(layer, sparsednn.network.ShiftedLayer) else layer.expanded()


def test_files_of_the_version_before_are_read(model: sparsednn.Model, tmp_path: Path) -> None:
    model.save(path := tmp_path / "model")
    assert_same_network(sparsednn.load_model(changed(path, version=1)).network, model.network)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("template", [0] * 11 + [2], "an output has none of its 2 templates"),
        ("template", [0] * 11 + [-1], "an output has none of its 2 templates"),
        ("template", [0] * 11, "11 templates and 12 offsets for 12 outputs"),
        ("offset", [0] * 11 + [6], "an offset leads outside the 8 inputs"),
        ("offset", [0] * 11 + [-1], "an offset leads outside the 8 inputs"),
        ("relative", [0, 1, 2, 1, 2], "a template does not begin at 0"),
        ("relative", [0, 2, 2, 0, 2], "indices are not ascending from 0 to 7"),
        ("relative", [0, 1, 2, 0], "4 indices and 5 values, but 5 connections"),
        ("starts", [0, 6, 5], "indptr does not count up from 0 for 2 outputs"),
        ("starts", [0], "an output has none of its 0 templates"),
        ("weights", [1, 1, 1, 0, 1], "a weight is zero, or something is not finite"),
        ("bias", [0] * 11 + [np.nan], "a weight is zero, or something is not finite"),
        ("offset", None, "layer 1 lacks its offset; int32 of one axis is needed"),
    ],
)
def test_shifted_templates_that_lie_are_refused(name: str, array: list[float] | None, message: str, tmp_path: Path) -> None:
    network = shifted_network()
    sparsednn.Model(network=network).save(path := tmp_path / "model")
    wrong = None if array is None else np.array(array, getattr(network.layers[0], name).dtype)
    refused(changed(path, {f"layers.0.{name}": wrong}), message)


def refused(path: Any, message: str) -> None:
    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.load_model(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_saved_model_is_refused(model: sparsednn.Model, tmp_path: Path) -> None:
    refused(tmp_path, "is a folder; sparsednn.load reads that of a packed network, load_model the one file of Model.save")
    refused(tmp_path / "none", "no such file")
    refused(3, "path: the path of a file is needed, not int")
    refused(labelled.digits_network("cnn_80"), r"cnn_80\.onnx: no saved model, or a damaged one")
    save_file({"a": np.zeros(3)}, tmp_path / "other")
    refused(tmp_path / "other", "other: is no model that Model.save has written; from_onnx")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "no saved model, or a damaged one")
    with pytest.raises(OSError, match="is a folder; a model is saved in one file"):
        model.save(tmp_path)
    with pytest.raises(OSError, match="cannot be written"):
        model.save(tmp_path / "nowhere" / "model")


def changed(path: Path, arrays: dict[str, Any] | None = None, **header: Any) -> Path:
    """A copy of a saved model with other arrays or entries of the header."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        said = json.loads(file.metadata()["sparsednn"])
    found = {name: array for name, array in (load_file(path) | (arrays or {})).items() if array is not None}
    other = path.with_name("changed")
    save_file(found, other, metadata={"sparsednn": json.dumps({k: v for k, v in (said | header).items() if v != "gone"})})
    return other


def test_headers_that_lie_are_refused(model: sparsednn.Model, tmp_path: Path) -> None:
    model.save(path := tmp_path / "model")
    refused(changed(path, version=3), "has version 3 of the layout of saved models; this program reads 1 and 2")
    refused(changed(path, postprocess="gone"), "in its header, it has no postprocess")
    refused(changed(path, bias_on=3), "in its header, bias_on is 3, not a text")
    refused(changed(path, bias_on="some"), "bias_on='some'")
    refused(changed(path, postprocess="tanh"), "postprocess=tanh")
    refused(changed(path, input_shape=[3, 3]), r"input_shape=\(3, 3\): has 9 elements")
    refused(changed(path, n_inputs=12), "layer 1: .*indices are not ascending from 0 to 11")
    refused(changed(path, activations=[]), "holds 'layers.0.bias', which no layer has")
    wrong = {"name": "x", "low": 2, "high": 1, "slope": 1, "function": "none", "per_neuron": False}
    refused(changed(path, activations=[wrong]), "no finite number lies between")
    refused(changed(path, activations=[wrong | {"per_neuron": True}]), "layer 1 has no activations of its neurons")
    short = {"layers.0.activation": np.zeros((3, 4), np.float32)}
    refused(changed(path, short, activations=[wrong | {"per_neuron": True}]), "layer 1: activation 'x' is given for 3 outputs")
    short["layers.0.activation"][0, 0] = 9
    refused(changed(path, short, activations=[wrong | {"per_neuron": True}]), "the first column has numbers of functions")
    save_file({"a": np.zeros(3)}, tmp_path / "text", metadata={"sparsednn": "{"})
    refused(tmp_path / "text", "its header is no JSON")


def test_arrays_that_would_lead_kernels_astray_are_refused(model: sparsednn.Model, tmp_path: Path) -> None:
    model.save(path := tmp_path / "model")
    layer = model.network.layers[0]
    indices, values, indptr = layer.indices.copy(), layer.values.copy(), layer.indptr.copy()
    indices[5] = 2**31 - 1
    refused(changed(path, {"layers.0.indices": indices}), "indices are not ascending from 0 to 63")
    refused(changed(path, {"layers.0.indices": layer.indices[::-1].copy()}), "indices are not ascending")
    refused(changed(path, {"layers.0.indices": layer.indices.astype(np.int64)}), "layer 1 has int64 of 1 axes for its indices")
    indptr[3] = 2**40
    refused(changed(path, {"layers.0.indptr": indptr}), "indptr does not count up from 0")
    refused(changed(path, {"layers.0.indptr": layer.indptr[:-1].copy()}), "indptr does not count up from 0")
    refused(changed(path, {"layers.0.values": layer.values[:-1].copy()}), "connections")
    values[0] = np.nan
    refused(changed(path, {"layers.0.values": values}), "not finite")
    refused(changed(path, {"layers.3.bias": None}), "layer 4 lacks its bias")


def test_files_that_are_cut_anywhere_are_refused(model: sparsednn.Model, tmp_path: Path) -> None:
    model.save(path := tmp_path / "model")
    whole = path.read_bytes()
    for length in (1, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut", "no saved model, or a damaged one")

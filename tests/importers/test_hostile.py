"""Files that are damaged, lie, or want what lies outside their folder: one line each, and nothing is read from there."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sparsednn
from sparsednn.data import labelled
from sparsednn.errors import SparseDnnError
from tests.importers.graphs import Node, graph

GEMM: list[Node] = [("Gemm", ["x", "w", "b"], "y", {})]
CONSTANTS = {"w": np.ones((4, 3), np.float32), "b": np.zeros(3, np.float32)}


def plain(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    """A small model after a change."""
    model = onnx.ModelProto.FromString(graph(GEMM, ["n", 4], CONSTANTS))
    change(model)
    return bytes(model.SerializeToString())


def refused(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.from_onnx(source, **options)
    assert "\n" not in str(caught.value)


def set_dims(model: onnx.ModelProto, *dims: int) -> None:
    model.graph.initializer[0].dims[:] = dims


def set_node(model: onnx.ModelProto, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(model.graph.node[0], name, value)


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4]))


def add_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 3]))


def set_input(model: onnx.ModelProto, *shape: Any) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(shape)))


CHANGES: list[tuple[str, Callable[[onnx.ModelProto], Any], str]] = [
    ("a shape that lies", lambda m: set_dims(m, 4, 2**40), r"tensor 'w': says that it has the shape \(4, 1099511627776\)"),
    ("a shape that is too small", lambda m: set_dims(m, 4, 2), "tensor 'w': "),
    ("a negative shape", lambda m: set_dims(m, -4, -3), r"tensor 'w': has the shape \(-4, -3\)"),
    ("an unknown type", lambda m: setattr(m.graph.initializer[0], "data_type", 99), "tensor 'w': "),
    ("a future opset", lambda m: setattr(m.opset_import[0], "version", 999), "version 999 .*opset_version=17"),
    ("an ancient opset", lambda m: setattr(m.opset_import[0], "version", 3), "version 3 of the ONNX operators"),
    ("no opset", lambda m: m.ClearField("opset_import"), "does not say which version"),
    ("another domain", lambda m: set_node(m, domain="com.evil"), "node 'the_y' .*domain 'com.evil'"),
    ("an unknown operator", lambda m: set_node(m, op_type="Tanh"), r"node 'the_y' \(Tanh\): there is no layer for .*Conv"),
    ("a loop", lambda m: set_node(m, op_type="Loop"), r"node 'the_y' \(Loop\): .*without control flow"),
    ("two inputs", add_input, r"has 2 inputs \('x', 'z'\)"),
    ("two outputs", add_output, r"has 2 outputs \('y', 'w'\)"),
    ("no graph", lambda m: m.ClearField("graph"), "it has no graph"),
    (
        "an unmade input",
        lambda m: m.graph.node[0].input.__setitem__(0, "q"),
        "needs 'q', which nothing before it makes: a circle",
    ),
    ("a circle", lambda m: m.graph.node[0].input.__setitem__(0, "y"), "needs 'y', which nothing before it makes: a circle"),
    ("a second maker", lambda m: m.graph.node.append(m.graph.node[0]), "makes 'y', which is there already"),
    ("an unmade output", lambda m: setattr(m.graph.output[0], "name", "q"), "no node makes the output 'q'"),
    ("a constant output", lambda m: setattr(m.graph.output[0], "name", "w"), "output 'w' does not depend on the input"),
    ("an unfit weight", lambda m: set_dims(m, 3, 4), r"node 'the_y' \(Gemm\): weights of the shape \(3, 4\) do not fit"),
    ("an unknown size", lambda m: set_input(m, "n", "k"), r"shape of the input is \(\?, \?\); .*input_shape=\(\.\.\.\)"),
    ("a name of two lines", lambda m: set_node(m, name="a\nb", op_type="Erf"), r"node 'a\\nb' \(Erf\)"),
]


@pytest.mark.parametrize(("change", "message"), [pytest.param(c, m, id=name) for name, c, m in CHANGES])
def test_what_is_wrong_is_one_line(change: Callable[[onnx.ModelProto], Any], message: str) -> None:
    refused(plain(change), message)


@pytest.mark.parametrize(
    ("value", "shown"), [(np.nan, "is nan"), (np.inf, "is inf"), (3e38, "beyond float32")], ids=["NaN", "infinity", "overflow"]
)
def test_weights_that_are_not_finite_are_named(value: float, shown: str) -> None:
    w = CONSTANTS["w"].copy()
    w[2, 1] = value
    nodes: list[Node] = [*GEMM[:1]] if shown != "beyond float32" else [("Gemm", ["x", "w", "b"], "y", {"alpha": 10.0})]
    refused(graph(nodes, ["n", 4], CONSTANTS | {"w": w}), f"node 'the_y' .Gemm.: .*{shown}")


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([("Conv", ["x", "w"], "y", {"strides": [0, 1]})], {}, r"strides \[0, 1\],.*do not fit 2 axes"),
        ([("Conv", ["x", "w"], "y", {"pads": [2**40] * 4})], {}, "too large"),
        ([("Conv", ["x", "w"], "y", {"pads": [2**30] * 4})], {}, "windows of 3 elements along an axis"),
        ([("Conv", ["x", "w"], "y", {"dilations": [9, 9]})], {}, "its windows of 19 are larger"),
        ([("Conv", ["x", "w"], "y", {"group": 2})], {}, "in 2 groups do not fit 2 channels"),
        ([("Reshape", ["x", "s"], "y", {})], {"s": np.array([1, 7])}, r"cannot give the shape \[1, 7\]"),
        ([("Mul", ["x", "x"], "y", {})], {}, "multiplies or divides activations by activations"),
        ([("Div", ["x", "zero"], "y", {})], {"zero": np.float32(0)}, "divides by zero"),
        ([("Sigmoid", ["x"], "s", {}), ("Relu", ["s"], "y", {})], {}, "can stand at the end of a graph only"),
        ([("QuantizeLinear", ["x", "one"], "y", {})], {"one": np.float32(1)}, "quantised weights only"),
        ([("ReduceMean", ["x", "axes"], "y", {})], {"axes": np.array([0])}, "along the batch"),
        ([("Concat", ["x", "x"], "y", {"axis": 0})], {}, "along the batch"),
        ([("Clip", ["x", "w"], "y", {})], {}, "its minimum is no number"),
        ([("Clip", ["x", "one", "zero"], "y", {})], {"one": np.float32(1), "zero": np.float32(0)}, "nothing lies between"),
        ([("Transpose", ["x"], "y", {"perm": [0, 0, 1, 2]})], {}, r"axes \[0, 0, 1, 2\] do not fit"),
        ([("BatchNormalization", ["x", *"vvvv"], "y", {"training_mode": 1})], {"v": np.ones(2, "f4")}, "evaluation mode"),
        ([("MaxPool", ["x"], "y", {"kernel_shape": "ab"})], {}, "attribute kernel_shape is no list of whole numbers"),
        ([("Softmax", ["x"], "y", {"axis": 3})], {}, "goes along 5 of the 50 values of an instance"),
        ([("Softmax", ["f"], "s", {}), ("Sigmoid", ["s"], "y", {}), ("Flatten", ["x"], "f", {})], {}, "needs 'f'"),
    ],
)
def test_nodes_that_make_no_sense_are_named(nodes: list[Node], constants: Any, message: str) -> None:
    data = graph(nodes, ["n", 2, 5, 5], {"w": np.ones((4, 2, 3, 3), np.float32)} | constants)
    refused(data, f"the model: node 'the_.*{message}")


def test_constants_that_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 4 * 10**9)
    tall: list[Node] = [("ConstantOfShape", ["s"], "c", {}), ("Add", ["x", "c"], "y", {})]
    refused(graph(tall, ["n", 4], {"s": np.array([2**20, 2**20])}), "ConstantOfShape.*which makes 1,099,511,627,776 numbers")
    wide: list[Node] = [("Add", ["a", "b"], "c", {}), ("Add", ["x", "c"], "y", {})]
    columns = {"a": np.ones((2**20, 1), np.float32), "b": np.ones((1, 2**20), np.float32)}
    refused(graph(wide, ["n", 4], columns), r"node 'the_c' \(Add\)")
    padded: list[Node] = [("Pad", ["x", "p"], "q", {}), ("Slice", ["q", "z", "o", "o"], "y", {})]
    pads = {"p": np.array([0, 0, 0, 2**33]), "z": np.array([0]), "o": np.array([1])}
    refused(graph(padded, ["n", 4], pads), "only 4.0 GB of memory")
    one, place = (numpy_helper.from_array(np.ones(1, kind), "v") for kind in (np.float32, np.int64))
    sparse = helper.make_sparse_tensor(one, place, [2**20, 2**20])
    refused(plain(lambda m: m.graph.sparse_initializer.append(sparse)), "sparse tensor 'v', as a dense array of shape")


def test_an_index_outside_a_sparse_weight_is_refused() -> None:
    for place in ([12], [-1]):
        values = numpy_helper.from_array(np.ones(1, np.float32), "v")
        sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array(place), "i"), [4, 3])
        refused(plain(lambda m, s=sparse: m.graph.sparse_initializer.append(s)), "sparse tensor 'v': an index lies outside")  # type: ignore[misc]


def external(folder: Path, location: str, **more: str) -> Path:
    """A model whose weights lie elsewhere."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)

    path = folder / "model.onnx"
    path.write_bytes(plain(change))
    return path


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"12345678" + CONSTANTS["w"].tobytes())
    model = sparsednn.from_onnx(external(tmp_path, "weights.bin", offset="8", length="48"))
    np.testing.assert_array_equal(model.network.layers[0].to_scipy().toarray(), CONSTANTS["w"])
    before = model.provenance.sha256
    (tmp_path / "weights.bin").write_bytes(b"12345678" + (2 * CONSTANTS["w"]).tobytes())
    assert sparsednn.from_onnx(tmp_path / "model.onnx").provenance.sha256 != before
    refused((tmp_path / "model.onnx").read_bytes(), "lies in another file, 'weights.bin'; give the path")
    refused(external(tmp_path, "weights.bin", offset="8", length="80"), "lies at bytes 8 to 88 of weights.bin, which has 56")
    refused(external(tmp_path, "weights.bin", offset="-8"), "lies at bytes -8")
    refused(external(tmp_path, "weights.bin", offset="a"), "no whole number")
    refused(external(tmp_path, "weights.bin", length="16"), "tensor 'w': ")
    refused(external(tmp_path, "none.bin"), "'none.bin', which is no file that can be read")
    refused(external(tmp_path, "."), "outside the folder|no file that can be read")


@pytest.mark.parametrize(
    "way", ["../secret.bin", "{folder}/secret.bin", "link.bin", "linked/secret.bin", "a/../../secret.bin", ""]
)
def test_nothing_outside_the_folder_is_read(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.bin").write_bytes(CONSTANTS["w"].tobytes())
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    path = external(folder, way.format(folder=tmp_path))
    opened: list[str] = []
    real = io.open

    def spy(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(str(file))
        return real(file, *args, **options)

    monkeypatch.setattr(io, "open", spy)
    monkeypatch.setattr(builtins, "open", spy)
    refused(path, "outside the folder of the model; nothing is read from there")
    assert not [name for name in opened if "secret" in name or "link" in name]


def test_paths_that_are_no_models(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", r"none\.onnx: no such file")
    refused(tmp_path, "is a folder")
    refused(12, "path: the path of an ONNX file, or its bytes, is needed, not int")
    refused(b"", "no ONNX model: it has no graph")
    (tmp_path / "pickled.onnx").write_bytes(b"\x80\x04\x95not a model")
    refused(tmp_path / "pickled.onnx", r"pickled\.onnx: no ONNX model, or a damaged one")


@pytest.mark.parametrize(
    ("shape", "message"),
    [((5,), "the file says"), ((1, 2, 3), "does not fit the input"), ((), "does not fit"), ((-4,), "does not fit")],
)
def test_an_input_shape_that_does_not_fit_is_refused(shape: Any, message: str) -> None:
    refused(graph(GEMM, ["n", 4], CONSTANTS), message, input_shape=shape)


def test_damaged_files_are_refused_in_a_line_or_still_a_model() -> None:
    """Cut anywhere, or with bytes changed anywhere: never a traceback of onnx's, protobuf's or NumPy's insides."""
    whole, rng = labelled.digits_network("cnn_80").read_bytes(), np.random.default_rng(2)
    damaged = [whole[:length] for length in rng.integers(1, len(whole), 25)]
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, min(len(data), int(rng.choice([800, len(data)]))), 3)] = rng.integers(0, 256, 3)
        damaged.append(data.tobytes())
    messages = []
    for data in damaged:
        try:
            sparsednn.from_onnx(data)
        except SparseDnnError as error:
            messages.append(str(error))
    assert len(messages) > 25
    assert not [message for message in messages if "\n" in message]

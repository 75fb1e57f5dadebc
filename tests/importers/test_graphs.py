"""Graphs of several nodes against onnx.reference: residuals, forks, what exporters leave in; and what a dry run says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import sparsednn
from sparsednn.system.memory import peak_rss_bytes
from tests.importers.graphs import Node, assert_agrees, graph, imported, reference

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("first", ["Relu", "Identity"], ids=["positive", "signed"])
def test_a_residual_block(first: str) -> None:
    """conv(relu(conv(x))) + x; what is carried past the relu has no activation where it can be negative."""
    nodes: list[Node] = [
        (first, ["x"], "a", {}),
        ("Conv", ["a", "w1", "b1"], "c1", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["c1"], "r1", {}),
        ("Conv", ["r1", "w2"], "c2", {"pads": [1, 1, 1, 1]}),
        ("Add", ["c2", "a"], "s", {}),
        ("Relu", ["s"], "y", {}),
    ]
    constants = {"w1": normal(4, 4, 3, 3), "b1": normal(4), "w2": normal(4, 4, 3, 3)}
    data = graph(nodes, ["n", 4, 5, 6], constants)
    assert_agrees(data, normal(3, 4, 5, 6))
    model = sparsednn.from_onnx(data)
    assert model.report.layers[-2].carried == 4 * 5 * 6
    assert (model.network.layers[-2].activation.neurons is None) == (first == "Relu")


def test_a_downsampling_block_with_batch_norms_and_a_clip() -> None:
    """A clip while others are carried, which have limits of their own."""
    norms = {f"{part}{k}": np.abs(normal(6)) + np.float32(0.1) for k in (1, 2) for part in "sbmv"}
    nodes: list[Node] = [
        ("Conv", ["x", "w1"], "c1", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["c1", "s1", "b1", "m1", "v1"], "n1", {}),
        ("Clip", ["n1", "zero", "six"], "r1", {}),
        ("Conv", ["r1", "w2"], "c2", {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["c2", "s2", "b2", "m2", "v2"], "n2", {}),
        ("Conv", ["x", "w3"], "c3", {"strides": [2, 2]}),
        ("Add", ["n2", "c3"], "a", {}),
        ("Clip", ["a", "zero", "six"], "r2", {}),
        ("GlobalAveragePool", ["r2"], "g", {}),
        ("Flatten", ["g"], "f", {}),
        ("Gemm", ["f", "w4"], "y", {}),
    ]
    constants = norms | {"w1": normal(6, 3, 3, 3), "w2": normal(6, 6, 3, 3), "w3": normal(6, 3, 1, 1), "w4": normal(6, 5)}
    data = graph(nodes, ["n", 3, 8, 8], constants | {"zero": np.float32(0), "six": np.float32(0.5)})
    assert_agrees(data, normal(3, 3, 8, 8))


def test_a_fork_whose_branches_meet_in_a_concat() -> None:
    nodes: list[Node] = [
        ("Conv", ["x", "w1"], "c1", {}),
        ("LeakyRelu", ["c1"], "a", {"alpha": 0.1}),
        ("MaxPool", ["c1"], "m", {"kernel_shape": [2, 2], "strides": [1, 1]}),
        ("Pad", ["m", "pads"], "p", {}),
        ("Concat", ["a", "p", "c1"], "k", {"axis": 1}),
        ("Relu", ["k"], "r", {}),
        ("AveragePool", ["r"], "y", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ]
    constants = {"w1": normal(3, 2, 2, 2), "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1])}
    assert_agrees(graph(nodes, ["n", 2, 6, 6], constants), normal(2, 2, 6, 6))


def test_a_relu_after_a_pool_is_done_before_it() -> None:
    """The convolution and its relu become one layer; pools of values that cannot be negative need no second part."""
    nodes: list[Node] = [
        ("Conv", ["x", "w"], "c", {}),
        ("MaxPool", ["c"], "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Relu", ["m"], "y", {}),
    ]
    data = graph(nodes, ["n", 2, 5, 5], {"w": normal(3, 2, 2, 2)})
    assert_agrees(data, normal(3, 2, 5, 5))
    assert [layer.operator for layer in sparsednn.from_onnx(data).report.layers][:2] == ["Relu", "MaxPool"]


def test_masks_that_pruning_left_in_are_multiplied() -> None:
    nodes: list[Node] = [("Mul", ["w", "m"], "pruned", {}), ("Transpose", ["pruned"], "t", {"perm": [1, 0]}),
                         ("MatMul", ["x", "t"], "y", {})]  # fmt: skip
    mask = (RNG.random((7, 9)) < 0.3).astype(np.float32)
    data = graph(nodes, ["n", 9], {"w": normal(7, 9), "m": mask})
    assert_agrees(data, normal(4, 9))
    assert sparsednn.from_onnx(data).network.nnz == int(mask.sum())


def test_channels_last_between_transposes() -> None:
    nodes: list[Node] = [
        ("Transpose", ["x"], "t", {"perm": [0, 3, 1, 2]}),
        ("Conv", ["t", "w"], "c", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("Transpose", ["c"], "u", {"perm": [0, 2, 3, 1]}),
        ("Add", ["u", "b"], "s", {}),
        ("Relu", ["s"], "y", {}),
    ]
    data = graph(nodes, ["n", 7, 5, 2], {"w": normal(3, 2, 3, 3), "b": normal(3)})
    assert_agrees(data, normal(3, 7, 5, 2))


def test_a_batch_of_the_export_is_no_batch_of_the_model() -> None:
    nodes: list[Node] = [("Reshape", ["x", "s"], "f", {}), ("Gemm", ["f", "w"], "y", {})]
    data = graph(nodes, [17, 2, 3], {"s": np.array([17, 6]), "w": normal(6, 4)})
    free = graph(nodes, ["n", 2, 3], {"s": np.array([-1, 6]), "w": (w := normal(6, 4))})
    x = normal(5, 2, 3)
    assert imported(data, x).shape == (5, 4)
    np.testing.assert_allclose(imported(free, x), x.reshape(5, 6) @ w, rtol=1e-5, atol=1e-5)


def test_weights_on_the_left_of_an_input_without_a_batch() -> None:
    nodes: list[Node] = [("MatMul", ["w", "x"], "m", {}), ("Add", ["m", "b"], "s", {}), ("Relu", ["s"], "y", {})]
    w, b, x = normal(4, 6), normal(4, 1), normal(3, 6, 1)
    data = graph(nodes, [6, 1], {"w": w, "b": b})
    found = imported(data, x, input_shape=(6, 1))
    assert found.shape == (3, 4, 1)
    np.testing.assert_allclose(found, np.maximum(w @ x + b, 0), rtol=1e-5, atol=1e-6)


def test_sparse_and_quantised_weights_are_read() -> None:
    values, places = np.float32([2.0, -1.5, 0.5]), np.array([1, 7, 11])
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(values, "w"), numpy_helper.from_array(places, "i"), [3, 4])
    nodes: list[Node] = [("DequantizeLinear", ["q", "scale", "zero"], "v", {}), ("MatMul", ["x", "w"], "h", {}),
                         ("Relu", ["h"], "r", {}), ("MatMul", ["r", "v"], "y", {})]  # fmt: skip
    quantised = {"q": RNG.integers(-128, 128, (4, 5), np.int8), "scale": np.float32(0.02), "zero": np.int8(3)}
    model = onnx.ModelProto.FromString(graph(nodes, ["n", 3], quantised))
    model.graph.sparse_initializer.append(sparse)
    dense = onnx.ModelProto.FromString(model.SerializeToString())
    del dense.graph.sparse_initializer[:]
    w = np.zeros(12, np.float32)
    w[places] = values
    dense.graph.initializer.append(numpy_helper.from_array(w.reshape(3, 4), "w"))
    x = normal(4, 3)
    expected = reference(dense.SerializeToString(), x)
    np.testing.assert_allclose(imported(model.SerializeToString(), x), expected, rtol=1e-6, atol=1e-6)
    by_axis = onnx.ModelProto.FromString(model.SerializeToString())
    pairs = np.stack(np.unravel_index(places, (3, 4)), axis=1)
    by_axis.graph.sparse_initializer[0].indices.CopyFrom(numpy_helper.from_array(pairs, "i"))
    np.testing.assert_allclose(imported(by_axis.SerializeToString(), x), expected, rtol=1e-6, atol=1e-6)


def test_shapes_that_are_computed() -> None:
    nodes: list[Node] = [
        ("Shape", ["x"], "s", {}),
        ("Gather", ["s", "zero"], "n", {}),
        ("Concat", ["n", "rest"], "t", {"axis": 0}),
        ("Reshape", ["x", "t"], "y", {}),
    ]
    data = graph(nodes, ["n", 2, 6], {"zero": np.array([0]), "rest": np.array([3, 4])})
    assert_agrees(data, normal(1, 2, 6))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_other_precisions(dtype: Any) -> None:
    w = normal(4, 3).astype(dtype)
    nodes: list[Node] = [("Cast", ["w"], "v", {"to": 1}), ("MatMul", ["x", "v"], "y", {})]
    assert_agrees(graph(nodes, ["n", 4], {"w": w}), normal(3, 4))


UNARY = (
    "Abs", "AveragePool", "BatchNormalization", "Clip", "Conv", "Identity", "LeakyRelu", "MaxPool", "Mul", "Neg", "Relu",
    "Sigmoid", "Tanh",
)  # fmt: skip


@st.composite
def drawn(draw: st.DrawFn) -> tuple[bytes, np.ndarray]:
    """A graph of up to 12 nodes over images of 3 channels that keep their size; nodes may use any tensor before them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    constants: dict[str, Any] = {
        "low": np.float32(-0.5),
        "high": np.float32(0.8),
        "k": np.float32([[[0.7]], [[-1.2]], [[0.4]]]),
    }
    nodes: list[Node] = []
    names = ["x"]
    for number in range(draw(st.integers(1, 11))):
        some = draw(st.sampled_from(names[-3:]))
        operator = draw(st.sampled_from((*UNARY, "Add", "Sub")))
        inputs, attributes = [some], {}
        if operator in ("Add", "Sub"):
            inputs.append(draw(st.sampled_from(names)))
        elif operator == "Conv":
            constants[f"w{number}"] = (
                np.where(rng.random((3, 3, 3, 3)) < 0.5, rng.normal(size=(3, 3, 3, 3)), 0).astype("f4") / 3
            )
            constants[f"b{number}"] = rng.normal(size=3).astype("f4")
            inputs, attributes = [some, f"w{number}", f"b{number}"], {"pads": [1, 1, 1, 1]}
        elif operator == "BatchNormalization":
            for part in "sbmv":
                constants[f"{part}{number}"] = np.abs(rng.normal(size=3).astype("f4")) + np.float32(0.2)
            inputs += [f"{part}{number}" for part in "sbmv"]
        elif operator in ("MaxPool", "AveragePool"):
            attributes = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "dilations": [1, 1]}
            if operator == "MaxPool":  # onnx.reference errs with padding and strides of 1 unless a dilation is larger
                attributes = {"kernel_shape": [2, 1], "pads": [1, 0, 1, 0], "dilations": [2, 1]}
        else:
            inputs += {"Clip": ["low", "high"], "Mul": ["k"]}.get(operator, [])
        nodes.append((operator, inputs, f"t{number}", attributes))
        names.append(f"t{number}")
    nodes.append(("Identity", [names[-1]], "y", {}))
    return graph(nodes, ["n", 3, 4, 3], constants), rng.normal(size=(2, 3, 4, 3)).astype(np.float32)


def largest(data: bytes, x: np.ndarray) -> float:
    """Return the largest number of all that a graph computes: differences of large numbers may be small."""
    evaluator = ReferenceEvaluator(data)
    found: list[Any] = [evaluator.run(None, {"x": one[np.newaxis]}, intermediate=True) for one in x]
    return max(float(np.abs(array).max()) for named in found for array in named.values() if array is not None)


@settings(max_examples=40)
@given(drawn())
def test_any_graph_agrees_and_a_dry_run_bounds_it(case: tuple[bytes, np.ndarray]) -> None:
    data, x = case
    assert_agrees(data, x, largest(data, x))
    planned, made = sparsednn.from_onnx(data, explain=True), sparsednn.from_onnx(data)
    assert [layer.node for layer in planned.layers][: len(made.report.layers)] == [layer.node for layer in made.report.layers]
    for bound, layer in zip(planned.layers, made.report.layers, strict=False):
        assert bound.entries >= layer.entries
        assert bound.n_outputs >= layer.n_outputs


def test_a_dry_run_counts_twenty_gigabytes_without_making_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 channels to 64 of 256 x 256 pixels: 9 x 64 entries for each of 4 million neurons, less the border."""
    nodes: list[Node] = [("Conv", ["x", "w"], "c", {"pads": [1, 1, 1, 1]}), ("Relu", ["c"], "y", {})]
    data = graph(nodes, ["n", 64, 256, 256], {"w": np.ones((64, 64, 3, 3), np.float32)})
    before = peak_rss_bytes()
    planned = sparsednn.from_onnx(data, explain=True)
    assert planned.entries == 64 * 64 * (3 * 256 - 2) ** 2
    assert planned.n_bytes > 19e9
    assert f"at most {planned.entries:,} entries" in str(planned)
    assert planned.n_stored == 64 * 64 * (3 * 3 - 2) ** 2, "inside, and at each border, for each pair of channels"
    assert planned.stored_bytes == 8 * planned.n_stored + 12 * 64 * 256**2
    assert f"about {planned.n_stored:,} entries, about {planned.stored_bytes:,} bytes" in str(planned)
    assert peak_rss_bytes() - before < 64e6
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 5 * 10**8)
    once = f"{planned.entries:,} entries, about {planned.n_stored:,} of them stored,"
    said = once + r" needs \d\.\d GB, but only 0\.5 GB .*explain=True"
    with pytest.raises(MemoryError, match=said):
        sparsednn.from_onnx(data)

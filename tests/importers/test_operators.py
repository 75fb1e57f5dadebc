"""Every operator by itself, of random shapes, against onnx.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.importers.graphs import assert_agrees, graph, imported

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=25)


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pruned(seed: int, *shape: int) -> np.ndarray:
    keep = np.random.default_rng(seed + 1).random(shape) < 0.6
    return np.where(keep, random(seed, *shape), 0).astype(np.float32)


@st.composite
def windows(draw: st.DrawFn, most: int = 9) -> dict[str, Any]:
    """Spatial sizes, a kernel, and attributes that fit them."""
    rank = draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    sizes = [draw(st.integers(span, most)) for span in spans]
    pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    return {
        "sizes": sizes,
        "kernel": kernel,
        "attributes": {
            "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
            "dilations": dilations,
            "pads": pads,
        },
    }


@few
@given(windows(), st.sampled_from([1, 2, 3]), st.integers(1, 2), st.integers(1, 2), st.booleans(), SEEDS)
def test_conv(window: Any, groups: int, per_in: int, per_out: int, has_bias: bool, seed: int) -> None:
    weights = pruned(seed, groups * per_out, per_in, *window["kernel"])
    constants = {"w": weights} | ({"b": random(seed, groups * per_out)} if has_bias else {})
    node = ("Conv", ["x", *constants], "y", {"group": groups, **window["attributes"]})
    data = graph([node], ["n", groups * per_in, *window["sizes"]], constants)
    assert_agrees(data, random(seed, 2, groups * per_in, *window["sizes"]))


@few
@given(windows(), st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]), SEEDS)
def test_conv_that_pads_by_itself(window: Any, auto_pad: str, seed: int) -> None:
    attributes = {"auto_pad": auto_pad, "strides": window["attributes"]["strides"]}
    data = graph(
        [("Conv", ["x", "w"], "y", attributes)], ["n", 2, *window["sizes"]], {"w": random(seed, 3, 2, *window["kernel"])}
    )
    assert_agrees(data, random(seed, 2, 2, *window["sizes"]))


@few
@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.booleans(), st.sampled_from([0, 1, 2]), SEEDS)
def test_gemm(n_in: int, n_out: int, turned: bool, scaled: bool, bias_axes: int, seed: int) -> None:
    weights = pruned(seed, *((n_out, n_in) if turned else (n_in, n_out)))
    constants: dict[str, Any] = {"w": weights} | ({"b": random(seed, *[1, n_out][2 - bias_axes :])} if bias_axes else {})
    attributes = {"transB": int(turned)} | ({"alpha": 0.5, "beta": -2.0} if scaled else {})
    assert_agrees(graph([("Gemm", ["x", *constants], "y", attributes)], ["n", n_in], constants), random(seed, 3, n_in))


@few
@given(st.lists(st.integers(1, 4), min_size=0, max_size=2), st.integers(1, 5), st.integers(1, 5), SEEDS)
def test_matmul_by_a_matrix_on_the_right(between: list[int], n_in: int, n_out: int, seed: int) -> None:
    data = graph([("MatMul", ["x", "w"], "y", {})], ["n", *between, n_in], {"w": pruned(seed, n_in, n_out)})
    assert_agrees(data, random(seed, 3, *between, n_in))


@few
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), SEEDS)
def test_matmul_by_a_matrix_on_the_left(n_in: int, n_out: int, columns: int, seed: int) -> None:
    data = graph([("MatMul", ["w", "x"], "y", {})], ["n", n_in, columns], {"w": pruned(seed, n_out, n_in)})
    assert_agrees(data, random(seed, 3, n_in, columns))


def test_matmul_by_vectors() -> None:
    assert_agrees(graph([("MatMul", ["x", "w"], "y", {})], ["n", 3, 4], {"w": random(1, 4)}), random(2, 3, 3, 4))
    assert_agrees(graph([("MatMul", ["w", "x"], "y", {})], ["n", 3, 4], {"w": random(1, 3)}), random(2, 3, 3, 4))


@few
@given(st.integers(1, 4), st.lists(st.integers(1, 4), max_size=2), SEEDS)
def test_batch_normalization(channels: int, rest: list[int], seed: int) -> None:
    constants = {name: random(seed + at, channels) for at, name in enumerate("sbm")} | {"v": random(seed, channels) ** 2}
    data = graph([("BatchNormalization", ["x", *constants], "y", {"epsilon": 1e-3})], ["n", channels, *rest], constants)
    assert_agrees(data, random(seed, 2, channels, *rest))


SHAPES = [(3, 4), (1, 4), (4,), (), (1, 1, 1), (2, 3, 4)]


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("first", [True, False], ids=["tensor first", "constant first"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_constants(operator: str, first: bool, shape: tuple[int, ...]) -> None:
    if operator == "Div" and not first:
        operator = "Sub"  # a constant divided by activations is not linear
    inputs = ["x", "c"] if first else ["c", "x"]
    x = random(5, 3, 3, 4) if len(shape) < 3 or shape[0] == 1 else random(5, 3, 1, 4)
    if shape == (2, 3, 4):
        x = random(5, 3, 2, 1, 4)
    data = graph([(operator, inputs, "y", {})], ["n", *x.shape[1:]], {"c": random(6, *shape) + np.float32(3)})
    assert_agrees(data, x)


def test_neg_cast_identity_and_dropout() -> None:
    x = random(1, 3, 5)
    for nodes in (
        [("Neg", ["x"], "y", {})],
        [("Cast", ["x"], "y", {"to": 1})],
        [("Identity", ["x"], "y", {})],
        [("Dropout", ["x"], "y", {})],
    ):
        assert_agrees(graph(nodes, ["n", 5]), x)  # type: ignore[arg-type]


ACTIVATIONS: list[tuple[str, list[str], dict[str, Any], dict[str, Any], int]] = [
    ("Relu", ["x"], {}, {}, 21),
    ("Abs", ["x"], {}, {}, 21),
    ("Clip", ["x", "lo", "hi"], {}, {"lo": np.float32(-0.5), "hi": np.float32(0.75)}, 21),
    ("Clip", ["x", "", "hi"], {}, {"hi": np.float32(0.25)}, 21),
    ("Clip", ["x", "lo"], {}, {"lo": np.float32(0.25)}, 21),
    ("Clip", ["x"], {}, {}, 21),
    ("Clip", ["x"], {"min": 0.0, "max": 6.0}, {}, 10),
    ("LeakyRelu", ["x"], {"alpha": 0.2}, {}, 21),
    ("LeakyRelu", ["x"], {}, {}, 21),
    ("PRelu", ["x", "s"], {}, {"s": random(3, 4, 1, 1)}, 21),
    ("PRelu", ["x", "s"], {}, {"s": np.float32([0.3])}, 21),
]


@pytest.mark.parametrize(("operator", "inputs", "attributes", "constants", "opset"), ACTIVATIONS)
def test_activations(operator: str, inputs: list[str], attributes: Any, constants: Any, opset: int) -> None:
    data = graph([(operator, inputs, "y", attributes)], ["n", 4, 3, 2], constants, opset)
    assert_agrees(data, 2 * random(9, 3, 4, 3, 2))


@pytest.mark.parametrize(("operator", "inputs", "attributes", "constants", "opset"), ACTIVATIONS)
def test_activations_beside_what_is_carried_past_them(
    operator: str, inputs: list[str], attributes: Any, constants: Any, opset: int
) -> None:
    nodes: list[Any] = [(operator, inputs, "a", attributes), ("Add", ["x", "a"], "y", {})]
    assert_agrees(graph(nodes, ["n", 4, 3, 2], constants, opset), 2 * random(9, 3, 4, 3, 2))


@few
@given(windows(), st.booleans(), st.booleans(), SEEDS)
def test_max_pool(window: Any, positive: bool, ceil: bool, seed: int) -> None:
    attributes = {"kernel_shape": window["kernel"], "ceil_mode": int(ceil), **window["attributes"]}
    plain = {*attributes["strides"], *attributes["dilations"]} == {1}
    assume(not (plain and any(attributes["pads"])))  # onnx.reference fails there; see the next test
    nodes: list[Any] = [("Relu", ["x"], "r", {})] if positive else []
    nodes.append(("MaxPool", ["r" if positive else "x"], "y", attributes))
    assert_agrees(graph(nodes, ["n", 2, *window["sizes"]]), random(seed, 2, 2, *window["sizes"]))


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 2, 1, 0]])
def test_max_pool_of_every_place(pads: list[int]) -> None:
    """Windows of 3 x 3 at every place, with padding, which onnx.reference does not get right."""
    x = random(3, 2, 3, 6, 7)
    sides = [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])]
    padded = np.pad(x, sides, constant_values=-np.inf)
    expected = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).max(axis=(-1, -2))
    data = graph([("MaxPool", ["x"], "y", {"kernel_shape": [3, 3], "pads": pads})], ["n", 3, 6, 7])
    np.testing.assert_allclose(imported(data, x), expected, rtol=1e-6, atol=1e-6)


@few
@given(windows(), st.booleans(), SEEDS)
def test_average_pool(window: Any, count_pads: bool, seed: int) -> None:
    attributes = {"kernel_shape": window["kernel"], "count_include_pad": int(count_pads), **window["attributes"]}
    data = graph([("AveragePool", ["x"], "y", attributes)], ["n", 2, *window["sizes"]])
    assert_agrees(data, random(seed, 2, 2, *window["sizes"]))


@few
@given(st.integers(2, 4), st.booleans(), st.sampled_from([13, 18, 21]), SEEDS, st.data())
def test_means(rank: int, keep: bool, opset: int, seed: int, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(1, rank - 1), min_size=1, unique=True))
    x = random(seed, 2, *range(2, rank + 1))
    attributes: dict[str, Any] = {"keepdims": int(keep)} | ({"axes": axes} if opset < 18 else {})
    constants = {"a": np.array(axes)} if opset >= 18 else {}
    assert_agrees(graph([("ReduceMean", ["x", *constants], "y", attributes)], ["n", *x.shape[1:]], constants, opset), x)
    if rank > 2:
        assert_agrees(graph([("GlobalAveragePool", ["x"], "y", {})], ["n", *x.shape[1:]]), x)


@few
@given(st.permutations([1, 2, 3]), SEEDS)
def test_transpose(order: list[int], seed: int) -> None:
    assert_agrees(graph([("Transpose", ["x"], "y", {"perm": [0, *order]})], ["n", 2, 3, 4]), random(seed, 2, 2, 3, 4))


@few
@given(st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([-2, -1, 1, 2]), SEEDS)
def test_slice(start: int, end: int, step: int, seed: int) -> None:
    x = random(seed, 2, 5, 3)
    length = len(np.arange(5)[start:end:step])
    constants = {"s": np.array([start]), "e": np.array([end]), "a": np.array([1]), "t": np.array([step])}
    data = graph([("Slice", ["x", *constants], "y", {})], ["n", 5, 3], constants)
    if length:
        assert_agrees(data, x)
    else:
        with pytest.raises(ValueError, match="leaves nothing"):
            assert_agrees(data, x)


def test_slices_of_old_and_of_far_ends() -> None:
    x = random(4, 2, 5, 3)
    old = {"starts": [1, 0], "ends": [2**31 - 1, -1], "axes": [1, 2]}
    assert_agrees(graph([("Slice", ["x"], "y", old)], ["n", 5, 3], opset=9), x)
    down = {"s": np.array([2**62]), "e": np.array([-(2**62)]), "a": np.array([-1]), "t": np.array([-1])}
    assert_agrees(graph([("Slice", ["x", *down], "y", {})], ["n", 5, 3], down), x)


@few
@given(st.sampled_from(["constant", "edge", "reflect", "wrap"]), st.lists(st.integers(0, 2), min_size=4, max_size=4), SEEDS)
def test_pad(mode: str, ends: list[int], seed: int) -> None:
    constants = {"p": np.array([0, ends[0], ends[1], 0, ends[2], ends[3]]), "v": np.float32(0.5)}
    inputs = ["x", "p", "v"] if mode == "constant" else ["x", "p"]
    assert_agrees(graph([("Pad", inputs, "y", {"mode": mode})], ["n", 4, 3], constants), random(seed, 2, 4, 3))


def test_pads_of_some_axes_and_old_ones() -> None:
    constants = {"p": np.array([1, 2]), "a": np.array([2])}
    assert_agrees(graph([("Pad", ["x", "p", "", "a"], "y", {})], ["n", 4, 3], constants), random(2, 2, 4, 3))
    old = {"pads": [0, 1, 0, 0, 0, 2], "value": -1.5}
    assert_agrees(graph([("Pad", ["x"], "y", old)], ["n", 4, 3], opset=10), random(2, 2, 4, 3))


@few
@given(st.integers(1, 2), SEEDS)
def test_concat(axis: int, seed: int) -> None:
    nodes: list[Any] = [
        ("Relu", ["x"], "r", {}),
        ("Mul", ["x", "two"], "m", {}),
        ("Concat", ["r", "x", "m", "c"], "y", {"axis": axis}),
    ]
    constants = {"two": np.float32(2), "c": random(seed, 1, 4, 3)}
    assert_agrees(graph(nodes, ["n", 4, 3], constants), random(seed, 2, 4, 3))


@pytest.mark.parametrize(
    ("operator", "attributes", "constants"),
    [
        ("Flatten", {}, {}),
        ("Flatten", {"axis": 2}, {}),
        ("Reshape", {}, {"s": np.array([0, -1])}),
        ("Reshape", {}, {"s": np.array([-1, 3, 4])}),
        ("Reshape", {}, {"s": np.array([-1, 2, 0])}),
        ("Squeeze", {}, {"s": np.array([2])}),
        ("Squeeze", {}, {"s": np.array([-2])}),
        ("Unsqueeze", {}, {"s": np.array([1, -1])}),
        ("Gather", {"axis": 3}, {"s": np.array([[1, 1], [-1, 0]])}),
    ],
)
def test_shapes(operator: str, attributes: Any, constants: Any) -> None:
    data = graph([(operator, ["x", *constants], "y", attributes)], ["n", 2, 1, 6], constants)
    x = random(3, 1, 2, 1, 6)
    if list(constants.get("s", [])) == [-1, 2, 0]:
        x = random(3, 1, 1, 2, 6)
        data = graph([(operator, ["x", *constants], "y", attributes)], ["n", 1, 2, 6], {"s": np.array([-1, 3, 4])})
    assert_agrees(data, x)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Sigmoid", "ArgMax"])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_ends(operator: str, opset: int) -> None:
    attributes: dict[str, Any] = {"axis": 1} if operator != "Sigmoid" else {}
    nodes: list[Any] = [("Gemm", ["x", "w"], "z", {}), (operator, ["z"], "y", attributes)]
    assert_agrees(graph(nodes, ["n", 5], {"w": random(8, 5, 7)}, opset), random(9, 6, 5))


def test_an_argmax_after_a_softmax_and_shapes_between() -> None:
    nodes: list[Any] = [
        ("Conv", ["x", "w"], "z", {}),
        ("Softmax", ["z"], "p", {"axis": 1}),
        ("Squeeze", ["p", "axes"], "q", {}),
        ("ArgMax", ["q"], "y", {"axis": 1, "keepdims": 0}),
    ]
    constants = {"w": random(8, 5, 2, 3, 3), "axes": np.array([2, 3])}
    assert_agrees(graph(nodes, ["n", 2, 3, 3], constants), random(9, 6, 2, 3, 3))

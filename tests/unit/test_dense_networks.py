"""Networks of dense matrices, tensors and activations by name; which way round matrices are, and where biases are added."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn

RNG = np.random.default_rng(20)
W1, W2 = (np.where(RNG.random(shape) < 0.5, RNG.normal(size=shape), 0).astype(np.float32) for shape in ((5, 7), (7, 3)))
B1, B2 = RNG.normal(size=7).astype(np.float32), RNG.normal(size=3).astype(np.float32)
X = RNG.normal(size=(6, 5)).astype(np.float32)


class Tensor:
    """An array as another library has it: no NumPy array, and with gradients until it is detached."""

    def __init__(self, array: np.ndarray, detached: bool = False) -> None:
        self._array, self._detached = array, detached
        self.ndim, self.shape = array.ndim, array.shape

    def detach(self) -> Tensor:
        return Tensor(self._array, True)

    def __len__(self) -> int:
        return len(self._array)

    def __dlpack__(self, **options: Any) -> Any:
        if not self._detached:
            raise BufferError("Can't export tensors that require gradient")
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class OnDevice(Tensor):
    def detach(self) -> Tensor:
        return self


def logits(network: sparsednn.Network, x: np.ndarray = X) -> np.ndarray:
    output = sparsednn.infer(network, x, threads=1, output=True).output
    assert output is not None
    return output.toarray()


def by_hand(hidden: Any = lambda z: np.maximum(z, 0)) -> np.ndarray:
    return hidden(X.astype(np.float64) @ W1 + B1) @ W2 + B2


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.coo_matrix, Tensor], ids=["ndarray", "csr", "coo", "tensor"])
@pytest.mark.parametrize("layout", ["in_out", "out_in"])
def test_dense_layers_have_a_relu_between_them_and_a_linear_end(kind: Any, layout: Any) -> None:
    matrices = [kind(w if layout == "in_out" else np.ascontiguousarray(w.T)) for w in (W1, W2)]
    biases = [Tensor(B1), B2] if kind is Tensor else [B1, B2]
    network = sparsednn.Network.from_dense(matrices, biases, layout=layout)
    np.testing.assert_allclose(logits(network), by_hand(), rtol=1e-5, atol=1e-6)


def test_float64_and_integer_matrices_become_float32() -> None:
    network = sparsednn.Network.from_dense([W1.astype(np.float64), np.arange(21).reshape(7, 3)])
    assert [layer.values.dtype for layer in network.layers] == [np.float32] * 2
    np.testing.assert_array_equal(network.layers[1].to_scipy().toarray(), np.arange(21).reshape(7, 3))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu6", lambda z: np.clip(z, 0, 6)),
        ("hardtanh", lambda z: np.clip(z, -1, 1)),
        ("identity", lambda z: z),
        ("clip(-0.5, 0.25)", lambda z: np.clip(z, -0.5, 0.25)),
        ("clip(-inf,2)", lambda z: np.minimum(z, 2)),
    ],
)
def test_activations_have_names(name: str, function: Any) -> None:
    network = sparsednn.Network([W1, W2], bias=[B1, B2], activation=[name, "identity"])
    np.testing.assert_allclose(logits(network), by_hand(function), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        pytest.param(0.5, "nonzero", id="one number"),
        pytest.param([0.5, 0.25], "nonzero", id="a number for each layer"),
        pytest.param([B1, B2], "all", id="arrays"),
        pytest.param([0.5, B2], "all", id="a number and an array"),
        pytest.param([Tensor(B1), Tensor(B2)], "all", id="tensors"),
    ],
)
def test_arrays_of_biases_are_added_everywhere(bias: Any, expected: str) -> None:
    assert sparsednn.Network([W1, W2], bias=bias).bias_on == expected
    assert sparsednn.Network([W1, W2], bias=bias, bias_on="nonzero").bias_on == "nonzero"


def test_a_bias_is_added_to_a_sum_of_zero() -> None:
    network = sparsednn.Network([np.zeros((5, 7), np.float32)], bias=[B1], activation="identity")
    np.testing.assert_array_equal(logits(network), np.tile(B1, (6, 1)))


@pytest.mark.parametrize(
    ("weights", "biases", "layout", "message"),
    [
        pytest.param(
            [W1.T, W2.T], [B1, B2], "in_out",
            r"layer 1: weights of shape \(7, 5\) have 5 outputs, but 7 biases, with layout='in_out'; .*layout='out_in'",
            id="the other layout, by biases",
        ),
        pytest.param(
            [W1, W2], None, "out_in",
            r"layer 2: .* \(7, 3\) have 3 inputs, but layer 1 has 5 outputs, with layout='out_in'; .*layout='in_out'",
            id="the other layout, by shapes",
        ),
        pytest.param([W1, W1], None, "in_out", r"layer 2: .* layout='in_out'$", id="neither layout"),
        pytest.param([np.eye(3), np.eye(3)], None, None, "every layer is square.*layout='out_in'", id="only squares"),
        pytest.param([W1, W2], [B1], None, "biases: 1 given for 2 layers", id="too few biases"),
        pytest.param([W1, W2], [B1, B2], "rows", "layout=rows: .*legal: in_out, out_in", id="an unknown layout"),
        pytest.param([W1[0], W2], None, None, r"layer 1: has shape \(7,\); a matrix of two dimensions", id="a vector"),
    ],
)  # fmt: skip
def test_matrices_the_wrong_way_round_are_named(weights: Any, biases: Any, layout: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sparsednn.Network.from_dense(weights, biases, layout=layout)
    assert "\n" not in str(caught.value)


def test_square_layers_are_taken_in_the_layout_that_is_said() -> None:
    w = RNG.normal(size=(5, 5)).astype(np.float32)
    for layout, expected in (("in_out", X @ w), ("out_in", X @ w.T)):
        network = sparsednn.Network.from_dense([w], layout=layout)  # type: ignore[arg-type]
        np.testing.assert_allclose(logits(network), expected, rtol=1e-5, atol=1e-6)


def test_a_tensor_elsewhere_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"layer 2: OnDevice cannot be read where it is .*require gradient.*\.cpu\(\)"):
        sparsednn.Network([W1, OnDevice(W2)])
    with pytest.raises(TypeError, match="biases=.*: a sequence with one a layer is needed"):
        sparsednn.Network.from_dense([W1], 0.5)  # type: ignore[arg-type]
    assert math.isinf(sparsednn.Network([W1], activation="relu").layers[0].activation.high)

"""Networks are validated when they are built, and hold their layers in canonical form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.network import Layer, RepeatedLayer

EYE = sp.csr_array(np.eye(3, dtype=np.float32))


def weights_with(value: float) -> sp.csr_array:
    """A weight at row 2, column 1 (from 0)."""
    return sp.csr_array((np.array([1.0, value]), (np.array([0, 2]), np.array([0, 1]))), shape=(3, 3))


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        pytest.param([], {}, "at least one layer", id="no layers"),
        pytest.param([EYE, EYE[:2]], {}, "layer 1 has 3 outputs but layer 2 has 2 inputs", id="the second has too few inputs"),
        pytest.param([EYE, EYE[:, :2], EYE], {}, "layer 2 has 2 outputs but layer 3 has 3 inputs", id="the second too narrow"),
        pytest.param([EYE, weights_with(math.nan)], {}, "layer 2: .*row 2, column 1 .from 0. is nan", id="a weight is NaN"),
        pytest.param([weights_with(-math.inf)], {}, "layer 1: .*row 2, column 1 .from 0. is -inf", id="a weight is infinite"),
        pytest.param([weights_with(1e39)], {}, "layer 1: .*row 2, column 1 .from 0. is inf", id="a weight is beyond float32"),
        pytest.param([EYE] * 2, {"bias": [0, [1, 2]]}, r"layer 2: bias has shape \(2,\), .*3 outputs", id="a bias too short"),
        pytest.param([EYE], {"bias": [np.zeros((1, 3))]}, r"layer 1: bias has shape \(1, 3\)", id="a bias of two dimensions"),
        pytest.param([EYE] * 2, {"bias": [0, [1, math.nan, 0]]}, "layer 2: bias holds NaN", id="a bias holds NaN"),
        pytest.param([EYE], {"bias": math.inf}, "layer 1: bias holds NaN or an infinite", id="a bias is infinite"),
        pytest.param([EYE] * 2, {"bias": [0.0] * 3}, "bias: 3 given for 2 layers", id="too many biases"),
        pytest.param([EYE] * 2, {"bias": np.zeros(1)}, "bias: 1 given for 2 layers", id="too few biases"),
        pytest.param([EYE] * 2, {"activation": [sparsednn.relu()]}, "activation: 1 given for 2", id="too few activations"),
        pytest.param([EYE], {"activation": "relu7"}, "layer 1: activation=relu7: did you mean relu", id="an unknown name"),
        pytest.param(
            [EYE], {"activation": "clip(0,a)"}, "layer 1: activation=clip.*numbers are needed", id="limits that are none"
        ),
        pytest.param([np.full((3, 3), math.nan)], {}, "layer 1: .*row 0, column 0 .from 0. is nan", id="a dense NaN"),
        pytest.param([EYE], {"bias_on": "zero"}, "bias_on='zero': legal are 'nonzero' and 'all'", id="an unknown bias rule"),
    ],
)
def test_networks_that_make_no_sense_are_refused(weights: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sparsednn.Network(weights, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        pytest.param([[[1.0]]], {}, "layer 1: weights must be a NumPy array, a tensor or a .*, not list", id="a list"),
        pytest.param(
            [EYE],
            {"activation": sparsednn.relu},
            "activation must be .*, with brackets, not the function relu",
            id="no brackets",
        ),
        pytest.param(
            [EYE], {"activation": [sparsednn.relu]}, "layer 1: activation must be .*with brackets", id="no brackets in a list"
        ),
        pytest.param(EYE, {}, r"weights: one matrix is given; .* Network\(\[matrix\]\)", id="one matrix"),
        pytest.param(np.eye(3), {}, r"weights: one matrix is given; .* Network\(\[matrix\]\)", id="one dense matrix"),
        pytest.param({1: EYE}, {}, "weights: a sequence with one matrix a layer is needed, not dict", id="a dict"),
        pytest.param("net", {}, "weights: a sequence .* is needed, not 'net'", id="a path"),
        pytest.param(None, {}, "weights: a sequence .* is needed, not None", id="nothing"),
        pytest.param([EYE * 1j], {}, "layer 1: complex .complex64.; real numbers are needed", id="complex weights"),
        pytest.param([EYE], {"bias": 1j}, "layer 1: bias: complex .complex128.", id="a complex bias"),
        pytest.param([EYE], {"bias": [np.ones(3) * 1j]}, "layer 1: bias: complex .complex128.", id="complex biases"),
        pytest.param([EYE], {"bias": {0: 1}}, "bias: give one for all layers, or .*, not dict", id="a dict of biases"),
        pytest.param([EYE], {"bias": [{0: 1}]}, "layer 1: bias: numbers are needed, not dict", id="a dict of a layer's biases"),
        pytest.param([EYE], {"bias": {0.5}}, "bias: give one for all layers, or .*, not set", id="a set of biases"),
        pytest.param([EYE], {"bias": "0.5"}, "layer 1: bias: numbers are needed, not str", id="a bias in text"),
        pytest.param([EYE], {"bias": [["0.5"] * 3]}, "layer 1: bias: holds <U3; numbers are needed", id="biases in text"),
        pytest.param([EYE], {"bias": None}, "bias: give one for all layers, or .*, not None", id="no bias"),
        pytest.param([EYE], {"bias": [[0, None, 1]]}, "layer 1: bias: holds object; numbers are needed", id="a hole"),
        pytest.param([EYE], {"bias": EYE}, "bias: give one for all layers, or .*, not csr_array", id="a sparse bias"),
        pytest.param(
            [EYE], {"bias": [EYE[0]]}, "layer 1: bias: a sparse matrix; give one number, or", id="a layer's sparse bias"
        ),
        pytest.param(
            [EYE], {"bias": np.ma.masked_equal([0.0], 0)}, "bias: give one for all .*not MaskedArray", id="masked biases"
        ),
        pytest.param(
            [EYE], {"bias": [np.ma.masked_equal([0, 1, 2], 1)]}, "layer 1: bias: a masked array, whose mask", id="masked"
        ),
        pytest.param([EYE] * 2, {"activation": [sparsednn.relu(), None]}, "layer 2: activation must be", id="no activation"),
        pytest.param([EYE], {"activation": [np.tanh]}, "layer 1: activation must be", id="a function for an activation"),
    ],
)
def test_things_of_the_wrong_type_are_refused(weights: Any, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        sparsednn.Network(weights, **options)


@pytest.mark.parametrize("maximum", [0, -1.0, -math.inf, 1e-60])
def test_a_clipped_relu_needs_a_maximum_above_zero(maximum: float) -> None:
    with pytest.raises(ValueError, match=rf"clipped_relu\(maximum={maximum}\): the maximum must be above 0"):
        sparsednn.clipped_relu(maximum)


@pytest.mark.parametrize(
    ("low", "high", "error", "message"),
    [
        pytest.param(math.nan, 1, ValueError, "low=nan: a number is needed", id="NaN below"),
        pytest.param(0, math.nan, ValueError, "high=nan: a number is needed", id="NaN above"),
        pytest.param(None, 1, TypeError, "low=None: a number is needed, not NoneType", id="nothing below"),
        pytest.param(0, None, TypeError, "high=None: a number is needed, not NoneType", id="nothing above"),
        pytest.param(0, "32", TypeError, "high='32': a number is needed, not str", id="text"),
        pytest.param(0, 1j, TypeError, "high=1j: a number is needed, not complex", id="a complex number"),
        pytest.param(0, True, TypeError, "high=True: a number is needed, not bool", id="a truth value"),
        pytest.param(0, np.ones(2), TypeError, "high=.*: a number is needed, not ndarray", id="an array"),
        pytest.param(1, 0.5, ValueError, "low=1.0, high=0.5: no finite number lies between them", id="the wrong way round"),
        pytest.param(math.inf, math.inf, ValueError, "low=inf, high=inf: no finite number", id="all at infinity"),
        pytest.param(-math.inf, -math.inf, ValueError, "low=-inf, high=-inf: no finite number", id="all at minus infinity"),
        pytest.param(0, 1e39, ValueError, "high=1e[+]39: beyond float32; use math.inf", id="a maximum beyond float32"),
    ],
)
def test_limits_that_make_no_activation_are_refused(low: Any, high: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"Activation\('mine'\): {message}"):
        sparsednn.Activation("mine", low, high)


def test_limits_of_numpy_are_kept_as_plain_numbers() -> None:
    """Records and hashes of networks name them."""
    activation = sparsednn.Activation("mine", np.float32(-0.5), np.array(2))
    assert activation == sparsednn.Activation("mine", -0.5, 2.0)
    assert (type(activation.low), type(activation.high)) == (float, float)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        pytest.param(sparsednn.relu(), [0, 0, 3, 100], id="relu"),
        pytest.param(sparsednn.clipped_relu(32), [0, 0, 3, 32], id="clipped relu"),
        pytest.param(sparsednn.identity(), [-2, 0, 3, 100], id="identity"),
    ],
)
def test_activations_clamp(activation: sparsednn.Activation, expected: list[float]) -> None:
    result = activation(np.array([-2, 0, 3, 100], np.float32))
    assert result.dtype == np.float32
    assert result.tolist() == expected


def canonical_layer(layer: Layer) -> tuple[list[int], list[int], list[float]]:
    return layer.indptr.tolist(), layer.indices.tolist(), layer.values.tolist()


DENSE = np.array([[0, 3, 0], [1, 0, 0], [2, 4, 0]], np.float32)
CANONICAL = ([0, 2, 4, 4], [1, 2, 0, 2], [1, 2, 3, 4])


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(sp.csc_array(DENSE), id="canonical"),
        pytest.param(sp.csr_array(DENSE), id="by row"),
        pytest.param(sp.csc_matrix(DENSE.astype(np.int64)), id="an old-style matrix of integers"),
        pytest.param(sp.csc_array(([1, 2, 0, 3, 4, 0], [1, 2, 0, 0, 2, 1], [0, 3, 5, 6])), id="explicit zeros"),
        pytest.param(sp.csc_array(([2, 1, 4, 3], [2, 1, 2, 0], [0, 2, 4, 4])), id="unsorted"),
        pytest.param(sp.csc_array(([0.5, 2, 0.5, 3, 1, 3], [1, 2, 1, 0, 2, 2], [0, 3, 6, 6])), id="duplicates"),
        pytest.param(sp.csc_array(([1, 2, 3, 4, 7, -7], [1, 2, 0, 2, 0, 0], [0, 2, 4, 6])), id="duplicates that cancel"),
    ],
)
def test_layers_are_brought_into_canonical_form(matrix: Any) -> None:
    layer = sparsednn.Network([matrix]).layers[0]
    assert canonical_layer(layer) == CANONICAL
    assert (layer.indptr.dtype, layer.indices.dtype, layer.values.dtype) == (np.int64, np.int32, np.float32)
    assert layer.nnz == 4


@pytest.mark.parametrize("make", [sp.csc_array, sp.csr_array, sp.coo_array, sp.lil_array, sp.dok_array, sp.bsr_array])
def test_to_scipy_gives_back_what_was_given(make: Any, rng: np.random.Generator) -> None:
    dense = np.where(rng.random((7, 5)) < 0.4, rng.normal(size=(7, 5)), 0).astype(np.float32)
    layer = sparsednn.Network([make(dense)]).layers[0]
    assert layer.to_scipy().format == "csc"
    assert layer.to_scipy().dtype == np.float32
    assert np.array_equal(layer.to_scipy().toarray(), dense)
    assert canonical_layer(sparsednn.Network([layer.to_scipy()]).layers[0]) == canonical_layer(layer)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.bool_])
@pytest.mark.parametrize("make", [sp.coo_array, sp.coo_matrix])
def test_duplicates_are_added_up_as_float32(make: Any, dtype: Any) -> None:
    """200 + 100 is 44 in eight bits, and True + True is True."""
    values = np.array([100, 100, 1], dtype)
    matrix = make((values, ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
    expected = [2.0, 1.0] if dtype is np.bool_ else [200.0, 1.0]
    assert sparsednn.Network([matrix]).layers[0].values.tolist() == expected
    assert sparsednn.infer(sparsednn.Network([sp.eye_array(2)]), matrix, output=True).output.diagonal().tolist() == expected


def test_sizes_are_those_of_the_layers() -> None:
    network = sparsednn.Network([sp.csr_array(np.ones((4, 3))), sp.csr_array(np.ones((3, 2)))])
    assert (network.n_inputs, network.n_outputs, network.nnz) == (4, 2, 18)
    assert network.challenge is None


def test_biases_and_activations_may_differ_from_layer_to_layer() -> None:
    activations = [sparsednn.relu(), sparsednn.identity()]
    network = sparsednn.Network([EYE, EYE], bias=[0.5, [1, 2, 3]], activation=activations)
    assert [layer.bias.tolist() for layer in network.layers] == [[0.5, 0.5, 0.5], [1, 2, 3]]
    assert [layer.activation for layer in network.layers] == activations


RELU, IDENTITY = sparsednn.relu(), sparsednn.identity()


@pytest.mark.parametrize(
    ("bias_on", "bias", "activations", "expected"),
    [
        pytest.param("nonzero", [1.0, 1.0, 1.0], [RELU] * 3, [True, True, True], id="the challenge's rule leaves zeros alone"),
        pytest.param("nonzero", [-1.0, 1.0, 1.0], [IDENTITY] * 3, [True, True, True], id="whatever the activation"),
        pytest.param("all", [0.0, 0.0, 0.0], [IDENTITY] * 3, [True, True, True], id="no bias"),
        pytest.param("all", [-1.0, -1.0, -1.0], [RELU] * 3, [True, True, True], id="a negative bias is cut off"),
        pytest.param("all", [-1.0, -1.0, -1.0], [IDENTITY] * 3, [False, False, False], id="a negative bias that is kept"),
        pytest.param("all", [1.0, 0.0, 0.0], [RELU] * 3, [False, True, True], id="the first layer revives"),
        pytest.param("all", [0.0, 1.0, 0.0], [RELU] * 3, [False, False, True], id="the second layer revives"),
        pytest.param("all", [0.0, 0.0, [0, 0, 1e-9]], [RELU] * 3, [False] * 3, id="one neuron of the last layer revives"),
    ],
)
def test_zero_rows_stay_zero_where_no_later_layer_revives_them(
    bias_on: Any, bias: Any, activations: Any, expected: list[bool]
) -> None:
    network = sparsednn.Network([EYE] * 3, bias=bias, bias_on=bias_on, activation=activations)
    assert network.zero_rows_stay_zero().tolist() == expected


@pytest.mark.parametrize("kind", ["csc", "csr"])
def test_building_a_network_does_not_change_the_matrices(kind: str) -> None:
    make = sp.csc_array if kind == "csc" else sp.csr_array
    arrays = (
        np.array([2, 1, 0, 3, 4, 4], np.float32), np.array([2, 1, 0, 0, 2, 2], np.int32), np.array([0, 3, 6, 6], np.int32)
    )  # fmt: skip
    matrix = make(arrays, shape=(3, 3))
    before = [a.copy() for a in (matrix.data, matrix.indices, matrix.indptr)]
    layer = sparsednn.Network([matrix], bias=[np.zeros(3, np.float32)]).layers[0]
    assert layer.nnz == 4
    for one, other in zip(before, (matrix.data, matrix.indices, matrix.indptr), strict=True):
        assert np.array_equal(one, other)


def test_later_changes_of_the_callers_arrays_do_not_reach_the_network() -> None:
    matrix, bias = sp.csc_array(np.eye(3, dtype=np.float32)), np.zeros(3, np.float32)
    layer = sparsednn.Network([matrix], bias=[bias]).layers[0]
    matrix.data[:], bias[:] = 7, np.nan
    assert layer.values.tolist() == [1, 1, 1]
    assert layer.bias.tolist() == [0, 0, 0]


def test_fingerprints_tell_networks_apart() -> None:
    networks = [
        sparsednn.Network([EYE]),
        sparsednn.Network([EYE, EYE]),
        sparsednn.Network([2 * EYE]),
        sparsednn.Network([EYE], bias=-1.0),
        sparsednn.Network([EYE], bias_on="all"),
        sparsednn.Network([EYE], activation=sparsednn.identity()),
        sparsednn.Network([weights_with(1.0)]),
    ]
    assert len({network.fingerprint() for network in networks}) == len(networks)
    assert sparsednn.Network([EYE.copy()]).fingerprint() == networks[0].fingerprint()


def test_fingerprints_of_repeated_layers_see_columns_weights_and_biases() -> None:
    layer = sparsednn.radixnet(1024, 120).layers[1]
    assert isinstance(layer, RepeatedLayer)
    changed = {
        "weight": np.float32(2),
        "constant_bias": np.float32(3),
        "column": layer.column[::-1],
        "columns": layer.columns[::-1],
    }
    layers = [layer, *(replace(layer, **{name: value}) for name, value in changed.items())]
    assert len({sparsednn.Network.from_layers([one]).fingerprint() for one in layers}) == len(layers)


def test_a_repeated_layer_has_the_arrays_of_the_expanded_one() -> None:
    layer = sparsednn.radixnet(1024, 120).layers[1]
    full = layer.expanded()
    assert isinstance(layer, RepeatedLayer)
    assert isinstance(full, Layer)
    for name in ("indptr", "indices", "values", "bias"):
        assert np.array_equal(getattr(layer, name), getattr(full, name))
        assert getattr(layer, name).dtype == getattr(full, name).dtype

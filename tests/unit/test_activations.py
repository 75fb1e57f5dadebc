"""Activations: what they make of numbers, held against the math library; what makes none; how they tell networks apart."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from backends.common.column_merging import MergedColumns, saturated_rows_stay
from backends.common.jit import kernel
from backends.common.kernels.activation import PER_NEURON, activate_own, activate_row
from sparsednn import Activation
from sparsednn.network.activation_tables import FUNCTIONS
from tests.conftest import JIT_DISABLED

INF = math.inf
EYE = sp.eye_array(3)


def sample() -> np.ndarray:
    """Numbers of every size and sign, close together where functions bend."""
    n = 60 if JIT_DISABLED else 20_000
    sizes = np.geomspace(1e-44, 3e38, n)
    return np.concatenate([np.linspace(-120, 120, 2 * n), sizes, -sizes, [0.0, -0.0, INF, -INF, math.nan]]).astype(np.float32)


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def _gelu(z: float) -> float:
    return z * math.erfc(-z / math.sqrt(2)) / 2


EXACT: dict[str, Callable[[float], float]] = {"sigmoid": _sigmoid, "tanh": math.tanh, "gelu": _gelu}


@pytest.mark.parametrize("name", EXACT)
def test_smooth_functions_are_those_of_double_precision_rounded(name: str) -> None:
    z = sample()[:-3]
    found = getattr(sparsednn, name)()(z)
    exact = np.array([EXACT[name](float(one)) for one in z])
    assert found.dtype == np.float32
    normal = np.abs(exact) > np.finfo(np.float32).tiny
    assert np.all(np.abs(found - exact)[normal] <= 6.1e-8 * np.abs(exact[normal]))
    assert np.all(np.abs(found - exact)[~normal] <= 3e-45)
    assert np.all(np.abs(found - exact)[np.abs(z) < 10] <= 1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_smooth_functions_have_limits_and_keep_nan(name: str) -> None:
    found = getattr(sparsednn, name)()(np.array([INF, -INF, 0, math.nan], np.float32))
    ends = {"sigmoid": [1, 0, 0.5], "tanh": [1, -1, 0], "gelu": [INF, 0, 0]}
    assert found[:3].tolist() == ends[name]
    assert math.isnan(found[3])


@kernel
def rows_activated(row, activations, at):
    """Activate a row, float32 (n,), in place."""
    activate_row(row, 0, row.shape[0], activations, at)


@kernel
def one_by_one(row, activations, at):
    """The same, number by number."""
    for i in range(row.shape[0]):
        row[i] = activate_own(row[i], activations, at)


@pytest.mark.parametrize("compute", [rows_activated, one_by_one], ids=["rows", "one by one"])
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_kernels_have_the_bits_of_the_library(compute: Callable[..., None]) -> None:
    activation = Activation.per_neuron(
        low=[-INF, 0.0, -1.0, -INF, -INF, -0.1, -INF], high=[INF, INF, 6.0, INF, 0.75, INF, INF],
        slope=[0.01, 1.0, 0.3, 1.0, 1.0, 1.0, -2.5],
        function=["none", "none", "none", "sigmoid", "tanh", "gelu", "none"],
    )  # fmt: skip
    table, z = activation.table(7), sample()
    whole = activation(np.repeat(z[:, np.newaxis], 7, axis=1))
    for neuron in range(7):
        row = z.copy()
        compute(row, table.reshape(-1), PER_NEURON * neuron)
        assert row.tobytes() == np.ascontiguousarray(whole[:, neuron]).tobytes(), neuron


@given(z=st.lists(st.floats(width=32, allow_nan=False), min_size=1), slope=st.floats(-4, 4, width=32))
def test_a_slope_is_multiplied_with_what_is_negative(z: list[float], slope: float) -> None:
    x = np.array(z, np.float32)
    with np.errstate(all="ignore"):
        expected = np.where(x < 0, np.float32(slope) * x, x)
    found = sparsednn.leaky_relu(slope)(x)
    assert np.array_equal(found, expected, equal_nan=True)
    assert not np.signbit(found[found == 0]).any()


def test_slopes_of_zero_and_one_are_relu_and_identity() -> None:
    x = np.array([-2, -0.5, 0, 3], np.float32)
    assert sparsednn.leaky_relu(0)(x).tolist() == sparsednn.relu()(x).tolist()
    assert sparsednn.leaky_relu(1)(x).tolist() == x.tolist()
    assert sparsednn.leaky_relu()(x).tolist() == [np.float32(-0.02), np.float32(-0.005), 0, 3]


def test_each_neuron_has_its_own() -> None:
    activation = Activation.per_neuron(
        low=[-INF, -1, -INF, 0], high=[INF, 1, INF, 6], slope=[0.5, 1, 1, 1], function=["none", "none", "tanh", "none"]
    )
    z = np.array([[-4, -4, -4, -4], [9, 9, 0, 9]], np.float32)
    assert activation(z).tolist() == [[-2, -1, np.float32(math.tanh(-4)), 0], [9, 1, 0, 6]]
    assert activation.taken(np.array([3, 1]))(z[:, [3, 1]]).tolist() == [[0, -1], [6, 1]]
    assert (activation.low, activation.high, activation.is_clamp) == (-INF, INF, False)
    assert Activation.per_neuron(low=[0, -2], high=[1, 3]).low == -2


def test_the_lowest_and_the_highest_limit_are_those_of_the_layer() -> None:
    """Simulated runs see by it what can be negative."""
    activation = Activation.per_neuron(low=[0.0, -2.0], high=[1.0, 3.0])
    assert (activation.low, activation.high) == (-2, 3)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        pytest.param({"low": [0, 1], "high": [1, 0.5]}, ValueError, r"neuron 1 \(from 0\) has low=1.0, high=0.5", id="limits"),
        pytest.param({"low": [0, math.nan]}, ValueError, "neuron 1 .*low=nan", id="NaN"),
        pytest.param({"high": [-INF, 1]}, ValueError, "neuron 0 .*high=-inf", id="all at minus infinity"),
        pytest.param({"slope": [1, INF]}, ValueError, "neuron 1 .*slope=inf", id="an infinite slope"),
        pytest.param(
            {"slope": [1, 0.5], "function": "tanh"}, ValueError, "neuron 1 .*slope=0.5, function=tanh", id="a slope and tanh"
        ),
        pytest.param({"high": [1, 1e39]}, ValueError, r"high: 1e\+39 is beyond float32; use math.inf", id="beyond float32"),
        pytest.param({"low": [0, 0], "high": [1, 1, 1]}, ValueError, r"shapes \(\), \(2,\), \(3,\), \(\)", id="lengths"),
        pytest.param({"low": [[0, 0]]}, ValueError, r"shapes \(\), \(1, 2\)", id="two axes"),
        pytest.param({}, ValueError, r"shapes \(\), \(\), \(\), \(\); give arrays of one length", id="no array"),
        pytest.param({"function": ["none", "tann"]}, ValueError, "function=tann: did you mean tanh", id="an unknown function"),
        pytest.param({"slope": [1j, 1]}, TypeError, "slope: complex", id="complex numbers"),
        pytest.param({"slope": ["a", "b"]}, TypeError, "slope: holds <U1", id="text"),
    ],
)
def test_neurons_that_make_no_activation_are_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"Activation\.per_neuron: .*{message}"):
        Activation.per_neuron(**given)


@pytest.mark.parametrize(
    ("slope", "function", "message"),
    [
        pytest.param(INF, "none", "slope=inf: must be finite", id="an infinite slope"),
        pytest.param(1e39, "none", "slope=1e[+]39: beyond float32", id="a slope beyond float32"),
        pytest.param(0.5, "tanh", "slope=0.5: must be finite, and 1 with a smooth function", id="a slope and tanh"),
        pytest.param(1.0, "relu", "function=relu.*legal: none, sigmoid, tanh, gelu", id="an unknown function"),
    ],
)
def test_slopes_and_functions_that_make_no_activation_are_refused(slope: float, function: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"Activation\('mine'\): {message}"):
        Activation("mine", 0, 1, slope, function)


def test_a_layer_refuses_activations_of_another_number_of_neurons() -> None:
    with pytest.raises(ValueError, match="layer 2: activation 'per_neuron' is given for 2 outputs; the layer has 3"):
        sparsednn.Network([EYE, EYE], activation=[sparsednn.relu(), Activation.per_neuron(low=[0, 1])])
    layer = sparsednn.radixnet(1024, 120).layers[0]
    with pytest.raises(ValueError, match="layer 1: activation 'per_neuron' is given for 1024 outputs; this layer stores repea"):
        sparsednn.Network.from_layers([replace(layer, activation=Activation.per_neuron(low=np.zeros(1024)))])


def different() -> list[Activation]:
    """Activations no two of which compute the same."""
    return [
        sparsednn.identity(), sparsednn.leaky_relu(0.5), sparsednn.leaky_relu(0.25), sparsednn.gelu(), sparsednn.sigmoid(),
        sparsednn.tanh(), *(Activation.per_neuron(low=[0, 0, -one]) for one in range(1, 9)),
        Activation.per_neuron(low=[0, -1, 0]), Activation.per_neuron(low=[0, 0, -1], slope=[1, 1, 0.5]),
        Activation.per_neuron(low=[0, 0, -1], function=["gelu", "none", "none"]),
    ]  # fmt: skip


def test_activations_and_the_fingerprints_of_their_networks_tell_them_apart() -> None:
    networks = [sparsednn.Network([EYE], activation=one) for one in different()]
    assert len({network.fingerprint() for network in networks}) == len(networks) == len(set(different()))
    for one, other in zip(different(), different(), strict=True):
        assert one == other
        assert hash(one) == hash(other)
        assert pickle.loads(pickle.dumps(one)) == other


def test_what_is_shown_is_short_and_names_what_is_not_usual() -> None:
    assert repr(sparsednn.relu()) == "Activation(name='relu', low=0.0, high=inf)"
    assert repr(sparsednn.leaky_relu(0.5)) == "Activation(name='leaky_relu', low=-inf, high=inf, slope=0.5)"
    assert repr(sparsednn.tanh()) == "Activation(name='tanh', low=-1.0, high=1.0, function='tanh')"
    assert repr(Activation.per_neuron(low=[0, 1])).endswith("low=0.0, high=inf, 2 neurons)")


def test_tables_cannot_be_changed_and_numbers_are_those_of_the_names() -> None:
    activation = Activation.per_neuron(function=list(FUNCTIONS))
    assert activation.table(len(FUNCTIONS))[:, 0].tolist() == list(range(len(FUNCTIONS)))
    for number, name in enumerate(FUNCTIONS):
        assert Activation("mine", 0, 1, function=name).table(2)[:, 0].tolist() == [number] * 2
    with pytest.raises(ValueError, match="read-only"):
        activation.table(4)[0] = 1


def test_an_activation_comes_back_from_its_table() -> None:
    for activation in different():
        again = Activation.of_table(activation.table(3), activation.name)
        z = np.linspace(-3, 3, 30, dtype=np.float32).reshape(10, 3)
        assert np.array_equal(again(z), activation(z))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(np.zeros((3, 3)), r"has shape \(3, 3\); \(n_outputs, 4\) is needed", id="columns"),
        pytest.param(np.zeros(4), r"has shape \(4,\)", id="one axis"),
        pytest.param([[4, 0, 1, 1]], "numbers of functions, 0 to 3", id="an unknown function"),
        pytest.param([[0.5, 0, 1, 1]], "numbers of functions, 0 to 3", id="half a function"),
        pytest.param([[0, 2, 1, 1]], r"neuron 0 \(from 0\) has low=2.0, high=1.0", id="limits"),
    ],
)
def test_tables_that_make_no_activation_are_refused(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Activation.of_table(np.array(table, np.float32))


def test_only_columns_with_equal_activations_are_merged() -> None:
    ones = sp.csr_array(np.ones((2, 6), np.float32))
    activation = Activation.per_neuron(low=[0, 0, 0, -1, -1, 0], slope=[1, 1, 0.5, 1, 1, 1], function=["none"] * 5 + ["gelu"])
    merged = MergedColumns(sparsednn.Network([ones], activation=activation))
    (layer,) = merged.layers()
    assert merged.last.tolist() == [0, 0, 1, 2, 2, 3]
    assert layer.activation == activation.taken(np.array([0, 2, 3, 5]))
    other_bias = sparsednn.Network([ones], bias=[[0, 1, 0, 0, 0, 0]], activation=activation)
    merged = MergedColumns(other_bias)
    assert [layer.n_outputs for layer in merged.layers()] == [5]


@pytest.mark.parametrize("last", [sparsednn.tanh(), Activation.per_neuron(high=[2.0] * 3), sparsednn.leaky_relu()])
def test_saturated_rows_stay_only_where_all_layers_after_are_clamps(last: Activation) -> None:
    clipped = sparsednn.clipped_relu(2)
    assert saturated_rows_stay(sparsednn.Network([EYE] * 3, activation=clipped)).tolist() == [False, True, True, True]
    assert not saturated_rows_stay(sparsednn.Network([EYE] * 3, activation=[clipped, clipped, last])).any()
    assert saturated_rows_stay(sparsednn.Network([EYE] * 3, activation=[last, clipped, clipped])).tolist() == [
        False, False, True, True,
    ]  # fmt: skip


def test_zero_rows_stay_zero_unless_one_neuron_makes_something_of_zero() -> None:
    stays, lifts = Activation.per_neuron(low=[-1, 0, 0]), Activation.per_neuron(function=["tanh", "gelu", "sigmoid"])
    network = sparsednn.Network([EYE] * 3, activation=[stays, lifts, stays])
    assert network.zero_outputs(1).tolist() == [0, 0, 0.5]
    assert network.zero_rows_stay_zero().tolist() == [False, False, True]

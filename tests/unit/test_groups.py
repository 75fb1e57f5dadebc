"""Outputs with the same inputs, computed in groups: how they are packed, and the bits of the naive oracle from their tiles."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sparsednn
from backends.common.jit import kernel
from backends.numba_cpu.dense.kernels import grouped, simd
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.plan import DensePlan
from backends.numba_cpu.layout.groups import column_groups
from backends.numba_cpu.layout.kernels.groups import GROUP, chain
from backends.numba_cpu.layout.neurons import ends_short
from backends.numba_cpu.plan import aligned_floats
from sparsednn.backend import KernelOptions
from tests import oracle
from tests.conftest import JIT_DISABLED
from tests.networks import ACTIVATIONS, LIFTING, Case

N_NEURONS, DEGREE = 130, 35
STRIDES = (16, 40, 136)


def patterned(rng: np.random.Generator, n: int, m: int, *, one_weight: bool, alone: float) -> NDArray[np.float32]:
    """Weights of which most columns have one of a few sets of inputs, and a share of them, `alone`, one of their own."""
    sets = rng.random((n, max(m // 40, 1))) < rng.choice([0.1, 0.4, 1.0])
    has = sets[:, rng.integers(0, sets.shape[1], m)]
    has = np.where(rng.random(m) < alone, rng.random((n, m)) < 0.3, has)
    values = np.full((n, m), 0.5) if one_weight else rng.normal(size=(n, m))
    return np.where(has, values, 0).astype(np.float32)


@st.composite
def grouped_cases(draw: st.DrawFn) -> Case:
    """Networks with groups in most layers, biases and activations of every kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(GROUP, 40 if JIT_DISABLED else 90), min_size=2, max_size=4))
    one_weight, alone = draw(st.booleans()), draw(st.sampled_from([0, 0.2]))
    weights = [patterned(rng, n, m, one_weight=one_weight, alone=alone) for n, m in pairwise(widths)]
    biases = {"none": [0.0], "minus zero": [-0.0, 0.25], "negative": [-0.3], "any": [-0.3, 0.0, -0.0, 0.5]}
    bias = [rng.choice(biases[draw(st.sampled_from([*biases]))], m).astype(np.float32) for m in widths[1:]]
    activations = [draw(ACTIVATIONS | LIFTING) for _ in weights]
    shape = draw(st.integers(1, 30)), widths[0]
    inputs = np.where(rng.random(shape) < 0.4, rng.normal(size=shape), 0).astype(np.float32)
    network = sparsednn.Network(
        [sp.csr_array(w) for w in weights], bias=bias, bias_on=draw(st.sampled_from(["nonzero", "all"])), activation=activations
    )
    return Case(network, sp.csr_array(inputs), weights, bias, [(a.low, a.high) for a in activations])


def outputs(case: Case, **options: Any) -> NDArray[np.float32]:
    result = sparsednn.infer(case.network, case.inputs, kernel="udc_csc", output=True, **options)
    assert result.output is not None
    return result.output.toarray()


@settings(max_examples=2 if JIT_DISABLED else 60)
@given(
    case=grouped_cases(), block_rows=st.sampled_from([8, 16, 24, 48]), rows=st.sampled_from(["none", "merge"]),
    columns=st.sampled_from(["none", "merge"]), threads=st.sampled_from([1, 3]), far=st.booleans(),
)  # fmt: skip
def test_groups_have_the_bits_of_the_naive_oracle(
    case: Case, block_rows: int, rows: str, columns: str, threads: int, far: bool
) -> None:
    expected = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, case.inputs.toarray())
    with pytest.MonkeyPatch.context() as patch:
        if far:
            patch.setattr("backends.numba_cpu.dense.memory.FAR_CACHES", 0)
        found = outputs(case, block_rows=block_rows, rows=rows, columns=columns, threads=threads, scheduler="model")
    np.testing.assert_array_equal(found + np.float32(0), expected + np.float32(0))


def plan(network: sparsednn.Network, **options: Any) -> DensePlan:
    return DensePlan(network, "udc_csc", KernelOptions("udc_csc", **options), 1)


@settings(max_examples=30)
@given(case=grouped_cases())
def test_each_connection_is_where_its_group_says(case: Case) -> None:
    for layer in case.network.layers:
        groups, full = column_groups(layer), layer.expanded()
        if groups is None:
            continue
        n_grouped, after = GROUP * groups.n_groups, groups.indptr[groups.n_groups]
        assert sorted(groups.order) == list(range(layer.n_outputs))
        for position, output in enumerate(groups.order):
            own = slice(full.indptr[output], full.indptr[output + 1])
            stored = position // GROUP if position < n_grouped else position - n_grouped + groups.n_groups
            at = np.arange(groups.indptr[stored], groups.indptr[stored + 1])
            assert groups.indices[at].tolist() == full.indices[own].tolist()
            if groups.one_weight:
                assert set(full.values[own]) <= set(groups.weights)
            else:
                weights_at = GROUP * at + position % GROUP if position < n_grouped else GROUP * after + at - after
                assert groups.weights[weights_at].tolist() == full.values[own].tolist()


def test_columns_without_company_are_packed_as_before() -> None:
    rng = np.random.default_rng(1)
    few = np.where(rng.random((60, 60)) < 0.2, rng.normal(size=(60, 60)), 0)
    assert column_groups(sparsednn.Network([sp.csc_array(few.astype(np.float32))]).layers[0]) is None
    merged, given_order = (plan(sparsednn.radixnet(1024, 6), **how) for how in ({"columns": "merge"}, {"order": "given"}))
    assert not merged.connections.n_groups.any()
    assert not given_order.connections.n_groups.any()
    assert plan(sparsednn.radixnet(1024, 6), columns="none").connections.n_groups.tolist() == [64] * 6


def test_groups_share_inputs_with_the_one_before() -> None:
    layer = sparsednn.radixnet(1024, 12).layers[8]
    groups = column_groups(layer)
    assert groups is not None
    inputs = [set(part) for part in np.split(groups.indices, groups.indptr[1:-1])]
    shared = [len(before & after) for before, after in pairwise(inputs)]
    assert sum(n == GROUP for n in shared) >= 0.8 * len(shared)


def test_a_chain_takes_the_first_that_is_left_where_none_shares_inputs() -> None:
    columns = [[0, 1], [4, 5], [1, 2], [5], [0, 1, 2]]
    starts = np.concatenate([[0], np.cumsum([len(column) for column in columns])])
    order = np.empty(len(columns), np.int64)
    chain(starts, np.concatenate(columns).astype(np.int32), 6, order)
    assert order.tolist() == [0, 4, 2, 1, 3]


@pytest.mark.parametrize(
    ("bias", "bias_always", "activation", "short"),
    [
        ([-0.3], False, sparsednn.clipped_relu(32.0), True),
        ([-0.3, 0.0, -0.0], False, sparsednn.relu(), True),
        ([-0.3, 0.2], False, sparsednn.clipped_relu(32.0), False),
        ([-0.3, 0.2, 0.0], True, sparsednn.clipped_relu(32.0), True),
        ([-0.3, -0.0], True, sparsednn.clipped_relu(32.0), False),
        ([0.0], False, sparsednn.identity(), True),
        ([-0.3], False, sparsednn.identity(), False),
        ([-0.3], False, sparsednn.Activation("ceiling", -1.0, -0.25), False),
        ([-0.3], True, sparsednn.Activation("ceiling", -1.0, -0.25), False),
    ],
)
def test_a_short_end_is_for_layers_where_it_gives_the_same_bits(
    bias: list[float], bias_always: bool, activation: sparsednn.Activation, short: bool
) -> None:
    network = sparsednn.Network([np.ones((2, len(bias)))], bias=[np.array(bias, np.float32)], activation=activation)
    assert ends_short(network.layers[0], bias_always=bias_always) is short


def test_a_short_end_does_not_follow_smooth_functions_which_may_turn_the_sign_of_what_is_no_number() -> None:
    clip, smooth = sparsednn.clipped_relu(32.0), sparsednn.sigmoid()
    network = sparsednn.Network([np.ones((2, 2))] * 4, bias=-0.5, activation=[clip, clip, smooth, clip])
    assert plan(network).neurons.short_end.tolist() == [True, True, False, False]


@pytest.mark.parametrize("order", ["given", "shared_inputs"])
def test_what_overflows_on_the_way_is_told(order: str) -> None:
    large = np.full((2, GROUP), 3e38, np.float32)
    large[1] *= -1
    network = sparsednn.Network([large, np.ones((GROUP, GROUP))], bias=-0.5, activation=sparsednn.clipped_relu(32.0))
    assert plan(network).neurons.short_end.all()
    case = Case(network, sp.csr_array(np.full((2, 2), 3, np.float32)), [], [], [])
    with pytest.raises(FloatingPointError, match="instance 1: .*overflowed"):
        outputs(case, order=order, columns="none")


def test_groups_come_back_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    rng = np.random.default_rng(3)
    weights = [patterned(rng, 70, 70, one_weight=False, alone=0.1) for _ in range(3)]
    network = sparsednn.Network([sp.csr_array(w) for w in weights], bias=-0.1)
    assert plan(network).connections.n_groups.all()
    x = rng.random((200, 70), np.float32)
    case = Case(network, sp.csr_array(x), weights, [-0.1] * 3, [(0, np.inf)] * 3)
    expected = outputs(case, order="given")
    np.testing.assert_array_equal(outputs(case, residency="stream", threads=1), expected)
    with sparsednn.compile(network, threads=1, batch_sizes=(200,)) as compiled:
        compiled.save(tmp_path / "saved")
    with sparsednn.load(tmp_path / "saved", threads=1) as loaded:
        result = loaded.infer(x, output=True)
        assert result.output is not None
        np.testing.assert_array_equal(result.output.toarray(), expected)


@kernel
def run_tile(
    x: Any, stride: Any, ids: Any, weights: Any, step: Any, y: Any, order: Any, biases: Any, always: Any, short: Any, past: Any
) -> None:
    low, high, nothing, count = np.float32(0), np.float32(9), np.int64(0), np.int64(ids.shape[0])
    for begin in range(0, stride, grouped.GROUP_LANES):
        lane = min(begin, stride - grouped.GROUP_LANES)
        for first in range(0, GROUP, grouped.TILE_COLUMNS):
            grouped.columns_of_block(
                x, stride, lane, ids, nothing, count, nothing, weights, nothing + first, step, y, order, nothing + first,
                biases, nothing, always, low, high, short, past,
            )  # fmt: skip
    grouped.finish_stores()


def tiles(
    stride: int, seed: int, *, one_weight: bool = False, always: bool = False, short: bool = False, past: bool = False
) -> tuple[NDArray[np.float32], ...]:
    """A group's outputs, in a block that holds -1 elsewhere, with what they were computed from."""
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(N_NEURONS, DEGREE, replace=False)).astype(np.uint16)
    order = rng.choice(N_NEURONS, GROUP, replace=False).astype(np.uint16)
    weights = np.full(GROUP, 1.25) if one_weight else rng.standard_normal(DEGREE * GROUP)
    biases = -rng.random(N_NEURONS, np.float32)
    x, y = (aligned_floats(n_slots(N_NEURONS) * stride) for _ in range(2))
    x[:], y[:] = np.where(rng.random(x.shape) < 0.3, 0, rng.standard_normal(x.shape) * 2), -1
    x.reshape(-1, stride)[:, 3::5] = 0
    step = np.int64(0 if one_weight else GROUP)
    run_tile(x, stride, ids, weights.astype(np.float32), step, y, order, biases, always, short, past)
    return y, x, ids, weights.astype(np.float32), order, biases


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize(("always", "short"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("one_weight", [False, True])
@pytest.mark.parametrize("stride", [16, 24, 40, 64, 128, 136])
def test_tiles_add_their_terms_in_order_and_round_each_product(
    stride: int, one_weight: bool, always: bool, short: bool, past: bool
) -> None:
    how = {"one_weight": one_weight, "always": always, "short": short, "past": past and stride % grouped.GROUP_LANES == 0}
    y, x, ids, weights, order, biases = tiles(stride, stride, **how)
    rows, expected = x.reshape(-1, stride), np.full((n_slots(N_NEURONS), stride), -1, np.float32)
    for column, j in enumerate(order.astype(int)):
        total = np.zeros(stride, np.float32)
        for k, i in enumerate(ids.astype(int)):
            total = total + rows[i + (i >> simd.SKEW_SHIFT)] * weights[column if one_weight else k * GROUP + column]
        end = np.where(total != 0, total + biases[j], biases[j] if always else np.float32(0))
        expected[j + (j >> simd.SKEW_SHIFT)] = np.clip(end, 0, 9)
    assert {0, 9} <= set(expected.ravel())
    np.testing.assert_array_equal(y.view(np.int32), expected.ravel().view(np.int32))


ON_AVX2 = """
from backends.numba_cpu.dense.kernels import grouped
from tests.unit.test_groups import STRIDES, tiles
assert (grouped.N_VECTORS, grouped.TILE_COLUMNS) == (2, 4)
print(*(tiles(stride, 7, short=short)[0].tobytes().hex() for stride in STRIDES for short in (False, True)))
"""


@pytest.mark.skipif(simd.WIDE == simd.LANES, reason="this processor has no AVX-512: its tiles are the narrow ones")
def test_a_processor_without_avx512_computes_the_same_bits() -> None:
    features = ",".join(
        "-" + feature[1:] if feature.startswith("+avx512") else feature for feature in simd.CPU_FEATURES.split(",")
    )
    done = subprocess.run(
        [sys.executable, "-c", ON_AVX2],
        env={**os.environ, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        tiles(stride, 7, short=short)[0].tobytes().hex() for stride in STRIDES for short in (False, True)
    ]

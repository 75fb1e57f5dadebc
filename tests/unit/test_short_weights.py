"""Weights of 16 bits: all of them become the float32 that they stand for, in NumPy and in compiled code."""

from __future__ import annotations

import struct
from typing import Any

import numba
import numpy as np
import pytest
import scipy.sparse as sp
from numba import types
from numba.extending import intrinsic

import sparsednn
from backends.common import short_weights
from backends.common.short_weights import as_float32, emit_float32, format_of, narrowed
from backends.numba_cpu.dense.kernels.layers import layer_on_block
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.simd import SKEW_SHIFT
from backends.numba_cpu.dense.kernels.slices import SLICES
from backends.numba_cpu.dense.kernels.widening import widen
from backends.numba_cpu.dense.plan import DensePlan
from sparsednn.backend import KernelOptions
from sparsednn.network.rounding import with_weights
from tests import oracle
from tests.conftest import JIT_DISABLED
from tests.rounded import rounded

ALL = np.arange(2**16, dtype=np.uint32).astype(np.uint16)
NEEDS_JIT = pytest.mark.skipif(JIT_DISABLED, reason="without the JIT there is no such code")


def numbers(weights: str) -> tuple[Any, np.ndarray]:
    """All finite numbers of a format: as they are stored, and as the struct module reads their bits."""
    if weights == "bfloat16":
        bits, pattern, byte = ALL, "<f", lambda b: struct.pack("<I", int(b) << 16)
    else:
        bits, pattern, byte = ALL, "<e", lambda b: struct.pack("<H", int(b))
    values = np.array([struct.unpack(pattern, byte(b))[0] for b in bits], np.float32)
    finite = np.isfinite(values)
    return bits[finite].view(short_weights.STORED[weights]), values[finite]


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_every_number_is_stored_and_read_again(weights: str) -> None:
    stored, values = numbers(weights)
    assert narrowed(values, weights).tobytes() == stored.tobytes()
    assert as_float32(stored).tobytes() == values.tobytes()
    assert format_of(stored) == weights
    assert format_of(values) == "float32"


def _widener(*, converts: bool) -> Any:
    @intrinsic
    def widened(typing_context: Any, weight: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit_float32(builder, args[0], signature.args[0], converts=converts)

        return types.float32(weight), codegen

    @numba.njit(cache=False)
    def widen_all(stored: Any, result: Any) -> None:
        for k in range(len(stored)):
            result[k] = widened(stored[k])

    return widen_all


@NEEDS_JIT
@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
@pytest.mark.parametrize("converts", {short_weights.CONVERTS, False})
def test_compiled_code_reads_every_number_with_and_without_an_instruction_for_it(weights: str, converts: bool) -> None:
    stored, values = numbers(weights)
    found = np.empty(len(values), np.float32)
    _widener(converts=converts)(stored, found)
    assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
@pytest.mark.parametrize(("apart", "count"), [(1, 37), (16, 5), (0, 4)])
def test_weights_are_widened_one_after_the_other_apart_or_one_several_times(weights: str, apart: int, count: int) -> None:
    stored, values = numbers(weights)
    begin, wide = 20_000, np.zeros((1, 40), np.float32)
    call = widen if JIT_DISABLED else numba.njit(lambda *args: widen(*args))
    call(stored, begin, apart, count, wide)
    expected = [values[begin + k * apart] for k in range(count)]
    assert wide[0].tobytes() == np.array([*expected, *[0] * (40 - count)], np.float32).tobytes()


@NEEDS_JIT
@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_a_slice_has_the_bits_of_one_with_the_same_weights_in_float32(lanes: int, rng: np.random.Generator) -> None:
    """One lane, several in a vector, and whole vectors, each of which reads weights in its own way."""
    n_inputs, count, same = 40, 9, 2
    slice_of_columns = SLICES[lanes]

    @numba.njit(cache=False)
    def call(memory: Any, y_at: Any, ids: Any, weights: Any, order: Any, bias: Any) -> None:
        low, high = np.float32(-2), np.float32(9)
        slice_of_columns(memory, 0, y_at, ids, weights, 0, same, count, order, bias, 0, True, low, high)

    ids = np.sort(rng.integers(0, n_inputs, (count, 16)), axis=0).astype(np.uint16)
    ids[:same] = np.arange(same)[:, None]
    ids = np.concatenate([ids.reshape(-1), np.zeros(64, np.uint16)])
    order, bias = rng.permutation(16).astype(np.int32), rng.normal(size=16).astype(np.float32)
    start = np.concatenate([rng.normal(size=n_inputs * lanes), np.zeros(17 * lanes)]).astype(np.float32)
    for weights in ("bfloat16", "float16"):
        stored, values = numbers(weights)
        chosen = rng.choice(np.flatnonzero(np.abs(values) < 4), len(ids))
        found, expected = start.copy(), start.copy()
        call(found, n_inputs * lanes, ids, stored[chosen], order, bias)
        call(expected, n_inputs * lanes, ids, values[chosen], order, bias)
        assert found.tobytes() == expected.tobytes()
        assert len(np.unique(found[n_inputs * lanes : -lanes])) > 10


@NEEDS_JIT
def test_a_layer_on_a_block_has_the_bits_of_the_rounded_one(rng: np.random.Generator) -> None:
    """Outputs that share their inputs by 16, and some that do not; as few instances as go one output at a time, and more."""
    there = np.repeat(rng.random((40, 5)) < 0.3, 16, axis=1)
    there = np.concatenate([there, rng.random((40, 9)) < 0.3], axis=1)
    matrix = np.where(there, rng.normal(size=there.shape), 0).astype(np.float32)
    options = KernelOptions("udc_csc", weights="bfloat16")
    network = with_weights(sparsednn.Network([sp.csc_array(matrix)], bias=0.1), "bfloat16")
    plan = DensePlan(network, "udc_csc", options, 1)
    assert plan.connections.n_groups.tolist() == [5]
    assert plan.connections.weights.dtype == np.uint16
    column = plan._column(0)

    @numba.njit(cache=False, error_model="numpy")
    def call(net: Any, conn: Any, x: Any, y: Any, stride: Any, column: Any, wide: Any) -> Any:
        return layer_on_block(net, conn, 0, x, y, stride, 0, net.widths[1], column, wide, False)

    for stride in (8, 24):
        x = rng.normal(size=(40, stride)).astype(np.float32)
        y = np.zeros((n_slots(matrix.shape[1]), stride), np.float32)
        n_connections = call(plan.neurons, plan.connections, x.reshape(-1), y.reshape(-1), stride, column, column.wide)
        expected = oracle.infer([rounded(matrix, "bfloat16")], [0.1], "nonzero", [(0.0, np.inf)], x.T)
        found = y[[j + (j >> SKEW_SHIFT) for j in range(matrix.shape[1])]].T
        assert (found + 0).tobytes() == (expected + 0).tobytes()
        assert n_connections == np.count_nonzero(matrix)

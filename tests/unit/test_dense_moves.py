"""Instances that go from one dense block to another, and inputs that come into one, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.common.jit import as_python, kernel
from backends.numba_cpu.dense.kernels import moves
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.simd import LANES

N_NEURONS = 70
"""More than 64, after which a row is left free."""

copy_instances, pack_instances = kernel(as_python(moves.copy_instances)), kernel(as_python(moves.pack_instances))
padded, slot = as_python(moves.padded), as_python(moves.slot)

ROWS = np.array([slot(j) for j in range(N_NEURONS)])


def block(stride: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(n_slots(N_NEURONS) * stride, np.float32)


@given(st.integers(2, 9), st.data())
def test_picked_instances_are_packed_in_their_order_and_the_padding_is_zero(n_vectors: int, data: st.DataObject) -> None:
    stride = n_vectors * LANES
    picked = sorted(data.draw(st.sets(st.integers(0, stride - 1), min_size=1, max_size=stride - LANES)))
    x, y, new_stride = block(stride, 0), block(stride, 1), padded(len(picked))
    x_ids, y_ids = 10 * np.arange(stride), np.full(stride, -1)
    lanes = np.random.default_rng(2).integers(-(1 << 31), 1 << 31, stride).astype(np.int32)  # whatever was left there
    vectors = np.zeros((2, n_vectors), np.int32)
    where = np.array(picked, np.int32)
    pack_instances(N_NEURONS, x, stride, x_ids, where, len(where), y, new_stride, y_ids, lanes, vectors)
    packed = y[: n_slots(N_NEURONS) * new_stride].reshape(-1, new_stride)[ROWS]
    np.testing.assert_array_equal(packed[:, : len(picked)], x.reshape(-1, stride)[ROWS][:, picked])
    assert not packed[:, len(picked) :].any()
    np.testing.assert_array_equal(y_ids[: len(picked)], x_ids[picked])
    np.testing.assert_array_equal(y[packed_end(new_stride) :], block(stride, 1)[packed_end(new_stride) :])


def packed_end(stride: int) -> int:
    """From here on, nothing may have been written: one vector at the most goes beyond a block."""
    return n_slots(N_NEURONS) * stride + LANES


@pytest.mark.parametrize(("count", "offset"), [(1, 0), (8, 0), (11, 5), (3, 21)])
def test_instances_are_copied_beside_others(count: int, offset: int) -> None:
    x, y, stride = block(16, 0), block(24, 1), 24
    y_ids: NDArray[Any] = np.full(24, -1)
    copy_instances(N_NEURONS, x, 16, np.arange(16), count, y, stride, y_ids, offset)
    expected = block(24, 1).reshape(-1, stride)
    expected[ROWS, offset : offset + count] = x.reshape(-1, 16)[ROWS, :count]
    np.testing.assert_array_equal(y.reshape(-1, stride), expected)
    np.testing.assert_array_equal(y_ids[offset : offset + count], np.arange(count))

"""Columns of dense blocks: the vector instructions of this processor against NumPy, and against narrower vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.common.jit import kernel
from backends.numba_cpu.dense.kernels import simd
from backends.numba_cpu.dense.kernels.moves import n_slots
from backends.numba_cpu.dense.kernels.simd import column_of_block, tile_width

N_NEURONS = 130
STRIDES = (8, 40, 136)

ON_AVX2 = """
from backends.numba_cpu.dense.kernels import simd
from tests.unit.test_simd import STRIDES, outputs
assert (simd.WIDE, simd.WIDEST_TILE) == (8, 64)
print(*(outputs(stride, 7, 35).tobytes().hex() for stride in STRIDES))
"""


@kernel
def run_column(x: Any, stride: Any, ids: Any, weights: Any, step: Any, y: Any, bias: Any, at_zero: Any) -> None:
    low, high, nothing, count = np.float32(0), np.float32(32), np.int64(0), np.int64(ids.shape[0])
    column_of_block(
        x,
        stride,
        tile_width(stride, simd.WIDEST_TILE),
        ids,
        nothing,
        nothing,
        count,
        weights,
        nothing,
        step,
        y,
        np.int64(1),
        bias,
        at_zero,
        low,
        high,
    )


def outputs(stride: int, seed: int, degree: int, *, one_weight: bool = False) -> NDArray[np.float32]:
    """One output of `degree` inputs for `stride` instances, in a block that holds -1 elsewhere."""
    ids, weights = connections(seed, degree, one_weight=one_weight)
    x, y = inputs(stride, seed), np.full(n_slots(N_NEURONS) * stride, -1, np.float32)
    run_column(x, stride, ids, weights, np.int64(not one_weight), y, np.float32(0.3), np.float32(0.1))
    return y


def connections(seed: int, degree: int, *, one_weight: bool) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.choice(N_NEURONS, degree, replace=False)).astype(np.uint16)
    return ids, rng.standard_normal(1 if one_weight else degree).astype(np.float32)


def inputs(stride: int, seed: int) -> NDArray[np.float32]:
    x = np.random.default_rng(seed + 1).standard_normal(n_slots(N_NEURONS) * stride).astype(np.float32) * 9
    return np.where(np.random.default_rng(seed + 2).random(x.shape) < 0.3, np.float32(0), x)


@pytest.mark.parametrize("one_weight", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 3, 8, 35])
@pytest.mark.parametrize("stride", [*range(8, 129, 8), 136, 200, 248, 384])
def test_columns_add_their_terms_in_order_and_round_each_product(stride: int, degree: int, one_weight: bool) -> None:
    seed = 10 * stride + degree
    ids, weights = connections(seed, degree, one_weight=one_weight)
    rows = inputs(stride, seed).reshape(-1, stride)
    total = np.zeros(stride, np.float32)
    for k, i in enumerate(ids):
        total = total + rows[i + (i >> simd.SKEW_SHIFT)] * weights[0 if one_weight else k]
    expected = np.full((n_slots(N_NEURONS), stride), -1, np.float32)
    expected[1] = np.clip(np.where(total != 0, total + np.float32(0.3), np.float32(0.1)), 0, 32)
    np.testing.assert_array_equal(
        outputs(stride, seed, degree, one_weight=one_weight).view(np.int32), expected.ravel().view(np.int32)
    )


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
    assert done.stdout.split() == [outputs(stride, 7, 35).tobytes().hex() for stride in STRIDES]

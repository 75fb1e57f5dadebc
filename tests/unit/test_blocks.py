"""Large batches go block by block: the same bits as at once, no copies of all, ties to the lowest, the right instance named."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.engine import blocks

SHAPE = (4, 5, 3)
N = 300


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "FLOATS_AT_ONCE", 1)
    monkeypatch.setattr(blocks, "UNIT", 32)


def network(n_inputs: int, n_outputs: int) -> sparsednn.Network:
    rng = np.random.default_rng(n_outputs)
    dense = np.where(rng.random((n_inputs, n_outputs)) < 0.4, rng.normal(size=(n_inputs, n_outputs)), 0)
    return sparsednn.Network.from_dense([dense.astype(np.float32)], [rng.normal(size=n_outputs)])


IMAGES = np.random.default_rng(5).integers(0, 256, (N, *SHAPE), dtype=np.uint8)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda x: x, id="uint8"),
        pytest.param(lambda x: x.astype(np.float32), id="float32"),
        pytest.param(lambda x: x.reshape(N, -1).astype(np.int64), id="flattened"),
        pytest.param(lambda x: np.asfortranarray(x), id="other strides"),
        pytest.param(lambda x: sp.coo_array(x.reshape(N, -1)), id="sparse"),
    ],
)
def test_scaled_blocks_have_the_bits_of_numpy_s_steps_in_float32(given: Callable[[Any], Any], threads: int) -> None:
    """One connection a neuron, so that outputs are the inputs, of which every bit is seen."""
    own = sparsednn.Network.from_dense([np.eye(60, dtype=np.float32)], layout="in_out")
    mean, std = np.array([0.1, 0.5, 0.3], np.float32), np.array([0.2, 0.7, 1.1], np.float32)
    model = sparsednn.Model(network=own, input_shape=(3, 4, 5)).with_preprocessing(
        scale=255, mean=[0.1, 0.5, 0.3], std=[0.2, 0.7, 1.1], layout="hwc"
    )
    expected = ((IMAGES.astype(np.float32) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).reshape(N, 60)
    with model.compile(threads=threads) as compiled:
        assert compiled.logits(given(IMAGES)).tobytes() == expected.tobytes()
        assert compiled.predict(given(IMAGES)).tolist() == expected.argmax(axis=1).tolist()
        assert compiled(given(IMAGES)[:0]).shape == (0, 60)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kernel", ["auto", "csc", "fast"])
def test_networks_select_block_by_block(kernel: str) -> None:
    x = IMAGES.reshape(N, 60)
    with sparsednn.compile(network(60, 25), threads=2, kernel=kernel) as compiled:
        activations = compiled(x.astype(np.float32))
        assert compiled(x).tobytes() == activations.tobytes()
        assert compiled.run(x, np.empty_like(activations)).tobytes() == activations.tobytes()
        order = np.argsort(-activations, axis=1, kind="stable")
        for k in (1, 5, 16, 17, 25):
            assert np.array_equal(compiled.top(x, k), order[:, :k])
        assert np.array_equal(compiled.top(sp.csr_array(x)), order[:, :5])
        assert np.array_equal(compiled.predict(x), order[:, 0])
        assert compiled.predict(x[7]) == order[7, 0]
        assert compiled.top(x[7], 3).tolist() == order[7, :3].tolist()


@pytest.mark.parametrize("n_outputs", [6, 40])
def test_of_equal_outputs_the_lower_comes_first(n_outputs: int) -> None:
    """Minus zero is zero; outputs 2 and 3 are the largest."""
    bias = np.zeros(n_outputs, np.float32)
    bias[[2, 3]], bias[1] = 2, -1
    own = sparsednn.Network.from_dense([np.zeros((4, n_outputs), np.float32)], [bias])
    expected = [2, 3, 0, *range(4, n_outputs), 1]
    with sparsednn.Model(network=own).compile(threads=1) as compiled:
        x = np.ones((3, 4), np.float32)
        assert compiled.top(x, n_outputs).tolist() == [expected] * 3
        assert compiled.top(x).tolist() == [expected[:5]] * 3
        assert compiled.predict(x).tolist() == [2] * 3
        with pytest.raises(ValueError, match=f"k={n_outputs + 1}: there are only {n_outputs} outputs"):
            compiled.top(x, n_outputs + 1)
        with pytest.raises(ValueError, match="k=0"):
            compiled.compiled.top(x, 0)


@pytest.mark.usefixtures("small_blocks")
def test_messages_name_the_instance_of_the_whole_batch() -> None:
    x = np.zeros((N, 60), np.float32)
    x[200, 3] = np.inf
    with sparsednn.Model(network=network(60, 5)).with_preprocessing(scale=2).compile(threads=1) as compiled:
        with pytest.raises(ValueError, match=r"instance 200, feature 3 \(from 0\) is inf"):
            compiled.predict(x)
        with pytest.raises(ValueError, match=r"instance 200, feature 3"):
            compiled.compiled.predict(x)
        with pytest.raises(ValueError, match=r"x has shape \(300, 59\)"):
            compiled.compiled.predict(x[:, 1:])
        with pytest.raises(TypeError, match="x holds float64"):
            compiled.predict(x.astype(np.float64))
        x[200, 3] = 3e38
        huge = sparsednn.Network.from_dense([np.full((60, 2), 3, np.float32)])
    with sparsednn.compile(huge, threads=1) as direct, pytest.raises(FloatingPointError, match=r"instance 200 \(from 0\)"):
        direct.predict(x)


def test_neither_all_outputs_nor_all_scaled_images_are_there_at_once() -> None:
    """Of 8,000 x 1,000 outputs (32 MB), and as many inputs in float32, a block of 2 MB each; a confusion matrix takes 8 MB."""
    images = np.random.default_rng(1).integers(0, 256, (8000, 1000), dtype=np.uint8)
    weights = sp.random_array((1000, 1000), density=0.001, rng=np.random.default_rng(2), dtype=np.float32)
    model = sparsednn.Model(network=sparsednn.Network([weights])).with_preprocessing(scale=255, mean=0.5)
    labels = np.zeros(8000, np.int64)
    with model.compile(threads=1) as compiled:
        compiled.predict(images[:1])
        for ask, most in ((compiled.predict, 8e6), (compiled.top, 8e6), (lambda x: compiled.accuracy(x, labels), 48e6)):
            tracemalloc.start()
            try:
                ask(images)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < most

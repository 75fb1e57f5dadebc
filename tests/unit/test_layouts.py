"""The layouts of a compiled network: packed when they are needed, or left out where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.errors import OptionError


def states(compiled: sparsednn.CompiledNetwork) -> dict[str, str]:
    return {layout.kernel: layout.state for layout in compiled.describe().layouts}


def test_layouts_are_packed_when_they_are_first_used_or_at_once_if_asked_for(challenge_network: sparsednn.Network) -> None:
    x = np.ones((1, 1024), np.float32)
    with sparsednn.compile(challenge_network) as compiled:
        assert states(compiled) == {"sliced": "not packed yet", "rowwise_first": "not packed yet"}
        compiled(x)
        assert states(compiled) == {"sliced": "packed", "rowwise_first": "not packed yet"}
        compiled.infer(np.ones((65, 1024), np.float32))
        assert states(compiled) == {"sliced": "packed", "rowwise_first": "packed"}
        assert all(layout.n_bytes for layout in compiled.describe().layouts)
    with sparsednn.compile(challenge_network, batch_sizes=[10**6]) as compiled:
        assert states(compiled) == {"sliced": "not packed yet", "rowwise_first": "packed"}
    with sparsednn.compile(challenge_network, batch_sizes=(64, 10**6)) as compiled:
        assert states(compiled) == {"sliced": "packed", "rowwise_first": "packed"}
    with sparsednn.compile(challenge_network, batch_sizes=[1], scheduler="model") as compiled:
        assert states(compiled) == {"rowwise_first": "packed"}
    with pytest.raises(OptionError, match="batch_sizes=0"):
        sparsednn.compile(challenge_network, batch_sizes=[1, 0])


def test_the_size_that_is_told_before_packing_is_that_of_the_layers(rng: np.random.Generator) -> None:
    weights = sp.csr_array(np.where(rng.random((300, 320)) < 0.5, 1.0, 0))
    with sparsednn.compile(sparsednn.Network([weights, weights.T]), columns="none") as compiled:
        assert compiled.describe().layouts[0].n_bytes == 6 * 2 * weights.nnz


def test_a_layout_that_does_not_fit_is_left_out_and_another_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million connections: direct calls need more than a megabyte at once, which has to be asked for."""
    large = sparsednn.Network([sp.csr_array(np.ones((400, 500), np.float32))] + [sp.csr_array(np.eye(500))] * 30)
    x = np.arange(800, dtype=np.float32).reshape(2, 400)
    expected = np.repeat(x.sum(axis=1, keepdims=True), 500, axis=1)  # whole numbers that float32 holds
    with sparsednn.compile(large, threads=1, block_rows=16, columns="none") as compiled:
        with monkeypatch.context() as patch:
            patch.setattr("sparsednn.system.memory.available_bytes", lambda: 0)
            assert np.array_equal(compiled(x), expected)
        assert states(compiled) == {"sliced": "left out", "rowwise_first": "packed"}
        assert "packing 215,000 connections for direct calls needs" in str(compiled.describe())
        assert compiled.describe().layouts[1].instances == "every batch, and infer()"
        assert np.array_equal(compiled(x), expected)


def test_direct_calls_take_what_others_have_no_memory_for(
    challenge_network: sparsednn.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = sparsednn.challenge_inputs(1024, instances=5).toarray()
    with sparsednn.compile(challenge_network) as compiled:
        expected = compiled(x)
    monkeypatch.setattr("sparsednn.engine.layouts.DIRECT_MULTIPLY_ADDS", 4 * challenge_network.nnz)
    with sparsednn.compile(challenge_network, batch_sizes=[1], columns="none", threads=4) as compiled:
        assert states(compiled) == {"sliced": "packed", "rowwise_first": "not packed yet"}
        assert compiled.describe().layouts[0].instances == "batches of up to 4 instances"
        monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 0)
        for _ in range(2):
            assert np.array_equal(compiled(x), expected)
        assert compiled.describe().layouts[0].instances == "every batch"
        assert "other kernels are left out: activations needs" in str(compiled.describe())

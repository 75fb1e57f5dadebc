"""Activations in DCSC: only columns with an entry are stored, and each can be found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.backend import Control, KernelOptions, Outcome, Team, load_backend
from tests.backends import same_bits

BACKEND: Any = load_backend("numba")


def sparse_network(width: int, rng: np.random.Generator) -> sparsednn.Network:
    """Three layers of few connections, half of whose weights and most of whose biases are negative."""
    weights = [sp.random_array((width, width), density=min(1, 4 / width), rng=rng, dtype=np.float32) for _ in range(3)]
    for matrix in weights:
        matrix.data = (matrix.data - np.float32(0.4)).astype(np.float32)
    return sparsednn.Network(weights, bias=[rng.random(width, np.float32) * np.float32(-0.1)] * 3)


def assert_indexed(work: Any, side: int, expected: sp.csr_array) -> None:
    """The stored columns are those of the matrix with an entry; bits and counts lead to each."""
    n_stored = int(work.state[6 + side])
    stored = work.columns[side, :n_stored].astype(np.int64)
    dense = expected.toarray()
    assert stored.tolist() == np.flatnonzero(dense.any(axis=0)).tolist()
    assert work.n_entries[side, :n_stored].tolist() == (dense[:, stored] != 0).sum(axis=0).tolist()
    bits = np.unpackbits(work.occupied[side].view(np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == stored.tolist()
    for slot, column in enumerate(stored):
        word = column // 64
        assert work.before[side, word] + bits[64 * word : column].sum() == slot


@pytest.mark.parametrize("width", [1, 63, 64, 65, 128, 200])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.3])
def test_only_columns_with_an_entry_are_stored(width: int, density: float) -> None:
    rng = np.random.default_rng(width)
    network = sparse_network(width, rng)
    inputs = sp.csr_array(sp.random_array((20, width), density=density, rng=rng, dtype=np.float32))
    plan = BACKEND.prepare(network, KernelOptions("dcsc", rows="none"), 1)
    group = BACKEND.open(plan, inputs, np.arange(20), 0, output=True)
    assert_indexed(group.work, 0, inputs)
    assert BACKEND.run(plan, group, Control.for_workers(1), Team.of((0,)), 0) == Outcome.THROUGH
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True).output
    assert expected is not None
    assert_indexed(group.work, 1, expected)  # after three layers
    assert same_bits(BACKEND.close(plan, group).output, expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_gaps_between_the_columns_of_a_team_are_closed(threads: int) -> None:
    rng = np.random.default_rng(threads)
    network = sparse_network(150, rng)
    inputs = sp.csr_array(sp.random_array((30, 150), density=0.05, rng=rng, dtype=np.float32))
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True)
    found = sparsednn.infer(network, inputs, kernel="dcsc", scheduler="model", threads=threads, output=True)
    csc = sparsednn.infer(network, inputs, kernel="csc", scheduler="model", threads=threads)
    assert same_bits(found.output, expected.output)
    assert found.record["performed_edges"] == csc.record["performed_edges"]
    assert not found.record["optimizations"]["full_columns"]

"""Compact storage, the order of computation, and what the system says of its caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.common.column_ordering import computing_order
from backends.numba_cpu.dense.plan import DensePlan
from backends.numba_cpu.layout.event_rows import pack_rows
from backends.numba_cpu.layout.packing import Connections, column_spans
from backends.numba_cpu.layout.sliced_network import packed
from sparsednn.backend import KernelOptions
from sparsednn.system.memory import USUAL_CACHE_BYTES, cache_bytes


def plan(network: sparsednn.Network, **options: str) -> DensePlan:
    return DensePlan(network, "udc_csc", KernelOptions("udc_csc", **options), 1)  # type: ignore[arg-type]


def random_layer(seed: int, shape: tuple[int, int] = (40, 40)) -> sp.csc_array:
    return sp.csc_array(sp.random_array(shape, density=0.2, rng=np.random.default_rng(seed), dtype=np.float32))


def test_the_challenge_takes_2_bytes_a_distinct_connection_and_one_weight() -> None:
    conn = plan(sparsednn.radixnet(1024, 120), columns="none").connections
    assert (conn.ids.dtype, conn.ids.size) == (np.uint16, 120 * 64 * 32 - repeated_ids(conn))
    assert conn.weights.tolist() == [0.0625] * 16
    assert (conn.degree == 32).all()
    assert conn.indptr.size == 0
    assert conn.column.size == 0
    assert (conn.n_groups == 64).all()  # 16 outputs for each stored column


def repeated_ids(conn: Connections) -> int:
    """Ids that several layers have in common."""
    return (len(conn.ids_at) - len(set(conn.ids_at.tolist()))) * 64 * 32


def test_equal_layers_are_stored_once() -> None:
    matrix = random_layer(1)
    one, three = (plan(sparsednn.Network([matrix] * n)).connections for n in (1, 3))
    assert (one.ids.size, one.weights.size, one.indptr.size) == (three.ids.size, three.weights.size, three.indptr.size)
    assert len(set(three.ids_at.tolist())) == 1


def test_columns_of_different_lengths_and_weights_are_where_the_spans_say() -> None:
    matrix = random_layer(2, (30, 50))
    for order in ("given", "shared_inputs"):
        packed = plan(sparsednn.Network([matrix]), columns="none", order=order)
        starts, counts = column_spans(packed.connections, 0, 50)
        for position, output in enumerate(packed.neurons.order):
            span = slice(starts[position], starts[position] + counts[position])
            column = slice(matrix.indptr[output], matrix.indptr[output + 1])
            assert packed.connections.ids[span].tolist() == matrix.indices[column].tolist()
            assert packed.connections.weights[span].tolist() == matrix.data[column].tolist()


@pytest.mark.parametrize(("width", "id_type"), [(65_535, np.uint16), (65_536, np.uint32), (70_000, np.uint32)])
def test_slices_and_rows_of_wide_layers_have_all_connections(width: int, id_type: type, rng: np.random.Generator) -> None:
    """Ids of more than 16 bits, where one more than the last neuron's needs them: that of padding."""
    wide = (rng.permutation(width)[:3000], rng.integers(0, 40, 3000))
    wide[0][0] = width - 1
    weights = rng.normal(size=3000).astype(np.float32)
    for shape, places in (((width, 40), wide), ((40, width), wide[::-1])):
        matrix = sp.csc_array((weights, places), shape=shape)
        network = sparsednn.Network([matrix])
        slices = packed(network, KernelOptions("auto", columns="none")).slices
        rows = pack_rows(network.layers, slices, 1)
        assert slices.ids.dtype == rows.targets.dtype == id_type
        found = sp.lil_array(shape, dtype=np.float32)
        for number, (start, n_terms, shift, _) in enumerate(slices.parts):
            for place in range(16 * n_terms):
                output, entry = slices.order[16 * number + place % 16], start + place
                if slices.weights[entry] != 0:
                    found[slices.ids[entry] + shift, output] = slices.weights[entry]
                else:
                    assert slices.ids[entry] == shape[0], "padding reads the zero after the last input"
        assert (found != matrix).nnz == 0
        inputs = np.repeat(np.arange(shape[0]), np.diff(rows.starts))
        by_rows = sp.csc_array((rows.weights, (inputs, slices.order[rows.targets])), shape=shape)
        assert (by_rows != matrix).nnz == 0


def test_columns_that_share_their_first_inputs_follow_each_other() -> None:
    matrix = np.zeros((8, 5), np.float32)
    for column, rows in enumerate([[2, 5], [0, 1], [2, 3], [], [0, 4]]):
        matrix[rows, column] = 1
    stored, order = computing_order(sparsednn.Network([sp.csc_array(matrix)]).layers[0], "shared_inputs")
    assert stored is order is not None
    assert stored.tolist() == [3, 1, 4, 2, 0]


def write_cache(root: Path, number: int, **values: str) -> None:
    folder = root / f"index{number}"
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / name).write_text(value + "\n")


def test_cache_sizes_come_from_the_system(tmp_path: Path) -> None:
    write_cache(tmp_path, 0, level="1", type="Data", size="48K")
    write_cache(tmp_path, 1, level="1", type="Instruction", size="64K")
    write_cache(tmp_path, 2, level="2", type="Unified", size="2M")
    write_cache(tmp_path, 3, level="3", type="Unified", size="4096")
    assert [cache_bytes(level, tmp_path) for level in (1, 2, 3)] == [48 * 2**10, 2 * 2**20, 4096]


@pytest.mark.parametrize("size", ["", "many", "K"])
def test_cache_sizes_that_cannot_be_understood_are_the_usual_ones(tmp_path: Path, size: str) -> None:
    write_cache(tmp_path, 0, level="2", type="Unified", size=size)
    assert [cache_bytes(level, tmp_path) for level in (1, 2, 3)] == list(USUAL_CACHE_BYTES.values())


def test_blocks_fit_in_half_of_the_second_level_cache_unless_columns_share_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.numba_cpu.dense.plan.cache_bytes", lambda level: 64 * 1024)
    narrow, wide = (sparsednn.Network([random_layer(3, (n, n))]) for n in (40, 200))
    assert (plan(narrow).block_rows, plan(wide).block_rows) == (128, 32)
    assert plan(sparsednn.radixnet(1024, 6), columns="none").block_rows == 128


@pytest.mark.parametrize(("l2_bytes", "tile", "rows"), [(2 << 20, 128, 256), (1 << 20, 128, 128), (2 << 20, 64, 128)])
def test_blocks_are_wider_on_processors_with_wide_vectors_and_much_cache(
    monkeypatch: pytest.MonkeyPatch, l2_bytes: int, tile: int, rows: int
) -> None:
    monkeypatch.setattr("backends.numba_cpu.dense.plan.cache_bytes", lambda level: l2_bytes)
    monkeypatch.setattr("backends.numba_cpu.dense.kernels.simd.WIDEST_TILE", tile)
    for columns in ("none", "merge"):
        assert plan(sparsednn.radixnet(1024, 6), columns=columns).block_rows == rows

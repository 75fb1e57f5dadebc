"""What the size of a row group does to its features: columns that are reached, and what caches have no room for."""

from __future__ import annotations

import numpy as np
import pytest

from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.features import Caches, occupied
from tests.unit.calibrations import calibration, kind
from tests.unit.test_cost import features, one_group


@pytest.mark.parametrize(("n_rows", "n_active"), [(1, 40), (3, 7), (20, 12), (400, 1)])
def test_so_many_columns_are_occupied_as_when_activations_are_drawn_at_random(n_rows: int, n_active: int) -> None:
    """`n_active` of 100 neurons in each row that is alive; as many rows are dead."""
    rng = np.random.default_rng(2)
    drawn = [np.unique([rng.permutation(100)[:n_active] for _ in range(n_rows)]).size / 100 for _ in range(200)]
    work = one_group([[n_active] * n_rows + [0] * n_rows] * 2, neurons=100)
    assert occupied(work) == pytest.approx([np.mean(drawn)], rel=0.03)
    assert features(work, kind("csc_csc")).layers["visit_s"] == pytest.approx(8 * occupied(work))


def test_what_is_beyond_caches_grows_with_the_row_group() -> None:
    """Accumulators of 8 bytes a row, entries of 6; a cache of half of them has every second one."""
    small, large = ([[2] * n_rows, [2] * n_rows] for n_rows in (10, 100))
    caches = Caches(400.0, 600.0, 1100.0)
    for kernel in (kind("csc_csc"), kind("dcsc_csc"), kind("csr_csr")):
        layers = features(one_group(small), kernel, caches).layers
        assert [layers[f"beyond_l{level}_s"].tolist() for level in (1, 2, 3)] == [[0], [0], [0]]
    by_columns = features(one_group(large), kind("csc_csc"), caches).layers  # 200 entries, 2 connections each
    assert by_columns["beyond_l1_s"] == pytest.approx([400 * (1 - 400 / 800)])
    assert by_columns["beyond_l2_s"] == pytest.approx([400 * (1 - 600 / 1200)])
    assert by_columns["beyond_l3_s"] == pytest.approx([400 * (1 - 1100 / 1200)])
    by_rows = features(one_group(large), kind("csr_csr"), caches).layers  # entries before and after, each once
    assert [float(by_rows[f"beyond_l{level}_s"][0]) for level in (1, 2)] == pytest.approx([0, 400 * (1 - 600 / 1200)])
    wide = features(one_group([[2] * 70_000] * 2), kind("csc_csc"), Caches(1e9, 560_000.0, 1e9)).layers
    assert wide["beyond_l2_s"] == pytest.approx([280_000 * (1 - 560_000 / (8 * 140_000))]), "ids of 4 bytes"


def test_a_row_of_a_large_group_costs_more() -> None:
    """Kernels of blocks take no more than a block at a time, whatever the row group."""
    model = CostModel(calibration(multiply_add_s=1.0, full_multiply_add_s=1.0, beyond_l1_s=0.5, l1_bytes=8000.0))
    for kernel, dearer in (("csc_csc", 1 + 0.5 * 0.9), ("csr_csr", 1.0), ("udc_csc", 1.0)):
        small, large = (
            float(model.costs([one_group([[2] * n_rows] * 2)], kind(kernel))[0].alone_s.sum()) / n_rows
            for n_rows in (800, 10_000)
        )
        assert large / small == pytest.approx(dearer), kernel

"""Counts of work, and the seconds that a cost model makes of them, worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from backends.reference import ScipyReferenceBackend
from sparsednn.backend import CostKind, KernelOptions, LayerSizes
from sparsednn.simulator.cost_model import CostModel, cost_kind
from sparsednn.simulator.features import Caches, Features
from sparsednn.simulator.features import features as features_of
from sparsednn.simulator.profile import measure_profile
from sparsednn.simulator.simulate import simulate
from sparsednn.simulator.work import GroupWork, WorkProfile
from tests.networks import Case, cases
from tests.unit.calibrations import calibration, kind


def profile(nonzeros: list[list[int]], connections: int = 8, neurons: int = 4, stay: bool = True) -> WorkProfile:
    n_layers = len(nonzeros) - 1
    every = np.ones(n_layers, np.int64)
    return WorkProfile(
        np.array(nonzeros, np.int32),
        neurons * every,
        neurons * every,
        connections * every,
        np.full(n_layers, stay),
        np.zeros(n_layers, np.bool_),
    )


ROOMY = Caches(1e15, 1e15, 1e15)


def features(work: GroupWork, kernel: CostKind, caches: Caches = ROOMY) -> Features:
    """On a machine whose caches have room for everything, unless others are given."""
    return features_of(work, kernel, caches)


SMALL = [[4, 0, 2, 3], [4, 0, 0, 1], [2, 0, 0, 4]]
"""Four instances through two layers: one is dead from the start, one dies in the first layer."""


def test_the_work_of_a_row_group() -> None:
    work = profile(SMALL).group_work(np.array([0, 1, 3]))
    assert work.n_rows == 3
    assert work.rows_alive.tolist() == [2, 2]
    assert work.nnz_in.tolist() == [7, 5]
    assert work.nnz_out.tolist() == [5, 6]
    assert work.rows_full.tolist() == [1, 1]
    assert work.least_nnz.tolist() == [3, 1]
    assert work.multiply_adds.tolist() == [14, 10]  # two connections for each input


def test_a_group_without_rows_or_with_dead_ones_has_no_work() -> None:
    for rows in ([], [1]):
        work = profile(SMALL).group_work(np.array(rows, np.int64))
        for counts in (work.rows_alive, work.nnz_in, work.nnz_out, work.least_nnz, work.multiply_adds):
            assert counts.tolist() == [0, 0]


def test_who_is_alive_at_the_end() -> None:
    assert profile(SMALL).categories().tolist() == [1, 4]


@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 40), n_groups=st.integers(1, 50), shuffle=st.booleans())
def test_many_groups_at_once_are_as_one_by_one(seed: int, n_rows: int, n_groups: int, shuffle: bool) -> None:
    rng = np.random.default_rng(seed)
    found = profile(rng.integers(0, 5, (4, n_rows)).tolist())
    order = rng.permutation(n_rows) if shuffle else np.arange(n_rows)
    groups = [np.sort(part) for part in np.split(order, np.sort(rng.integers(0, n_rows + 1, n_groups - 1)))]
    for work, rows in zip(found.partition_work(groups), groups, strict=True):
        counts = found.nonzeros[:-1, rows]
        assert work.n_rows == len(rows)
        assert work.rows_alive.tolist() == (counts > 0).sum(axis=1).tolist()
        assert work.nnz_in.tolist() == counts.sum(axis=1).tolist()
        assert work.nnz_out.tolist() == found.nonzeros[1:, rows].sum(axis=1).tolist()
        least = [min((n for n in layer if n > 0), default=0) for layer in counts.tolist()]
        assert work.least_nnz.tolist() == least


def test_multiply_adds_of_the_challenge_are_exact(small_network: sparsednn.Network, small_inputs: Any) -> None:
    """Every neuron has equally many outgoing connections, so that counts tell all."""
    work = measure_profile(small_network, small_inputs, cache=False).group_work(np.arange(9))
    record = sparsednn.infer(small_network, small_inputs, backend="scipy_reference", threads=1).record
    assert work.multiply_adds.sum() == record["performed_edges"]


@given(case=cases(most_rows=20))
def test_total_connections_bound_the_multiply_adds(case: Case) -> None:
    found = measure_profile(case.network, case.inputs, backend="scipy_reference", cache=False)
    work = found.group_work(np.arange(case.inputs.shape[0]))
    assert (work.multiply_adds <= work.n_rows * work.connections + 1e-6).all()


def one_group(counts: list[list[int]], stay: bool = True, **changes: int) -> GroupWork:
    found = profile(counts, stay=stay, **changes)
    return found.group_work(np.arange(found.n_instances))


def test_features_of_dense_blocks() -> None:
    """300 rows of which 200 are alive in the second layer: 3 and 2 blocks of 128."""
    work = one_group([[1] * 300, [1] * 200 + [0] * 100, [1] * 200 + [0] * 100])
    found = features(work, kind("udc_csc"))
    assert {name: counts.tolist() for name, counts in found.layers.items()} == {
        "layer_s": [3, 2],
        "column_s": [12, 8],
        "connection_s": [24, 16],
        "scan_s": [304 * 4, 200 * 4],
        "multiply_add_s": [304 * 8, 200 * 8],
    }
    assert found.group == {"open_s": 1, "load_s": 1200, "sum_s": 800}
    assert found.multiply_adds.tolist() == [300 * 8, 200 * 8]
    assert found.steps.tolist() == [3, 2]
    for kept in (kind("udc_csc", rows="none"), kind("udc_csc")):
        all_rows = features(one_group([[1] * 300, [0] * 300, [0] * 300], stay=not kept.prunes), kept)
        assert all_rows.layers["layer_s"].tolist() == [3, 3]  # the dead cannot be dropped
    assert features(work, kind("udc_csc", block_rows=16)).layers["layer_s"].tolist() == [19, 13]


def test_saturated_rows_are_retired_where_they_stay_so() -> None:
    counts = [[4] * 300, [4] * 200 + [2] * 100, [4] * 300]
    sizes = LayerSizes(*(np.array(values) for values in ([4, 2], [2, 4], [4, 8], [False, True])))
    merged = profile(counts).as_run(sizes).group_work(np.arange(300))
    found = features(merged, kind("udc_csc"))
    assert found.layers["multiply_add_s"].tolist() == [304 * 4, 104 * 8]  # whole vectors of 8
    by_rows = features(merged, kind("rowwise_first"))
    assert by_rows.layers["multiply_add_s"].tolist() == [0, 104 * 8]
    assert by_rows.group["load_s"] == 300 * 4 * 1 + 300 * 2  # each entry's connections, and each output


def test_features_of_sparse_columns() -> None:
    work = one_group([[4, 4, 0, 2], [4, 4, 0, 0], [4, 3, 0, 0]])
    found = features(work, kind("csc_csc"))
    assert {name: counts.tolist() for name, counts in found.layers.items()} == {
        "layer_s": [1, 1],
        "column_s": [4, 4],
        "connection_s": [8, 8],
        "visit_s": [8, 8],  # there is a row with all of them
        "scan_s": [16, 8],  # nothing is dropped before the first layer
        "multiply_add_s": [20 - 12, 0],
        "full_multiply_add_s": [12, 16],
        "entry_s": [8, 7],
        "beyond_l1_s": [0, 0],
        "beyond_l2_s": [0, 0],
        "beyond_l3_s": [0, 0],
    }
    assert found.columns.tolist() == [4, 4]
    assert features(work, kind("csr_csr")).columns.tolist() == [4, 2]  # rows
    assert features(work, kind("csc_csc", rows="none")).layers["scan_s"].tolist() == [16, 16]
    dead = features(one_group([[1], [0], [0]]), kind("csc_csc"))
    assert dead.layers["layer_s"].tolist() == [1, 0]


def seconds(kernel: CostKind, counts: list[list[int]], **values: Any) -> list[float]:
    (costs,) = CostModel(calibration(**values)).costs([one_group(counts)], kernel)
    return [float(x) for x in costs.alone_s]


def test_seconds_are_sums_of_features() -> None:
    counts = [[4, 4, 0, 2], [4, 4, 0, 0], [4, 3, 0, 0]]
    kernel = kind("csc_csc")
    assert seconds(kernel, counts, layer_s=1.0) == [1, 1]
    assert seconds(kernel, counts, multiply_add_s=2.0, full_multiply_add_s=1.0) == [8 * 2 + 12, 16]
    assert seconds(kernel, counts, scan_s=1.0, entry_s=0.5) == [16 + 4, 8 + 3.5]


def test_parameters_between_and_beyond_the_widths_of_a_table() -> None:
    table = {1024: 1.0, 4096: 3.0}
    model = CostModel(calibration(multiply_add_s=table, full_multiply_add_s=table))
    for neurons, rate in ((512, 1.0), (1024, 1.0), (2048, 2.0), (4096, 3.0), (65536, 3.0)):
        work = one_group([[1], [1]], connections=neurons, neurons=neurons)
        (costs,) = model.costs([work], kind("csc_csc"))
        assert costs.alone_s.tolist() == pytest.approx([rate])


def test_blocks_go_depth_first_so_that_a_groups_time_is_spread_evenly() -> None:
    work = one_group([[1] * 256, [1] * 100 + [0] * 156, [1] * 100 + [0] * 156])
    (costs,) = CostModel(calibration(layer_s=1.0, meetings=2.0, open_s=0.5)).costs([work], kind("udc_csc"))
    assert costs.alone_s.tolist() == [1.5, 1.5]  # 2 blocks, then 1
    assert costs.meetings.tolist() == [3, 3]
    assert costs.open_s == 0.5
    assert costs.step_work.tolist() == pytest.approx([(256 + 104) * 8 / 3] * 2)  # between two boundaries: a layer of a block


def test_opening_and_closing() -> None:
    (costs,) = CostModel(calibration(open_s=1.0, load_s=0.5, sum_s=2.0)).costs([one_group(SMALL)], kind("csr_csr"))
    assert costs.open_s == 1 + 0.5 * 9
    assert costs.close_s == 2 * 6


@pytest.mark.parametrize(
    ("options", "name"),
    [
        pytest.param(
            kind("csc_csc", rows="none", full_columns=False, empty_columns="walk"),
            "csc_csc/paper",
            id="nothing the paper lacks",
        ),
        pytest.param(kind("csc_csc", rows="none"), "csc_csc", id="one of two switches"),
        pytest.param(kind("csr_csr", rows="none", full_columns=False), "csr_csr", id="csr has no full columns"),
    ],
)
def test_which_parameters_a_kernel_has(options: CostKind, name: str) -> None:
    found = calibration()
    del found.content["kernels"][name]
    with pytest.raises(ValueError, match=rf"kernel={name}: .*test.json\); calibrate it first"):
        CostModel(found).require_calibrated(options)


class Profiling(ScipyReferenceBackend):
    """Somebody's backend, which counts work, and does not say what its kernels' costs depend on."""

    name = "theirs"
    cost_kind = None  # type: ignore[assignment]


def test_costs_of_kernels_that_nobody_describes_are_not_guessed(small_network: sparsednn.Network, small_inputs: Any) -> None:
    """The kernel has the name of one that is calibrated."""
    with pytest.raises(ValueError, match="kernel=csr_csr: backend=theirs does not say what its costs depend on"):
        cost_kind(Profiling(), KernelOptions("csr_csr"))
    with pytest.raises(ValueError, match="backend=theirs does not say"):
        simulate(small_network, small_inputs, backend=Profiling())
    measure_profile(small_network, small_inputs, backend=Profiling(), cache=False)


def test_a_backend_of_somebody_elses_is_simulated_by_what_it_says(small_network: sparsednn.Network, small_inputs: Any) -> None:
    """A kernel of a name that nobody knows, with the costs of another."""

    class Described(ScipyReferenceBackend):
        name = "theirs"
        kernels: Mapping[str, str] = {"auto": "new", "new": "new"}
        schedulers: Mapping[str, tuple[str, ...]] = {"new": ("data",)}

        def cost_kind(self, options: KernelOptions) -> CostKind:
            return CostKind("csc_csc", "columns", options.rows != "none")

    ours = simulate(small_network, small_inputs, kernel="csc", columns="none", rows="prune").record
    theirs = simulate(small_network, small_inputs, backend=Described()).record
    assert theirs["seconds"]["inference"] == ours["seconds"]["inference"]
    assert theirs["traffic"] == ours["traffic"]


def test_overheads() -> None:
    values = {"decision_s": 1.0, "wake_s": 2.0, "start_s": 3.0, "barrier_s": {2: 1.0, 8: 3.0}, "barrier_shared_core_s": 9.0}
    model = CostModel(calibration(**values))
    found = model.overheads(16, 16)
    assert (found.decision_s, found.wake_s, found.start_s) == (1, 2, 3)
    assert found.barrier_s[[0, 1, 2, 4, 8, 16]].tolist() == pytest.approx([0, 0, 1, 2, 3, 4])
    assert model.overheads(4, 2).barrier_s.tolist() == [0, 0, 9, 9, 9]


def test_slowdown_by_the_memory_bus_and_by_too_few_cores() -> None:
    model = CostModel(calibration(slowdown={2: 1.5, 4: 2.0}))
    kernel = kind("udc_csc")
    assert model.slowdown(kernel, 5, 8).tolist() == pytest.approx([1, 1, 1.5, 1.75, 2, 2.25])
    assert model.slowdown(kernel, 4, 2).tolist() == pytest.approx([1, 1, 1.5, 2.25, 3])
    assert model.slowdown(kernel, 2, 8, n_processes=2).tolist() == pytest.approx([1, 1.5, 2])


def test_the_cluster_around_it() -> None:
    values = {"network_latency_s": 1.0, "network_bytes_per_s": 100.0, "run_s": 2.0, "row_s": 0.5, "core_speed": 4.0}
    model = CostModel(calibration(**values))
    assert [model.gather_s(n, 200) for n in (1, 2, 16)] == [0, 1 + 2, 4 + 2]
    assert model.fixed_s(10) == 7
    assert model.core_speed == 4

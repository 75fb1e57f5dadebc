"""The estimate of traffic between memory and the last-level cache, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparsednn.results.spans import Span
from sparsednn.simulator.traffic import NONZERO_BYTES, estimate
from sparsednn.simulator.work import GroupCosts, GroupWork

LAYER, BEFORE, AFTER = 100, 10, 10
TWO_LAYERS = 2 * LAYER + 4 * BEFORE
"""A cache that holds two layers, and two buffers of each of two row groups."""


def work(n_layers: int, nnz: int = BEFORE) -> GroupWork:
    def all_(value: int) -> np.ndarray:
        return np.full(n_layers, value, np.int64)

    zeros = np.zeros(n_layers, np.bool_)
    return GroupWork(
        4, all_(4), all_(nnz), all_(nnz), all_(0), all_(0), all_(nnz).astype(float), all_(8), all_(8), all_(LAYER), zeros, zeros
    )  # fmt: skip


def costs(n_layers: int) -> GroupCosts:
    ones = np.ones(n_layers)
    return GroupCosts(0.0, 0.0, ones, 0.0, ones.astype(np.int64), ones, ones, ones)


def span(worker: int, group: int, start_s: float, stop_s: float, kind: str = "data", n_layers: int = 2) -> Span:
    return Span(0, worker, kind, start_s, stop_s, group, 0, n_layers, 1)


def memory_nonzeros(spans: list[Span], n_groups: int, llc_nonzeros: float, nnz: int = BEFORE) -> tuple[float, float]:
    n_layers = max(one.last_layer for one in spans)
    found = estimate(0, spans, [work(n_layers, nnz)] * n_groups, [costs(n_layers)] * n_groups, llc_nonzeros * NONZERO_BYTES)
    return found.memory_bytes / NONZERO_BYTES, found.touched_bytes / NONZERO_BYTES


def test_everything_comes_from_memory_once_where_all_of_it_fits() -> None:
    fetched, touched = memory_nonzeros([span(0, 0, 0, 2)], 1, 1e6)
    assert fetched == 2 * LAYER + 2 * BEFORE, "two layers, and two buffers that swap their roles"
    assert touched == 2 * (LAYER + BEFORE + AFTER)


def test_nothing_stays_in_a_cache_that_holds_none_of_it() -> None:
    fetched, touched = memory_nonzeros([span(0, 0, 0, 2)], 1, 5)
    assert fetched == touched


def test_two_row_groups_in_step_share_each_layer() -> None:
    in_step = [span(0, 0, 0, 3, n_layers=3), span(1, 1, 0, 3, n_layers=3)]
    fetched, _ = memory_nonzeros(in_step, 2, TWO_LAYERS)
    assert fetched == 3 * LAYER + 4 * BEFORE


def test_two_row_groups_one_after_the_other_load_each_layer_again_where_not_all_fit() -> None:
    apart = [span(0, 0, 0, 3, n_layers=3), span(1, 1, 3, 6, n_layers=3)]
    fetched, _ = memory_nonzeros(apart, 2, TWO_LAYERS)
    assert fetched == 6 * LAYER + 4 * BEFORE


def test_a_team_loads_a_layer_once_and_its_members_all_read_the_activations() -> None:
    team = [span(worker, 0, 0, 2, "team") for worker in range(3)]
    fetched, touched = memory_nonzeros(team, 1, 1e6)
    assert fetched == 2 * LAYER + 2 * BEFORE
    assert touched == 2 * (LAYER + 3 * BEFORE + AFTER)


def test_a_thing_larger_than_the_cache_pushes_out_everything() -> None:
    fetched, _ = memory_nonzeros([span(0, 0, 0, 2)], 1, LAYER - 1)
    assert fetched == 2 * (LAYER + BEFORE + AFTER)


def test_rows_that_have_died_touch_nothing() -> None:
    assert memory_nonzeros([span(0, 0, 0, 2)], 1, 1e6, nnz=0) == (0, 0)


def test_other_spans_do_not_count_and_nothing_done_is_nothing_touched() -> None:
    idle = Span(0, 0, "idle", 0, 1)
    found = estimate(3, [idle], [work(1)], [costs(1)], 1e6)
    assert (found.process, found.touched_bytes, found.memory_bytes, found.from_cache) == (3, 0, 0, 1.0)


@pytest.mark.parametrize("llc_nonzeros", [50, 150, 250, 1e5])
def test_a_larger_cache_never_needs_more(llc_nonzeros: float) -> None:
    spans = [span(0, 0, 0, 2), span(1, 1, 0.5, 3), span(2, 2, 1, 2)]
    assert memory_nonzeros(spans, 3, llc_nonzeros)[0] >= memory_nonzeros(spans, 3, 2 * llc_nonzeros)[0]

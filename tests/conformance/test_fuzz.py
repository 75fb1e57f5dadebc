"""All options of `infer` at once, drawn at random, against the naive oracle, which shares nothing with the package."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from tests import oracle
from tests.backends import ON_HOST, USABLE, agree, nearly_equal
from tests.networks import Case, cases

PLACES = [(name, kernel) for name in ("numba", "scipy_reference", ON_HOST) if name in USABLE for kernel in sorted(
    set(USABLE[name].kernels.values())
)]  # fmt: skip
STREAMED = ("rowwise_first", "udc_csc", "fused")
OPTIONS = {
    "threads": st.sampled_from([1, 2, 3, np.int64(2)]),
    "repeats": st.sampled_from([1, 2]),
    "rows": st.sampled_from(["none", "prune", "retire", "merge"]),
    "columns": st.sampled_from(["none", "merge"]),
    "order": st.sampled_from(["given", "shared_inputs"]),
    "full_columns": st.booleans(),
    "empty_columns": st.sampled_from(["walk", "skip"]),
    "block_rows": st.sampled_from([None, 1, 7, np.int64(16)]),
    "residency": st.sampled_from(["memory", "memory", "stream"]),
    "numa_domains": st.sampled_from([None, 1, 2]),
    "row_order": st.sampled_from(["given", "alive_first"]),
    "hashing": st.sampled_from(["none", "input", "layer", "both"]),
    "buckets": st.sampled_from([1, np.int32(2)]),
    "split": st.sampled_from(["even", "work"]),
    "rebalance_after": st.sampled_from([None, None, 1, 2, np.int64(3)]),
    "split_factor": st.sampled_from([1, 3, np.int16(8)]),
    "strategy": st.sampled_from(["earliest_first", "slower_first", "faster_first"]),
    "recruiting_ratio": st.sampled_from([0, 0.5, np.float32(0.3)]),
    "threshold": st.sampled_from([0, 4]),
    "minimum_work": st.sampled_from([0, 1, 50_000]),
    "trace": st.booleans(),
    "share_network": st.booleans(),
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Streamed layers of a thousand small networks are not left in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsednn.execution.options.cache_folder", lambda: tmp_path_factory.mktemp("layers"))
        yield


def check(case: Case, place: tuple[str, str], scheduler: str, options: dict[str, Any]) -> None:
    """Run it, and compare output, categories and bits with the oracle's."""
    name, kernel = place
    backend, chosen = USABLE[name], dict(options)
    legal = backend.schedulers[kernel]
    scheduler = scheduler if scheduler in legal else legal[0]
    if scheduler in ("global_work_stealing", "adaptive"):
        chosen["rebalance_after"] = None  # which is refused, since they balance by themselves
    if kernel not in STREAMED:
        chosen["residency"] = "memory"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sparsednn.infer(
            case.network, case.inputs, backend=backend, kernel=kernel, scheduler=scheduler, output=True, **chosen
        )
    y = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, case.inputs.toarray())
    expected = sp.csr_array(y)
    assert result.output is not None
    if chosen["hashing"] in ("layer", "both"):  # some kernels add up in the hashed order
        assert nearly_equal(result.output, expected)
    else:
        assert agree(name, kernel, result.output, expected)
        assert name == ON_HOST or result.categories.tolist() == oracle.categories(y)
    assert result.record["categories_count"] == len(result.categories)
    assert len(result.record["seconds"]["inference"]) == chosen["repeats"]


SCHEDULERS = st.sampled_from(sorted({name for place in PLACES for name in USABLE[place[0]].schedulers[place[1]]}))
SMALL = cases(widest=14, most_rows=12, most_layers=4)


@pytest.mark.parametrize("place", PLACES, ids="-".join)
@given(case=SMALL, scheduler=SCHEDULERS, options=st.fixed_dictionaries(OPTIONS))
def test_whatever_the_options_the_oracles_result_comes_out(
    place: tuple[str, str], case: Case, scheduler: str, options: dict[str, Any]
) -> None:
    check(case, place, scheduler, options)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", PLACES, ids="-".join)
@settings(max_examples=1500, derandomize=False)
@given(case=SMALL, scheduler=SCHEDULERS, options=st.fixed_dictionaries(OPTIONS))
def test_whatever_the_options_for_a_long_time(
    place: tuple[str, str], case: Case, scheduler: str, options: dict[str, Any]
) -> None:
    check(case, place, scheduler, options)

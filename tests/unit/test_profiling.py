"""Profiles of the work: every backend counts the same, and what is cached is checked before it is believed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from backends.numba_cpu.backend import NumbaBackend
from sparsednn.backend import Backend, KernelOptions, ProfilingBackend, load_backend
from sparsednn.simulator.profile import fingerprint, measure_profile
from sparsednn.simulator.simulate import simulate
from tests.networks import Case, cases


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    return tmp_path


@given(case=cases(), block_rows=st.sampled_from([None, 16]), data=st.data())
def test_the_compiled_profile_is_the_reference_profile(case: Case, block_rows: int | None, data: st.DataObject) -> None:
    n_rows = case.inputs.shape[0]
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n_rows - 1)))), np.int64)
    counts = []
    for name in ("numba", "scipy_reference"):
        backend = load_backend(name)
        assert isinstance(backend, ProfilingBackend)
        plan = backend.prepare(case.network, KernelOptions(block_rows=block_rows), 1)
        counts.append(backend.profile(plan, case.inputs, rows))
    assert counts[0].dtype == counts[1].dtype == np.int32
    assert counts[0].shape == (len(case.network.layers) + 1, len(rows))
    assert np.array_equal(counts[0], counts[1])


def test_more_rows_than_a_block_and_several_threads(small_network: sparsednn.Network, rng: np.random.Generator) -> None:
    inputs = sp.csr_array((rng.random((5000, 12)) < 0.4).astype(np.float32))
    compiled = measure_profile(small_network, inputs, 2, cache=False)
    reference = measure_profile(small_network, inputs, 1, "scipy_reference", cache=False)
    assert np.array_equal(compiled.nonzeros, reference.nonzeros)
    assert compiled.categories().tolist() == sparsednn.infer(small_network, inputs, threads=1).categories.tolist()


def test_profiles_need_sparse_layers_and_dense_blocks(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    backend = load_backend("numba")
    assert isinstance(backend, ProfilingBackend)
    for kernel in ("csc_csc", "udc_udc"):
        plan = backend.prepare(small_network, KernelOptions(kernel), 1)
        with pytest.raises(ValueError, match=f"kernel={kernel}: profiles are made with kernel=udc_csc"):
            backend.profile(plan, small_inputs, np.arange(2))


def test_a_backend_without_profiles_is_refused(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    class Plain:
        """All that a backend has to have."""

        name = "plain"

    for attribute in (
        "kernels",
        "schedulers",
        "same_bits",
        "own_threads",
        "plans_can_be_shared",
        "prepare",
        "warm_up",
        "open",
        "run",
        "close",
        "row_unit",
        "describe",
    ):
        setattr(Plain, attribute, {})
    plain = Plain()
    assert isinstance(plain, Backend)
    with pytest.raises(ValueError, match=r"backend=plain cannot make profiles; use backend=numba"):
        measure_profile(small_network, small_inputs, backend=plain)


def test_a_second_profile_is_read_from_the_cache(
    cache: Path, small_network: sparsednn.Network, small_inputs: sp.csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_profile(small_network, small_inputs)
    assert [path.name for path in cache.iterdir()] == [f"profile-{fingerprint(small_network, small_inputs)}.npz"]
    backend = load_backend("numba")

    def never(*_: object) -> None:
        raise AssertionError("the profile was measured again")

    monkeypatch.setattr(type(backend), "prepare", never)
    again = measure_profile(small_network, small_inputs, backend=backend)
    assert np.array_equal(first.nonzeros, again.nonzeros)
    assert again.nonzeros.dtype == np.int32


@pytest.mark.parametrize("damage", ["cut", "other shape", "other counts"])
def test_a_damaged_cache_is_measured_anew(
    cache: Path, small_network: sparsednn.Network, small_inputs: sp.csr_array, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    right = measure_profile(small_network, small_inputs)
    (path,) = cache.iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        wrong = right.nonzeros[:, :-1] if damage == "other shape" else right.nonzeros + 1
        np.savez_compressed(path, nonzeros=wrong.astype(np.uint16))
    with caplog.at_level(logging.WARNING):
        again = measure_profile(small_network, small_inputs)
    assert "measuring anew" in caplog.text
    assert np.array_equal(again.nonzeros, right.nonzeros)
    caplog.clear()
    measure_profile(small_network, small_inputs)
    assert not caplog.text  # it was repaired


def test_a_cache_that_cannot_be_written_is_no_failure(
    small_network: sparsednn.Network, small_inputs: sp.csr_array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert measure_profile(small_network, small_inputs).n_instances == 9
    assert "the profile is not cached" in caplog.text


def test_fingerprints_tell_networks_and_inputs_apart(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    def small(**changes: object) -> sparsednn.Network:
        return sparsednn.radixnet(12, 4, radices=(2, 3), dense_width=2, **{"bias": -0.1, "weight": 0.25, **changes})  # type: ignore[arg-type]

    assert fingerprint(small(), small_inputs) == fingerprint(small_network, small_inputs)
    others = [small(bias=-0.2), small(weight=0.5), small(seed=7), sparsednn.radixnet(1024, 120)]
    found = {fingerprint(network, small_inputs) for network in [small_network, *others]}
    found |= {fingerprint(small_network, changed) for changed in (2 * small_inputs, small_inputs[:5], small_inputs[::-1])}
    assert len(found) == 8


class _Counting(NumbaBackend):
    """Says how often it packs a network for a kernel."""

    def __init__(self) -> None:
        self.packed: list[str] = []

    def prepare(self, network: sparsednn.Network, options: KernelOptions, n_workers: int) -> Any:
        self.packed.append(options.rows)
        return super().prepare(network, options, n_workers)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("options", "n_plans"),
    [({}, 1), ({"hashing": "layer"}, 2), ({"rebalance_after": 2}, 3)],
    ids=["as given", "hashed", "two stages"],
)
def test_auto_runs_the_plan_by_which_it_has_chosen(
    small_network: sparsednn.Network, small_inputs: sp.csr_array, options: dict[str, Any], n_plans: int
) -> None:
    expected = sparsednn.infer(small_network, small_inputs, threads=2)
    measure_profile(small_network, small_inputs)  # cached from now on
    backend = _Counting()
    result = sparsednn.infer(small_network, small_inputs, backend, scheduler="auto", threads=2, **options)
    assert backend.packed == ["merge"] * n_plans
    assert np.array_equal(result.categories, expected.categories)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("scheduler", ["data", "auto"])
def test_a_simulated_run_packs_once(small_network: sparsednn.Network, small_inputs: sp.csr_array, scheduler: str) -> None:
    backend = _Counting()
    simulate(small_network, small_inputs, backend, scheduler=scheduler)
    assert backend.packed == ["prune", "merge"]  # to count the work, and to know the sizes of the layers
    simulate(small_network, small_inputs, backend, scheduler=scheduler)
    assert backend.packed == ["prune", "merge", "merge"]

"""Networks that end in logits are counted and simulated as they are run: counts and categories are those that scipy finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given

import sparsednn
from sparsednn.data import labelled
from sparsednn.simulator import profile
from sparsednn.simulator.cluster import Cluster
from sparsednn.simulator.profile import measure_profile
from sparsednn.simulator.simulate import simulate
from tests import oracle
from tests.networks import Case, cases

LIMITS = ((0.0, np.inf), (0.0, np.inf), (-np.inf, np.inf))


class Layers:
    """An MLP that ends in logits, as scipy runs it: relu behind all layers but the last, biases everywhere."""

    def __init__(self, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        shapes = ((30, 40), (40, 25), (25, 6))
        self.weights = [sp.random_array(shape, density=0.3, rng=rng, dtype=np.float32) for shape in shapes]
        for one in self.weights:
            one.data -= np.float32(0.5)
        self.biases = [rng.normal(0, 0.1, m).astype(np.float32) for _, m in shapes]
        self.inputs = sp.random_array((3000, 30), density=0.2, rng=rng, dtype=np.float32).tocsr()
        self.network = sparsednn.Network(self.weights, bias=self.biases, activation=["relu", "relu", "identity"])

    def activations(self) -> list[Any]:
        """Before each layer and after the last."""
        found = [self.inputs.toarray()]
        for weights, bias, (low, high) in zip(self.weights, self.biases, LIMITS, strict=True):
            found.append(np.clip(sp.csr_array(found[-1]) @ weights.tocsr() + bias, low, high))
        return found


def test_counts_of_a_classifier_are_those_of_scipy() -> None:
    layers = Layers()
    found = measure_profile(layers.network, layers.inputs, 2, cache=False)
    every = layers.activations()
    assert np.array_equal(found.nonzeros, [np.count_nonzero(y, axis=1) for y in every])
    last = every[-1].astype(np.float64).sum(axis=1)
    assert 500 < np.count_nonzero(last > 0) < 2500, "some are categories, and some are not"
    assert found.categories().tolist() == (np.flatnonzero(last > 0) + 1).tolist()
    alive = np.concatenate([np.flatnonzero(last > 0), np.flatnonzero(last <= 0)])
    work = found.group_work(alive[:100])
    assert work.nnz_in.tolist() == [np.count_nonzero(y[alive[:100]]) for y in every[:-1]]


@given(case=cases())
def test_categories_are_those_of_plain_loops(case: Case) -> None:
    y = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, case.inputs.toarray())
    for backend in ("numba", "scipy_reference"):
        assert measure_profile(case.network, case.inputs, 1, backend, cache=False).categories().tolist() == oracle.categories(y)


@pytest.mark.parametrize("order", ["given", "alive_first"])
def test_simulated_runs_find_what_real_ones_find(order: str) -> None:
    layers = Layers()
    expected = sparsednn.infer(layers.network, layers.inputs, threads=1)
    for scheduler in ("data", "auto", "adaptive"):
        found = simulate(layers.network, layers.inputs, scheduler=scheduler, cluster=Cluster(cores_per_node=2), row_order=order)
        assert np.array_equal(found.categories, expected.categories)
        assert found.record["categories_sha256"] == expected.record["categories_sha256"]


def test_a_trained_network_is_simulated_with_the_work_that_is_done() -> None:
    model = sparsednn.from_onnx(labelled.digits_network("mlp_90"))
    images, _ = labelled.digits_test()
    inputs = sp.csr_array(images)
    options: dict[str, Any] = {"kernel": "csc_csc", "columns": "none"}
    expected = sparsednn.infer(model.network, inputs, threads=1, output=True, **options)
    assert expected.output is not None
    assert expected.output.toarray().min() < 0
    counts = measure_profile(model.network, inputs, 1, cache=False).nonzeros
    assert np.array_equal(counts[0], np.count_nonzero(images, axis=1))
    assert np.array_equal(counts[-1], np.count_nonzero(expected.output.toarray(), axis=1))
    found = simulate(model.network, inputs, **options)
    assert np.array_equal(found.categories, expected.categories)
    assert found.record["performed_edges"] == pytest.approx(expected.record["performed_edges"], rel=0.1), "an estimate by means"


def test_categories_come_from_the_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    layers = Layers()
    first = measure_profile(layers.network, layers.inputs)
    monkeypatch.setattr(profile, "_count", lambda *_: pytest.fail("counted again"))
    again = measure_profile(layers.network, layers.inputs)
    assert again.positive is not None
    assert np.array_equal(again.nonzeros, first.nonzeros)
    assert np.array_equal(again.categories(), first.categories())


def test_counts_are_not_run_twice_where_they_tell_categories_or_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_sums", lambda *_: pytest.fail("run again"))
    layers = Layers()
    relu = sparsednn.Network(layers.weights, bias=layers.biases, activation="relu")
    assert measure_profile(relu, layers.inputs, cache=False).positive is None
    assert measure_profile(layers.network, layers.inputs, cache=False, categories=False).positive is None


def test_sums_that_are_not_finite_are_refused() -> None:
    network = sparsednn.Network([sp.csr_array([[3e38]])] * 2, activation="identity")
    with pytest.raises(FloatingPointError, match="instance 2: the last activations are not finite"):
        simulate(network, sp.csr_array(np.float32([[0], [3e38]])))

"""The benchmark on random networks checks what it measures, and says where it loses; a library is played by scipy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from experiments.config.resolve import Config, ConfigError
from experiments.figures.random_networks import ContestOutcome, draw, outcomes_of, verdicts
from experiments.records.read import read_points
from experiments.sweeps import random_contests
from experiments.sweeps.random_contests import OURS, Contest, WrongResultError, benchmark, check_values, measure_contest
from experiments.sweeps.random_networks import FAMILY, QUICK_FAMILY, RandomNetwork, uniform
from tests.experiments.made_up import made_up, write_all

SPEC = RandomNetwork((20, 30, 10), 0.3, n_instances=40)


@pytest.fixture
def as_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference in place of the libraries."""

    def load(name: str) -> None:
        if name != "scipy_reference":
            raise ImportError(f"backend={name} needs a package")

    monkeypatch.setattr(random_contests, "PEERS", ("scipy_reference", "torch"))
    monkeypatch.setattr(random_contests, "load_backend", load)


@pytest.mark.usefixtures("as_peers")
def test_every_contestant_is_run_as_often_as_asked(tmp_path: Path) -> None:
    random_contests.require_usable()
    done: list[tuple[int, int]] = []
    figures = benchmark(Config(threads=1, repeats=2), True, lambda *of: done.append(of))
    assert done == [(1, 2), (2, 2)]
    assert figures["failed"] == []
    assert figures["left_out"] == ["torch is left out: backend=torch needs a package"]
    assert [contest["name"] for contest in figures["contests"]] == [spec.name for spec in QUICK_FAMILY]
    for contest in figures["contests"]:
        assert {name: len(seconds) for name, seconds in contest["seconds"].items()} == dict.fromkeys(
            ["numba", "all columns", "scipy_reference"], 2
        )
        assert contest["instances"] == 256
    record = made_up("benchmark", "random_networks", figure="random_networks", random_networks=figures)
    drawing = draw(read_points("random_networks", [write_all(tmp_path, [record])]))
    assert drawing.data["network"].tolist() == [name for spec in QUICK_FAMILY for name in [spec.name] * 3]
    assert drawing.data["ratio"].notna().tolist() == [True, True, False] * 2
    assert set(drawing.data["best_library"].dropna()) == {"scipy_reference"}


@pytest.mark.usefixtures("as_peers")
def test_a_wrong_result_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(contest: Contest, contestants: Any) -> None:
        if contest.name == QUICK_FAMILY[0].name:
            raise WrongResultError("made up")

    monkeypatch.setattr(random_contests, "check_values", check)
    figures = benchmark(Config(threads=1, repeats=1), True, lambda done, total: None)
    assert figures["failed"] == ["made up"]
    assert [contest["name"] for contest in figures["contests"]] == [QUICK_FAMILY[1].name]


def test_without_any_library_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_contests, "PEERS", ())
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[peers\]'"):
        random_contests.require_usable()


def contest() -> Contest:
    return Contest("small", SPEC.network(), SPEC.inputs(40))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param("all columns", "small: all columns has not the reference's bits", id="ours: the last bit"),
        pytest.param("scipy_reference", "small: scipy_reference differs from the reference", id="a peer: more than rounding"),
    ],
)
def test_wrong_values_are_found(changed: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true_output = random_contests._output

    def output(contest: Contest, inputs: sp.csr_array, options: dict[str, Any]) -> np.ndarray:
        found = true_output(contest, inputs, options)
        if options == contestants[changed]:
            found[3, 5] = np.nextafter(found[3, 5], np.inf, dtype=np.float32) if changed in OURS else found[3, 5] + 0.01
        return found

    contestants = OURS | {"scipy_reference": {"backend": "scipy_reference"}}
    check_values(contest(), contestants)
    monkeypatch.setattr(random_contests, "_output", output)
    with pytest.raises(WrongResultError, match=message):
        check_values(contest(), contestants)


def test_other_categories_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true_infer = sparsednn.infer

    def infer(*args: Any, **options: Any) -> sparsednn.Result:
        result = true_infer(*args, **options)
        if options.get("columns") == "none":
            return replace(result, categories=result.categories[1:])
        return result

    monkeypatch.setattr(random_contests, "check_values", lambda contest, contestants: None)
    monkeypatch.setattr(sparsednn, "infer", infer)
    with pytest.raises(WrongResultError, match="small: all columns has other categories than numba"):
        measure_contest(contest(), OURS, rounds=1)


def outcome(**seconds: Sequence[float]) -> ContestOutcome:
    of = {name.replace("_", " "): times for name, times in seconds.items()}
    return ContestOutcome("small", 8, ("numba", "all columns"), of, dict.fromkeys(of, 6))


def test_where_ours_is_slower_is_said() -> None:
    slow = outcome(numba=[2.0, 2.0, 2.0], all_columns=[0.5, 1.1, 1.2], mkl=[1.0, 1.0, 1.0], torch=[9.0, 9.0, 9.0])
    assert slow.best_peer() == "mkl"
    assert slow.ratio("numba") == (0.5, 0.5, 0.5)
    assert slow.rate("numba") == 3
    assert verdicts([slow]) == [
        "small, 8 instances: numba is slower than mkl: 0.50 (0.50 to 0.50) times as fast",
        "small, 8 instances: all columns is perhaps slower than mkl: 0.91 (0.83 to 2.00) times as fast",
    ]
    fast = outcome(numba=[1.0, 1.0], all_columns=[1.0, 1.0], mkl=[3.0, 2.0])
    assert verdicts([fast]) == ["Nowhere is numba slower than the best library (1 networks)."]


def one_run(name: str = "small", peer: str = "mkl") -> dict[str, Any]:
    seconds = {"numba": [1.0], peer: [2.0]}
    contest = {"name": name, "instances": 8, "seconds": seconds, "performed_edges": dict.fromkeys(seconds, 6)}
    return {"ours": ["numba"], "contests": [contest]}


def test_runs_are_taken_together_if_they_are_of_the_same_networks_and_libraries() -> None:
    [found] = outcomes_of([one_run(), one_run()])
    assert found.seconds == {"numba": [1.0, 1.0], "mkl": [2.0, 2.0]}
    for other, message in ((one_run("large"), "different networks"), (one_run(peer="torch"), "different libraries")):
        with pytest.raises(ValueError, match=message):
            outcomes_of([one_run(), other])


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    points = read_points("random_networks", [write_all(tmp_path, [made_up("a", "b", figure="random_networks")])])
    with pytest.raises(ConfigError, match="its records hold no random_networks"):
        draw(points)


def test_random_networks_are_what_they_are_asked_to_be() -> None:
    spec = RandomNetwork((100, 50, 200), 0.2, input_density=0.3, bias_on="nonzero", maximum=1.0)
    network, inputs = spec.network(), spec.inputs(64)
    assert [layer.to_scipy().shape for layer in network.layers] == list(pairwise(spec.widths))
    assert 0.18 < network.nnz / (100 * 50 + 50 * 200) < 0.22
    assert len(np.unique(network.layers[1].values)) > 0.99 * network.layers[1].nnz, "unequal weights"
    assert len(np.unique(network.layers[1].bias)) == 200
    assert network.bias_on == "nonzero"
    assert network.layers[0].activation == sparsednn.clipped_relu(1.0)
    assert inputs.shape == (64, 100)
    assert 0.27 < inputs.nnz / 6400 < 0.33
    assert (spec.network().layers[1].to_scipy() != network.layers[1].to_scipy()).nnz == 0, "the same from the same seed"
    assert (spec.network(seed=1).layers[1].to_scipy() != network.layers[1].to_scipy()).nnz > 0


def test_activations_of_random_networks_neither_die_out_nor_grow() -> None:
    spec = RandomNetwork(uniform(200, 12), 0.1)
    output = sparsednn.infer(spec.network(), spec.inputs(30), backend="scipy_reference", output=True).output
    assert output is not None
    assert 0.05 < np.abs(output.toarray()).mean() < 20
    assert output.nnz > 0.1 * 30 * 200


def test_names_of_random_networks_tell_them_apart() -> None:
    assert len({(spec.name, spec.n_instances) for spec in FAMILY}) == len(FAMILY)
    assert RandomNetwork((300, 1024, 300), 0.1).name == "300-1024 x 2, 10%, relu, bias all, input 50%"

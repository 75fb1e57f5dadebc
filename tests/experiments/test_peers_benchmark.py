"""The comparison with other libraries checks what it measures, and says where it loses; a library is played by scipy."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from experiments import peers
from experiments.peers import Contest, Outcome, measured, verdicts
from experiments.sweeps.random_networks import FAMILY, QUICK_FAMILY, RandomNetwork, uniform

SPEC = RandomNetwork((20, 30, 10), 0.3, n_instances=40)


@pytest.fixture
def as_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference in place of the libraries."""

    def load(name: str) -> None:
        if name != "scipy_reference":
            raise ImportError(f"backend={name} needs a package")

    monkeypatch.setattr(peers, "PEERS", ("scipy_reference", "torch"))
    monkeypatch.setattr(peers, "load_backend", load)


@pytest.mark.usefixtures("as_peers")
def test_every_contestant_is_run_as_often_as_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "peers.json"
    assert peers.main(["--quick", "--rounds", "2", "--instances", "20", "--work", "1e5", "--json", str(file)]) == 0
    written = json.loads(file.read_text())["contests"]
    assert [contest["name"] for contest in written] == ["challenge 1024 x 120", *(spec.name for spec in QUICK_FAMILY)]
    for contest in written:
        assert {name: len(seconds) for name, seconds in contest["seconds"].items()} == dict.fromkeys(
            ["numba", "all columns", "scipy_reference"], 2
        )
        assert contest["best_peer"] == "scipy_reference"
        assert contest["ratios"].keys() == {"numba", "all columns"}
        assert contest["records"]["all columns"]["optimizations"]["columns"] == "none"
    assert written[0]["records"]["numba"]["instances"] == 20
    shown = capsys.readouterr().out
    assert "torch is left out: backend=torch needs a package" in shown
    assert QUICK_FAMILY[0].name in shown


@pytest.mark.usefixtures("as_peers")
def test_without_any_library_there_is_nothing_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(["--quick", "--peers", "torch"]) == 1
    assert "pip install -e '.[peers]'" in capsys.readouterr().err


def contest() -> Contest:
    return Contest("small", SPEC.network(), SPEC.inputs(40), repeats=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param("all columns", "small: all columns has not the reference's bits", id="ours: the last bit"),
        pytest.param("scipy_reference", "small: scipy_reference differs from the reference", id="a peer: more than rounding"),
    ],
)
def test_wrong_values_are_found(changed: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    true_output = peers._output

    def output(contest: Contest, inputs: sp.csr_array, options: dict[str, Any]) -> np.ndarray:
        found = true_output(contest, inputs, options)
        if options == contestants[changed]:
            found[3, 5] = np.nextafter(found[3, 5], np.inf, dtype=np.float32) if changed in peers.OURS else found[3, 5] + 0.01
        return found

    contestants = peers.OURS | {"scipy_reference": {"backend": "scipy_reference"}}
    peers.check_values(contest(), contestants)
    monkeypatch.setattr(peers, "_output", output)
    with pytest.raises(peers.WrongResultError, match=message):
        peers.check_values(contest(), contestants)


def test_other_categories_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true_infer = sparsednn.infer

    def infer(*args: Any, **options: Any) -> sparsednn.Result:
        result = true_infer(*args, **options)
        if options.get("columns") == "none":
            return replace(result, categories=result.categories[1:])
        return result

    monkeypatch.setattr(peers, "check_values", lambda contest, contestants: None)
    monkeypatch.setattr(sparsednn, "infer", infer)
    with pytest.raises(peers.WrongResultError, match="small: all columns has other categories than numba"):
        measured(contest(), peers.OURS, rounds=1)


def outcome(**seconds: Sequence[float]) -> Outcome:
    records = {
        name.replace("_", " "): [{"seconds": {"inference_median": s}, "performed_edges": 6} for s in of]
        for name, of in seconds.items()
    }
    return Outcome("small", 8, records)


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
    assert verdicts([fast]) == ["Nowhere is numba slower than the best peer (1 networks)."]


@pytest.mark.parametrize(
    "arguments",
    [["--rounds", "0"], ["--instances", "60001"], ["--work", "0"], ["--peers", "tensorflow"], ["--only", "no such network"]],
    ids=lambda arguments: arguments[0],
)
def test_what_cannot_be_done_is_refused_before_anything_is_run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        peers.main(arguments)
    assert caught.value.code == 2


def test_networks_can_be_picked_by_name() -> None:
    args: argparse.Namespace = peers.parse_arguments(["--only", "4096 x"])
    assert 0 < len(args.family) < len(FAMILY)
    assert all(spec.widths[0] == 4096 for spec in args.family)


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

"""Benchmarks of direct calls: what they check, measure and draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsednn
from experiments.figures.base.direct_calls import Answer, _without_slow_ones, said_once
from experiments.figures.crossover import verdicts
from experiments.sweeps import direct_calls
from experiments.sweeps.direct_calls import Setting, random_network
from experiments.sweeps.direct_peers import PACKAGES, PEERS, is_installed
from experiments.sweeps.turns import OURS, InTurn
from sparsednn.engine import default_threads
from tests.experiments.toys import COMPILED_ONLY, record

SMALL = Setting("mlp", (30, 50, 20), 0.8, 5)


@COMPILED_ONLY
@pytest.mark.parametrize("name", ["crossover", "latency"])
def test_a_record_has_the_times_of_all_rounds_and_a_figure(name: str, toys: Callable[[str], Path]) -> None:
    folder = toys(name)
    found = record(folder / "0")[name]
    assert found["failed"] == []
    assert found["rounds"] == 2
    assert {setting["threads"] for setting in found["settings"]} == {default_threads(), *([1] if name == "latency" else [])}
    for setting in found["settings"]:
        if name == "latency":
            assert all(min(times["idle"]) > 0 for times in setting["seconds"].values())
        assert {OURS, "scipy", "numpy dense"} <= set(setting["seconds"])
        for times in setting["seconds"].values():
            assert all(len(times[percentile]) == 2 and min(times[percentile]) > 0 for percentile in ("p50", "p95", "p99"))
    drawn = pd.read_csv(folder / f"{name}.csv")
    assert len(drawn) == sum(len(setting["seconds"]) for setting in found["settings"])
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "best library / ours" in " ".join((folder / "stdout").read_text().split())


@pytest.mark.parametrize("name", sorted(PEERS.keys() - PACKAGES.keys()))
def test_what_is_always_there_answers_like_the_reference(name: str) -> None:
    network = random_network(SMALL)
    x = np.random.default_rng(3).random((5, 30), np.float32)
    output = sparsednn.infer(network, x, backend="scipy_reference", output=True).output
    assert output is not None
    found = PEERS[name](network, 1, 5)(x)
    assert found.shape == (5, 20)
    assert np.allclose(found, output.toarray(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not is_installed(package), reason="its package (extra peers) is not installed")
        )
        for name, package in PACKAGES.items()
    ],
)
@pytest.mark.parametrize("batch", [1, 5])
def test_peers_that_are_installed_answer_like_the_reference(name: str, batch: int) -> None:
    network = random_network(SMALL)
    x = np.random.default_rng(3).random((batch, 30), np.float32)
    output = sparsednn.infer(network, x, backend="scipy_reference", output=True).output
    assert output is not None
    call = PEERS[name](network, 2, batch)
    for _ in range(2):
        assert np.allclose(np.asarray(call(x)), output.toarray(), rtol=1e-5, atol=1e-6)


def test_wrong_answers_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "wrong", lambda network, threads, batch: lambda x: np.zeros((5, 20), np.float32))
    contest = direct_calls._Contest(SMALL, 1, ["wrong"])
    assert contest.failed == ["wrong differs by more than 0.0001 of the largest value"]
    assert list(contest.calls) == [OURS]
    contest.close()


def test_who_takes_too_long_makes_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(network: sparsednn.Network, threads: int, batch: int) -> Any:
        scipy = PEERS["scipy"](network, threads, batch)

        def call(x: Any) -> Any:
            sleep(0.3)
            return scipy(x)

        return call

    monkeypatch.setitem(PEERS, "slow", slow)
    network, x = direct_calls.random_layers(SMALL)
    with sparsednn.compile(network, threads=1) as compiled:
        compiled(x)
        contest = InTurn(x, compiled, "here", longest_s=0.1)
        contest.add("slow", slow(network, 1, 5))
        assert (contest.failed, contest.left_out, list(contest.calls)) == ([], [], [OURS])
        times = contest.times(3, 0.0, 0.0)
        patient = InTurn(x, lambda x: (sleep(0.2), compiled(x))[1], "here", longest_s=0.1)
        patient.add("slow", slow(network, 1, 5))
    assert "slow" in patient.calls, "ours takes nearly as long"
    found = Answer("mlp", 0.8, 5, times)
    assert (found.n_rounds("slow"), found.called_once("slow"), found.called_once(OURS)) == (1, True, False)
    assert found.middle("slow") > 0.3
    assert said_once([found]) == [
        "One call only, without warming up, since it took seconds and three times as long as ours: slow (1) settings"
    ]


def test_lines_about_who_took_seconds_are_joined() -> None:
    slow = [f"mkl is left out of mlp, 50 %, {batch} instances: a call takes 2.{batch} s" for batch in (1, 2)]
    assert _without_slow_ones(["x is left out: not installed", *slow]) == [
        "Left out where a call took more than two seconds: mkl (2) settings", "x is left out: not installed",
    ]  # fmt: skip


def answer(ours: list[float], peer: list[float]) -> Answer:
    times: dict[str, Any] = {OURS: {"p50": ours}, "mkl": {"p50": peer}, "numpy dense": {"p50": [9.0] * len(peer)}}
    return Answer("mlp", 0.9, 8, times)


def test_ratios_are_taken_round_by_round_and_slower_is_said() -> None:
    faster = answer([1.0, 2.0, 1.0], [2.0, 4.0, 3.0])
    assert faster.best() == faster.best(dense=False) == "mkl"
    assert faster.best(dense=True) == "numpy dense"
    assert Answer("mlp", 0.9, 8, {OURS: {"p50": [1.0]}, "onnxruntime dense": {"p50": [2.0]}}).best(dense=False) is None
    assert faster.ratio("mkl")[0] == 2.0
    assert verdicts([faster]) == ["In all settings no library is faster than ours."]
    alone = Answer("mlp", 0.9, 8192, {OURS: {"p50": [1.0]}})
    assert verdicts([faster, alone]) == [
        "In 1 of 2 settings, those that others have answered too, no library is faster than ours."
    ]
    assert verdicts([answer([2.0] * 5, [1.0] * 5)]) == [
        "mlp, 90 % zeros, 8 instances: mkl is faster: its time is 0.50 (0.50 to 0.50) of ours"
    ]


def test_who_is_far_behind_sits_out_and_its_rounds_stay_beside_ours() -> None:
    contest = direct_calls._Contest(SMALL, 1, ["numpy dense", "scipy"])
    contest.calls["scipy"] = lambda x: sleep(0.02)
    times = contest.times(5, 0.0, 0.0)
    contest.close()
    assert all(isinstance(time, float) for time in times[OURS]["p50"])
    assert [time is None for time in times["scipy"]["p99"]] == [False] * 3 + [True] * 2
    found = Answer("mlp", 0.8, 5, {OURS: {"p50": [1.0, 2.0, 4.0]}, "scipy": {"p50": [5.0, 8.0, None]}})
    assert found.n_rounds("scipy") == 2
    assert found.middle("scipy") == 6.5
    assert found.ratio("scipy") == (4.5, 4.0, 5.0)


def test_the_challenges_network_is_answered_by_who_adds_biases_everywhere() -> None:
    network, x = direct_calls.challenge(Setting("challenge", (1024,) * 7, 1 - 32 / 1024, 20))
    with sparsednn.compile(network, threads=1) as compiled:
        expected = compiled(x)
    assert np.count_nonzero(expected)
    assert np.allclose(PEERS["scipy"](network, 1, 20)(x), expected, rtol=1e-5, atol=1e-6)

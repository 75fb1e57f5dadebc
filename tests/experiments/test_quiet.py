"""Measurements are repeated while other programs use the cores, as far as patience goes."""

from __future__ import annotations

import pytest

from experiments.calibrate import idle_machine as quiet


def with_others(monkeypatch: pytest.MonkeyPatch, *cores: float) -> list[float]:
    """Others use so many cores during each look or measurement in turn; after that none."""
    left = list(cores)
    monkeypatch.setattr(quiet, "_others", lambda before: left.pop(0) if left else 0.0)
    monkeypatch.setattr(quiet, "LOOK_S", 0.001)
    return left


def test_a_disturbed_measurement_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with_others(monkeypatch, 1.0, 0.0, 0.7, 0.0, 0.0)  # wait, look, measured disturbed, look, measured
    results = iter("ab")
    measured = quiet.Quiet(10)
    assert measured.run(lambda: next(results)) == "b"
    assert (measured.n_measured, measured.n_disturbed) == (1, 0)
    assert "1 of 1" in measured.say()


def test_without_patience_the_first_result_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    left = with_others(monkeypatch, 0.7)
    measured = quiet.Quiet(0)
    assert measured.run(lambda: "a") == "a"
    assert left == []
    assert (measured.n_measured, measured.n_disturbed) == (1, 1)


def test_the_least_disturbed_result_is_taken_when_patience_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with_others(monkeypatch, 0.0, 0.3, 0.0, 0.9)
    results = iter("ab")
    measured = quiet.Quiet(0.01)

    def measure() -> str:
        quiet.time.sleep(0.006)
        return next(results)

    assert measured.run(measure) == "a"
    assert measured.n_disturbed == 1


def test_what_this_process_does_is_no_disturbance() -> None:
    before = quiet._Clock.read()
    total = 0
    while quiet.time.perf_counter() < before.now_s + 0.3:
        total += 1
    after = quiet._Clock.read()
    assert after.own_s - before.own_s > 0.05
    assert after.all_s - before.all_s >= after.own_s - before.own_s - 2 * quiet.SLACK_S

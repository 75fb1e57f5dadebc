"""The benchmark of processes."""

from __future__ import annotations

import pytest

from experiments import process_pairs


def test_both_are_run_in_turn() -> None:
    seconds = process_pairs.measure(1, instances=60, layers=120)
    assert [len(times) for times in seconds] == [1, 1]
    assert all(time > 0 for times in seconds for time in times)
    assert process_pairs.ratios([[1.0, 4.0], [2.0, 2.0]]) == [0.5, 2.0]


def test_a_run_that_fails_ends_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pairs, "run_point", lambda *_: {"status": "failed", "error": "made up"})
    assert process_pairs.main(["--rounds", "1"]) == 1
    assert "processes=2 threads=1: made up" in capsys.readouterr().err

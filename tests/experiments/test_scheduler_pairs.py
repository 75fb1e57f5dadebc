"""The benchmark of the schedulers runs its pairs in turn and reports what it has run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scipy.sparse as sp

import sparsednn
from experiments import scheduler_pairs
from experiments.records.statistics import median_interval


def test_every_pair_is_run_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, challenge_rows: sp.csr_array, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sparsednn, "challenge_inputs", lambda neurons: challenge_rows[:300])
    file = tmp_path / "pairs.json"
    assert scheduler_pairs.main(["--rounds", "2", "--json", str(file)]) == 0
    written = json.loads(file.read_text())["pairs"]
    assert [pair["name"] for pair in written] == [pair[0] for pair in scheduler_pairs.PAIRS]
    for pair in written:
        assert [len(seconds) for seconds in pair["seconds"]] == [2, 2]
        assert pair["ratio"]["low"] <= pair["ratio"]["median"] <= pair["ratio"]["high"]
        assert "data_then_model" in {record["scheduler"] for record in pair["records"]}
    assert "locking mechanism" in capsys.readouterr().out


def test_the_interval_of_a_median() -> None:
    assert median_interval([2.0]) == (2.0, 2.0, 2.0)
    middle, low, high = median_interval([1.0, 2.0, 3.0, 4.0, 100.0])
    assert middle == 3.0
    assert 1.0 <= low < 3.0 < high <= 100.0

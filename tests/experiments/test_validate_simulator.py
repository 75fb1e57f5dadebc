"""The validation runs and simulates every case, and reports errors by parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import validate_simulator
from experiments.validate_simulator import Case, Work, errors_by_part

TINY = Work(1024, 6, {"udc": 60, "csc": 40}, seed=3)


def test_every_case_is_measured_and_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(validate_simulator, "WORKS", (TINY,))
    monkeypatch.setattr(validate_simulator, "THREADS", (1, 2))
    file = tmp_path / "out.json"
    assert validate_simulator.main(["--rounds", "2", "--json", str(file), "--patience", "0"]) == 0
    written = json.loads(file.read_text())
    names = {"data", "model", "data_then_model", "manager_worker", "work_stealing"}
    cases = {(case["kernel"], case["scheduler"], case["threads"]) for case in written["cases"]}
    assert cases == {(kernel, name, threads) for kernel in ("udc", "csc") for name in names for threads in (1, 2)}
    for case in written["cases"]:
        assert len(case["measured_s"]) == 2
        assert case["simulated"] is True
        assert case["error"] == pytest.approx(case["simulated_s"] / (sum(case["measured_s"]) / 2) - 1)
    assert written["calibration"]["schema_version"] == 1
    out = capsys.readouterr().out
    assert "(simulated)" in out
    assert "median of absolute errors" in out


def test_errors_are_reported_by_parts() -> None:
    cases = [
        Case(TINY, "udc", "data", 1, 1.5, [1.0, 1.0, 9.0]),
        Case(TINY, "csc", "data", 1, 0.5, [1.0]),
        Case(TINY, "csc", "model", 4, 2.0, [1.0]),
    ]
    found = errors_by_part(cases)
    assert found["all"] == [0.5, -0.5, 1.0]
    assert found["kernel csc"] == [-0.5, 1.0]
    assert found["threads 1"] == [0.5, -0.5]
    assert found["scheduler model"] == [1.0]
    assert found["network 1024 x 6, seed 3"] == [0.5, -0.5, 1.0]
    assert found["kernel, threads csc, 4"] == [1.0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "0"], "--rounds 0"),
        (["--calibration", "{tmp}/none.json"], "none.json"),
        (["--calibration", "{tmp}/bad.json"], "not a calibration file"),
        (["--patience", "-2"], "--patience -2.0"),
        (["--json", "{tmp}/no/where.json"], "there is no folder"),
    ],
)
def test_arguments_are_checked_before_anything_runs(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("[")
    monkeypatch.setattr(validate_simulator, "validate", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        validate_simulator.main([argument.format(tmp=tmp_path) for argument in arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err

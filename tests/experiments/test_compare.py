"""Records of any folders beside each other: one table, ratios with spreads, and what must not be mixed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.records.compare import main, mixed, ratio_table, table_of, with_ratios
from experiments.records.files import read_point
from experiments.records.point import PointRecord, record_from_json

ROOT = Path(__file__).parents[2]


def record(**changes: Any) -> dict[str, Any]:
    """A complete record, with changes."""
    seconds = changes.pop("seconds", [2.0])
    environment = {"git_revision": "a" * 40, "cpu": "One CPU", "cores_usable": 2} | changes.pop("environment", {})
    return {
        "schema_version": 1, "status": "complete", "neurons": 1024, "layers": 120, "instances": 60, "network_nnz": 5,
        "input_nnz": 7, "executor": "threads", "backend": "numba", "kernel": "csc_csc", "scheduler": "data", "hashing": "none",
        "processes": 1,
        "threads": 2, "optimizations": {"rows": "none", "columns": "none"}, "categories_count": 3, "categories_sha256": "x",
        "truth": {"match": True}, "environment": environment,
        "seconds": {"inference": seconds, "inference_median": sorted(seconds)[len(seconds) // 2]},
        **changes,
    }  # fmt: skip


def typed(**changes: Any) -> PointRecord:
    return record_from_json(record(**changes), whole=False)


def write(folder: Path, name: str, **changes: Any) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "result.json").write_text(json.dumps(record(**changes)))


def test_each_record_is_a_row_and_compared_with_the_fastest_of_its_job(tmp_path: Path) -> None:
    write(tmp_path, "slow", seconds=[4.0, 5.0, 6.0])
    write(tmp_path, "fast", seconds=[1.0, 2.0, 2.5], scheduler="work_stealing")
    write(tmp_path, "another job", seconds=[9.0], neurons=4096)
    found = with_ratios(table_of([read_point(path) for path in sorted(tmp_path.rglob("*.json"))]))
    rows = {Path(row["folder"]).name: row for row in found.to_dict("records")}
    assert rows["slow"]["ratio"] == 2.5
    assert (rows["slow"]["ratio_low"], rows["slow"]["ratio_high"]) == (4 / 2.5, 6 / 1.0)
    assert rows["fast"]["ratio"] == rows["another job"]["ratio"] == 1
    assert [Path(folder).name for folder in found["folder"]] == ["fast", "slow", "another job"], "by job, then by time"


def test_the_command_shows_what_differs_and_writes_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "one", "a", seconds=[2.0])
    write(tmp_path / "two", "b", seconds=[1.0], scheduler="model", optimizations={"rows": "merge", "columns": "none"})
    assert main([str(tmp_path / "one"), str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in ("2 records", "scheduler", "model", "rows", "merge", "2.00 (2.00 to 2.00)", "1,024 x 120"):
        assert text in shown.out
    assert "csc_csc" not in shown.out, "the same in all"
    table = pd.read_csv(tmp_path / "all.csv")
    assert sorted(table["seconds_median"]) == [1.0, 2.0]


def heads(*records: PointRecord) -> list[str]:
    """Return the names of the table's columns."""
    table = ratio_table(table_of([(Path(str(number)), one) for number, one in enumerate(records)]))
    return [str(column.header) for column in table.columns]


def test_ratios_of_one_in_every_line_are_left_out() -> None:
    alone = heads(typed(), typed(neurons=4096))
    assert "x fastest" not in alone, "each is the only one of its job"
    assert "x fastest" in heads(typed(), typed(seconds=[9.0]))


def test_a_spread_of_single_times_is_left_out() -> None:
    assert "smallest to largest" not in heads(typed(seconds=[1.0]), typed(seconds=[2.0]))
    assert "smallest to largest" in heads(typed(seconds=[1.0]), typed(seconds=[2.0, 3.0]))


def test_a_check_that_all_have_passed_is_left_out() -> None:
    assert "check" not in heads(typed(), typed())
    assert "check" in heads(typed(), typed(truth={"checked": True, "source": "given", "match": False}))


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        pytest.param({"environment": {"git_revision": "b" * 40}}, f"mixed revisions: {'a' * 40}, {'b' * 40}", id="revisions"),
        pytest.param({"environment": {"cpu": "Two CPU"}}, "mixed machines: One CPU, Two CPU", id="machines"),
        pytest.param({"environment": {"cores_usable": 28}}, "mixed numbers of cores: 2, 28", id="cores"),
        pytest.param(
            {"executor": "simulated"}, "mixed executors, simulated and measured times: simulated, threads", id="simulated"
        ),
        pytest.param(
            {"categories_sha256": "y", "categories_count": 4}, "different categories of 1024 x 120, 60 instances: 3, 4 of them",
            id="categories",
        ),
    ],
)  # fmt: skip
def test_what_must_not_be_mixed_is_said(changes: dict[str, Any], warning: str) -> None:
    assert mixed(table_of([(Path("a"), typed()), (Path("b"), typed(**changes))])) == [warning]
    assert mixed(table_of([(Path("a"), typed()), (Path("b"), typed())])) == []


def test_points_that_failed_or_died_are_named_and_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "good")
    (tmp_path / "failed").mkdir()
    environment = record()["environment"]
    failed = {"schema_version": 1, "status": "failed", "error": "too little memory", "environment": environment}
    (tmp_path / "failed" / "result.json").write_text(json.dumps(failed))
    (tmp_path / "died").mkdir()
    (tmp_path / "died" / "running.json").write_text(json.dumps({"host": "here", "environment": environment}))
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "1 records" in shown.out
    assert "failed: too little memory" in shown.err
    assert "died without a word" in shown.err


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no result.json"), ("{", "not a whole record"), ("[]", "not a record")],
    ids=["none", "half", "list"],
)
def test_what_is_no_record_is_refused(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if text:
        (tmp_path / "result.json").write_text(text)
    assert main([str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_it_is_a_command(tmp_path: Path) -> None:
    write(tmp_path, "one")
    command = [sys.executable, "-m", "experiments.records", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1,024 x 120" in done.stdout
    assert (
        subprocess.run(
            [*command, str(tmp_path / "gone")], cwd=ROOT, env=environment, capture_output=True, check=False
        ).returncode
        == 1
    )

"""The records and bits of the baseline come out again: what a change of structure must not change."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.rerun import main as rerun
from tests.baseline import BITS, bits, records
from tests.experiments.toys import COMPILED_ONLY

pytestmark = COMPILED_ONLY


def write(folder: Path, chosen: list[dict[str, Any]]) -> None:
    for number, record in enumerate(chosen):
        (folder / str(number)).mkdir()
        (folder / str(number) / "result.json").write_text(json.dumps(record), encoding="utf-8")


def run_again(folder: Path, chosen: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """As a user does: ``python -m experiments.rerun FOLDER``."""
    assert chosen
    write(folder, chosen)
    status = rerun([str(folder)])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert len(re.findall(r"│\s+the same\s+│", shown.out)) == len(chosen)


def test_bits_are_those_of_the_baseline() -> None:
    assert bits() == json.loads(BITS.read_text(encoding="utf-8"))


def test_one_measured_record_of_each_kernel_is_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = [record for record in records() if record["processes"] == 1 and record["executor"] == "threads"]
    run_again(tmp_path, list({(record["backend"], record["kernel"]): record for record in alone}.values()), capsys)


def test_simulated_records_are_found_again_to_the_last_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulated = [record for record in records() if record["executor"] == "simulated"]
    run_again(tmp_path, list({(record["kernel"], record["scheduler"]): record for record in simulated}.values()), capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_all_records_are_found_again(processes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On four processes: the simulated ones."""
    run_again(tmp_path, [record for record in records() if record["processes"] == processes], capsys)


@pytest.mark.parametrize("key", ["categories_sha256", "seconds"])
def test_a_record_that_is_not_found_again_is_told(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = next(record for record in records() if record["executor"] == "simulated")
    changed[key] = "0" * 64 if key == "categories_sha256" else changed[key] | {"gather": 1.0}
    write(tmp_path, [changed])
    assert rerun([str(tmp_path)]) == 1
    assert key in capsys.readouterr().err

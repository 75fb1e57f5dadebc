"""The tool that runs mutants: what it mutates, what it chooses, and that a mutant is what runs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import MUTANTS, PARTS
from tests.mutation.mutants import choose, read, write
from tests.mutation.operators import places
from tests.mutation.report import FOUND, table
from tests.mutation.run import Result
from tests.mutation.session import INSIDE

SOURCE = '''
def chosen(numbers: list[int], most: int = 3) -> int:
    """Less than 1."""
    found = 0
    for number in numbers:
        if number < most and not number == 1:
            break
        found += max(
            number,
            2,
        )
    print(found)
    if most > 9:
        raise ValueError(f"{most + 1} is more than {9 + 1}")
    return found


class Thing:
    size = 5

    def __repr__(self) -> str:
        return str(self.size + 1)

    def is_large(self) -> bool:
        return True
'''


def test_places_are_what_decides() -> None:
    found = {
        (place.mutant.function, place.mutant.operator, place.mutant.before, place.mutant.after) for place in places(SOURCE)
    }
    assert found == {
        ("chosen", "constant", "0", "1"),
        ("chosen", "if", "number < most and (not number == 1)", "not (number < most and (not number == 1))"),
        ("chosen", "and/or", "number < most and (not number == 1)", "number < most or not number == 1"),
        ("chosen", "comparison", "number < most", "number <= most"),
        ("chosen", "not", "not number == 1", "number == 1"),
        ("chosen", "comparison", "number == 1", "number != 1"),
        ("chosen", "constant", "1", "2"),
        ("chosen", "break/continue", "break", "continue"),
        ("chosen", "arithmetic", "found += max(number, 2)", "found -= max(number, 2)"),
        ("chosen", "min/max", "max(number, 2)", "min(number, 2)"),
        ("chosen", "constant", "2", "3"),
        ("chosen", "removal", "print(found)", "pass"),
        ("chosen", "if", "most > 9", "not most > 9"),
        ("chosen", "comparison", "most > 9", "most >= 9"),
        ("chosen", "constant", "9", "10"),
        ("chosen", "return None", "return found", "return None"),
        ("Thing.is_large", "return None", "return True", "return None"),
        ("Thing.is_large", "constant", "True", "False"),
    }


def test_a_mutant_differs_in_its_place_only_and_has_as_many_lines() -> None:
    for place in places(SOURCE):
        ast.parse(place.text)
        lines, before = place.text.splitlines(), SOURCE.splitlines()
        changed = {number for number, (line, old) in enumerate(zip(lines, before, strict=True), 1) if line != old}
        assert changed <= set(range(place.first_line, place.last_line + 1))
        assert changed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that has one file of one part."""
    folder = tmp_path / "checkout" / "sparsednn" / "rows"
    folder.mkdir(parents=True)
    (folder / "partition.py").write_text(SOURCE)
    for package in (folder, folder.parent):
        (package / "__init__.py").touch()
    return tmp_path / "checkout"


def test_the_seed_chooses(checkout: Path, tmp_path: Path) -> None:
    chosen, n_candidates = choose([checkout, checkout], each=5)
    assert n_candidates == {part: 18 if part == "rows" else 0 for part in PARTS}
    assert len({each.mutant for each in chosen}) == 5
    assert choose([checkout], each=5)[0] == chosen
    assert choose([checkout], each=5, seed=1)[0] != chosen
    write(tmp_path / "list.json", chosen)
    assert read(tmp_path / "list.json") == chosen


def test_functions_that_differ_have_no_mutants_in_common(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "sparsednn" / "rows" / "partition.py"
    other.parent.mkdir(parents=True)
    other.write_text(SOURCE.replace("print(found)", "print(most)"))
    assert choose([checkout, tmp_path / "other"])[1]["rows"] == 2


def test_there_are_enough_of_each_part() -> None:
    chosen = read(MUTANTS)
    assert len({(each.file, each.mutant) for each in chosen}) == len(chosen) >= 300
    assert min(sum(each.part == part for each in chosen) for part in PARTS) >= 40


def test_a_process_runs_the_mutant(checkout: Path, tmp_path: Path) -> None:
    """By the environment, so that what a test starts does, too; with the file's own name."""
    file, instead = checkout / "sparsednn" / "rows" / "partition.py", tmp_path / "instead.py"
    instead.write_text(SOURCE.replace("return True", "return (False)"))
    program = "import sparsednn.rows.partition as module; print(module.Thing().is_large(), module.__file__)"
    for mutant, expected in (([], "True"), (["sparsednn.rows.partition", str(file), str(instead)], "False")):
        environment = (
            os.environ | {"PYTHONPATH": str(INSIDE)} | ({"MUTATION_MUTANT": os.pathsep.join(mutant)} if mutant else {})
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [expected, str(file)]
    assert file.read_text() == SOURCE


def test_the_table_counts() -> None:
    outcomes = (*FOUND, "survived")
    results = [Result(n, "rows", "rows/a.py: f", 1, outcome, None, 1, 1, 0.5) for n, outcome in enumerate(outcomes)]
    lines = {line.split()[0]: line.split()[1:] for line in table(results)[1:]}
    assert lines["rows"] == lines["all"] == ["4", "1", "1", "1", "1", "0", "75.0%"]
    assert lines["comm"] == ["0", "0", "0", "0", "0", "0", "-"]

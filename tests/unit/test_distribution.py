"""Test files that share a run of all experiments are given to one process."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.distribution import FIRST, OF_SMOKE, SMOKE, group_of

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "tests" / "experiments"


def arguments(path: Path) -> set[str]:
    """Return the names of all arguments of a file's functions: fixtures among them."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {argument.arg for function in functions for argument in function.args.args}


def test_files_that_use_the_shared_run_are_in_its_group() -> None:
    using = {path.name for path in EXPERIMENTS.glob("test_*.py") if arguments(path) & {"smoke", "toys"}}
    assert using == set(OF_SMOKE)
    assert {group_of(f"tests/experiments/{name}::test_x[a::b]") for name in using} == {SMOKE}


def test_all_other_files_are_groups_of_their_own_and_those_that_come_first_exist() -> None:
    assert group_of("tests/unit/test_house.py::test_files_are_short") == "tests/unit/test_house.py"
    assert [name for name in FIRST if name != SMOKE and not (ROOT / name).is_file()] == []

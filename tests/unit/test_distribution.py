"""Test files that share a run of all experiments are given to one process."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.distribution import FIRST, NOT_QUICK, OF_SMOKE, QUICK, SMOKE, group_of, is_quick

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
    named = {*FIRST, *QUICK, *NOT_QUICK} - {SMOKE}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_what_is_quick() -> None:
    assert is_quick("tests/unit/test_house.py::test_files_are_short")
    assert not is_quick("tests/unit/test_every_order.py::test_every_order_ends_with_every_row_group_through[a]")
    assert not is_quick("tests/mpi/test_processes.py::test_a")

"""Test files that share a run of all experiments are given to one process; kernels are compiled by one process each."""

from __future__ import annotations

import ast
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_ignore_collect
from tests.distribution import COMPOSING, FIRST, NOT_QUICK, OF_COMPOSING, OF_SMOKE, QUICK, SMOKE, group_of, is_quick
from tests.kernels import compile_in_turn

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


def test_files_that_share_a_composer_are_in_its_group() -> None:
    using = {path for path in (ROOT / "tests").rglob("test_*.py") if "from tests.composing import" in path.read_text()}
    using.remove(Path(__file__))
    assert {path.relative_to(ROOT).as_posix() for path in using} == set(OF_COMPOSING)
    assert {group_of(f"{name}::test_x[a::b]") for name in OF_COMPOSING} == {COMPOSING}


def test_all_other_files_are_groups_of_their_own_and_those_that_come_first_exist() -> None:
    assert group_of("tests/unit/test_house.py::test_files_are_short") == "tests/unit/test_house.py"
    named = {*FIRST, *QUICK, *NOT_QUICK} - {SMOKE, COMPOSING}
    places = [name.partition("::") for name in sorted(named)]
    assert [file for file, _, _ in places if not (ROOT / file).exists()] == []
    assert [test for file, _, test in places if test and f"def {test}(" not in (ROOT / file).read_text()] == []


def test_what_is_quick() -> None:
    assert is_quick("tests/unit/test_house.py::test_files_are_short")
    assert not is_quick("tests/unit/test_every_order.py::test_every_order_ends_with_every_row_group_through[a]")
    assert not is_quick("tests/mpi/test_processes.py::test_a")
    assert is_quick("tests/docs/test_pages.py")
    assert is_quick("tests/docs/test_pages.py::test_pages_are_short")
    assert not is_quick("tests/docs/test_pages.py::test_python_on_a_page_runs_as_it_is_written[README.md]")


@pytest.mark.parametrize(
    ("file", "expression", "ignored"),
    [
        ("tests/mpi/test_processes.py", "quick", True),
        ("tests/unit/test_every_order.py", "quick", True),
        ("tests/unit/test_house.py", "quick", None),
        ("tests/mpi/conftest.py", "quick", None),
        ("tests/mpi/test_processes.py", "not slow", None),
    ],
)
def test_files_without_anything_quick_are_not_imported_for_it(file: str, expression: str, ignored: bool | None) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=expression))
    assert pytest_ignore_collect(ROOT / file, config) is ignored


def compiled(name: str, log: Path) -> None:
    """Stand for a kernel: say when it is begun and when it is there, and take a while as long as it is not."""
    with log.open("a") as said:
        print(os.getpid(), name, "begins", file=said, flush=True)
        if f"{name} is there" not in log.read_text():
            time.sleep(0.2)
        print(os.getpid(), name, "is there", file=said, flush=True)


def test_processes_compile_different_kernels_at_the_same_time_and_go_on_when_all_are_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kernels = {name: partial(compiled, name, log) for name in "abcd"}
    processes = [
        multiprocessing.get_context("fork").Process(target=compile_in_turn, args=(tmp_path / "locks", kernels))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    said = [line.split(maxsplit=2) for line in log.read_text().splitlines()]
    for name in kernels:
        events = [(pid, event) for pid, kernel, event in said if kernel == name]
        first = events[0][0]
        assert events[:2] == [(first, "begins"), (first, "is there")], "another process began before it was there"
    assert not (tmp_path / "locks").exists()


def test_a_kernel_that_cannot_be_compiled_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    def fails() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        compile_in_turn(tmp_path / "locks", {"a": fails})
    compile_in_turn(tmp_path / "locks", {"a": partial(compiled, "a", tmp_path / "log")})
    assert "a is there" in (tmp_path / "log").read_text()

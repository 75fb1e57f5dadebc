"""The house: how long files and functions may be, how many entries a folder may have, no circle of imports, first words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sparsednn", "backends", "experiments")
MOST_LINES = 300
MOST_FUNCTION_LINES = 40
MOST_ENTRIES = {"sparsednn": 15, "experiments": 12, "backends/numba_cpu": 7}


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _functions(node: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    """Yield the full name of each function, and how many lines it has without its docstring."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            last = child.end_lineno or child.lineno
            documented = ast.get_docstring(child, clean=False) is not None
            docstring = child.body[0]
            n_docstring = (docstring.end_lineno or 0) - docstring.lineno + 1 if documented else 0
            yield f"{name}.{child.name}", last - child.lineno + 1 - n_docstring
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _functions(child, f"{name}.{child.name}")


def test_files_are_short() -> None:
    lines = {path.relative_to(ROOT): path.read_text().count("\n") for path in _sources(*PACKAGES, "tests")}
    assert {str(path): n for path, n in lines.items() if n > MOST_LINES} == {}


def test_functions_are_short() -> None:
    """Signature and body; kernels spell out what the compiler should see."""
    found = {}
    for path in _sources(*PACKAGES):
        if "kernels" not in path.parent.parts:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found |= {name: n for name, n in _functions(ast.parse(path.read_text()), module) if n > MOST_FUNCTION_LINES}
    assert found == {}


@pytest.mark.parametrize(("folder", "most"), MOST_ENTRIES.items())
def test_folders_have_few_entries(folder: str, most: int) -> None:
    """Files and folders, without ``__init__.py``, the marker of typed packages, and caches."""
    entries = {path.name for path in (ROOT / folder).iterdir()} - {"__init__.py", "py.typed", "__pycache__"}
    assert len(entries) <= most, sorted(entries)


def test_no_imports_go_round_in_a_circle() -> None:
    """Those in functions and for type checkers count too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"these modules import each other in a circle: {' <- '.join(error.args[1])}")


def test_module_docstrings_say_what_a_module_does() -> None:
    """They begin with a verb: ``Owns``, ``Reads``; no article, and no noun of which something follows (``Constants of``)."""
    nouns = re.compile(r"(?!\w+s\b)|\w+ (?:of|at (?!most)|that|against|as)\b")
    first_lines = {path: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0] for path in _sources(*PACKAGES)}
    assert {str(path.relative_to(ROOT)): line for path, line in first_lines.items() if nouns.match(line)} == {}

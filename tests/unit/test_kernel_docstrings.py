"""Every kernel says which dtype and shape its arrays have.

Kernels carry no annotations, since Numba infers types from the arguments. What is an array follows from the code: it is
indexed, asked for its shape or for a field (tuples of arrays), or handed to a kernel that does so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for top in ("backends", "experiments") for path in (ROOT / top).rglob("kernels/*.py") if path.name != "__init__.py"
)
SOURCES = sorted((ROOT / "backends").rglob("kernels/*.cu"))
TOLD = re.compile(r"((?:\w+, )*\w+) ?: (?:a pair of )?(?:u?int\d+|float\d+|bool|[A-Z]\w+)")
"""``indptr, indices : int64 (nnz,)``; of a tuple the class, which tells its fields."""

ANNOTATED = ("NDArray", "DeviceArray", "csr_array")
ON_ARRAYS = {"atomic_load": [0], "atomic_store": [0], "atomic_add": [0], "entry_or": [0], "prefetch": [0]}
ON_ARRAYS |= {"column_of_block": [0, 3, 7, 10], "pick8": [0, 2, 4]}
"""Positions of the arrays of intrinsics, which have no body to look at."""


@cache
def functions(path: Path) -> tuple[ast.FunctionDef, ...]:
    """All functions and methods of a module, but those within functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return tuple(node for body in (tree.body, *(c.body for c in classes)) for node in body if isinstance(node, ast.FunctionDef))


def parameters(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]


@cache
def origins(path: Path) -> dict[str, Path]:
    """The module that each function comes from which a module defines or imports."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            source = ROOT / f"{(node.module or '').replace('.', '/')}.py"
            found |= {alias.name: source for alias in node.names}
    return found | {function.name: path for function in functions(path)}


def used_as_arrays(function: ast.FunctionDef, path: Path, callees: dict[tuple[Path, str], set[int]]) -> Iterator[str]:
    """Names that a function indexes, goes through, takes fields of, or hands on as arrays."""
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Name):
            yield node.iter.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            positions = ON_ARRAYS.get(name) or callees.get((origins(path).get(name, path), name), ())
            handed = [node.args[position] for position in positions if position < len(node.args)]
            yield from (argument.id for argument in handed if isinstance(argument, ast.Name))


@cache
def arrays() -> dict[tuple[Path, str], set[str]]:
    """The array parameters of each function: looked for until no more are found."""
    found: dict[tuple[Path, str], set[str]] = {}
    callees: dict[tuple[Path, str], set[int]] = {}
    before = None
    while found != before:
        before = dict(found)
        for path in MODULES:
            for function in functions(path):
                names, key = parameters(function), (path, function.name)
                annotations = {a.arg: ast.unparse(a.annotation) for a in function.args.args if a.annotation is not None}
                typed = {name for name, text in annotations.items() if any(kind in text for kind in ANNOTATED)}
                plain = all(text == "Any" for text in annotations.values())
                own = typed | (set(used_as_arrays(function, path, callees)) & set(names) if plain else set())
                found[key] = own - {"self", "cls"}
                callees[key] = {names.index(name) for name in own} if plain else set()
    return found


def told(text: str) -> set[str]:
    """Names whose type a text tells."""
    return {name for names in TOLD.findall(text) for name in names.split(", ")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernels_tell_dtype_and_shape_of_every_array(path: Path) -> None:
    silent = {}
    for function in functions(path):
        if not function.name.startswith("_"):
            missing = arrays()[path, function.name] - told(ast.get_docstring(function) or "")
            if missing:
                silent[function.name] = sorted(missing)
    assert not silent


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cuda_kernels_tell_dtype_and_shape_of_every_pointer(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    kernels = list(
        re.finditer(r'((?:^//.*\n)+)(?:template .*\n)?(?:extern "C" )?__\w+__ .*?\b(\w+)\(([^)]*)\)', text, re.MULTILINE)
    )
    assert {"layer", "finish_layer", "fill_rows", "pick_rows", "hash_rows", "same_rows", "sum_rows"} <= {k[2] for k in kernels}
    for comment, name, declared in (kernel.groups() for kernel in kernels):
        pointers = set(re.findall(r"\*\s*(\w+)", declared))
        assert pointers <= told(comment.replace("\n// ", " ")), name


def test_what_is_an_array_is_found() -> None:
    columns = ROOT / "backends/numba_cpu/csc/kernels/columns.py"
    expected = {"conn_ids", "conn_weights", "start", "n_entries", "ids", "values", "sums"}
    assert arrays()[columns, "accumulate"] == expected
    assert arrays()[columns.with_name("layers.py"), "numeric"] >= {
        "net",
        "conn",
        "ids",
        "values",
        "new_ids",
        "new_values",
        "work",
    }

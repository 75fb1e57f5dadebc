"""Finds the places of a source file that can be mutated, and mutates one: by the syntax tree, in the text, on as many lines.

Left out: docstrings, annotations, defaults and decorators of functions, what is raised, texts, `__repr__` and `__str__`, and
all that stands outside of functions.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
SWAPPED = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "argmin": "argmax", "argmax": "argmin"}
NOT_MUTATED = {"__repr__", "__str__"}
SAME_AS_NEGATED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
"""Comparisons whose swap is their negation: an `if` of one of them is not negated once more."""


class Mutant(NamedTuple):
    """A mutation, by what stands in the file, so that it is found again in another revision.

    Attributes
    ----------
    function : str
        Qualified name.
    line : str
        The source line on which it begins, without indentation.
    before, after : str
        The expression or statement, in normal form.
    occurrence : int
        Which of the equal ones in the function.
    """

    operator: str
    function: str
    line: str
    before: str
    after: str
    occurrence: int


class Place(NamedTuple):
    """A mutant where it stands in a file: its lines (from 1), the whole text with it, and the function's body without it."""

    mutant: Mutant
    first_line: int
    last_line: int
    text: str
    function_text: str


Located = ast.expr | ast.stmt


def places(source: str) -> list[Place]:
    """Return all that can be mutated in a file."""
    lines = source.splitlines()
    found: list[Place] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for name, function in _functions(ast.parse(source), ""):
        function_text = "\n".join(map(ast.unparse, function.body[ast.get_docstring(function) is not None :]))
        for operator, node, changed in _mutations(function):
            after = ast.unparse(ast.fix_missing_locations(changed))
            key = (operator, name, lines[node.lineno - 1].strip(), ast.unparse(node), after)
            mutant = Mutant(*key, seen[key])
            seen[key] += 1
            last_line = node.end_lineno or node.lineno
            found.append(Place(mutant, node.lineno, last_line, _replaced(source, node, after), function_text))
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield functions and methods, outermost ones: what is defined in them belongs to them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            if child.name not in NOT_MUTATED:
                yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _mutations(function: ast.FunctionDef) -> Iterator[tuple[str, Located, ast.AST]]:
    """Yield the operator, the node, and what is to stand in its place."""
    for statement in function.body:
        for node in _mutable(statement):
            if (changed := _changed(copy.deepcopy(node))) is not None:
                yield changed[0], node, changed[1]
            if isinstance(node, ast.If | ast.IfExp) and not _is_negated_otherwise(node.test):
                yield "if", node.test, ast.UnaryOp(ast.Not(), copy.deepcopy(node.test))


def _mutable(node: ast.AST) -> Iterator[Located]:
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.AnnAssign | ast.FunctionDef) and name in ("annotation", "returns", "args", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _mutable(child)


def _changed(node: ast.AST) -> tuple[str, ast.AST] | None:
    """Change a node in place, if there is something to change; with the operator's name."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            node.ops = [COMPARISONS[type(operator)]()]
            return "comparison", node
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            node.op = ARITHMETIC[type(operator)]()
            return "arithmetic", node
        case ast.Constant(value=bool(value)):
            return "constant", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            return "constant", ast.Constant(value + 1)
        case ast.BoolOp(op=operator):
            node.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
            return "and/or", node
        case ast.UnaryOp(op=ast.Not()):
            return "not", node.operand
        case ast.Return(value=ast.Constant(value=None)):
            return None
        case ast.Return(value=ast.expr()):
            return "return None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            return "removal", ast.Pass()
        case ast.Call(func=ast.Name(id=name) as function) if name in SWAPPED:
            function.id = SWAPPED[name]
            return "min/max", node
        case ast.Call(func=ast.Attribute(attr=name) as function) if name in SWAPPED:
            function.attr = SWAPPED[name]
            return "min/max", node
        case ast.Break():
            return "break/continue", ast.Continue()
        case ast.Continue():
            return "break/continue", ast.Break()
    return None


def _is_negated_otherwise(test: ast.expr) -> bool:
    return isinstance(test, ast.UnaryOp) or (isinstance(test, ast.Compare) and isinstance(test.ops[0], SAME_AS_NEGATED))


def _replaced(source: str, node: Located, after: str) -> str:
    """The text with something else in the place of a node, on as many lines."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    text = after + "\n" * (last - first - after.count("\n"))
    text = f"({text})" if isinstance(node, ast.expr) else text
    lines[first : last + 1] = [lines[first][: node.col_offset], text.encode(), lines[last][node.end_col_offset :]]
    return b"".join(lines).decode()

"""Writes ``python run.py --help`` from the first sentences of the schema and the first line of each file of conf/.

Options that people use most come first; the reference has every sentence.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

from experiments.config.schema import GROUPS, Config, own_first
from sparsednn.options.fields import choice_of, declarations, default_of, group_of, rule_of

COLUMN, WIDTH = 36, 132

GROUPS_BY_USE = ("scheduler", "optimize", "experiment", "network", "input", "output", "backend", "partition", "cluster")
MOST_USED = (
    "neurons", "layers", "instances", "threads", "repeats", "kernel", "trace", "processes", "resume", "executor",
    "rows", "columns", "toy", "rounds", "networks", "sparsities", "path", "labels", "scale",
    "predictions", "truth", "hashing", "nodes", "cores_per_node",
    "processes_per_node", "pin", "timeout_s", "max_nodes", "partition", "account", "time_limit", "memory", "setup", "dry_run",
)  # fmt: skip
"""Keys and fields of groups, those used most first; the others follow as they are declared."""

LEAST_USED = ("assume", "disturb", "same_categories", "least_cores", "figure", "benchmark", "members", "report", "seed")
"""Keys and fields that come last."""


def help_text(conf: Path) -> str:
    """Return the keys, and the choices and keys of each group, each with one line."""
    lines = ["Keys (in brackets: what they are unless given)"]
    lines += [line for name, declared in _by_use(Config) for line in _about(name, declared, "  ")]
    lines.append("\nGroups: choose one with GROUP=NAME, set its fields with GROUP.FIELD=VALUE (the first is the default)")
    for group in sorted(GROUPS, key=lambda name: _place(name, GROUPS_BY_USE)):
        made = group_of(declarations(Config)[group])
        assert made is not None
        lines += [line for path in _files(conf, group) for line in _entry(f"  {group}={path.stem}", _first_line(path))]
        lines += _fields(made, f"{group}.")
    return "\n".join(lines)


def first_sentence(text: str) -> str:
    """Return what ``--help`` says of an option."""
    return text.partition(". ")[0]


def _by_use(options: type) -> list[tuple[str, Field[Any]]]:
    """Return the fields of a class, those used most first."""
    return sorted(own_first(options), key=lambda item: _rank(item[0]))


def _rank(name: str) -> tuple[int, int]:
    return _place(name, LEAST_USED) if name in LEAST_USED else -1, _place(name, MOST_USED)


def _place(name: str, names: Sequence[str]) -> int:
    """Return the place of a name, the end if it is not there."""
    return names.index(name) if name in names else len(names)


def choices(conf: Path, group: str) -> list[str]:
    """Return the names that ``GROUP=NAME`` takes."""
    return [path.stem for path in _files(conf, group)]


def _files(conf: Path, group: str) -> list[Path]:
    """The files of a group, the default first."""
    default = next(
        line.split()[-1] for line in (conf / "config.yaml").read_text().splitlines() if line.startswith(f"  - {group}:")
    )
    return sorted((conf / group).glob("*.yaml"), key=lambda path: (path.stem != default, path.stem))


def _first_line(path: Path) -> str:
    """Return the description of a file by itself, below the line that tells Hydra where its keys belong."""
    return next(line for line in path.read_text().splitlines() if not line.startswith("# @package")).lstrip("# ")


def _fields(options: type, prefix: str, before: str = "") -> Iterator[str]:
    for name, declared in _by_use(options):
        inner = group_of(declared)
        if inner is not None:
            yield from _fields(inner, f"{prefix}{name}.", str(declared.metadata.get("doc", "")))
        elif name != "name":
            yield from _about(prefix + name, declared, "    ", before)


def _about(key: str, declared: Field[Any], indent: str, before: str = "") -> Iterator[str]:
    rule = rule_of(declared)
    if rule is None:
        return
    default = default_of(declared)
    told = default in (None, "", []) or "unless given" in rule.doc
    shown = "" if told else f" [{str(default).lower() if isinstance(default, bool) else default}]"
    alone = f"{choice}: " if (choice := choice_of(declared)) else before
    yield from _entry(f"{indent}{key}={rule.values}", alone + first_sentence(rule.doc) + shown)


def _entry(left: str, right: str) -> Iterator[str]:
    """A line of two columns; the right one goes on below itself."""
    first, *others = textwrap.wrap(right, WIDTH - COLUMN, break_long_words=False)
    if len(left) + 2 > COLUMN:
        yield left
        others.insert(0, first)
    else:
        yield left.ljust(COLUMN) + first
    yield from (" " * COLUMN + line for line in others)

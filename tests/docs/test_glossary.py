"""The glossary has every public name, and no name has two meanings."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
PUBLIC = ("sparsednn", "sparsednn.backend", "sparsednn.schedulers", "sparsednn.comm")
"""Packages whose names (`__all__`) are for callers."""

CLASSES = ("sparsednn.errors", "sparsednn.options.groups")
"""Modules whose classes are."""

FOUND_IN = (*PUBLIC, *CLASSES, "sparsednn.options.fields", "sparsednn.network", "sparsednn.results.trace",
            "sparsednn.rows.partition", "sparsednn.rows.distribution", "sparsednn.execution.options", "sparsednn.network.layer",
            "sparsednn.results.worker_times", "sparsednn.simulator.cluster", "sparsednn.importers",
            "sparsednn.simulator.cost_model", "sparsednn.simulator.simulate")  # fmt: skip


def entries() -> list[tuple[str, str, str]]:
    """The rows of the page's tables: word, meaning, names in the code."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    return [
        (word.strip(), meaning.strip(), names.strip()) for word, meaning, names in rows if word.strip() not in ("word", "---")
    ]


def test_every_public_name_has_its_word() -> None:
    public = {name for module in PUBLIC for name in importlib.import_module(module).__all__}
    for module in CLASSES:
        public |= {name for name, found in vars(importlib.import_module(module)).items()
                   if isinstance(found, type) and found.__module__ == module}  # fmt: skip
    explained = {name.split(".")[0] for _, _, names in entries() for name in re.findall(r"`([\w.]+)`", names)}
    assert public - explained == set()


def test_every_name_of_the_glossary_is_there() -> None:
    from sparsednn.schedulers import SCHEDULERS

    modules = [importlib.import_module(module) for module in FOUND_IN]
    for _, _, names in entries():
        for name in re.findall(r"`([\w.]+)`", names):
            first, *attributes = name.split(".")
            if first in SCHEDULERS or first == "bias_on":
                continue
            found = [getattr(module, first) for module in modules if hasattr(module, first)]
            assert found, name
            for attribute in attributes:
                fields = getattr(found[0], "__dataclass_fields__", {})
                assert attribute in fields or hasattr(found[0], attribute) or attribute in found[0].__annotations__, name


def test_a_word_is_explained_once() -> None:
    words = [word for word, _, _ in entries()]
    assert len(words) > 50
    assert len(set(words)) == len(words)
    assert all(meaning.endswith(".") for _, meaning, _ in entries())


def test_no_class_name_has_two_meanings() -> None:
    places = defaultdict(set)
    for path in (path for folder in ("sparsednn", "backends", "experiments") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}

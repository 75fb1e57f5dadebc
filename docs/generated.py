"""Text of the documentation that is made while it is built, from the declarations of keys and of fields: it cannot go stale."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.config.help import choices
from experiments.config.resolve import GROUPS, as_record, register, resolve
from experiments.config.schema import Config, own_first
from experiments.records.point import BenchmarkRun, PointRecord, RunningMark, SubmittedJob, TakenNote
from sparsednn.options.fields import choice_of, group_of, rule_of
from sparsednn.results.record import MeasuredRun, RunRecord
from sparsednn.results.simulated_record import SimulatedRun
from sparsednn.system.json_documentation import entries
from sparsednn.system.json_fields import JsonPart

HELP = Path("hydra", "help", "sparsednn.yaml")

HEAD = ("field", "type", "unit", "meaning (and when it is there, unless always)")
PARTS: Mapping[str, tuple[type[JsonPart], type[JsonPart] | None]] = {
    "points": (PointRecord, None),
    "runs": (RunRecord, PointRecord),
    "measured_runs": (MeasuredRun, RunRecord),
    "simulated_runs": (SimulatedRun, RunRecord),
    "benchmarks": (BenchmarkRun, None),
    "jobs": (SubmittedJob, None),
    "marks": (RunningMark, None),
    "notes": (TakenNote, None),
}
"""The parts of a record that have a table, each with another part whose fields are left out."""


def substitutions(conf: Path) -> dict[str, str]:
    """Return what pages call for by name: the help, the tables of keys and choices, and the fields of a record."""
    register()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return {
            "help": _fenced(_help(conf), "text"),
            "choices": _table(("group", "choices"), _choices(conf)),
            "keys": _table(("key", "values", "unless given", "what it does"), _keys()),
            **{f"fields_of_{name}": _table(HEAD, _fields(kind, without)) for name, (kind, without) in PARTS.items()},
        }


def _help(conf: Path) -> str:
    """What ``python run.py --help`` shows."""
    found = OmegaConf.load(conf / HELP)
    return str(OmegaConf.to_container(OmegaConf.create({"hydra": {"help": found}}), resolve=True)["hydra"]["help"]["template"])


def _choices(conf: Path) -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        yield _code(group), ", ".join(_code(name) for name in choices(conf, group))


def _keys() -> Iterator[tuple[str, str, str, str]]:
    """Every key, with the values that it takes, what it is unless given, and what it does."""
    yield from _keys_of(Config, as_record(resolve(compose("config"))), "")


def _keys_of(schema: Any, values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, declared in own_first(schema):
        inner, rule, value = group_of(declared), rule_of(declared), values[name]
        if inner is not None:
            yield from _keys_of(inner, value, f"{prefix}{name}.")
        elif rule is not None:
            alone = f"{_code(choice)}: " if (choice := choice_of(declared)) else ""
            legal = ", ".join(_code(choice) for choice in rule.legal) or _code(rule.values)
            yield _code(prefix + name), legal, _code(json.dumps(value).strip('"')), alone + rule.doc
        else:
            yield _code(prefix + name), "", _code(json.dumps(value).strip('"')), "of the files of `conf/experiment`"


def _fields(kind: type[JsonPart], without: type[JsonPart] | None) -> Iterator[tuple[str, str, str, str]]:
    """Every field of a part but those of another, with what it means and when it is there."""
    known = {one.name for one in entries(without)} if without is not None else set()
    for one in entries(kind):
        if one.name not in known:
            yield _code(one.name), one.kind, one.unit, f"{one.text} ({one.when})" if one.when else one.text


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *(tuple(row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""

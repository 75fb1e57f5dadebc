"""Text of the documentation that is made while it is built, from the configuration and from a run: it cannot go stale."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from experiments.config.help import choices
from experiments.config.resolve import GROUPS, as_record, register, resolve
from experiments.config.schema import Config, own_first
from experiments.launch.point import run_point
from sparsednn.options.fields import choice_of, group_of, rule_of

HELP = Path("hydra", "help", "sparsednn.yaml")
TOY = [
    "neurons=12", "layers=4", "network.radices=[2,3]", "network.dense_width=2", "network.bias=0", "network.weight=0.5",
    "instances=null",
]  # fmt: skip
WIDTH = 50
MACHINE = ("environment", "host", "process_id")
"""Fields whose values say something of the machine on which the documentation is built: they are not shown."""


def substitutions(conf: Path) -> dict[str, str]:
    """Return what pages call for by name: the help, the tables of keys and choices, and the fields of a record."""
    register()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return {
            "help": _fenced(_help(conf), "text"),
            "choices": _table(("group", "choices"), _choices(conf)),
            "keys": _table(("key", "values", "unless given", "what it does"), _keys()),
            "record_fields": _table(("field", "type", "in a small run"), _fields(_small_record())),
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


def _small_record() -> dict[str, Any]:
    """The record of a run that takes no time, with the backend that compiles nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = sp.csr_array(sp.eye_array(12, dtype="float32") + sp.eye_array(12, k=1, dtype="float32"))
        sp.save_npz(folder / "rows.npz", rows)
        given = [*TOY, "backend=scipy_reference", "threads=1", "input=files", f"input.path={folder / 'rows.npz'}"]
        composed = compose("config", overrides=given)
        record = run_point(lambda: resolve(composed), folder, TOY, Console(file=io.StringIO()))
    if record["status"] != "complete":
        raise RuntimeError(f"the run that shows what a record has: {record['error']}")
    return {name: value for name, value in record.items() if name != "config"}  # that is the table of keys


def _fields(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every field, those of fields too; of lists of alike the first one's."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _fields(value[0], f"{prefix}{name}[].")
        else:
            of_machine = name in MACHINE or prefix.startswith(MACHINE)
            shown = "" if of_machine else f"{value:.3g}" if isinstance(value, float) else json.dumps(value)
            yield _code(prefix + name), type(value).__name__.replace("NoneType", "null"), _code(_short(shown))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head), *(tuple(row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."


def _code(text: str) -> str:
    return f"`{text}`" if text else ""

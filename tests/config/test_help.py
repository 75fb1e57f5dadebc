"""The text of --help, and keys for the library's parameters: made of the one place where an option is declared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.config import help as helping
from experiments.config.help import GROUPS_BY_USE, LEAST_USED, MOST_USED, choices, first_sentence, help_text
from experiments.config.key_names import KEYS, in_keys
from experiments.config.resolve import keys
from experiments.config.schema import GROUPS, Config
from experiments.run.measure import message
from sparsednn.errors import DataError, OptionError
from sparsednn.execution.options import PARAMETERS
from sparsednn.options.fields import Options, count, declarations, default_of, group, group_of, rule_of

CONF = Path(__file__).parents[2] / "conf"


def test_every_parameter_of_the_library_is_a_key() -> None:
    for parameter, (in_group, option) in PARAMETERS.items():
        assert KEYS.get(parameter, option) in keys()
        assert KEYS.get(parameter, option).endswith(option), in_group


def test_help_has_every_key_with_its_values_and_every_choice_each_with_one_line() -> None:
    said = help_text(CONF)

    def look_at(schema: type, prefix: str) -> None:
        for name, declared in declarations(schema).items():
            inner, rule = group_of(declared), rule_of(declared)
            if inner is not None:
                look_at(inner, f"{prefix}{name}.")
            elif rule is not None and (name != "name" or not prefix):
                key, doc = f" {prefix}{name}={rule.values}", re.escape(first_sentence(rule.doc))
                assert re.search(rf"^ +{re.escape(key.strip())}(\n| ).*{doc}( \[.*\])?$", said, re.MULTILINE), key

    look_at(Config, "")
    for name in GROUPS:
        assert choices(CONF, name)
        for choice in choices(CONF, name):
            assert f"  {name}={choice} " in said
            lines = (CONF / name / f"{choice}.yaml").read_text().splitlines()
            line = lines[lines[0].startswith("# @package")]
            assert re.search(rf"^  {name}={choice} +{re.escape(line.removeprefix('# '))}$", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 132


def test_what_is_used_most_comes_first() -> None:
    said = help_text(CONF)
    looked_for = ("  neurons=", "  threads=", "  kernel=", "  seed=", "  scheduler=", "  optimize=", "  backend=", "  cluster=")
    places = [said.index(f"\n{text}") for text in looked_for]
    assert places == sorted(places)
    assert said.index("cluster.nodes=") < said.index("cluster.assume.")
    fields = {name for made in (Config, *map(schema_of, GROUPS)) for name in declarations(made)}
    assert set(MOST_USED) | set(LEAST_USED) <= fields, "a key that is no more"
    assert sorted(GROUPS_BY_USE) == sorted(GROUPS)


def schema_of(name: str) -> type:
    made = group_of(declarations(Config)[name])
    assert made is not None
    return made


def test_help_begins_with_few_commands_and_explains_its_words() -> None:
    template = OmegaConf.load(CONF / "hydra" / "help" / "sparsednn.yaml")
    text = str(OmegaConf.to_container(template, resolve=False)["template"])  # type: ignore[call-overload,index]
    start = text.partition("Start here\n")[2].partition("\n\n")[0].splitlines()
    assert 4 <= len(start) <= 6
    assert all(line.startswith("  python run.py") for line in start)
    assert "docs/glossary.md" in str(template.footer)
    assert max(len(line) for line in (text + str(template.footer)).splitlines()) <= 132


@dataclass
class More(Options):
    """A group with one field."""

    depth: int = count(3, "How deep it goes")


@dataclass
class Larger(Config):
    """A schema with a group more."""

    more: More = group(More)


def test_a_new_option_is_one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helping, "Config", Larger)
    monkeypatch.setattr(helping, "GROUPS", ("more",))
    monkeypatch.setattr(helping, "_files", lambda conf, group: [])
    assert "    more.depth=N                    How deep it goes [3]" in help_text(CONF)
    config = OmegaConf.merge(OmegaConf.structured(Larger), {"more": {"depth": 5}})
    assert OmegaConf.to_object(config).more.depth == 5  # type: ignore[union-attr]


@pytest.mark.parametrize("name", GROUPS)
def test_files_of_conf_repeat_no_default(name: str) -> None:
    """A default has one home."""
    made = group_of(declarations(Config)[name])
    assert made is not None
    for path in (CONF / name).glob("*.yaml"):
        given = OmegaConf.load(path)
        made = Config if path.read_text().startswith("# @package _global_") else made
        for option in set(given) - {"defaults", "name"}:
            value = OmegaConf.to_container(given, resolve=False)[option]  # type: ignore[call-overload,index]
            assert value != default_of(declarations(made)[str(option)]), f"{path}: {option}"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param("residency=stream: no", "network.residency=stream: no", id="at the start"),
        pytest.param("use rows=none, order=given or row_order=given", "use optimize.rows=none, optimize.order=given or "
                     "partition.order=given", id="several"),
        pytest.param("take a smaller block_rows", "take a smaller backend.block_rows", id="without a value"),
        pytest.param("repeats=0: must be at least 1", "repeats=0: must be at least 1", id="the same name"),
        pytest.param("network.residency=stream", "network.residency=stream", id="a key already"),
        pytest.param("a/block_rows/b: no such file, nor x-split=1", "a/block_rows/b: no such file, nor x-split=1", id="a path"),
        pytest.param("fewer rows, in order", "fewer rows, in order", id="words of English"),
    ],
)  # fmt: skip
def test_run_py_calls_a_parameter_by_its_key(said: str, expected: str) -> None:
    assert in_keys(said) == expected
    assert message(OptionError(said)) == expected
    assert message(DataError(said)) == said, "names of files stay as they are"
    assert message(RuntimeError(said)) == f"RuntimeError: {said}", "a fault of the program is told as it is"

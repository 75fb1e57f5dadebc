"""Commands that pages show, in blocks and in sentences, up to where something would be run. (Those of the tutorial are run.)

It takes tens of seconds: of each sweep every point is composed and resolved, since it is combinations that may not go together.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments import figures
from experiments.config.overrides import check
from experiments.config.resolve import chosen_experiment, register, resolve
from experiments.sweeps.points import plan
from tests.composing import COMPOSER
from tests.docs.markdown import blocks, code_spans
from tests.docs.pages import MANUAL, ROOT, TUTORIAL, page_name

CONF = ROOT / "conf"

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHON = re.compile(r"(\.venv/bin/)?python3?")
STARTS = re.compile(r"(\.venv/bin/)?(python3?|mpiexec|pip|pytest|sphinx-build) \S")
"""Words with which a command in a sentence begins."""


def commands(page: Path) -> list[str]:
    """Return the page's commands, one after the other, without comments."""
    # the tutorial is not asked: a step needs what those before it have made
    shown = "\n".join(block.text for block in blocks(page) if block.language == "bash" and page != TUTORIAL)
    lines = [shlex.join(shlex.split(line, comments=True)) for line in shown.replace("\\\n", " ").splitlines()]
    spans = [span for span in code_spans(page) if STARTS.match(span)]
    return [part for line in [*lines, *spans] for part in re.split(r" '?&&'? ", line) if part]


def every_command() -> dict[str, str]:
    """Return all commands of all pages, each with the name of the first page that has it."""
    found = [(command, page_name(page)) for page in MANUAL for command in commands(page)]
    return dict(reversed(found))


def points(arguments: list[str]) -> list[list[str]]:
    """Return the overrides of each point that Hydra would make of arguments."""
    given = [text for text in arguments if not text.startswith(("-", "hydra."))]
    parsed = OverridesParser.create().parse_overrides(given)
    values = [list(one.sweep_string_iterator()) if one.is_sweep_override() else None for one in parsed]
    choices = [
        [text] if several is None else [f"{text.partition('=')[0]}={value}" for value in several]
        for text, several in zip(given, values, strict=True)
    ]
    return [list(point) for point in itertools.product(*choices)]


def compose_points(arguments: list[str]) -> None:
    """Go as far as ``run.py`` would before it runs anything."""
    check(arguments, CONF)
    assert len(points(arguments)) == 1 or "-m" in arguments
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for overrides in points(arguments):
            composed = COMPOSER.compose(overrides)
            experiment = chosen_experiment(composed)
            if experiment is None:
                assert resolve(composed)
            else:
                assert experiment.members or experiment.report or plan(experiment, overrides)


def check_module(words: list[str]) -> None:
    """See that ``python -m`` finds a module, which has the options that it is given."""
    module, *arguments = words
    assert importlib.util.find_spec(module) is not None, f"there is no module {module}"
    if module == "experiments.figures":
        assert arguments[0] == "FIGURE" or arguments[0] in figures.names()
    if options := {word.partition("=")[0] for word in arguments if word.startswith("--")}:
        assert options <= set(
            re.findall(r"--[\w-]+", help_of(module, *arguments[: arguments[0].isalpha() and arguments[0].islower()]))
        )


@cache
def help_of(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def check_install(arguments: list[str]) -> None:
    """See that the extras are there that are asked for."""
    for names in re.findall(r"\.\[(.+)\]", " ".join(arguments)):
        assert set(names.split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def check_pytest(arguments: list[str]) -> None:
    """See that the markers and files are there that are asked for."""
    markers = [line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
    for word, following in itertools.pairwise([*arguments, ""]):
        if word == "-m":
            assert following in markers
    assert all((ROOT / word).exists() for word in arguments if word.startswith("tests/"))


@pytest.mark.parametrize("command", [pytest.param(text, id=f"{page}: {text}") for text, page in every_command().items()])
def test_a_command_can_be_done(command: str) -> None:
    words = shlex.split(command)
    if "run.py" in words:
        compose_points(words[words.index("run.py") + 1 :])
        return
    if PYTHON.fullmatch(words[0]):
        assert words[1] == "-m", f"no test knows what this does: {command}"
        del words[:2]
    match words[0].removeprefix(".venv/bin/"), words[1:]:
        case "pip", ["install", *arguments]:
            check_install(arguments)
        case "pytest", arguments:
            check_pytest(arguments)
        case "venv", [".venv"]:
            pass
        case "sphinx-build", [*_, "docs", "docs/_build/html"]:
            pass
        case module, arguments if "." in module:
            check_module([module, *arguments])
        case _:
            pytest.fail(f"no test knows what this does: {command}")


@pytest.mark.parametrize("module", ["experiments.rerun", "experiments.calibrate", "experiments.gpu_check.difference"])
def test_the_help_of_a_command_is_plain_text(module: str) -> None:
    shown = help_of(module)
    assert shown.startswith(f"usage: python -m {module} ")
    assert "`" not in shown


def test_there_are_commands() -> None:
    found = every_command()
    assert found["python run.py neurons=4096 layers=480 repeats=5"] == "README.md"
    assert found["python run.py experiment=scheduler_pairs"] == "docs/guide/experiments.md"
    assert "python -m experiments.calibrate FILE" in found


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param("python -m experiments.none outputs", "no module experiments.none", id="a module"),
        pytest.param("python -m experiments.rerun --onto FOLDER", "--onto", id="an option"),
        pytest.param("python -m experiments.figures none outputs", "none", id="a figure"),
        pytest.param("pip install -e '.[none]'", "none", id="an extra"),
        pytest.param("python -m pytest -m none", "none", id="a marker"),
        pytest.param("python run.py kernel=csc,udc", "-m", id="a sweep without -m"),
    ],
)
def test_a_command_that_cannot_be_done_is_found(command: str, message: str) -> None:
    with pytest.raises((AssertionError, SystemExit), match=re.escape(message)):
        test_a_command_can_be_done(command)

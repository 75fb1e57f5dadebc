"""Commands that the README shows, up to where something would be run. (Those of the tutorial are run.)"""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.config.overrides import check
from experiments.config.resolve import chosen_experiment, register, resolve
from experiments.sweeps.points import plan
from tests.docs.markdown import blocks

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


def commands() -> list[str]:
    text = "\n".join(block.text for block in blocks(ROOT / "README.md") if block.language == "bash")
    return list(dict.fromkeys(line for line in text.replace("\\\n", " ").splitlines() if "run.py" in shlex.split(line, True)))


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


@pytest.mark.parametrize("command", commands())
def test_the_readmes_commands_can_be_composed(command: str) -> None:
    words = shlex.split(command, comments=True)
    arguments = words[words.index("run.py") + 1 :]
    check(arguments, CONF)
    assert len(points(arguments)) == 1 or "-m" in arguments
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for overrides in points(arguments):
            composed = compose("config", overrides=overrides)
            experiment = chosen_experiment(composed)
            if experiment is None:
                assert resolve(composed)
            else:
                assert experiment.members or experiment.report or plan(experiment, overrides)


def test_there_are_commands() -> None:
    assert "python run.py --help" in {command.split("  ")[0] for command in commands()}

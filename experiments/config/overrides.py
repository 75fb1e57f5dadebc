"""Checks overrides before Hydra reads them, names the legal values that are near, and writes overrides for Hydra."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from experiments.config.resolve import GROUPS, ConfigError, keys
from sparsednn.errors import unknown, unknown_key

_BARE = re.compile(r"[\w./+-]+")
_BEFORE_QUOTE = re.compile(r"(\\*)('|\Z)")  # only there does Hydra take backslashes for more than themselves
_PLAIN_VALUES = re.compile(r"[\w,.-]+")
_NO_NAME = re.compile(r"""\s*([\[{]|(''|"")?\s*$)""")
"""Lists, mappings and nothing: Hydra would compose without the group, or fail with a traceback."""


def check(arguments: Iterable[str], conf: Path) -> None:
    """Refuse overrides of unknown keys, and unknown names in configuration groups.

    Raises
    ------
    ConfigError
        Naming the override, the nearest legal names and all legal names.
    """
    legal = keys()
    for argument in arguments:
        if argument.startswith("-") or not ("=" in argument or argument.startswith("~")):
            continue
        key, _, value = argument.partition("=")
        name = key.lstrip("+~").partition("@")[0]
        if name.startswith(("hydra.", "hydra/")):
            continue
        if name not in legal:
            raise ConfigError(unknown_key(name, legal))
        if argument.startswith("~"):
            raise ConfigError(f"{argument}: keys cannot be removed")
        if name in GROUPS and not _NO_NAME.match(value):
            _check_names(name, value.split(",") if _PLAIN_VALUES.fullmatch(value) else [], conf)
        elif name in GROUPS:
            raise ConfigError(f"{argument}: takes one name; legal: {', '.join(_names(name, conf))}")


def refuse_launchers(arguments: Iterable[str]) -> None:
    """Refuse launchers of Hydra that start processes: an MPI launcher's belong together, and those would not.

    Raises
    ------
    ConfigError
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "hydra/launcher" and value != "basic":
            raise ConfigError(f"{argument}: not in processes that an MPI launcher has started; start run.py by itself")


def n_points(arguments: Iterable[str]) -> int | None:
    """Return how many points a call sweeps over; None where it sweeps over nothing, or Hydra alone can count them."""
    arguments = list(arguments)
    if not {"-m", "--multirun"} & set(arguments):
        return None
    given = [argument for argument in arguments if "=" in argument and not argument.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(given)
        return math.prod(len(list(one.sweep_string_iterator())) for one in parsed if one.is_sweep_override())
    except (HydraException, AssertionError, ValueError):  # patterns over files, and what Hydra will refuse by itself
        return None


def _check_names(group: str, names: list[str], conf: Path) -> None:
    legal = _names(group, conf)
    for name in names:
        if name not in legal:
            raise ConfigError(f"{unknown(group, name, legal)} (in this version)")


def _names(group: str, conf: Path) -> list[str]:
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def override(key: str, value: Any) -> str:
    """Return ``key=value`` as Hydra reads it: null, truth values, numbers, strings (quoted where they must be) and lists."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_written(item) for item in value)}]"
    if isinstance(value, str) and not _BARE.fullmatch(value):
        return "'" + _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"
    return str(value)

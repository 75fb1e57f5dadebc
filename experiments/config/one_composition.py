"""Spares Hydra a composition: it makes one only to see whether ``hydra.mode`` is in it, and then another to run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hydra._internal.hydra import Hydra


def compose_once(arguments: Iterable[str]) -> None:
    """Tell Hydra that there is no mode, if nothing in the arguments could set one: our own configuration never does.

    Hydra has no public way to say so. It takes a missing mode for what the command line asks for, as when it found none.
    """
    Hydra.get_mode = _GET_MODE if any(map(_could_set, arguments)) else _no_mode  # type: ignore[assignment, method-assign]


def _could_set(argument: str) -> bool:
    key = argument.partition("=")[0].lstrip("+~")
    return argument.startswith("-") or key in ("hydra", "hydra.mode") or key.startswith("hydra/")


_GET_MODE = Hydra.get_mode


def _no_mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    return None

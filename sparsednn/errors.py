"""Error messages for names that are not legal: say what was given, what is nearest and what is legal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(option: str, value: object, legal: Iterable[str]) -> str:
    """Return one line that refuses ``option=value``: the nearest legal values first, then all of them."""
    return f"{option}={value}: {_nearest(str(value), list(legal))}"


def unknown_key(key: str, legal: Iterable[str]) -> str:
    """Return one line that refuses a key: the nearest legal keys first, then all of them."""
    return f"unknown key {key}: {_nearest(key, list(legal))}"


def _nearest(name: str, legal: list[str]) -> str:
    near = difflib.get_close_matches(name, legal, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}legal: {', '.join(legal)}"

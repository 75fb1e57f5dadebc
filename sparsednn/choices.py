"""Error messages for names that are not legal: say what was given, what is nearest and what is legal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(option: str, value: object, legal: Iterable[str]) -> str:
    """Return one line that refuses ``option=value`` and names the nearest legal names first."""
    names = [str(name) for name in legal]
    near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{option}={value}: {hint}legal: {', '.join(names)}"

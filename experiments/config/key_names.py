"""Translates messages of the library for users of run.py: calls each option by its key."""

from __future__ import annotations

import re

from sparsednn.execution.options import PARAMETERS

KEYS = {parameter: f"{group}.{option}" for parameter, (group, option) in PARAMETERS.items() if group != "run"}
"""Parameters of the library whose keys have other names."""

_ALONE = [name for name in KEYS if "_" in name]
_PARAMETER = re.compile(rf"(?<![\w./-])(?:({'|'.join(KEYS)})=|({'|'.join(_ALONE)})(?![\w./-]))")
"""A parameter with a value; or, where its name is no word of English, without one."""


def in_keys(message: str) -> str:
    """Return a message of the library with keys for parameters: ``hashing=input`` becomes ``partition.hashing=input``."""
    return _PARAMETER.sub(lambda match: f"{KEYS[match[1]]}=" if match[1] else KEYS[match[2]], message)

"""Results and their records: what was computed, how long it took, and whether it is right."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:  # a trace is written with the help of this module
    from sparsednn.trace import Trace

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of an inference.

    Attributes
    ----------
    categories : int64 array
        1-based ids of the instances whose last activations have a sum above zero, ascending.
    output : csr_array of float32, shape (instances, n_outputs), or None
        The last activations, if they were asked for.
    record : dict
        What was run, times in seconds, rates; ready for JSON.
    trace : Trace, or None
        What each worker did when, if it was asked for.
    """

    categories: NDArray[np.int64]
    output: sp.csr_array | None
    record: dict[str, Any]
    trace: Trace | None = None


def categories_sha256(categories: NDArray[np.int64]) -> str:
    """Return the SHA-256 of 1-based ids written as the published file has them: one a line, a newline at the end."""
    return hashlib.sha256("".join(f"{category}\n" for category in categories).encode()).hexdigest()


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record atomically: the file is whole or not there.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of `path`, which takes its place when the block ends well and is removed when not.

    It is a new file with the permissions that new files get: none are set, since some file systems refuse that.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

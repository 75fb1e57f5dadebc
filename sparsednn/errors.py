"""Defines the errors that a user can mend, and writes their messages.

Each is one line that names the value, where it came from, and the way out. Any other exception is a fault of the program, and
keeps its traceback. Each class is also the built-in one that fits, so that ``except ValueError`` goes on working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SparseDnnError(Exception):
    """The base of all errors that a user can mend; the message names the value, where it came from and the way out."""


class OptionError(SparseDnnError, ValueError):
    """An argument or option has a value that is not legal, or that does not go with another."""


class OptionTypeError(SparseDnnError, TypeError):
    """An argument or option is of a kind that it cannot be."""


class DataError(SparseDnnError, ValueError):
    """A file or an array is malformed, or does not fit; the message names the file and the line, or the entry."""


class MissingFileError(SparseDnnError, FileNotFoundError):
    """A file or folder that was named is not there."""


class StorageError(SparseDnnError, OSError):
    """A file or folder cannot be read or written."""


class MemoryShortageError(SparseDnnError, MemoryError):
    """Something does not fit into memory; the message says how much it needs, and what would fit."""


class MissingPackageError(SparseDnnError, ImportError):
    """An optional package cannot be imported; the message says which extra installs it."""


class ActivationOverflowError(SparseDnnError, FloatingPointError):
    """Activations have overflowed float32."""


class DeviceError(SparseDnnError, RuntimeError):
    """A device cannot be used, or has failed; the message says which, why, and the way out."""


class SchedulerInUseError(SparseDnnError, RuntimeError):
    """A scheduler object was given to two calls at once."""


def mendable(error: BaseException) -> SparseDnnError | None:
    """Return an error if the user can mend it, one of the system as one of the family; None: it is a fault of the program."""
    if isinstance(error, SparseDnnError):
        return error
    if isinstance(error, MemoryError):
        return MemoryShortageError(str(error) or "memory has run out; use fewer instances, layers or neurons")
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return StorageError(f"{error.filename}: {error.strerror}")
    return None


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

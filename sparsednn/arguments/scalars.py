"""Checks single arguments: each check returns the value in Python's own type, or refuses it by its name."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import OptionError, OptionTypeError, unknown

MOST = 2**63 - 1


def whole_number(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number of Python's or NumPy's as an int.

    Raises
    ------
    TypeError
        If it is something else; also if it is a float, or True or False.
    ValueError
        If it is below `least` or above `most`, or int64 does not hold it.
    """
    try:
        if isinstance(value, bool | np.bool_ | np.ndarray):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise OptionTypeError(f"{name}={_shown(value)}: a whole number is needed, not {_kind(value)}") from None
    if most is not None and number > most:
        raise OptionError(f"{name}={_shown(value)}: must be {f'from {least} to' if least == 0 else 'at most'} {most}")
    if abs(number) > MOST:
        raise OptionError(f"{name}={_shown(value)}: beyond 64 bits")
    if least is not None and number < least:
        raise OptionError(f"{name}={number}: {f'must be at least {least}' if least else 'must be 0 or more'}")
    return number


def real_number(name: str, value: Any) -> float:
    """Return a real number of Python's or NumPy's, which may be infinite, as a float.

    Raises
    ------
    TypeError
        If it is something else; also if it is complex, a string, an array, or True or False.
    ValueError
        If it is NaN, or a whole number beyond all floats.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise OptionTypeError(f"{name}={_shown(value)}: a number is needed, not {_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise OptionError(f"{name}={_shown(value)}: beyond what a float holds") from None
    if math.isnan(number):
        raise OptionError(f"{name}=nan: a number is needed")
    return number


def flag(name: str, value: Any) -> bool:
    """Return True or False of Python's or NumPy's as a bool, or raise TypeError."""
    if not isinstance(value, bool | np.bool_):
        raise OptionTypeError(f"{name}={_shown(value)}: True or False is needed, not {_kind(value)}")
    return bool(value)


def instance_of(name: str, value: Any, wanted: type | tuple[type, ...], way_out: str) -> None:
    """Raise TypeError, which says what to give, if `value` is not of a type that is `wanted`."""
    if not isinstance(value, wanted):
        raise OptionTypeError(f"{name}={_shown(value)}: {way_out}, not {_kind(value)}")


def one_of(name: str, value: Any, legal: Iterable[str]) -> str:
    """Return one of some legal names, or raise ValueError with those that are near, and all."""
    names = list(legal)
    if not isinstance(value, str) or value not in names:
        raise OptionError(unknown(name, _shown(value) if not isinstance(value, str) else value, names))
    return value


def whole_numbers(name: str, value: Any) -> NDArray[np.int64]:
    """Return a sequence or array of whole numbers as int64, shape (n,), or raise TypeError."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise OptionTypeError(f"{name}={_shown(value)}: an array of whole numbers of shape (n,) is needed")
    return array.astype(np.int64, copy=False)


def _kind(value: Any) -> str:
    """Name the kind of a value, for a message: the class itself where a class was given."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _shown(value: Any) -> str:
    """A value in one short line."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."

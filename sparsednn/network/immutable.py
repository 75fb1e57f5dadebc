"""Owns what layers and activations have in common: their fields are set once."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any


class Immutable:
    """An object whose fields are set once, when it is made.

    Subclasses are declared with ``dataclass(slots=True, eq=False, repr=False)``: the methods here serve all of them, where
    ``frozen=True`` compiles its own for each while the library is imported.

    Raises
    ------
    FrozenInstanceError
        If a field is set again, or deleted.
    """

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field that has no value yet."""
        if name not in self.__slots__ or hasattr(self, name):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        """Refuse to delete a field."""
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        """Return the fields as a call."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__qualname__}({', '.join(shown)})"

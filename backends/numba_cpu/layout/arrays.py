"""Takes packed networks apart into arrays by name, and puts them together again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from backends.numba_cpu.layout.files import Packed
from backends.numba_cpu.layout.neurons import Neurons
from backends.numba_cpu.layout.packing import Connections
from sparsednn.backend import StoredLayout

AT = "_at"
"""Ends the name of the field that says where each layer starts in another one."""

_Fields = TypeVar("_Fields", bound=tuple[Any, ...])


def split(**tuples: Any) -> StoredLayout:
    """Return the fields of named tuples, each under the tuple's name and its own: ``neurons.widths``.

    Tuples among them are left out, to be given by themselves. A field of which another one says by its name where the layers
    start (``ids``, ``ids_at``) has a part for each layer.
    """
    arrays, starts, values = dict[str, NDArray[Any]](), dict[str, NDArray[np.int64]](), dict[str, Any]()
    for kind, fields in tuples.items():
        for name, value in fields._asdict().items():
            if isinstance(value, np.ndarray):
                arrays[f"{kind}.{name}"] = value
            elif not isinstance(value, tuple):
                values[f"{kind}.{name}"] = value
            if (at := getattr(fields, name + AT, None)) is not None and len(at):
                starts[f"{kind}.{name}"] = at
    return StoredLayout(arrays, starts, values)


def join(kind: str, made_of: type[_Fields], stored: StoredLayout, **given: Any) -> _Fields:
    """Return the tuple of that name, with some fields as given. Raises KeyError if another is not there."""
    parts: Mapping[str, Any] = {**stored.arrays, **stored.values}
    make: Any = made_of
    fields: _Fields = make(**given, **{name: parts[f"{kind}.{name}"] for name in make._fields if name not in given})
    return fields


class _Rest(NamedTuple):
    """Fields of `Packed` that belong to no tuple.

    stands_for : int32                       of all layers, one after the other; empty if `stands` is False
    stands_for_at : int64 (n_layers,)
    """

    n_connections: NDArray[np.int64]
    stands_for: NDArray[np.int32]
    stands_for_at: NDArray[np.int64]
    stands: bool


def split_packed(packed: Packed, **tuples: Any) -> StoredLayout:
    """Return a packed network, and further tuples that belong to it, as arrays."""
    parts = packed.stands_for or []
    rest = _Rest(
        n_connections=packed.n_connections,
        stands_for=_joined(parts),
        stands_for_at=np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)[:-1],
        stands=packed.stands_for is not None,
    )
    return split(neurons=packed.neurons, connections=packed.connections, rest=rest, **tuples)


def join_packed(stored: StoredLayout) -> Packed:
    """Return the packed network that `split_packed` has taken apart."""
    rest = join("rest", _Rest, stored)
    stands_for = np.split(rest.stands_for, rest.stands_for_at[1:]) if rest.stands else None
    return Packed(
        neurons=join("neurons", Neurons, stored),
        connections=join("connections", Connections, stored),
        n_connections=rest.n_connections,
        stands_for=stands_for,
    )


def _joined(parts: Iterable[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int32), *parts])

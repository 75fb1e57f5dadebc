"""Declares, writes and checks JSON as dataclasses, each field with its meaning and unit.

They are the one registry of what a file may have: whoever writes, reads or documents it goes through them.
Not msgspec or pydantic: meanings, units and earlier versions would be declared beside them all the same, and the library needs
nothing for it this way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, NamedTuple, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from sparsednn.errors import DataError

KINDS = {
    int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list", dict: "a mapping",
    NoneType: "null",
}  # fmt: skip
"""How messages and the documentation call the types of JSON."""


class FieldError(DataError):
    """A value of a JSON file lacks, or is of another type than its field says; the message names the field."""


def doc(text: str, unit: str = "", when: str = "") -> dict[str, str]:
    """Return the metadata of a field: its meaning, its unit, and when it is there.

    A field with `when` is left out of the JSON while it is None; another one is written as null.
    """
    return {"doc": text, "unit": unit, "when": when}


@dataclass(slots=True, kw_only=True, init=False, eq=False, repr=False)
class JsonPart:
    """A mapping of JSON with declared fields; each field but `others` and `lacks` has metadata made by `doc`.

    Subclasses are declared with `json_part`: the methods here make, compare and print all of them, and are not compiled again
    for each while the library is imported.

    Attributes
    ----------
    others : dict
        Entries that were read and are not declared, as those of a later version; they are written again.
    lacks : frozenset of str
        Fields that were not there when it was read, and have their defaults; they are not written.
    """

    open: ClassVar[bool] = False
    """Whether others may add entries of their own."""

    others: dict[str, Any] = field(default_factory=dict, metadata={"hidden": True}, repr=False)
    lacks: frozenset[str] = field(default=frozenset(), metadata={"hidden": True}, repr=False)

    def __init__(self, **given: Any) -> None:
        """Take fields by keyword; the others have their defaults.

        Raises
        ------
        TypeError
            For a field that is not declared, or that is not given and has no default.
        """
        for one in fields(self):
            value = given.pop(one.name) if one.name in given else _default(one)
            if value is LACKS:
                raise TypeError(f"{type(self).__name__}: the field {one.name} is not given")
            setattr(self, one.name, value)
        if given:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(given)}")

    def __eq__(self, other: object) -> bool:
        """Compare all fields, those too that a file did not have."""
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, one.name, LACKS) == getattr(other, one.name, LACKS) for one in fields(self))

    __hash__ = None  # type: ignore[assignment]  # fields can be assigned

    def __repr__(self) -> str:
        """Return the fields that stand in the JSON, as a call."""
        shown = (f"{one.name}={getattr(self, one.name, LACKS)!r}" for one in declared(type(self)))
        return f"{type(self).__qualname__}({', '.join(shown)})"


Part = TypeVar("Part", bound=JsonPart)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def json_part(kind: type[Part]) -> type[Part]:
    """Declare a subclass of `JsonPart`: a dataclass with slots and with the methods of `JsonPart`."""
    return dataclass(slots=True, kw_only=True, init=False, eq=False, repr=False)(kind)


def declared(kind: type[JsonPart]) -> list[Field[Any]]:
    """Return the fields of a part that stand in its JSON."""
    return [one for one in fields(kind) if not one.metadata.get("hidden")]


def named(kind: type[JsonPart], *names: str) -> tuple[str, ...]:
    """Return names of fields of a part, for tables.

    Raises
    ------
    AttributeError
        For a name that is not declared.
    """
    for name in set(names) - {one.name for one in declared(kind)}:
        raise AttributeError(f"{kind.__name__} has no field {name}")
    return names


def to_json(part: JsonPart) -> dict[str, Any]:
    """Return a part as plain values, in the order of its fields; what was not there when it was read is left out."""
    found: dict[str, Any] = {}
    for one in declared(type(part)):
        value = getattr(part, one.name, LACKS)
        if value is LACKS or (value is None and one.metadata["when"]):
            continue
        if one.name not in part.lacks or value != _default(one):
            found[one.name] = _plain(value)
    return found | part.others


LACKS = object()
"""Stands for a field that a file did not have."""


def _plain(value: Any) -> Any:
    if isinstance(value, JsonPart):
        return to_json(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def from_json(kind: type[Part], values: Any, whole: bool = True, where: str = "") -> Part:
    """Return a part of the values that a file has for it.

    Parameters
    ----------
    kind : subclass of JsonPart
    values : mapping
    whole : bool
        Refuse values that lack a field. Otherwise it has its default, or the part is without it: then to ask for it is an
        AttributeError.
    where : str
        The name of the field that the values stand in, for messages.

    Raises
    ------
    FieldError
        Naming a field that lacks, or has a value of another type.
    """
    if not isinstance(values, Mapping):
        raise FieldError(f"{where or 'it'} is {_shown(values)}, not {KINDS[dict]}")
    part, prefix, reading = object.__new__(kind), f"{where}." if where else "", _reading(kind)
    for one in reading.hidden:
        setattr(part, one.name, _default(one))
    for name, type_, direct, one in reading.fields:
        value = values.get(name, LACKS)
        if type(value) in direct:  # most are: records have many workers
            setattr(part, name, value)
        elif value is not LACKS:
            setattr(part, name, _read(type_, value, whole, prefix + name))
        elif one.metadata["when"]:
            setattr(part, name, None)
        elif whole:
            raise FieldError(f"it has no {prefix}{name}")
        elif (default := _default(one)) is not LACKS:
            setattr(part, name, default)
            part.lacks |= {name}
    part.others = {name: value for name, value in values.items() if name not in reading.names}
    return part


def _default(one: Field[Any]) -> Any:
    """Return the default of a field, `LACKS` if it has none."""
    if one.default_factory is not MISSING:
        return one.default_factory()
    return LACKS if one.default is MISSING else one.default


class _Reading(NamedTuple):
    """How a part is read: its fields with their types, and the types of values that need no other check."""

    fields: list[tuple[str, Any, frozenset[type], Field[Any]]]
    names: frozenset[str]
    hidden: list[Field[Any]]


_DIRECT: dict[Any, frozenset[type]] = {kind: frozenset({kind}) for kind in (int, str, bool)} | {float: frozenset({float, int})}
_READINGS: dict[Any, _Reading] = {}


def _reading(kind: type[JsonPart]) -> _Reading:
    """Return how a part is read; it is worked out once."""
    if kind not in _READINGS:
        types, shown = get_type_hints(kind), declared(kind)
        plan = [(one.name, types[one.name], _direct(types[one.name]), one) for one in shown]
        hidden = [one for one in fields(kind) if one.metadata.get("hidden")]
        _READINGS[kind] = _Reading(plan, frozenset(one.name for one in shown), hidden)
    return _READINGS[kind]


def _direct(kind: Any) -> frozenset[type]:
    if is_union(kind):
        return _DIRECT.get(not_none(kind), frozenset()) | {NoneType}
    return _DIRECT.get(kind, frozenset())


def _read(kind: Any, value: Any, whole: bool, where: str) -> Any:
    """Return a value of a file as the type of its field."""
    if kind is Any:
        return value
    if is_union(kind):
        return None if value is None else _read(not_none(kind), value, whole, where)
    if isinstance(kind, type) and issubclass(kind, JsonPart):
        return from_json(kind, value, whole, where)
    plain, inner = get_origin(kind) or kind, get_args(kind)
    number = plain is float and isinstance(value, int)
    if not (isinstance(value, plain) or number) or (isinstance(value, bool) and plain is not bool):
        raise FieldError(f"{where} is {_shown(value)}, not {KINDS[plain]}")
    if plain is list:
        return [_read(inner[0], entry, whole, f"{where}[{number}]") for number, entry in enumerate(value)]
    if plain is dict:
        return {key: _read(inner[1], entry, whole, f"{where}.{key}") for key, entry in value.items()}
    return value


def is_union(kind: Any) -> bool:
    """Return whether a field may be null as well."""
    return get_origin(kind) in (Union, UnionType)


def not_none(kind: Any) -> Any:
    """Return the type of a field that may be null as well; fields have no other unions."""
    (found,) = (one for one in get_args(kind) if one is not NoneType)
    return found


def _shown(value: Any) -> str:
    return json.dumps(value, default=repr)[:40]


def undeclared(part: JsonPart, prefix: str = "") -> Iterator[str]:
    """Yield the names of entries that are in a part and not declared; parts that are `open` may have them."""
    if not part.open:
        yield from (prefix + name for name in part.others)
    for one in declared(type(part)):
        value = getattr(part, one.name, None)
        for number, inner in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(inner, JsonPart):
                yield from undeclared(inner, f"{prefix}{one.name}{f'[{number}]' if isinstance(value, list) else ''}.")

"""Tells the fields of JSON that are declared as dataclasses, for their documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from sparsednn.system.json_fields import KINDS, JsonPart, declared, is_union, not_none


class Entry(NamedTuple):
    """A field as the documentation shows it: its place, type, unit, meaning and when it is there."""

    name: str
    kind: str
    unit: str
    text: str
    when: str


def entries(kind: type[JsonPart], prefix: str = "", when: str = "") -> Iterator[Entry]:
    """Yield every field of a part, and those of the parts in it; ``[]`` stands for any entry of a list."""
    types = get_type_hints(kind)
    for one in declared(kind):
        said, inner = one.metadata, types[one.name]
        null = is_union(inner) and not said["when"]
        inner = not_none(inner) if is_union(inner) else inner
        name, whens = prefix + one.name, "; ".join(filter(None, (when, said["when"])))
        of = get_args(inner)[-1] if get_origin(inner) in (list, dict) else inner
        step = {list: "[]", dict: ".*"}.get(get_origin(inner), "")
        if is_dataclass(of) and isinstance(of, type) and issubclass(of, JsonPart):
            yield from entries(of, f"{name}{step}.", whens)
        else:
            yield Entry(name, _kind_text(inner) + (" or null" if null else ""), said["unit"], said["doc"], whens)


def _kind_text(kind: Any) -> str:
    plain, inner = get_origin(kind) or kind, get_args(kind)
    text = "anything" if kind is Any else KINDS[plain].removeprefix("a ")
    return f"{text} of {KINDS[inner[-1]].removeprefix('a ')}s" if inner and inner[-1] in (int, float, str) else text

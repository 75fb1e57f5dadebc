"""Declares an option as a field of a dataclass: its default, its legal values and what it does.

A class of options derives from `Options`: each value is checked when it is assigned, so that an object is legal at all times.
Command lines and documentation read the same declarations (`rules`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, is_dataclass
from typing import Any, NamedTuple, Self

from sparsednn.arguments.scalars import flag, instance_of, one_of, real_number, whole_number
from sparsednn.errors import OptionError, OptionTypeError, unknown_key

MOST = 2**31 - 1
"""The largest count: launchers and libraries take no larger numbers, and some take them for others without a word."""

_RULE, _ONLY_FOR = "rule", "only_for"


class Rule(NamedTuple):
    """The legal values of one option, and its meaning.

    Attributes
    ----------
    values : str
        Its legal values, in the short form of a command line: ``none|merge``, ``N``, ``FILE``.
    doc : str
        Its effect, without a full stop at the end: a short first sentence, which is all that ``--help`` says, and others.
    legal : tuple of str
        All legal values, where they are names.
    refuse : callable
        Returns a value, given the option's name and the value, in Python's own type, or raises OptionError or OptionTypeError.
    """

    values: str
    doc: str
    legal: tuple[str, ...]
    refuse: Callable[[str, Any], Any]


def choice(default: str | None, legal: Iterable[str], doc: str) -> Any:
    """Declare an option that is one of some names; or None, if that is the default."""
    names = tuple(legal)
    return _declare(default, Rule("|".join(names), doc, names, lambda name, value: one_of(name, value, names)))


def switch(default: bool | None, doc: str) -> Any:
    """Declare an option that is on or off; or None, if that is the default."""
    return _declare(default, Rule("true|false", doc, (), flag))


def count(
    default: int | None, doc: str, *, least: int = 1, most: int | None = MOST, values: str = "N", null: bool = False
) -> Any:  # fmt: skip
    """Declare an option that is a whole number from `least` to `most`; or None, if that is the default or `null` is set."""

    def refuse(name: str, value: Any) -> int | None:
        return None if null and value is None else whole_number(name, value, least, most)

    return _declare(default, Rule(values, doc, (), refuse))


def number(
    default: float | None,
    doc: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    largest: float | None = None,
    values: str = "X",
) -> Any:
    """Declare an option that is a finite real number within bounds (`largest`: float32's); or None, if that is the default."""

    def refuse(name: str, value: Any) -> float:
        found = real_number(name, value)
        if most is not None and least is not None and not least <= found <= most:
            raise OptionError(f"{name}={found:g}: must be from {least:g} to {most:g}")
        if least is not None and not least <= found:
            raise OptionError(f"{name}={found}: must be at least {least:g}")
        if above is not None and not found > above:
            raise OptionError(f"{name}={found}: must be above {above:g}")
        if abs(found) == float("inf"):
            raise OptionError(f"{name}={found}: must be finite")
        if largest is not None and abs(found) > largest:
            raise OptionError(f"{name}={found:g}: must be finite in float32")
        return found

    return _declare(default, Rule(values, doc, (), refuse))


def numbers(doc: str, *, above: float | None = None, values: str = "X|[X,X,X]") -> Any:
    """Declare an option that is a finite number or a list of such, kept as it was given; or None, unless given."""
    one = rule_of(number(None, doc, above=above))
    assert one is not None
    refuse_one = one.refuse

    def refuse(name: str, value: Any) -> Any:
        if isinstance(value, list | tuple) and value:
            return [refuse_one(name, item) for item in value]
        return refuse_one(name, value)

    return _declare(None, Rule(values, doc, (), refuse))


def file(doc: str, *, values: str = "FILE") -> Any:
    """Declare an option that is a path, kept as text as it was given; or None."""

    def refuse(name: str, value: Any) -> str:
        instance_of(name, value, (str, os.PathLike), "the path of a file is needed")
        return os.fsdecode(value)

    return _declare(None, Rule(values, doc, (), refuse))


def text(default: str | None, doc: str, *, values: str = "NAME") -> Any:
    """Declare an option that is any text; or None, if that is the default."""

    def refuse(name: str, value: Any) -> str:
        instance_of(name, value, str, "text is needed")
        return str(value)

    return _declare(default, Rule(values, doc, (), refuse))


def texts(doc: str, *, values: str) -> Any:
    """Declare an option that is a text or a list of texts, kept as it was given; or None, unless given."""

    def refuse(name: str, value: Any) -> str | list[str]:
        items = value if isinstance(value, list | tuple) else [value]
        for item in items:
            instance_of(name, item, str, "text, or a list of texts, is needed")
        if not items:
            raise OptionError(f"{name}=[]: the list is empty; leave it out, or give one")
        return list(items) if isinstance(value, list | tuple) else str(value)

    return _declare(None, Rule(values, doc, (), refuse))


_NOT_OF: dict[Any, str] = {int: "not an integer", str: "no text", (int, float): "no number", (int, str): "no text"}


def several(default: Iterable[Any] | None, doc: str, *, kind: type | tuple[type, ...], values: str) -> Any:
    """Declare an option that is a list of strings, whole numbers or numbers; or None, if that is the default."""

    def refuse(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise OptionTypeError(f"{name}={value!r}: a list is needed")
        for item in value:
            if not isinstance(item, kind) or isinstance(item, bool):
                raise OptionTypeError(f"{name}={list(value)}: {item!r} is {_NOT_OF[kind]}")
        return list(value)

    rule = Rule(values, doc, (), refuse)
    return _declare(None, rule) if default is None else _declare_made(lambda: list(default), rule)


def group(made: type, doc: str = "") -> Any:
    """Declare a group of options, each unless given as its class says; `doc` comes before what each of them does."""
    return field(default_factory=made, metadata={_RULE: None, "doc": doc})


def only_for(chosen: str, declared: Any) -> Any:
    """Return the declaration of an option that means something only with some choices of its group: ``network=files|onnx``."""
    kept = {"default": declared.default} if declared.default is not MISSING else {"default_factory": declared.default_factory}
    return field(**kept, metadata={**declared.metadata, _ONLY_FOR: chosen})


def _declare(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={_RULE: rule})


def _declare_made(default: Callable[[], Any], rule: Rule) -> Any:
    return field(default_factory=default, metadata={_RULE: rule})


class Options:
    """Options that are checked whenever one is assigned: a value that is not legal raises OptionError or OptionTypeError.

    NumPy's scalars become Python's own: they would reach compiled code and records. The library's groups are declared with
    ``eq=False, repr=False``: the methods here compare and print all of them, and are not compiled again for each while the
    library is imported.
    """

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse a name that is no option, before the dataclass does so without saying what is legal."""
        declared = declarations(cls)
        for name in given:
            if name not in declared:
                raise OptionTypeError(f"{cls.__name__}: {_place_of(name, declared) or unknown_key(name, declared)}")
        return super().__new__(cls)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in declarations(type(self)))

    def __eq__(self, other: object) -> bool:
        """Compare class and options."""
        if type(self) is not type(other):
            return NotImplemented
        return self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]  # options can be assigned

    def __repr__(self) -> str:
        """Return the options as a call."""
        shown = (f"{name}={getattr(self, name)!r}" for name in declarations(type(self)))
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a value, or refuse a name that is no option."""
        declared = declarations(type(self))
        if name not in declared:
            raise OptionTypeError(unknown_key(name, declared))
        object.__setattr__(self, name, check_value(declared[name], name, value))

    def __delattr__(self, name: str) -> None:
        """Refuse to leave an option without a value."""
        raise OptionTypeError(f"{name}: an option has a value at all times")


def declarations(options: type) -> Mapping[str, Field[Any]]:
    """Return the fields of a class of options, by name."""
    return options.__dataclass_fields__  # type: ignore[attr-defined, no-any-return]


def rule_of(declared: Field[Any]) -> Rule | None:
    """Return the rule of a field; None: it is a group, or checked by other means."""
    return declared.metadata.get(_RULE)


def choice_of(declared: Field[Any]) -> str | None:
    """Return the choices with which alone a field means something: ``network=files|onnx``; None: with all."""
    return declared.metadata.get(_ONLY_FOR)


def group_of(declared: Field[Any]) -> type | None:
    """Return the class of a field that is a group of options, None for a single option."""
    factory: Any = declared.default_factory
    return factory if isinstance(factory, type) and is_dataclass(factory) else None


def _place_of(name: str, declared: Mapping[str, Field[Any]]) -> str | None:
    """Say in which group of options there is one of a name, if there is."""
    for group_name, field_of_group in declared.items():
        made = group_of(field_of_group)
        if made is not None and name in declarations(made):
            return f"{name} is an option of {group_name}: {group_name}={made.__name__}({name}=...)"
    return None


def check_value(declared: Field[Any], name: str, value: Any) -> Any:
    """Return a legal value in Python's own type.

    Parameters
    ----------
    declared : dataclasses.Field
    name : str
        Name of the option in messages.

    Raises
    ------
    OptionError, OptionTypeError
        For a value that is not legal.
    """
    rule = rule_of(declared)
    if rule is None or (value is None and declared.default is None):
        return value
    return rule.refuse(name, value)


def check_values(values: Mapping[str, Any], options: type, prefix: str = "") -> None:
    """Check nested plain values, calling each by the key that leads to it: ``partition.hashing``.

    Raises
    ------
    OptionError, OptionTypeError
        For the first that is not legal.
    """
    for name, declared in declarations(options).items():
        inner = group_of(declared)
        if name not in values:
            continue
        if inner is None:
            check_value(declared, prefix + name, values[name])
        elif isinstance(values[name], Mapping):
            check_values(values[name], inner, f"{prefix}{name}.")
        else:
            raise OptionTypeError(
                f"{prefix}{name}={values[name]!r}: a group with fields is needed: {', '.join(declarations(inner))}"
            )


def default_of(declared: Field[Any]) -> Any:
    """Return what an option is unless given."""
    factory: Any = declared.default_factory
    return factory() if declared.default is MISSING else declared.default

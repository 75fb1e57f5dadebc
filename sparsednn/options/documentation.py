"""Writes the options of a class into its docstring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sparsednn.options.fields import declarations, group_of, rule_of

_Class = TypeVar("_Class", bound=type)


def documented(options: _Class) -> _Class:
    """Put what each option does and takes into the docstring of its class, as its attributes."""
    lines = [(options.__doc__ or "").rstrip(), "", "    Attributes", "    ----------"]
    for name, declared in declarations(options).items():
        rule, inner = rule_of(declared), group_of(declared)
        if rule is not None:
            kind = "{" + ", ".join(f'"{value}"' for value in rule.legal) + "}" if rule.legal else str(declared.type)
            about = f"{rule.doc}.".replace("null:", "None:")
        elif inner is not None:
            kind, about = inner.__name__, ""
        else:
            kind, about = str(declared.type), declared.metadata.get("doc", "")
        lines += [f"    {name} : {kind}", *(f"        {line}" for line in _wrapped(about, 112))]
    options.__doc__ = "\n".join(lines)
    return options


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a paragraph; textwrap, which can do more, takes long for what is done at each import."""
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line

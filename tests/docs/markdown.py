"""Reads pages of Markdown: blocks of code, links and anchors."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line on which that begins."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    fences = [token for token in _tokens(path) if token.type == "fence"]
    return [Block(token.info.strip(), token.content, token.map[0] + 2) for token in fences if token.map]


def reasons(path: Path) -> dict[int, str]:
    """Return the text of the paragraph right above each fenced block, by the line on which the block begins."""
    tokens = [token for token in _tokens(path) if token.type in ("inline", "fence", "heading_close")]
    return {
        block.map[0] + 2: above.content if above.type == "inline" else ""
        for above, block in pairwise(tokens)
        if block.type == "fence" and block.map
    }


def code_spans(path: Path) -> list[str]:
    """Return the code within the page's sentences and tables."""
    inline = [child for token in _tokens(path) for child in token.children or []]
    return [child.content for child in inline if child.type == "code_inline"]


def links(path: Path) -> list[str]:
    """Return where the page's links lead and its images are."""
    inline = [child for token in _tokens(path) for child in token.children or []]
    found = [token.attrs.get("href") or token.attrs.get("src") for token in inline if token.type in ("link_open", "image")]
    return [str(target) for target in found]


def anchors(path: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub makes them."""
    tokens, seen, found = _tokens(path), Counter[str](), set()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


@cache
def _tokens(path: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8"))

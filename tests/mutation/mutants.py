"""Chooses mutants that two checkouts both have, by a fixed seed, and finds them again in a checkout."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.mutation import PARTS, files_of
from tests.mutation.operators import Mutant, Place, places

SEED = 18
EACH = 64


@dataclass(frozen=True, slots=True)
class Chosen:
    """A mutant of the list; `number` names it."""

    number: int
    part: str
    file: str
    mutant: Mutant

    def __str__(self) -> str:
        m = self.mutant
        return f"{self.file}: {m.function}: {m.operator}: {m.before!r} -> {m.after!r}"


@cache
def places_of(checkout: Path, file: str) -> dict[Mutant, Place]:
    """Return what can be mutated in a file of a checkout; nothing, if it has no such file."""
    path = checkout / file
    return {place.mutant: place for place in places(path.read_text(encoding="utf-8"))} if path.exists() else {}


def candidates(part: str, checkouts: list[Path]) -> list[tuple[str, Mutant]]:
    """Return the mutants of a part that all checkouts have, in functions that are the same in all of them."""
    found = []
    for file in files_of(part, checkouts[0]):
        first, *others = [places_of(checkout, file) for checkout in checkouts]
        for mutant, place in first.items():
            if all(mutant in other and other[mutant].function_text == place.function_text for other in others):
                found.append((file, mutant))
    return found


def choose(checkouts: list[Path], each: int = EACH, seed: int = SEED) -> tuple[list[Chosen], Counter[str]]:
    """Choose as many of each part, at random; return them, and of how many."""
    chosen: list[tuple[str, str, Mutant]] = []
    n_candidates: Counter[str] = Counter()
    for part in PARTS:
        there = candidates(part, checkouts)
        n_candidates[part] = len(there)
        at = sorted(random.Random(f"{seed} {part}").sample(range(len(there)), min(each, len(there))))
        chosen += [(part, *there[i]) for i in at]
    return [Chosen(number, *about) for number, about in enumerate(chosen)], n_candidates


def write(path: Path, chosen: list[Chosen]) -> None:
    """Write a list, one mutant a line."""
    lines = [json.dumps({**asdict(each), "mutant": each.mutant._asdict()}) for each in chosen]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read(path: Path) -> list[Chosen]:
    """Read a list."""
    return [Chosen(**{**each, "mutant": Mutant(**each["mutant"])}) for each in json.loads(path.read_text(encoding="utf-8"))]

"""Results on pages come from committed records: they are generated again and compared; no other figure of a time is on them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from experiments.report.results.committed import CommittedRecords
from experiments.report.results.kept import KeptExperiment
from experiments.report.results.pages import (
    FIGURES,
    MARKED,
    RECORDS,
    TABLES,
    digest,
    drawn_from,
    generated,
    pages_below,
    regenerated,
)
from tests.docs.pages import ROOT, page_name

COMMITTED = CommittedRecords(ROOT / RECORDS)
MEASURED = [pytest.param(name, id=name) for name in COMMITTED.names()]
PAGES = pages_below(ROOT)
MOST_BYTES = 850_000

TIMES = re.compile(r"\d\.\d+ ?(s|ms|seconds)\b|\d\.\d+ times\b|\d \(\d[\d.]* to \d|^\|.*\| *\d+\.\d+ *\|")
"""Parts of a page's own words that would be figures that drift: decimal seconds, factors, intervals, rows with decimals."""


def own_words(text: str) -> list[str]:
    """Return the lines of a page that are neither generated nor code."""
    return re.sub(r"```.*?```", "", MARKED.sub("", text), flags=re.DOTALL).splitlines()


def test_pages_are_as_their_records_make_them() -> None:
    """Where nothing has been measured yet, nothing is said."""
    if COMMITTED.names():
        assert [page_name(page.path) for page in regenerated(ROOT) if page.changed] == []
    else:
        texts = [found["text"] for page in PAGES for found in MARKED.finditer(page.read_text(encoding="utf-8"))]
        assert set(texts) == {""}


def test_every_table_stands_in_one_place() -> None:
    names = [found["name"] for page in PAGES for found in MARKED.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(TABLES)


@pytest.mark.parametrize("name", [name for name in FIGURES if COMMITTED.path(name).is_file()])
def test_figures_are_drawn_from_their_records(name: str) -> None:
    assert drawn_from(ROOT / FIGURES[name]) == digest(COMMITTED, name)


@pytest.mark.parametrize("name", MEASURED)
def test_a_record_says_where_it_is_from(name: str) -> None:
    """Reading it has refused wrong categories."""
    kept = COMMITTED.read(name)
    assert kept.name == name or not isinstance(kept, KeptExperiment)
    assert kept.machine.cpu
    assert kept.machine.cores > 0
    assert re.match(r"[0-9a-f]{7,40}$", kept.revision) or not isinstance(kept, KeptExperiment)
    assert date.fromisoformat(kept.date)
    assert kept.command
    if isinstance(kept, KeptExperiment):
        assert not kept.toy
        assert COMMITTED.points(name).points


def test_records_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / RECORDS).rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_time_stands_in_a_pages_own_words(page: Path) -> None:
    lines = own_words(page.read_text(encoding="utf-8"))
    assert [line for line in lines if TIMES.search(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "It takes 0.31 s.",
        "6.0 times as fast",
        "7.2 (6.0 to 8.8)",
        "| MKL | 2.4 |",
    ],
)
def test_a_time_in_a_pages_own_words_is_found(line: str) -> None:
    assert [line] == [found for found in own_words(f"{line}\n```\n{line}\n```\n") if TIMES.search(found)]


def test_a_page_whose_record_changed_is_found(tmp_path: Path) -> None:
    """A page is nothing but its own words and what its records make."""
    text = "Words.\n\n<!-- results: beside_cpp optional -->\n<!-- end -->\n"
    made = generated(text, CommittedRecords(tmp_path))
    assert "Not measured here." in made
    assert generated(made, CommittedRecords(tmp_path)) == made

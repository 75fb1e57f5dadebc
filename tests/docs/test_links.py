"""Links between pages and files of the repository. Of links to other sites only the form is checked: tests need no network."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sparsednn.schedulers import SCHEDULERS
from tests.docs.markdown import anchors, links
from tests.docs.pages import PAGES, ROOT, page_name


def wrong(target: str, page: Path) -> str | None:
    """Return what is wrong with a link of a page."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        well_formed = parts.scheme in ("http", "https") and "." in parts.netloc and not set(target) & set(' <>"{}|\\^`')
        return None if well_formed else f"{target}: not well-formed"
    path = (page.parent / parts.path).resolve() if parts.path else page
    if not path.exists():
        return f"{target}: no such file"
    if parts.fragment and not (path.suffix == ".md" and parts.fragment in anchors(path)):
        return f"{target}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [found for target in links(page) if (found := wrong(target, page))] == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param("docs/none.png", "no such file", id="a file"),
        pytest.param("#none", "no such heading", id="a heading"),
        pytest.param("CONTRIBUTING.md#none", "no such heading", id="another page's heading"),
        pytest.param("https:/example.org", "not well-formed", id="a slash too few"),
        pytest.param("htps://example.org", "not well-formed", id="a scheme that is none"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target: str, message: str) -> None:
    assert message in (wrong(target, ROOT / "README.md") or "")


def test_every_page_of_the_guide_and_of_the_results_is_led_to_by_its_index() -> None:
    for folder in ("guide", "results"):
        index = ROOT / "docs" / folder / "index.md"
        others = {path.name for path in index.parent.glob("*.md")} - {"index.md"}
        assert others <= set(links(index))
        assert all(f"\n{name.removesuffix('.md')}\n" in index.read_text(encoding="utf-8") for name in others), "the toctree"


def test_headings_have_the_anchors_that_github_gives_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `code`: and, more\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"a-code-and-more", "twice", "twice-1"}


def test_the_reference_has_every_scheduler() -> None:
    page = (ROOT / "docs" / "reference" / "schedulers.rst").read_text(encoding="utf-8")
    for scheduler in SCHEDULERS.values():
        assert f".. automodule:: {scheduler.__module__}\n" in page

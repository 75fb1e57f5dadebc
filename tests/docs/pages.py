"""Which pages there are for people to read, and what the tests ask of all of them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
CHANGELOG = ROOT / "CHANGELOG.md"
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
MANUAL = [README, ROOT / "CONTRIBUTING.md", *DOCS]
"""Pages that say what can be done now; what a changelog says need not be possible any more."""
PAGES = [*MANUAL, CHANGELOG]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))

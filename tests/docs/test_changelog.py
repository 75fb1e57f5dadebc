"""The changelog: one line for each change, in known groups, and a section for the version that is built."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise

from tests.docs.pages import CHANGELOG, ROOT

LINES = CHANGELOG.read_text(encoding="utf-8").splitlines()
LONGEST = 140
GROUPS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""Those of Keep a Changelog."""


def test_every_change_is_one_line() -> None:
    """A bullet stands after a blank line or another bullet, and nothing goes on below it."""
    for above, line in pairwise(LINES):
        if above.startswith("- "):
            assert not line or line.startswith("- "), f"goes on below: {above}"
        assert not line.startswith((" ", "* ", "\t")), line
        if line.startswith("- "):
            assert len(line) <= LONGEST, line
            assert line.endswith("."), line


def test_changes_are_in_groups_of_versions() -> None:
    assert next(line for line in LINES if line.startswith("## ")) == "## [Unreleased]"
    groups = [line.removeprefix("### ") for line in LINES if line.startswith("###")]
    assert set(groups) <= set(GROUPS)
    for line in LINES:
        if line.startswith("## ") and line != "## [Unreleased]":
            assert re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line), line


def test_the_version_that_is_built_has_a_section() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert any(line.startswith(f"## [{version}] - ") for line in LINES)

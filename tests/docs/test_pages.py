"""Pages as a whole: their size is limited, and Python that they show does what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import JIT_DISABLED
from tests.docs.markdown import Block, blocks, reasons
from tests.docs.pages import MANUAL, PAGES, README, TUTORIAL, page_name

README_LINES = 150
README_WORDS = 1500
WIDTH = 140
NOT_RUN = "Not run by the tests: "
"""So begins the paragraph above a block of Python that tests leave out; it goes on with the reason."""


def python_blocks(page: Path) -> list[Block]:
    """Return the page's blocks of Python that are to be run."""
    above = reasons(page)
    return [
        block
        for block in blocks(page)
        if block.language == "python" and len(above.get(block.line, "").partition(NOT_RUN)[2]) < 10
    ]


OTHERS = [page for page in MANUAL if page not in (README, TUTORIAL) and python_blocks(page)]
"""The README's blocks are run by `tests/experiments/test_readme.py`, those of the tutorial by `test_tutorial.py`."""


def test_the_readme_fits_on_a_screen_or_two() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_lines_are_short(page: Path) -> None:
    """Rows of tables are exempt, since they cannot be broken."""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    assert [number for number, line in lines if len(line) > WIDTH and not line.lstrip().startswith("|")] == []


@pytest.mark.skipif(JIT_DISABLED, reason="takes long with kernels that are not compiled")
@pytest.mark.parametrize("page", OTHERS, ids=page_name)
def test_python_on_a_page_runs_as_it_is_written(page: Path, tmp_path: Path) -> None:
    code = "\n".join(block.text for block in python_blocks(page))
    done = warm.run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_block_of_python_is_left_out_only_with_a_reason(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run:\n\n```python\nrun\n```\n\nNot run by the tests: it takes an hour.\n\n```python\nlong\n```\n\n"
        "Not run by the tests: \n\n```python\nno reason\n```\n\n```python\nnothing above\n```\n"
    )
    assert [block.text for block in python_blocks(page)] == ["run\n", "no reason\n", "nothing above\n"]

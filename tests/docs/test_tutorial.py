"""The tutorial, done as it is written: in a copy of what a clone has to run, experiment and figure included."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import JIT_DISABLED
from tests.docs.markdown import Block, blocks

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
INSTALLATION = re.compile(r"python3 -m venv |\. \.venv/|python -m pip ")
"""Has been done where tests run; what `.ci/run` does first is the same."""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder that can take an experiment of one's own."""
    shutil.copy(ROOT / "run.py", tmp_path)
    for folder in ("conf", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "python", line
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def do(block: Block, namespace: dict[str, Any]) -> None:
    """Do what the reader of a block would do: run commands, write a file that its first line names, or run Python."""
    file = re.match(r"# ([\w/]+\.(?:yaml|py))\n", block.text)
    if block.language == "bash":
        for line in block.text.splitlines():
            if not INSTALLATION.match(line):
                run(line)
    elif file:
        path = Path(file[1])
        assert not path.exists(), f"{path} is there already"
        path.write_text(block.text, encoding="utf-8")
    else:
        assert block.language == "python"
        code = "\n" * (block.line - 1) + block.text  # errors name the page's lines
        exec(compile(code, str(TUTORIAL), "exec"), namespace)


@pytest.mark.skipif(JIT_DISABLED, reason="takes long with kernels that are not compiled")
def test_every_block_does_what_the_tutorial_says(clone: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    for block in blocks(TUTORIAL):
        do(block, namespace)
    assert namespace["record"]["truth"]["match"] is True
    assert namespace["result"].output.shape == (20_000, 10)
    assert 0 < len(namespace["result"].categories) < 20_000
    sweep = [json.loads(path.read_text()) for path in sorted(clone.glob("outputs/sweep/*/result.json"))]
    assert [(found["status"], found["scheduler"]) for found in sweep] == [
        ("complete", "data"), ("complete", "model"), ("complete", "data_then_model")
    ]  # fmt: skip
    assert (clone / "outputs/splitting/splitting.png").read_bytes().startswith(b"\x89PNG")
    drawn = pd.read_csv(clone / "outputs/splitting/splitting.csv")
    assert drawn["split_factor"].tolist() == [1, 8]
    assert len(pd.read_csv(clone / "outputs/all.csv")) == 1 + 3 + 2 * 2

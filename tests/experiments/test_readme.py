"""The README's examples do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_as_it_is_written(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    for code in examples:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("182 (6000, 1024)")


@pytest.mark.parametrize("name", ["run", "tests"])
def test_the_two_commands_are_there(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "readme_command.py"), name], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("python3 -m venv .venv && ")
    assert done.stdout.count("\n") == 1

"""Programs that stand for others on PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import warm

ROOT = Path(__file__).parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"


def fake(folder: Path, name: str, script: str) -> None:
    """Write an executable shell script into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def fake_git(folder: Path, revision: str = REVISION, changes: str = "") -> None:
    """Put a git into `folder` that knows one revision, and changed files or none; tests run in any working tree."""
    fake(folder, "git", f'case "$3" in rev-parse) echo {revision};; status) echo "{changes}";; esac')


def run(here: Path, *arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Start run.py in the folder `here`, with the programs in `path` before all others."""
    return started(here, [sys.executable, str(ROOT / "run.py"), *arguments], path)


def started(here: Path, command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Start any program like that."""
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return warm.run(command, here, environment)

"""Runs the tests that are marked ``gpu``, and counts them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUITE = ("tests/conformance", "tests/gpu")
TOY_SUITE = ("tests/conformance/test_dying_instances.py",)
SHOWN_FAILURES = 50
TESTS_RAN = (0, 1, 5)
"""Exit codes of pytest where it could do its work: all passed, some failed, none were there."""


def conform(paths: tuple[str, ...]) -> dict[str, Any]:
    """Run the tests that are marked ``gpu`` in a process of their own, and count them."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", f"--junitxml={result}", *paths]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in TESTS_RAN or not result.exists():
            said = (done.stdout + done.stderr).strip().splitlines()
            return {"passed": 0, "failed": 1, "skipped": 0, "seconds": 0.0, "failures": [f"pytest: {' '.join(said[-3:])}"]}
        return counted(ET.parse(result).getroot())


def counted(root: ET.Element) -> dict[str, Any]:
    """Return the counts of pytest's report, and what failed in one line each, with the command that runs it again."""
    cases = list(root.iter("testcase"))
    bad = [(case, case.find(kind)) for case in cases for kind in ("failure", "error") if case.find(kind) is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failures = [
        f"{' '.join((found.get('message') or '').split())[:200]}; again: python -m pytest -n 0 -m gpu '{_test_id(case)}'"
        for case, found in bad
        if found is not None
    ]
    return {
        "passed": len(cases) - skipped - len({id(case) for case, _ in bad}),
        "failed": len(bad),
        "skipped": skipped,
        "seconds": sum(float(case.get("time", 0)) for case in cases),
        "failures": failures[:SHOWN_FAILURES],
    }


def _test_id(case: ET.Element) -> str:
    """Return what pytest calls a test: the suite has no tests in classes."""
    return f"{(case.get('classname') or '').replace('.', '/')}.py::{case.get('name')}"

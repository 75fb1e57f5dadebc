"""Mutants of the library, run against the tests: proof that a faster suite finds no fewer mistakes.

The five parts of the code that decide what is computed where, each with the files whose mutants stand for it. Kernels are left
out: compiled code has the conformance suite, and their cache is named by the files on disk, which a mutant does not touch.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTANTS = Path(__file__).with_name("mutants.json")

PARTS = {
    "schedulers": ("sparsednn/schedulers/*.py",),
    "rows": ("sparsednn/rows/*.py",),
    "comm": ("sparsednn/comm/*.py",),
    "executors": ("sparsednn/execution/*.py", "sparsednn/simulator/executor.py", "sparsednn/simulator/team.py"),
    "plans": (
        "backends/common/column_*.py", "backends/common/positions.py", "backends/common/row_results.py",
        "backends/numba_cpu/*.py", "backends/numba_cpu/*/plan.py", "backends/numba_cpu/dense/profile.py",
        "backends/numba_cpu/layout/*.py",
    ),
}  # fmt: skip
"""Parts of the code, with the files of each (patterns below a checkout)."""


def files_of(part: str, checkout: Path) -> list[str]:
    """Return the files of a part that a checkout has, relative to it."""
    found = {path for pattern in PARTS[part] for path in checkout.glob(pattern)}
    return sorted(path.relative_to(checkout).as_posix() for path in found)

"""Made-up records of experiments, as far as figures look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsednn.system.files import write_json

PAPER = {"rows": "none", "columns": "none", "order": "given", "full_columns": False}
ALL = {"rows": "merge", "columns": "merge", "order": "shared_inputs", "full_columns": True}


def made_up(
    sweep: str, point: str, times_s: Sequence[float] = (1.0,), figure: str = "ablation", **changes: Any
) -> dict[str, Any]:
    """Return a complete record; `changes` replace its entries."""
    about = {"name": figure, "figure": figure, "toy": False, "same_categories": figure == "ablation"}
    record = {
        "status": "complete",
        "experiment": about | {"sweep": sweep, "point": point, "number": 0},
        "neurons": 1024,
        "layers": 120,
        "instances": 60_000,
        "network_nnz": 3_932_160,
        "input_nnz": 6_374_505,
        "executor": "threads",
        "backend": "numba",
        "kernel": "udc_csc",
        "scheduler": "data",
        "processes": 1,
        "threads": 2,
        "categories_count": 1812,
        "categories_sha256": "a" * 64,
        "performed_edges": 235_929_600_000,
        "seconds": {"inference": list(times_s)},
        "config": {"optimize": PAPER},
        "environment": {"cpu": "A CPU", "git_revision": "0123456789abcdef"},
    }
    return record | changes


def write_all(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    """Write records into numbered folders, as an experiment does; return the folder."""
    for number, record in enumerate(records):
        (folder / str(number)).mkdir(parents=True)
        numbered = record | {"experiment": record["experiment"] | {"number": number}}
        write_json(folder / str(number) / "result.json", numbered)
    return folder

"""Made-up records of experiments, as far as figures look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.records.point import COMPLETE, Environment, PointOfExperiment, PointRecord, record_to_json
from sparsednn.backend import Optimizations
from sparsednn.results.record import Balance, MeasuredRun, MeasuredSeconds, ProcessRecord, Truth
from sparsednn.results.simulated_record import SimulatedCluster, SimulatedRun, SimulatedSeconds
from sparsednn.results.worker_times import WorkerRecord
from sparsednn.system.files import write_json

PAPER = {"rows": "none", "columns": "none", "order": "given", "full_columns": False, "empty_columns": "walk"}
ALL = {"rows": "merge", "columns": "merge", "order": "shared_inputs", "full_columns": True, "empty_columns": "skip"}


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


COMMON: dict[str, Any] = {
    "neurons": 1024, "layers": 120, "instances": 60_000, "input_nnz": 6_374_505, "network_nnz": 3_932_160, "backend": "numba",
    "kernel": "csc_csc", "scheduler": "data", "scheduler_options": {"split_factor": 8}, "hashing": "none", "row_order": "given",
    "processes": 1, "threads": 1, "categories_count": 1812, "categories_sha256": "a" * 64, "nominal_edges_per_second": 1e9,
    "performed_edges": 10, "performed_edges_per_second": 1e9, "peak_rss_bytes": 10**6,
}  # fmt: skip


def measured(**changes: Any) -> MeasuredRun:
    """Return the inference of a whole record."""
    fields = COMMON | {
        "executor": "threads",
        "split": "even",
        "rebalance_after": None,
        "optimizations": Optimizations(rows="none", columns="none", order="given", structure_aware=False),
        "truth": Truth(checked=True, source="given", match=True),
        "seconds": MeasuredSeconds(
            load=0.1, choose=0.0, hash=0.0, prepare=0.2, compile=0.3, inference=[1.0, 3.0, 2.0], inference_median=2.0
        ),
        "imbalance": Balance(busy=1.0, input_nnz=1.0, layer_nnz=1.0),
        "workers": [WorkerRecord(process=0, thread=0, busy_s=2.0)],
        "process_records": [
            ProcessRecord(
                process=0, host="h", process_id=1, instances=60_000, inference_s=2.0, idle_s=0.0, exchange_s=0.0,
                multiply_adds=10, peak_rss_bytes=10**6, pss_bytes=None, load_s=0.1,
            )
        ],
    }  # fmt: skip
    return MeasuredRun(**fields | changes)


def simulated(**changes: Any) -> SimulatedRun:
    """Return the simulated inference of a whole record."""
    fields = COMMON | {
        "executor": "simulated",
        "optimizations": Optimizations(rows="none", columns="none", order="given", structure_aware=False),
        "seconds": SimulatedSeconds(
            load=0.0, profile=0.1, inference=[1.0], inference_median=1.0, processes=[1.0], gather=0.0
        ),
        "imbalance": Balance(busy=1.0, input_nnz=1.0),
        "workers": [WorkerRecord(process=0, thread=0)],
        "calibration": {"schema_version": 1},
        "cluster": SimulatedCluster(
            nodes=1, processes_per_node=1, cores_per_node=1, threads=1, numa_domains=1, slow_core=None, noisy_node=None,
            seed=0, assume={},
        ),
    }  # fmt: skip
    return SimulatedRun(**fields | changes)


def environment_on(host: str = "h", revision: str | None = "0" * 40) -> Environment:
    """Return where a record was made."""
    return Environment(
        git_revision=revision, versions={"python": "3"}, host=host, system="Linux", cpu="A CPU", cores=2, cores_usable=2,
        cores_quota=None, memory_bytes=10**9, slurm_job_id=None,
    )  # fmt: skip


def point_of_experiment(**changes: Any) -> PointOfExperiment:
    """Return a point of an experiment."""
    fields = {"name": "x", "figure": "x", "toy": False, "same_categories": False, "sweep": "s", "point": "p", "number": 0}
    return PointOfExperiment(**fields | changes)


def whole(**changes: Any) -> dict[str, Any]:
    """Return a whole record of the present version, as its file has it; `changes` are fields of `PointRecord`."""
    fields: dict[str, Any] = {
        "status": COMPLETE, "config_hash": "a", "neurons": 1024, "layers": 120, "environment": environment_on(),
        "body": measured(),
    }  # fmt: skip
    return record_to_json(PointRecord(**fields | changes))


def write_all(folder: Path, records: Sequence[dict[str, Any]]) -> Path:
    """Write records into numbered folders, as an experiment does; return the folder."""
    for number, record in enumerate(records):
        (folder / str(number)).mkdir(parents=True)
        numbered = record | {"experiment": record["experiment"] | {"number": number}}
        write_json(folder / str(number) / "result.json", numbered)
    return folder

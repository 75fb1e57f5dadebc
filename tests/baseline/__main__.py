"""Makes the baseline anew, from the code as it is: minutes, and only on purpose."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sparsednn.backend import load_backend
from tests.baseline import BITS, CALIBRATION, RECORDS, bits

ROOT = Path(__file__).parents[2]
KEPT = (
    "schema_version", "status", "overrides", "config", "neurons", "layers", "instances", "input_nnz", "network_nnz", "backend",
    "kernel", "scheduler", "executor", "hashing", "processes", "threads", "optimizations", "categories_count",
    "categories_sha256", "truth",
)  # fmt: skip
SIMULATED = ("performed_edges", "workers", "traffic", "seconds")
SIZE = ["layers=12", "instances=700", "partition.hashing=none,input,layer,both"]


def sweeps() -> list[list[str]]:
    """Return the overrides of each sweep."""
    found = []
    for backend in ("numba", "scipy_reference"):
        for kernel, schedulers in load_backend(backend).schedulers.items():
            run = [f"backend={backend}", f"kernel={kernel}", f"scheduler={','.join(schedulers)}"]
            processes = "processes=1,2" if backend == "numba" else "processes=1"
            found.append([*SIZE, *run, "threads=2", processes])
    machines = ["cluster.nodes=2", "cluster.processes_per_node=2", "cluster.cores_per_node=6", "cluster.noisy_node=1.5"]
    schedulers = "scheduler=data,model,data_then_model,manager_worker,work_stealing,auto"
    for kernel, optimize in (("rowwise_first", "all"), ("udc_csc", "all"), ("csc_csc", "all,paper")):
        found.append([*SIZE, f"kernel={kernel}", f"optimize={optimize}", "executor=simulated", schedulers, *machines])
    csr = "scheduler=data,data_then_model,manager_worker,work_stealing"
    found.append([*SIZE, "kernel=csr_csr", "executor=simulated", csr, *machines])
    return found


def trimmed(record: dict[str, Any]) -> dict[str, Any]:
    """Return what is the same in every run; measured times are kept out, but for a place that readers look at."""
    simulated = record["executor"] == "simulated"
    kept = {key: record[key] for key in (*KEPT, *(SIMULATED if simulated else ())) if key in record}
    kept["overrides"] = [given for given in kept["overrides"] if not given.startswith("cluster.calibration=")]  # a path here
    kept["config"]["cluster"]["calibration"] = None
    if simulated:
        kept["seconds"] = {key: value for key, value in kept["seconds"].items() if key not in ("load", "profile", "sizing")}
    else:
        kept["seconds"] = {"inference": [1.0], "inference_median": 1.0}
    return {**kept, "environment": {}}


def main() -> None:
    """Run all sweeps, and write what they found."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, overrides in enumerate(sweeps()):
            folder = Path(temporary) / str(number)
            given = [f"cluster.calibration={CALIBRATION}", f"hydra.sweep.dir={folder}"]
            command = [sys.executable, str(ROOT / "run.py"), "-m", *overrides, *given]
            subprocess.run(command, check=True, cwd=temporary)
            paths = sorted(folder.rglob("result.json"), key=lambda path: int(path.parent.name))
            found += [trimmed(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    lines = "".join(f"{json.dumps(record, sort_keys=True)}\n" for record in found)
    RECORDS.write_bytes(gzip.compress(lines.encode(), mtime=0))
    BITS.write_text(json.dumps(bits(), indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} records")


if __name__ == "__main__":
    main()

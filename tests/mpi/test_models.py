"""Models on two processes: each has its rows, and the answers are those of one."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from sparsednn.data import labelled
from tests.mpi.conftest import mpirun, run

DIGITS = ["network=onnx", f"network.path={labelled.digits_network('mlp_80')}", "input=digits", "output.predictions=true"]


def test_two_processes_find_the_accuracy_of_one(tmp_path: Path) -> None:
    schedulers = "data,model,data_then_model,manager_worker,work_stealing,global_work_stealing"
    done = mpirun(
        2, "run.py", "-m", *DIGITS, f"scheduler={schedulers}", "partition.hashing=both", "threads=1",
        f"hydra.sweep.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    paths = sorted(tmp_path.rglob("result.json"))
    found = [json.loads(path.read_text()) for path in paths]
    assert len(found) == 6
    assert {(one["processes"], one["truth"]["correct"], one["truth"]["of"]) for one in found} == {(2, 557, 597)}
    assert all(process["instances"] > 250 for one in found for process in one["process_records"])
    files = {path.with_name("predictions.csv").read_text() for path in paths}
    assert len(files) == 1, "the same bits, in the same order"
    rows = list(csv.DictReader(files.pop().splitlines()))
    assert [row["instance"] for row in rows] == [str(number) for number in range(1, 598)]
    assert [int(row["label"]) for row in rows] == labelled.digits_test()[1].tolist()


def test_a_file_that_no_process_can_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(labelled.digits_network("mlp_80").read_bytes()[:1000])
    done = run(
        sys.executable, "run.py", "processes=2", "network=onnx", f"network.path={tmp_path}/cut.onnx", "input=digits",
        f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{tmp_path}/cut.onnx: " in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stdout + done.stderr

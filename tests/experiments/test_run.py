"""run.py as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sparsednn.data.truth import challenge_categories
from sparsednn.results.trace import read_trace
from tests import warm

ROOT = Path(__file__).parents[2]
SMALL = ["instances=700"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "run.py", *arguments], env={**os.environ, **environment})


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_a_run_leaves_one_record_that_says_everything(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", *SMALL, "repeats=3", "threads=2", f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # a Python of its own
    assert done.returncode == 0, done.stderr
    assert "correct (by the published list)" in done.stdout
    assert str(tmp_path / "result.json") in done.stdout
    assert not (tmp_path / "running.json").exists()
    found = record(tmp_path)
    assert set(found) >= set(
        "schema_version status neurons layers instances input_nnz network_nnz backend kernel scheduler executor hashing "
        "processes threads categories_count categories_sha256 truth seconds nominal_edges_per_second performed_edges "
        "performed_edges_per_second peak_rss_bytes workers imbalance overrides config environment".split()
    )
    assert (found["status"], found["neurons"], found["layers"], found["instances"]) == ("complete", 1024, 120, 700)
    assert (found["backend"], found["kernel"], found["scheduler"]) == ("numba", "rowwise_first", "data")
    assert found["truth"] == {
        "checked": True, "source": "published_ids", "match": True, "kind": "categories", "correct": 700, "of": 700,
    }  # fmt: skip
    assert set(found["seconds"]) == {"load", "choose", "hash", "prepare", "compile", "inference", "inference_median"}
    assert len(found["seconds"]["inference"]) == 3
    assert found["seconds"]["inference_median"] == sorted(found["seconds"]["inference"])[1]
    assert found["nominal_edges_per_second"] == pytest.approx(700 * 3_932_160 / found["seconds"]["inference_median"])
    assert 0 < found["performed_edges"] < 700 * 3_932_160
    assert [(w["process"], w["thread"], w["row_groups"]) for w in found["workers"]] == [(0, 0, 1), (0, 1, 1)]
    assert all(set(w) >= {"busy_s", "idle_s", "lock_s"} for w in found["workers"])
    assert found["config"]["instances"] == 700
    assert found["overrides"] == ["instances=700", "repeats=3", "threads=2"]
    assert found["imbalance"]["busy"] >= 1
    assert found["environment"]["versions"]["python"]


def test_a_sweep_goes_on_past_a_failed_point_and_tells_at_the_end(tmp_path: Path) -> None:
    done = run("-m", *SMALL, "layers=7,120", "backend=numba,scipy_reference", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1
    statuses = [record(tmp_path / str(number))["status"] for number in range(4)]
    assert statuses == ["failed", "failed", "complete", "complete"]
    assert "2 of 4 points failed" in done.stderr
    assert "point 1 of 4: " in done.stdout
    assert re.search(r"point 4 of 4: .*layers=120 backend=scipy_reference .*so far, about .* left\)", done.stdout)
    assert "layers=7: networks of 1024 neurons come in blocks of 6" in record(tmp_path / "0")["error"]
    assert record(tmp_path / "2")["categories_sha256"] == record(tmp_path / "3")["categories_sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nuerons=3"], "unknown key nuerons: did you mean neurons", id="unknown key"),
        pytest.param(["+foo=1"], "unknown key foo", id="added key"),
        pytest.param(["neurons=abc"], "neurons=abc: Value 'abc' of type 'str' could not be converted to Integer", id="type"),
        pytest.param(["optimize.rows=foo"], "optimize.rows=foo: legal: none, prune, retire, merge", id="illegal value"),
        pytest.param(["backend=nmba"], "did you mean numba?", id="unknown backend"),
        pytest.param(["kernel=csr_udc"], "kernel=csr_udc: did you mean", id="a pair that the format table lacks"),
        pytest.param(["layers=121"], "nearest legal: 120", id="layers that are no multiple of the block length"),
        pytest.param(["neurons=2048"], "blocks of 7 layers", id="a width that the challenge does not have"),
        pytest.param(["neurons=2048", "layers=7"], "no bias is published for this size", id="no published bias"),
        pytest.param(["network=files", "network.path=/nowhere"], "/nowhere: no such folder", id="missing folder"),
        pytest.param(["hydra.run.dir=/dev/null/x"], "the output folder cannot be written", id="output folder"),
        pytest.param(["input.truth=/nowhere", "instances=10"], "/nowhere: no such file", id="missing truth"),
    ],
)
def test_bad_input_gets_one_clear_error(arguments: list[str], message: str, tmp_path: Path) -> None:
    folder = [] if any("hydra.run.dir" in argument for argument in arguments) else [f"hydra.run.dir={tmp_path}"]
    done = run(*arguments, *folder)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.glob("running.json"))
    if (tmp_path / "result.json").exists():
        assert record(tmp_path)["status"] == "failed"


def test_categories_that_are_not_the_true_ones_fail_the_run(tmp_path: Path) -> None:
    (tmp_path / "truth.tsv").write_text("1\n2\n")
    done = run(*SMALL, f"input.truth={tmp_path}/truth.tsv", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 1
    assert "are not the true ones" in done.stderr
    found = record(tmp_path / "out")
    assert (found["status"], found["truth"]["match"]) == ("failed", False)


def test_a_given_truth_is_cut_off_only_where_instances_are(tmp_path: Path) -> None:
    """Ids that no instance has are refused before anything is run, unless only the first instances were asked for."""
    truth = challenge_categories(1024)
    (tmp_path / "truth.tsv").write_text("".join(f"{i}\n" for i in truth[truth <= 1000]))
    done = run(*SMALL, f"input.truth={tmp_path}/truth.tsv", f"hydra.run.dir={tmp_path}/first")
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "first")["truth"]["match"] is True
    export = [sys.executable, "-m", "sparsednn.data", "export", "--instances", "700", "--format", "bin", str(tmp_path / "data")]
    assert subprocess.run(export, cwd=ROOT, check=False, capture_output=True).returncode == 0
    files = ["input=files", f"input.path={tmp_path}/data", f"input.truth={tmp_path}/truth.tsv"]
    done = run(*files, f"hydra.run.dir={tmp_path}/all")
    assert done.returncode == 1
    last = truth[truth <= 1000][-1]
    assert f"truth.tsv: has the category {last}, but input.path={tmp_path}/data has 700 instances" in done.stderr
    assert run(*files, "instances=700", f"hydra.run.dir={tmp_path}/cut").returncode == 0
    done = run(*files, "instances=701", f"hydra.run.dir={tmp_path}/more")
    assert done.returncode == 1
    assert "sparse-images-1024.bin: has 700 instances, fewer than instances=701" in done.stderr


def test_ctrl_c_leaves_a_whole_record_of_a_failed_run(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "run.py", "backend=scipy_reference", "instances=60000", f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("inputs:"):  # the inference, of half a minute, is next
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert record(tmp_path)["status"] == "failed"
    assert record(tmp_path)["error"] == "interrupted"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json") == ["result.json"]


def test_a_killed_run_leaves_only_the_mark_that_it_was_running(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "run.py", "backend=scipy_reference", f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert [path.name for path in tmp_path.glob("*.json")] == ["running.json"]
    assert json.loads((tmp_path / "running.json").read_text())["process_id"] == process.pid


def test_too_little_memory_is_one_clear_error(tmp_path: Path) -> None:
    """An address space limit stands for a small machine."""
    script = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9)); "
    script += "sys.argv[0] = 'run.py'; runpy.run_path('run.py', run_name='__main__')"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "neurons=16384",
            "layers=1920",
            "threads=1",
            "kernel=csr",
            "instances=100",
            f"hydra.run.dir={tmp_path}",
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "neurons=16384 layers=1920: this run needs about 8.45 GB" in done.stderr
    assert "enough with kernel=auto" in done.stderr
    assert record(tmp_path)["status"] == "failed"


def test_pinned_threads_find_the_same(tmp_path: Path) -> None:
    done = run(*SMALL, "cluster.pin=true", "scheduler=work_stealing", "threads=3", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert record(tmp_path)["truth"]["match"] is True
    assert sum(worker["row_groups"] for worker in record(tmp_path)["workers"]) == 3 * 8


def test_help_names_every_key_and_every_choice() -> None:
    done = run("--help")
    assert done.returncode == 0
    for path in (ROOT / "conf").glob("*/*.yaml"):
        assert path.parent.name in done.stdout, path
        assert path.stem in done.stdout, path
    for key in ("neurons", "layers", "instances", "kernel", "executor", "threads", "processes", "repeats", "seed", "trace"):
        assert f"{key}" in done.stdout


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    """Two at once, from another folder: each writes below the folder it was started in."""
    command = [sys.executable, str(ROOT / "run.py"), "instances=50", "layers=12"]
    processes = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(list((tmp_path / "outputs").rglob("result.json"))) == 2
    config = (ROOT / "conf" / "config.yaml").read_text()
    assert config.count("%H-%M-%S-%f") == 2  # a run's and a sweep's folder


def test_exported_files_run_the_same(tmp_path: Path) -> None:
    export = [sys.executable, "-m", "sparsednn.data", "export", "--layers", "120", "--instances", "700", str(tmp_path / "data")]
    assert subprocess.run([*export, "--format", "bin"], cwd=ROOT, check=False, capture_output=True).returncode == 0
    data = tmp_path / "data"
    done = run(
        "network=files", f"network.path={data}", "input=files", f"input.path={data}", f"input.truth={data}",
        "kernel=csc", f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["instances"] == 700  # all that the file has, without a word about instances
    assert record(tmp_path / "out")["truth"]["source"] == "given"
    assert record(tmp_path / "out")["truth"]["match"] is True


def test_a_traced_run_leaves_a_trace_and_a_chart(tmp_path: Path) -> None:
    done = run(*SMALL, "trace=true", "kernel=csc", "scheduler=data_then_model", "threads=2", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    trace = read_trace(tmp_path / "trace.json")
    assert trace.workers() == [(0, 0), (0, 1)]
    assert trace.metadata["scheduler"] == "data_then_model"
    assert sum(span.multiply_adds for span in trace.spans) == record(tmp_path)["performed_edges"]
    assert (tmp_path / "gantt.png").read_bytes().startswith(b"\x89PNG")


def test_a_simulated_cluster_says_that_it_is_simulated(tmp_path: Path) -> None:
    cluster = ["cluster.nodes=2", "cluster.cores_per_node=28", "cluster.slow_core=2"]
    done = run(
        *SMALL, "executor=simulated", "kernel=csc", "scheduler=auto", "trace=true", *cluster, f"hydra.run.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert "s (simulated)" in done.stdout
    assert "is predicted to take" in done.stdout
    found = record(tmp_path)
    assert (found["executor"], found["simulated"], found["processes"], found["threads"]) == ("simulated", True, 2, 28)
    assert found["truth"]["match"] is True
    assert found["calibration"]["schema_version"] == 2
    assert found["cluster"]["slow_core"] == 2.0
    assert read_trace(tmp_path / "trace.json").metadata["simulated"] is True


def test_a_sweep_over_schedulers_ends_with_their_times_balance_and_locking(tmp_path: Path) -> None:
    names = "data,model,data_then_model,manager_worker,work_stealing"
    done = run("-m", *SMALL, f"scheduler={names}", "threads=2", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.rindex("5 points") :]
    assert all(word in table for word in [*names.split(","), "inference s", "imbalance", "locking ms"])
    digests = {record(tmp_path / str(number))["categories_sha256"] for number in range(5)}
    assert len(digests) == 1


def test_a_scheduler_that_does_not_go_with_the_kernel_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = run(*SMALL, "kernel=csr", "scheduler=model", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "scheduler=model does not go with kernel=csr_csr (backend numba); legal: data, data_then_model" in done.stderr
    assert "inputs:" not in done.stdout

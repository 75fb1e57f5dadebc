"""Experiments as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pandas as pd
import pytest

from tests.experiments.toys import (
    COMPILED_ONLY,
    ROOT,
    SMALL,
    record,
    run,
    sweeps,
)


@COMPILED_ONLY
def test_threads_repeats_and_rounds_reach_a_benchmark(tmp_path: Path) -> None:
    arguments = ["experiment=roofline", "experiment.toy=true", "experiment.rounds=2", "threads=1", "repeats=1"]
    done = run(*arguments, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    records = [record(tmp_path / str(number)) for number in range(2)]
    for found in records:
        assert (found["threads"], found["overrides"]) == (1, ["threads=1", "repeats=1"])
        assert {rate["threads"] for rate in found["roofline"]["rates"]} == {1}
        assert all(len(case["values"]) == 1 for case in found["roofline"]["kernels"])
    drawn = pd.read_csv(tmp_path / "roofline.csv")
    [shown] = drawn[(drawn["name"] == "64 neurons") & (drawn["columns"] == "merge")]["median"]
    values = [
        value
        for found in records
        for case in found["roofline"]["kernels"]
        if (case["name"], case["columns"], case["stride"]) == ("64 neurons", "merge", 128)
        for value in case["values"]
    ]
    assert shown == pytest.approx(median(values)), "both rounds are taken together"


def test_a_benchmark_needs_the_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "experiment=roofline", "experiment.toy=true", f"hydra.run.dir={tmp_path}"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: NUMBA_DISABLE_JIT is set: only compiled kernels have a roofline")
    assert not (tmp_path / "0").exists()


def test_simulated_points_are_run_in_one_round_only(tmp_path: Path) -> None:
    both = sweeps("{name:layers,overrides:{kernel:csc},grid:{executor:[threads,simulated]}}")
    done = run("experiment=linear_cost", "experiment.rounds=3", both, "layers=6", *SMALL, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    executors = [record(tmp_path / str(number))["executor"] for number in range(4)]
    assert executors == ["threads", "simulated", "threads", "threads"]
    assert not (tmp_path / "4").exists()


def test_it_goes_on_past_a_failed_point_and_draws_the_others(tmp_path: Path) -> None:
    done = run(
        "experiment=linear_cost", sweeps("{name:layers,grid:{layers:[7,6,12]}}"), *SMALL,
        "experiment.rounds=1", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 1
    assert [record(tmp_path / str(number))["status"] for number in range(3)] == ["failed", "complete", "complete"]
    assert "1 of 3 points failed" in done.stderr
    assert f"{tmp_path}/0: layers=7: networks of 1024 neurons come in blocks of 6" in done.stderr
    assert pd.read_csv(tmp_path / "linear_cost.csv")["point"].tolist() == ["layers=6", "layers=12"]
    assert (tmp_path / "linear_cost.png").exists()


def test_rounds_run_all_points_in_turn_and_are_taken_together(tmp_path: Path) -> None:
    layers = sweeps("{name:layers,grid:{layers:[6,12]}}")
    done = run("experiment=linear_cost", "experiment.rounds=2", layers, *SMALL, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    records = [record(tmp_path / str(number)) for number in range(4)]
    assert [found["layers"] for found in records] == [6, 12, 6, 12]
    assert {found["instances"] for found in records} == {100}, "the user's own"
    drawn = pd.read_csv(tmp_path / "linear_cost.csv")
    assert (drawn["point"].tolist(), drawn["n_times"].tolist()) == (["layers=6", "layers=12"], [2, 2])


def test_a_folder_with_records_of_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "result.json").write_text("{}")
    done = run("experiment=linear_cost", "experiment.toy=true", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert f"error: {tmp_path}: has records of another run; choose another folder with hydra.run.dir=FOLDER" in done.stderr
    assert not (tmp_path / "0").exists()


def test_categories_that_should_be_the_same_and_are_not_end_it_with_an_error(tmp_path: Path) -> None:
    done = run(
        "experiment=linear_cost", "experiment.same_categories=true", "experiment.rounds=1", "layers=120",
        f"hydra.run.dir={tmp_path}",
        sweeps("{name:instances,grid:{instances:[100,700]}}"),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "its points must find the same categories, and do not: " in done.stderr
    assert "at instances / instances=100; " in done.stderr
    assert done.stderr.rstrip().endswith("at instances / instances=700")
    assert not (tmp_path / "linear_cost.png").exists()


TWO = ["experiment=smoke", "experiment.members=[dataset_table,linear_cost]"]
"""Experiments one after the other; all of them would take seconds to be planned."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["experiment=abltion"], "experiment=abltion: did you mean ablation", id="unknown"),
        pytest.param(["experiment=ablation", "optimize=all"], "experiment=ablation varies optimize itself", id="swept"),
        pytest.param(["experiment=ablation", "nuerons=3"], "unknown key nuerons", id="unknown key"),
        pytest.param(["experiment=ablation", "threads=0"], "threads=0: must be at least 1", id="no point can be run"),
        pytest.param(["experiment=ablation", "experiment.figure=abltion"], "experiment.figure=abltion: did", id="figure"),
        pytest.param(["experiment=ablation", "experiment.rounds=0"], "experiment.rounds=0: must be at least 1", id="rounds"),
        pytest.param(["experiment=roofline", "neurons=4096"], "neurons=4096: experiment=roofline runs the ben", id="unused"),
        pytest.param(["experiment=roofline", "threads=0"], "threads=0: must be at least 1", id="no threads"),
        pytest.param(["experiment=roofline", "experiment.benchmark=rofline"], "rofline: did you mean roofline", id="benchmark"),
        pytest.param(["experiment=roofline", "experiment.same_categories=true"], "roofline finds no categ", id="categories"),
        pytest.param(["experiment=ablation", "experiment.benchmark=roofline"], "experiment=ablation has sweeps", id="both"),
        pytest.param(["experiment.name=ablation"], "experiment=NAME takes it", id="only the name"),
        pytest.param(["experiment=ablation", "experiment.members=[locking]"], "ablation has sweeps, not that", id="members"),
        pytest.param(["experiment=smoke", "experiment.members=[nosuch]"], "nosuch", id="unknown member"),
        pytest.param(["experiment=smoke", "experiment.members=[smoke]"], "smoke has no sweeps and no bench", id="itself"),
        pytest.param(["experiment=report", "experiment.report=[/nowhere]"], "/nowhere: no such folder", id="no records"),
        pytest.param(["experiment=smoke", "experiment.figure=x"], "smoke has members and no points", id="smoke's figure"),
        pytest.param([*TWO, "neurons=4096"], "neurons=4096: experiment=dataset_table varies", id="a member's own"),
        pytest.param(["experiment=report", "neurons=4096"], "neurons=4096: a report runs nothing", id="report of a key"),
        pytest.param(["experiment=ablation", sweeps("{name:a,grid:{nuerons:[1]}}")], "nuerons", id="a sweep of an unknown key"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error_before_anything_is_run(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.glob("*/result.json"))


def test_a_sweep_of_experiments_goes_on_past_one_that_cannot_be_run(tmp_path: Path) -> None:
    small = [sweeps("{name:layers,grid:{layers:[6,12]}}"), *SMALL, "experiment.rounds=1"]
    done = run("-m", "experiment=linear_cost", *small, "repeats=0,1", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "repeats=0: must be at least 1" in done.stderr
    assert not list((tmp_path / "0").glob("*/result.json"))
    assert (tmp_path / "1" / "linear_cost.png").exists()
    assert record(tmp_path / "1" / "0")["config"]["repeats"] == 1

"""The experiments of the paper: each runs at toy size and shows what it should; records can be run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from experiments.config.resolve import as_record, register, resolve
from experiments.sweeps.direct_peers import is_installed
from tests.baseline import records
from tests.experiments.toys import (
    CONF,
    EXPERIMENTS,
    FEW_CORES,
    NEEDS,
    RUNNABLE,
    SWEEPS,
    TORCH_ONLY,
    at_toy_size,
    planned,
    python,
    record,
)


def test_smoke_is_all_experiments() -> None:
    assert sorted(set(at_toy_size("smoke").members) - TORCH_ONLY - FEW_CORES) == EXPERIMENTS


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_experiment_draws_its_figure_at_toy_size(name: str, toys: Callable[[str], Path]) -> None:
    experiment = at_toy_size(name)
    assert bool(experiment.sweeps) == (name in SWEEPS)
    points, folder = planned(name), toys(name)
    n_runs = len(points)
    assert f"point {n_runs} of {n_runs}" in (folder / "stdout").read_text()
    figure = folder / experiment.figure
    assert figure.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    drawn = pd.read_csv(figure.with_suffix(".csv"))
    in_order = list(dict.fromkeys(zip(drawn["sweep"], drawn["point"], strict=True)))
    assert in_order == [(point.sweep, point.label) for point in points]
    records = [record(folder / str(number)) for number in range(n_runs)]
    assert [found["overrides"] for found in records] == [list(point.overrides) for point in points]
    sources = json.loads(figure.with_suffix(".sources.json").read_text())
    assert sorted(source["record"]["experiment"]["number"] for source in sources) == list(range(n_runs))
    assert all(source["record"] in records for source in sources)
    assert all(found["experiment"]["toy"] for found in records)
    assert all({"schema_version", "status", "environment", "config"} <= found.keys() for found in records)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_figure_of_inferences_shows_the_median_of_each_points_times(name: str, toys: Callable[[str], Path]) -> None:
    experiment, folder = at_toy_size(name), toys(name)
    drawn = pd.read_csv((folder / experiment.figure).with_suffix(".csv"))
    n_points = len(planned(name))
    assert len(drawn) == n_points
    records = [record(folder / str(number)) for number in range(n_points)]
    for number, shown in enumerate(drawn["seconds_median"]):
        assert shown == pytest.approx(median(records[number]["seconds"]["inference"]))
    assert drawn["simulated"].tolist() == [found["executor"] == "simulated" for found in records]


def test_points_whose_packages_are_not_there_are_left_out_with_a_word(toys: Callable[[str], Path]) -> None:
    missing = [name for name in ("mkl", "graphblas", "torch") if not is_installed(NEEDS[f"backend={name}"])]
    said = (toys("peers") / "stdout").read_text()
    assert said.count("left out: 1 of 7 points: ") == len(missing)
    for name in missing:
        assert f"left out: 1 of 7 points: backend={name} needs a package that cannot be imported" in said
        assert "pip install -e '.[peers]'" in said


def test_the_five_parallelisms_are_compared_with_data_then_model(toys: Callable[[str], Path]) -> None:
    drawn = pd.read_csv(toys("parallelisms") / "parallelisms.csv")
    five = {"data", "model", "data_then_model", "manager_worker", "work_stealing"}
    jobs = ["sweep", "neurons", "layers", "assumption"]
    compared = drawn[drawn["sweep"] != "caches"]
    for _, job in compared.groupby(jobs, dropna=False):
        assert set(job["scheduler"]) == five
        base = job.loc[job["scheduler"] == "data_then_model", "seconds_median"].item()
        assert job["ratio_to_data_then_model"].tolist() == pytest.approx((job["seconds_median"] / base).tolist())
    assert set(compared.loc[compared["simulated"], "sweep"]) == {"simulated", "simulated_here", "assumptions"}
    assert drawn.loc[drawn["simulated"], "traffic_from_cache"].between(0, 1).all()


def test_the_data_set_is_held_against_what_is_published(toys: Callable[[str], Path]) -> None:
    drawn = pd.read_csv(toys("dataset_table") / "dataset_table.csv")
    assert drawn["connections"].tolist() == [32 * 1024 * 120, 32 * 4096 * 120]
    assert drawn["connections_verdict"].tolist() == ["as published"] * 2
    assert drawn["input_nnz_verdict"].tolist() == ["not published"] * 2, "these are 256 instances only"


def test_hashing_and_scaling_have_a_line_for_each_kind(toys: Callable[[str], Path]) -> None:
    hashing = pd.read_csv(toys("hashing") / "hashing.csv", keep_default_na=False)
    for sweep in ("measured", "simulated"):
        shown = hashing[hashing["sweep"] == sweep]
        assert set(zip(shown["scheduler"], shown["hashing"], strict=True)) == {
            (scheduler, kind) for scheduler in ("data", "model") for kind in ("none", "input", "layer", "both")
        }
    assert set(hashing["sweep"]) == {"measured", "measured_threads", "simulated", "simulated_nodes", "simulated_kernels"}
    strong = pd.read_csv(toys("strong_scaling") / "strong_scaling.csv")
    for (sweep, scheduler), line in strong.groupby(["sweep", "scheduler"]):
        line = line.sort_values("cores")
        times = line["seconds_median"].to_numpy()
        assert line["value"].tolist() == pytest.approx((times[0] / times).tolist()), (sweep, scheduler)
    weak = pd.read_csv(toys("weak_scaling") / "weak_scaling.csv")
    assert set(weak["sweep"]) == {"simulated_nodes", "measured_threads"}
    per_core = weak["instances"] / weak["cores"]
    assert per_core.groupby(weak["sweep"]).nunique().tolist() == [1, 1], "as many instances for each core"


def test_locking_times_are_those_of_the_workers(toys: Callable[[str], Path]) -> None:
    folder = toys("locking")
    drawn = pd.read_csv(folder / "locking.csv")
    for number, row in drawn.iterrows():
        found = record(folder / str(number))
        whole_s = found["seconds"]["inference_median"] * len(found["workers"])
        for part in ("enlist", "probe", "recruit", "meet", "lock", "wait", "idle"):
            assert row[f"{part}_share"] == pytest.approx(sum(worker[f"{part}_s"] for worker in found["workers"]) / whole_s)


def test_a_timeline_without_its_traces_is_one_error(toys: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(toys("straggler_timeline"), tmp_path / "copy")
    (folder / "1" / "trace.json").unlink()
    done = python("-m", "experiments.figures", "straggler_timeline", str(folder))
    assert done.returncode == 1
    assert f"{folder}/1: the trace of this point cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_record_gives_the_same_categories_and_simulated_times_again(toys: Callable[[str], Path], tmp_path: Path) -> None:
    folder = toys("recruiting_strategies")
    done = python("-m", "experiments.rerun", str(folder / "0"), str(folder / "6"), "--into", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for before, now in ((folder / "0", tmp_path / "0"), (folder / "6", tmp_path / "1")):
        assert record(now)["categories_sha256"] == record(before)["categories_sha256"]
        assert record(now)["config"] == record(before)["config"]
    assert record(tmp_path / "1")["executor"] == "simulated"
    assert record(tmp_path / "1")["seconds"]["inference"] == record(folder / "6")["seconds"]["inference"]
    changed = record(folder / "6")
    changed["seconds"]["inference"][0] *= 1 + 1e-15
    changed["categories_sha256"] = "0"
    (tmp_path / "changed").mkdir()
    (tmp_path / "changed" / "result.json").write_text(json.dumps(changed))
    done = python("-m", "experiments.rerun", str(tmp_path / "changed"))
    assert done.returncode == 1
    assert f"error: {tmp_path}/changed: categories_sha256, seconds.inference" in done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"seconds": None}, "no complete record of an inference", id="no inference"),
        pytest.param({"config": None}, "has no configuration", id="no configuration"),
        pytest.param({"config": {"nuerons": 1}}, "of another version", id="other keys"),
        pytest.param({"status": "failed"}, "no complete record of an inference", id="failed"),
        pytest.param({"schema_version": 99}, "not a record of sparsednn", id="another version"),
    ],
)
def test_what_cannot_be_run_again_is_one_error(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A benchmark's record has an experiment, and no inference."""
    about = {"name": "e", "figure": "f", "toy": True, "sweep": "s", "point": "p", "number": 0}
    changed = records()[0] | {"experiment": about} | changes
    content = {key: value for key, value in changed.items() if value is not None}
    (tmp_path / "result.json").write_text(json.dumps(content))
    done = python("-m", "experiments.rerun", str(tmp_path))
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_an_ablation_goes_from_the_paper_to_everything_exactly(toys: Callable[[str], Path]) -> None:
    folder = toys("ablation")
    assert "What each optimisation brings" in (folder / "stdout").read_text()
    records = [record(folder / str(number)) for number in range(14)]
    assert len({found["categories_sha256"] for found in records}) == 1
    assert all(found["truth"]["match"] is True for found in records)
    first, *_, last = records[:7]
    done = [found["performed_edges"] for found in records[:7]]
    assert done == sorted(done, reverse=True), "each optimisation avoids work, or does the same faster"
    assert first["performed_edges"] == 600 * first["network_nnz"], "the paper's algorithm does all of the work"
    paper = {"rows": "none", "columns": "none", "order": "given", "full_columns": False, "empty_columns": "walk"}
    assert first["config"]["optimize"] == {**paper, "weights": "float32"}
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert last["config"]["optimize"] == as_record(resolve(compose("config")))["optimize"], "the default"

"""resume=true: which record stands for a point, and what a user sees of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.config.resolve import ConfigError, as_record
from experiments.config.schema import ExperimentConfig
from experiments.launch import resume
from experiments.launch.resume import Earlier, is_complete, leave_note, point_of
from experiments.records.files import NOTE, RESULT, RUNNING
from experiments.records.point import PointOfExperiment
from experiments.records.read import read_points
from experiments.run import environment, identity
from experiments.run.identity import config_hash
from sparsednn.system.files import write_json
from tests.config.test_resolve import composed
from tests.experiments.fakes import REVISION, fake_git, run
from tests.experiments.made_up import environment_on, made_up, point_of_experiment, whole

SMALL = ["instances=50", "layers=6"]


def digest(*overrides: str) -> str:
    return config_hash(as_record(composed(*overrides)))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["resume=true"], id="resuming"),
        pytest.param(["neurons=1024", "scheduler=data"], id="defaults that are given"),
    ],
)
def test_what_no_result_depends_on_does_not_change_the_hash(overrides: list[str]) -> None:
    assert digest(*overrides) == digest()
    assert len(digest()) == 64


@pytest.mark.parametrize("override", ["instances=50", "optimize.rows=none", "scheduler=model", "threads=1", "cluster.pin=true"])
def test_whatever_else_differs_changes_it(override: str) -> None:
    assert digest(override) != digest()


def test_a_benchmark_is_no_inference_and_a_toy_no_benchmark() -> None:
    config = as_record(composed())
    experiments = [None, ExperimentConfig(benchmark="roofline"), ExperimentConfig(benchmark="roofline", toy=True)]
    assert len({config_hash(config, experiment) for experiment in experiments}) == 3
    assert config_hash(config, ExperimentConfig(name="ablation")) == config_hash(config), "its points are plain runs"


def record(digest: str = "a", status: str = "complete", revision: str = REVISION, **more: Any) -> dict[str, Any]:
    return whole(status=status, config_hash=digest, environment=environment_on(revision=revision), **more)


def written(folder: Path, record: dict[str, Any], written_s: float = 0) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / RESULT, record)
    os.utime(folder / RESULT, (written_s, written_s))
    return (folder / RESULT).resolve()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of a known revision."""
    monkeypatch.setattr(identity, "environment", lambda: environment_on(revision=REVISION))


def found(root: Path, own: Path, point: tuple[Any, ...] | None = None, claimed: set[Path] | None = None) -> Path | None:
    said: list[str] = []
    earlier = Earlier([root], said.append).find("a", own, own.parent, point, claimed or set())
    assert not said
    return None if earlier is None else earlier[0]


@pytest.mark.usefixtures("clean")
def test_only_complete_records_of_the_same_configuration_and_code_are_taken(tmp_path: Path) -> None:
    for number, other in enumerate(
        [record("b"), record(status="failed"), record(status="submitted"), record(revision=f"{REVISION}+changes"),
         record(revision="f" * 40)]
    ):  # fmt: skip
        written(tmp_path / str(number), other)
    assert found(tmp_path, tmp_path / "new" / "0") is None
    right = written(tmp_path / "right", record())
    assert found(tmp_path, tmp_path / "new" / "0") == right


@pytest.mark.usefixtures("clean")
def test_the_points_own_record_comes_first_then_one_of_the_same_point_then_the_newest(tmp_path: Path) -> None:
    about = point_of_experiment()
    point = point_of(about)
    written(tmp_path / "old", record(), 1)
    new = written(tmp_path / "new", record(), 3)
    same = written(tmp_path / "same", record(experiment=about), 2)
    call = tmp_path / "call"
    written(call / "1", record(), 9)
    assert found(tmp_path, call / "0") == new, "1 belongs to another point of this call"
    assert found(tmp_path, call / "0", point) == same
    assert found(tmp_path, call / "0", point, {same}) == new
    assert found(tmp_path, call / "1", point) == call.resolve() / "1" / RESULT


@pytest.mark.usefixtures("clean")
def test_records_that_cannot_be_read_are_named_and_passed_over(tmp_path: Path) -> None:
    for name, text in (("cut_off", '{"status": "comp'), ("a_list", "[]"), ("no_status", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / RESULT).write_text(text)
    right = written(tmp_path / "right", record())
    said: list[str] = []
    earlier = Earlier([tmp_path, tmp_path / "nowhere"], said.append)
    assert [line.split(": ")[2] for line in said] == [
        str(tmp_path.resolve() / n / RESULT) for n in ("a_list", "cut_off", "no_status")
    ]
    assert all("passed over" in line for line in said)
    taken = earlier.find("a", tmp_path / "x", tmp_path / "x", None, set())
    assert taken is not None
    assert taken[0] == right


@pytest.mark.parametrize("revision", [f"{REVISION}+changes", None])
def test_code_that_nobody_knows_takes_nothing_and_says_so(
    revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "environment", lambda: environment_on(revision=revision))
    written(tmp_path / "same", record(revision=str(revision)))
    said: list[str] = []
    assert Earlier([tmp_path], said.append).find("a", tmp_path / "x", tmp_path / "x", None, set()) is None
    assert said == [resume.SAME_CODE]


def test_a_module_that_git_does_not_know_makes_the_code_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"rev-parse": REVISION, "status": "", "ls-files": "experiments/new.py"}
    monkeypatch.setattr(environment, "_asked_git", lambda stack, folder, command, *arguments: command)
    monkeypatch.setattr(environment, "_answer_of", lambda command: answers[command])
    assert environment._git_revision() == f"{REVISION}+changes"
    answers["ls-files"] = ""
    assert environment._git_revision() == REVISION


def test_a_note_takes_away_what_failed_but_nothing_that_is_complete(tmp_path: Path) -> None:
    other = written(tmp_path / "other", record())
    written(tmp_path / "point", record(status="failed"))
    (tmp_path / "point" / RUNNING).write_text("{}")
    leave_note(tmp_path / "point", other, None)
    assert [path.name for path in (tmp_path / "point").iterdir()] == [NOTE]
    assert json.loads((tmp_path / "point" / NOTE).read_text()) == {"record": f"../other/{RESULT}"}
    written(tmp_path / "kept", record("b"))
    leave_note(tmp_path / "kept", other, None)
    assert is_complete(tmp_path / "kept" / RESULT)


def test_figures_follow_notes_and_take_a_record_once_for_a_point(tmp_path: Path) -> None:
    first, second = made_up("s", "p", [1.0]), made_up("s", "q", [2.0])
    plain = {key: value for key, value in second.items() if key != "experiment"}
    paths = [written(tmp_path / "one" / "0", first), written(tmp_path / "plain", plain)]
    for number, (path, one) in enumerate(zip(paths, (first, second), strict=True)):
        (tmp_path / "two" / str(number)).mkdir(parents=True)
        leave_note(tmp_path / "two" / str(number), path, PointOfExperiment(**one["experiment"] | {"number": number}))
    points = read_points("ablation", [tmp_path / "two", tmp_path / "one"]).points
    assert [(point.label, point.times_s) for point in points] == [("p", [1.0]), ("q", [2.0])]
    assert points[1].folders[0].resolve() == (tmp_path / "plain").resolve()
    paths[1].unlink()
    with pytest.raises(ConfigError, match=r"plain/result.json: is gone, and was to stand for s / q"):
        read_points("ablation", [tmp_path / "two"])


def test_a_sweep_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    fake_git(tmp_path / "bin")
    sweep = ["-m", "instances=50", "resume=true"]
    first = run(tmp_path, *sweep, "layers=6,7", path=tmp_path / "bin")
    assert first.returncode == 1, "7 layers cannot be run"
    (left,) = (path for path in (tmp_path / "outputs").rglob(RESULT) if is_complete(path))
    again = run(tmp_path, *sweep, "layers=6,12", path=tmp_path / "bin")
    assert again.returncode == 0, again.stderr
    assert f"resume: the point has a record already: {left.relative_to(tmp_path)}" in again.stdout
    assert again.stdout.count("resume: ") == 1
    assert "2 points" in again.stdout
    assert again.stdout.count("not checked (no truth)") == 2, "one summary, and once for all points of the table"
    assert len([path for path in (tmp_path / "outputs").rglob(RESULT) if is_complete(path)]) == 2
    (note,) = (tmp_path / "outputs").rglob(NOTE)
    assert (note.parent / json.loads(note.read_text())["record"]).resolve() == left.resolve()
    assert not (note.parent / RESULT).exists()
    changed = tmp_path / "changed"
    fake_git(changed, changes=" M run.py")
    unknown = run(tmp_path, *SMALL, "resume=true", path=changed)
    assert unknown.returncode == 0, unknown.stderr
    assert "resume=true: the code has uncommitted changes" in unknown.stdout
    assert "resume: the point" not in unknown.stdout


def test_a_record_of_the_same_folder_is_kept_as_it_is(tmp_path: Path) -> None:
    fake_git(tmp_path / "bin")
    arguments = [*SMALL, f"hydra.run.dir={tmp_path}/far/run"]
    (tmp_path / "here").mkdir()
    assert run(tmp_path / "here", *arguments, path=tmp_path / "bin").returncode == 0
    before = (tmp_path / "far" / "run" / RESULT).stat()
    done = run(tmp_path / "here", *arguments, "resume=true", path=tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    assert f"resume: the point has a record already: {tmp_path}/far/run/{RESULT}" in done.stdout
    assert (tmp_path / "far" / "run" / RESULT).stat().st_mtime_ns == before.st_mtime_ns
    assert not (tmp_path / "far" / "run" / NOTE).exists()


def test_an_experiment_goes_on_round_by_round_and_draws_all_of_its_points(tmp_path: Path) -> None:
    fake_git(tmp_path / "bin")
    layers = "experiment.sweeps=[{name:layers,grid:{layers:[6,12]}}]"
    arguments = ["experiment=linear_cost", layers, "instances=50", "experiment.rounds=2"]
    assert run(tmp_path, *arguments, f"hydra.run.dir={tmp_path}/outputs/a", path=tmp_path / "bin").returncode == 0
    (tmp_path / "outputs" / "a" / "2" / RESULT).unlink()  # it was killed in the second round
    done = run(tmp_path, *arguments, "resume=true", f"hydra.run.dir={tmp_path}/outputs/b", path=tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("resume: the point has a record already: outputs/a/") == 3, "each stands for one round"
    assert [path.parent.name for path in (tmp_path / "outputs" / "b").rglob(RESULT)] == ["2"]
    drawn = pd.read_csv(tmp_path / "outputs" / "b" / "linear_cost.csv")
    assert (drawn["point"].tolist(), drawn["n_times"].tolist()) == (["layers=6", "layers=12"], [2, 2])
    same = run(tmp_path, *arguments, "resume=true", f"hydra.run.dir={tmp_path}/outputs/b", path=tmp_path / "bin")
    assert same.returncode == 0, same.stderr
    assert same.stdout.count("resume: ") == 4
    other = run(tmp_path, *arguments, "resume=true", "repeats=2", f"hydra.run.dir={tmp_path}/outputs/a", path=tmp_path / "bin")
    assert "outputs/a: has records of another run" in other.stderr, "nothing complete is overwritten"

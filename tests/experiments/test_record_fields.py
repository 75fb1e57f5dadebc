"""The fields of records: all that is written is declared, and what is read is of the declared types or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp
from rich.console import Console

import sparsednn
from experiments.config.resolve import ConfigError
from experiments.launch.point import mark_running
from experiments.launch.resume import Earlier
from experiments.records.files import NotARecordError, read_point, read_record, write_record
from experiments.records.point import (
    BENCHMARK_FIGURES,
    BenchmarkRun,
    PointRecord,
    SubmittedJob,
    record_from_json,
    record_to_json,
)
from experiments.rerun import rerun
from experiments.run import identity
from experiments.sweeps.benchmarks import BENCHMARKS
from sparsednn.comm import LocalCommunicator
from sparsednn.results.measures import add_load_times
from sparsednn.results.record import MeasuredRun, RunRecord, Seconds
from sparsednn.results.simulated_record import SimulatedRun
from sparsednn.simulator.simulate import simulate
from sparsednn.system.files import write_json
from sparsednn.system.json_documentation import entries
from sparsednn.system.json_fields import JsonPart, from_json, named, to_json, undeclared
from tests.baseline import records as baseline
from tests.experiments.made_up import environment_on, measured, point_of_experiment, simulated, whole

KINDS = {
    "threads": PointRecord(status="complete", body=measured(), environment=environment_on()),
    "wrong categories": PointRecord(error="wrong", body=measured(status="failed"), environment=environment_on()),
    "several processes": PointRecord(
        status="complete", environment=environment_on(),
        body=measured(process_records=[replace(measured().process_records[0], unshared_bytes=n) for n in (0, 7)]),
    ),
    "simulated": PointRecord(status="complete", body=simulated(), environment=environment_on()),
    "failed": PointRecord(error="no memory", traceback="Traceback", environment=environment_on(), peak_rss_bytes=1),
    "benchmark": PointRecord(
        status="complete", environment=environment_on(), experiment=point_of_experiment(),
        body=BenchmarkRun(executor="threads", processes=1, threads=2, roofline={"rates": []}),
    ),
    "submitted": PointRecord(
        status="submitted", environment=environment_on(), config={"neurons": 1}, config_hash="a",
        body=SubmittedJob(job_id=None, script="job.sh"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_every_kind_is_read_back_as_it_was_written(kind: str, tmp_path: Path) -> None:
    write_record(tmp_path, KINDS[kind])
    found = read_record(tmp_path / "result.json")
    assert found.body == KINDS[kind].body
    assert (found.status, found.error, found.experiment) == (KINDS[kind].status, KINDS[kind].error, KINDS[kind].experiment)
    assert record_to_json(found) == json.loads((tmp_path / "result.json").read_text())


@pytest.fixture(scope="module")
def small() -> tuple[sparsednn.Network, sp.csr_array]:
    weights = sp.csr_array(sp.eye_array(12, dtype="float32") + sp.eye_array(12, k=1, dtype="float32"))
    return sparsednn.Network([weights, weights]), sp.csr_array(sp.eye_array(12, dtype="float32"))


def test_what_an_inference_says_is_declared_and_whole(small: tuple[sparsednn.Network, sp.csr_array]) -> None:
    result = sparsednn.infer(*small, backend="scipy_reference", threads=2, communicator=LocalCommunicator())
    add_load_times(result.run_record, [0.5])
    written = to_json(result.run_record)
    assert from_json(MeasuredRun, json.loads(json.dumps(written))) == result.run_record
    assert list(undeclared(result.run_record)) == []
    assert set(written) == set(result.record) | {"process_times"}
    assert written["process_records"][0]["load_s"] == written["process_times"]["load_s"]["max"] >= 0.5
    assert result.record["seconds"]["load"] < 0.5, "the mapping is a copy"


def test_what_a_simulated_inference_says_is_declared_and_whole() -> None:
    network, inputs = sparsednn.radixnet(1024, 6), sparsednn.challenge_inputs(1024, 20)
    result = simulate(network, inputs, kernel="csc_csc", scheduler="auto")
    found = from_json(SimulatedRun, json.loads(json.dumps(result.record)))
    assert found == result.run_record
    assert found.auto is not None
    assert found.traffic is not None
    assert list(undeclared(found)) == []


def test_a_record_is_made_of_its_fields_and_their_defaults() -> None:
    given: dict[str, Any] = {"load": 0.5, "inference": [1.0], "inference_median": 1.0}
    made = Seconds(**given)
    assert (to_json(made), made.others, made.lacks) == (given, {}, frozenset())
    made.others["mine"] = 1
    assert Seconds(**given).others == {}, "every record has a mapping of its own"
    with pytest.raises(TypeError, match="^Seconds: the field load is not given$"):
        Seconds(**{name: given[name] for name in given if name != "load"})
    with pytest.raises(TypeError, match="^Seconds has no field choose, hash$"):
        Seconds(**given, choose=0.0, hash=0.0)
    with pytest.raises(TypeError, match="positional"):
        Seconds(0.5)  # type: ignore[misc]


def test_a_field_that_is_not_declared_is_not_written(tmp_path: Path) -> None:
    record = PointRecord(body=measured(others={"colour": 1}), others={"mood": 2})
    record.run.workers[0].others["age"] = 3
    with pytest.raises(TypeError, match=r"not declared: mood, colour, workers\[0\]\.age"):
        write_record(tmp_path, record)
    assert list(tmp_path.iterdir()) == []
    measured_run = measured()
    measured_run.optimizations.others["mine"] = "on"
    write_record(tmp_path, PointRecord(body=measured_run))
    assert json.loads((tmp_path / "result.json").read_text())["optimizations"]["mine"] == "on", "a backend's own switch"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"neurons": "1024"}, 'neurons is "1024", not a whole number', id="text"),
        pytest.param({"neurons": True}, "neurons is true, not a whole number", id="bool"),
        pytest.param({"layers": 1.5}, "layers is 1.5, not a whole number", id="fraction"),
        pytest.param({"threads": None}, "threads is null, not a whole number", id="null"),
        pytest.param({"seconds": {"inference": [1.0, "x"]}}, r'seconds.inference\[1\] is "x", not a number', id="in a list"),
        pytest.param({"workers": [{"busy_s": []}]}, r"workers\[0\].busy_s is \[\], not a number", id="in a part"),
        pytest.param({"experiment": "mine"}, 'experiment is "mine", not a mapping', id="a part"),
        pytest.param({"schema_version": 3}, "schema_version is 3, not 1 or 2", id="a later version"),
        pytest.param({"schema_version": "2"}, "schema_version is '2', not 1 or 2", id="a version in words"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_values_of_other_types_are_refused_with_field_and_file(
    changes: dict[str, Any], message: str, version: int, tmp_path: Path
) -> None:
    parts = {name: value | changes[name] for name, value in whole().items() if isinstance(changes.get(name), dict)}
    write_json(tmp_path / "result.json", whole() | {"schema_version": version} | changes | parts)
    with pytest.raises(NotARecordError, match=rf"^{tmp_path}/result.json: not a record of sparsednn: {message}"):
        read_record(tmp_path / "result.json")


@pytest.mark.parametrize("name", ["workers", "split", "truth", "overrides", "status"])
def test_a_record_that_lacks_a_field_is_refused_if_it_is_of_this_version(name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", {key: value for key, value in whole().items() if key != name})
    with pytest.raises(NotARecordError, match=f"it has no {name}"):
        read_record(tmp_path / "result.json")


def test_fields_of_a_later_version_are_kept(tmp_path: Path) -> None:
    later = whole() | {"colour": "red"}
    later["seconds"]["cook"] = 1.0
    write_json(tmp_path / "result.json", later)
    record = read_record(tmp_path / "result.json")
    assert (record.others, record.run.seconds.others) == ({"colour": "red"}, {"cook": 1.0})
    assert record_to_json(record) == later


def test_records_of_version_1_are_read_as_they_are(tmp_path: Path) -> None:
    for old in baseline():
        write_json(tmp_path / "result.json", old)
        record = read_record(tmp_path / "result.json")
        assert (record.schema_version, type(record.run)) == (1, SimulatedRun if "performed_edges" in old else MeasuredRun)
        assert record_to_json(record) == old
    with pytest.raises(AttributeError, match="workers"):  # the trimmed ones of the baseline have none
        _ = record_from_json(next(old for old in baseline() if "workers" not in old), whole=False).run.workers


def test_resume_passes_over_records_of_version_1_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "environment", lambda: environment_on(revision="0" * 40))
    for number, version in enumerate((1, 1, 2)):
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / "result.json", whole() | {"schema_version": version})
    said: list[str] = []
    found = Earlier([tmp_path], said.append).find("a", tmp_path / "x", tmp_path / "x", None, set())
    assert found is not None
    assert found[0] == (tmp_path / "2" / "result.json").resolve()
    assert said == ["resume=true: 2 complete records are of an older version than 2, and are not taken"]


def test_a_record_without_a_configuration_is_not_run_again(tmp_path: Path) -> None:
    record = PointRecord(status="complete", body=measured())
    with pytest.raises(ConfigError, match="has no configuration"):
        rerun(tmp_path, record, tmp_path / "again", Console(quiet=True))


def test_the_mark_of_a_point_that_is_under_way_is_a_record_of_a_failed_one(tmp_path: Path) -> None:
    mark_running(tmp_path, point_of_experiment(sweep="s"))
    folder, record = read_point(tmp_path / "running.json")
    assert (folder, record.status, record.experiment) == (tmp_path, "failed", point_of_experiment(sweep="s"))


def test_every_benchmark_has_a_field_for_its_figures() -> None:
    assert set(BENCHMARK_FIGURES) == set(BENCHMARKS)


@pytest.mark.parametrize("kind", [PointRecord, MeasuredRun, SimulatedRun, BenchmarkRun, SubmittedJob])
def test_every_field_says_what_it_means_and_numbers_of_a_unit_say_which(kind: type[JsonPart]) -> None:
    for entry in entries(kind):
        assert entry.text, entry
        last = entry.name.rpartition(".")[2]
        wanted = "s" if last.endswith("_s") and "per_s" not in last else "bytes" if last.endswith("_bytes") else entry.unit
        assert entry.unit == wanted, entry


def test_names_of_columns_are_names_of_fields() -> None:
    assert named(RunRecord, "neurons", "kernel") == ("neurons", "kernel")
    with pytest.raises(AttributeError, match="RunRecord has no field colour"):
        named(RunRecord, "colour")

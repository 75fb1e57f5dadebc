"""Committed records: made from experiments at toy size, read again, and put on pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.figures.base.direct_calls import answers_of
from experiments.records.point import BenchmarkRun, environment_of
from experiments.records.read import Point, Points, read_points
from experiments.report.__main__ import main
from experiments.report.claims import CLAIMS
from experiments.report.collect import NewestRun
from experiments.report.results.committed import CommittedRecords, MissingRecordError
from experiments.report.results.keep import kept_of
from experiments.report.results.kept import kept_text, points_of_kept, read_kept
from experiments.report.results.pages import FIGURES, RECORDS, TABLES, drawn_from, generated, rewrite
from experiments.report.results.tables.trained import BENCHMARK, trained_networks
from experiments.report.threads import zero_movement
from tests.experiments.made_up import environment_on, made_up, measured, point_of_experiment, whole, write_all
from tests.experiments.test_trained_networks import made_up_figures
from tests.experiments.toys import FEW_CORES, TORCH_ONLY

PROGRAM: dict[str, Any] = {
    "kind": "program", "name": "DistSparseDNN", "source": "https://example.org", "revision": "abc", "compiler": "g++ 12",
    "flags": "-O3", "command": "./main", "date": "2026-11-28",
    "machine": {"cpu": "A CPU", "cores": 2, "memory_bytes": 10**9, "caches": None, "system": "Linux", "versions": {}},
    "neurons": 1024, "layers": 120, "instances": 60_000, "threads": 1, "truth_count": 1812,
    "variants": [{"label": "data", "seconds": [14.6, 14.7], "categories_count": 1812}],
}  # fmt: skip


@pytest.fixture(scope="session")
def committed(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> CommittedRecords:
    """Return the committed form of all experiments at toy size."""
    folder = tmp_path_factory.mktemp("records")
    assert main(["keep", str(smoke), "--toy", "--dirty", "--into", str(folder)]) == 0
    return CommittedRecords(folder)


def points(folder: Path, **changes: Any) -> Points:
    """Return the points of an experiment with two rounds of one point; `changes` are of the second record."""
    about = point_of_experiment(name="x", figure="peers")
    records = [whole(experiment=about), whole(experiment=about, **changes)]
    return read_points("peers", [write_all(folder / "run", records)])


def test_tables_of_all_experiments_are_made(committed: CommittedRecords) -> None:
    missing = {"random_networks", "process_pairs", "beside_cpp", *TORCH_ONLY, *FEW_CORES}
    for name in TABLES.keys() - missing:
        text = TABLES[name](committed)
        assert "| --- |" in text, name
        predicted = name.startswith("gpu_")  # which no experiment has measured
        assert name == "machines" or predicted or "`python run.py experiment=smoke`" in text.replace("\n", " "), name
    for name in missing:
        with pytest.raises(MissingRecordError, match="not there"):
            TABLES[name](committed)


def test_claims_come_out_as_from_the_folders(committed: CommittedRecords, toys: Callable[[str], Path]) -> None:
    names = ("parallelisms", "hashing", "locking", "straggler_timeline")
    kept = {name: NewestRun(name, name, Path(), committed.points(name), 0) for name in names}
    read = {name: NewestRun(name, name, Path(), read_points(name, [toys(name)]), 0) for name in names}
    for claim in CLAIMS:
        assert claim(kept).verdict == claim(read).verdict
    assert zero_movement(kept) == zero_movement(read)


def test_figures_are_drawn_from_committed_records(committed: CommittedRecords, tmp_path: Path) -> None:
    (tmp_path / RECORDS).mkdir(parents=True)
    for name in FIGURES:
        (tmp_path / RECORDS / f"{name}.json").write_bytes(committed.path(name).read_bytes())
    changed = rewrite(tmp_path)
    assert [path.name for path in changed] == ["ablation.png", "crossover.png", "parallelisms.png", "stragglers.png"]
    assert drawn_from(tmp_path / FIGURES["ablation"]) is not None
    assert rewrite(tmp_path) == []


@pytest.mark.parametrize("name", ["crossover", "latency"])
def test_direct_calls_have_the_same_figures_as_in_the_folders(
    name: str, committed: CommittedRecords, toys: Callable[[str], Path]
) -> None:
    kept, read = (answers_of(points, name)[0] for points in (committed.points(name), read_points(name, [toys(name)])))
    assert len(kept) == len(read) > 0
    for short, whole_one in zip(kept, read, strict=True):
        for contestant, times in whole_one.seconds.items():
            for percentile in times:
                middle = whole_one.middle(contestant, percentile)
                assert short.middle(contestant, percentile) == pytest.approx(middle, rel=1e-3)
            assert {len(short.seconds[contestant][other]) for other in times if other != "p50"} == {1}
            assert short.ratio(contestant) == pytest.approx(whole_one.ratio(contestant), rel=1e-2)


def test_networks_of_several_sparsities_have_a_line_each(tmp_path: Path) -> None:
    """Libraries one by one are shown at the sparsity that most are pruned to."""
    about = point_of_experiment(name=BENCHMARK, figure=BENCHMARK)
    body = BenchmarkRun(executor="threads", processes=1, threads=1, trained_networks=made_up_figures())
    records = [whole(experiment=about, body=body)]
    kept = kept_of(read_points(BENCHMARK, [write_all(tmp_path / "run", records)]))
    (tmp_path / f"{BENCHMARK}.json").write_text(kept_text(kept))
    lines = trained_networks(CommittedRecords(tmp_path)).splitlines()
    assert "| mlp | two steps | 80 % | 90.00 % | 1,000,000; 3.00 | 1,000,000; 3.00 |" in lines
    assert [line.count("|") for line in lines if line.startswith("| mlp")] == [7] * 3 + [6] * 2


@pytest.mark.parametrize("name", ["peers", "scheduler_pairs", "linear_cost", "validation", "roofline", "locking"])
def test_a_record_that_is_read_has_what_figures_need(
    name: str, committed: CommittedRecords, toys: Callable[[str], Path]
) -> None:
    kept = committed.points(name)
    read = read_points(committed.experiment(name).figure, [toys(name)])
    assert [(point.sweep, point.label) for point in kept.points] == [(point.sweep, point.label) for point in read.points]
    if kept.points[0].record.has_run:
        assert [point.median_s for point in kept.points] == pytest.approx([point.median_s for point in read.points], rel=1e-3)
    assert committed.experiment(name).figure in figures.names()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    kept = kept_of(points(tmp_path))
    (tmp_path / "x.json").write_text(kept_text(kept))
    assert read_kept(tmp_path / "x.json") == kept
    assert [point.times_s for point in points_of_kept(kept).points] == [[1.0, 3.0, 2.0, 1.0, 3.0, 2.0]]
    assert kept.n_rounds == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"environment": environment_on(revision="1" * 40)}, "several revisions", id="revisions"),
        pytest.param({"status": "failed", "error": "wrong categories"}, "1 points failed", id="a failed point"),
    ],
)
def test_what_cannot_stand_on_a_page_is_not_kept(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        kept_of(points(tmp_path, **changes))


def test_code_that_was_not_committed_is_kept_only_if_it_is_said(tmp_path: Path) -> None:
    found = points(tmp_path)
    for record in found.records:
        environment_of(record).git_revision = f"{'0' * 40}+changes"
    with pytest.raises(ConfigError, match="commit, and measure again"):
        kept_of(found)
    assert kept_of(found, dirty=True).revision.endswith("+changes")


def test_wrong_categories_are_refused_by_the_reader(tmp_path: Path) -> None:
    wrong = PROGRAM | {"variants": [{"label": "data", "seconds": [1.0], "categories_count": 1}]}
    (tmp_path / "x.json").write_text(json.dumps(wrong))
    with pytest.raises(ConfigError, match="wrong categories or no times: data"):
        read_kept(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["command", "machine", "revision", "compiler"])
def test_a_program_without_its_provenance_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({key: value for key, value in PROGRAM.items() if key != name}))
    with pytest.raises(ConfigError, match=f"it has no {name}"):
        read_kept(tmp_path / "x.json")


def test_the_published_program_stands_beside_ours(tmp_path: Path) -> None:
    (tmp_path / "distsparsednn.json").write_text(json.dumps(PROGRAM))
    records = [made_up("measured", "data", [7.0], "parallelisms", threads=1, scheduler_options={}, truth={"match": True})]
    about = point_of_experiment(name="parallelisms", figure="parallelisms", sweep="measured")
    ours = [whole(experiment=about, body=measured(threads=1))]
    assert records[0]["scheduler"] == "data"
    found = read_points("parallelisms", [write_all(tmp_path / "run", ours)])
    (tmp_path / "parallelisms.json").write_text(kept_text(kept_of(found)))
    text = TABLES["beside_cpp"](CommittedRecords(tmp_path))
    assert "| data | 14.7 (14.6 to 14.7) | 2 (1 to 3) | 7.33 |" in text or "| data | 14.6 (14.6 to 14.7) | 2 (1 to 3) |" in text
    assert "g++ 12, -O3, `./main`" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("<!-- results: none -->\n<!-- end -->\n", "none", id="an unknown table"),
        pytest.param("<!-- results: peers -->\n", "a marker is not", id="no end"),
        pytest.param("<!-- results: peers -->\n<!-- end -->\n", "peers.json: not there", id="no record"),
    ],
)
def test_a_marker_that_cannot_be_filled_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        generated(text, CommittedRecords(tmp_path))


def test_an_optional_marker_says_that_nothing_is_measured(tmp_path: Path) -> None:
    text = generated("<!-- results: peers optional -->\nold\n<!-- end -->\n", CommittedRecords(tmp_path))
    assert text == "<!-- results: peers optional -->\n\nNot measured here.\n\n<!-- end -->\n"


def test_several_machines_are_not_kept(tmp_path: Path) -> None:
    found = points(tmp_path)
    first, second = found.points[0].records
    second.environment = replace(environment_of(second), cpu="Another CPU")
    mixed = Point("s", "p", (first, second), found.points[0].folders)
    with pytest.raises(ConfigError, match="several machines"):
        kept_of(replace(found, points=(mixed,)))

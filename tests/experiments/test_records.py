"""Reading records of experiments back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.config.resolve import ConfigError
from experiments.figures import linear_cost
from experiments.figures.__main__ import main as figures_main
from experiments.records import compare
from experiments.records.read import check_same_categories, frame, read_points
from sparsednn.system.files import write_json
from tests.experiments.made_up import made_up, write_all


def failed(sweep: str, point: str) -> dict[str, Any]:
    whole = made_up(sweep, point)
    return {"status": "failed", "error": "it broke", "experiment": whole["experiment"]}


def test_points_come_in_the_order_in_which_they_were_run(tmp_path: Path) -> None:
    write_all(tmp_path, [made_up("s", f"p{number}") for number in range(12)])
    assert [point.label for point in read_points("ablation", [tmp_path]).points] == [f"p{number}" for number in range(12)]


def test_several_runs_of_an_experiment_are_taken_together_and_each_folder_once(tmp_path: Path) -> None:
    for name, times_s in (("one", [3.0, 1.0]), ("other", [2.0, 5.0, 9.0])):
        write_all(tmp_path / name, [made_up("s", "p", times_s), made_up("s", "q", [7.0])])
    found = read_points("ablation", [tmp_path / "one", tmp_path / "other", tmp_path])
    assert [point.label for point in found.points] == ["p", "q"]
    assert (found.points[0].times_s, found.points[0].median_s) == ([3.0, 1.0, 2.0, 5.0, 9.0], 3.0)
    assert [source["folder"] for source in found.sources] == [
        str(tmp_path / part) for part in ("one/0", "other/0", "one/1", "other/1")
    ]


def test_a_table_has_a_row_for_each_point(tmp_path: Path) -> None:
    write_all(tmp_path, [made_up("s", "p", [3.0, 1.0, 4.0]), made_up("s", "q", executor="simulated")])
    table = frame(read_points("ablation", [tmp_path]).points)
    first = table.iloc[0]
    assert (first["sweep"], first["point"], first["n_times"], first["simulated"]) == ("s", "p", 3, False)
    assert (first["seconds_median"], first["seconds_min"], first["seconds_max"]) == (3.0, 1.0, 4.0)
    assert first["connections"] == 3_932_160
    assert bool(table.iloc[1]["simulated"])


def test_failed_points_and_those_that_died_are_named(tmp_path: Path) -> None:
    write_all(tmp_path, [made_up("s", "p"), failed("s", "q")])
    (tmp_path / "2").mkdir()
    write_json(tmp_path / "2" / "running.json", {"experiment": failed("s", "r")["experiment"] | {"number": 2}})
    found = read_points("ablation", [tmp_path])
    assert [point.label for point in found.points] == ["p"]
    assert found.failed[0] == f"s / q ({tmp_path}/1): it broke"
    assert found.failed[1].startswith(f"s / r ({tmp_path}/2): it runs yet or died")


def test_the_same_categories_pass_and_others_are_named(tmp_path: Path) -> None:
    other = {"categories_sha256": "b" * 64, "categories_count": 3}
    write_all(tmp_path / "right", [made_up("s", "p"), made_up("s", "q")])
    check_same_categories(read_points("ablation", [tmp_path / "right"]))
    write_all(tmp_path / "wrong", [made_up("s", "p"), made_up("t", "q", **other), made_up("s", "r")])
    with pytest.raises(ConfigError, match=r"1,812 categories \(a{12}\) at s / p, s / r; 3 categories \(b{12}\) at t / q$"):
        check_same_categories(read_points("ablation", [tmp_path / "wrong"]))


def test_records_with_the_former_name_of_a_kernel_are_of_the_same_point(tmp_path: Path) -> None:
    write_all(tmp_path, [made_up("s", "p", kernel="adaptive"), made_up("s", "p", kernel="rowwise_first")])
    [point] = read_points("ablation", [tmp_path]).points
    assert [run.kernel for run in point.runs] == ["adaptive", "rowwise_first"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        pytest.param([], "no result.json of an experiment with figure ablation.$", id="an empty folder"),
        pytest.param([made_up("s", "p", figure="ablatoin")], "did you mean ablatoin", id="others"),
        pytest.param([failed("s", "p"), failed("s", "q")], "all 2 points failed", id="all failed"),
        pytest.param(
            [made_up("s", "p"), made_up("s", "p", layers=480)],
            r"the same point \(s / p\) with layers=120 and layers=480", id="jobs",
        ),
        pytest.param(
            [made_up("s", "p"), made_up("s", "q", experiment=made_up("s", "q")["experiment"] | {"toy": True})],
            r"several experiments \(ablation, ablation at toy size\)", id="toys among them",
        ),
    ],
)  # fmt: skip
def test_what_does_not_make_a_figure_is_refused(records: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    write_all(tmp_path, records)
    with pytest.raises(ConfigError, match=message):
        read_points("ablation", [tmp_path])


@pytest.mark.parametrize("text", ["{", "[]"], ids=["half a record", "no record"])
def test_a_file_that_is_no_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ConfigError, match=f"{tmp_path}/result.json: not a"):
        read_points("ablation", [tmp_path])


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="/nowhere: no such folder"):
        read_points("ablation", [Path("/nowhere")])


FOREIGN = {
    "half": "{",
    "list": "[1, 2]",
    "number": "3",
    "nested": "[" * 100_000,
    "bytes": b"\xff\xfe",
    "other": '{"result": "passed"}',
    "schema": '{"schema_version": 3, "status": "complete"}',
    "experiment": '{"status": "failed", "experiment": "mine"}',
    "figure": '{"status": "failed", "experiment": {"name": "mine", "figure": 3}}',
    "seconds": json.dumps(made_up("s", "p", ()) | {"seconds": [1.0]}),
    "times": json.dumps(made_up("s", "p", ())),
    "null": json.dumps(made_up("s", "p") | {"neurons": None}),
}
"""Contents that other programs, other versions and full disks leave in files so named."""


def with_foreign_files(folder: Path) -> list[str]:
    """Put such files into folders of their own; return their paths."""
    for name, content in FOREIGN.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "result.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "folder" / "result.json").mkdir(parents=True)
    (folder / "mark").mkdir()
    (folder / "mark" / "running.json").write_text("[]")
    (folder / "note").mkdir()
    (folder / "note" / "taken.json").write_text('{"experiment": 1}')
    return [f"{folder}/{name}/result.json" for name in [*FOREIGN, "folder"]]


def test_files_of_others_are_named_and_left_out_of_figures(tmp_path: Path) -> None:
    write_all(tmp_path / "ours", [made_up("s", "p")])
    foreign, said = with_foreign_files(tmp_path / "theirs"), list[str]()
    assert [point.label for point in read_points("ablation", [tmp_path], said.append).points] == ["p"]
    others = [f"{tmp_path}/theirs/mark/running.json", f"{tmp_path}/theirs/note/taken.json"]
    assert sorted(line.removeprefix("left out: ").partition(": ")[0] for line in said) == sorted([*foreign, *others])


def test_the_table_goes_on_past_files_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"inference": [1.0], "inference_median": 1.0}
    write_all(tmp_path / "ours", [made_up("s", "p", seconds=times), made_up("s", "q", seconds=times, hashing="both")])
    foreign = with_foreign_files(tmp_path / "theirs")
    assert compare.main([str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "2 records" in shown.out
    for path in foreign:
        assert shown.err.count(f"warning: left out: {path}: not ") == 1
    assert compare.main([str(tmp_path / "theirs")]) == 1
    assert f"error: {tmp_path}/theirs: no result.json that is a record: 14 left out" in capsys.readouterr().err


def test_records_at_toy_size_are_marked_wherever_they_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"inference": [1.0], "inference_median": 1.0}
    records = [made_up("layers", str(n), figure="linear_cost", layers=n, seconds=times) for n in (6, 12)]
    for one in records:
        one["experiment"]["toy"] = True
    write_all(tmp_path, records)
    assert compare.main([str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("1 (toy size)") == 2
    assert "note: records at toy size say that everything works, and nothing about speed" in shown.err
    assert pd.read_csv(tmp_path / "all.csv")["toy"].tolist() == [True, True]
    assert figures_main(["linear_cost", str(tmp_path)]) == 0
    assert "note: records at toy size" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "linear_cost.csv")["toy"].tolist() == [True, True]
    drawing = linear_cost.draw(read_points("linear_cost", [tmp_path]))
    assert "TOY SIZE" in [text.get_text() for text in drawing.figure.texts]

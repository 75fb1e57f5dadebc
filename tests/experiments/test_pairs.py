"""Contests of points that are run in turn: ratios are taken round by round, and tables and figures say what the records say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from experiments.figures import pairs, peers
from experiments.records.read import Points, read_points
from experiments.records.statistics import median_interval, ratios_in_turn
from tests.experiments.made_up import made_up, write_all
from tests.experiments.toys import record

SLOW, FAST = "data", "data_then_model"


def in_turn(*rounds: tuple[float | None, float | None], **changes: Any) -> list[dict[str, Any]]:
    """Records of two points, a round after the other; None for one that has failed."""
    found = []
    for times in rounds:
        for label, seconds in zip((SLOW, FAST), times, strict=True):
            status = {"status": "failed", "error": "x"} if seconds is None else {}
            found.append(made_up("split", label, [seconds or 0.0], "pairs", scheduler=label, **status | changes))
    return found


def points_of(*runs: list[dict[str, Any]], folder: Path, figure: str = "pairs") -> Points:
    return read_points(figure, [write_all(folder / str(number), run) for number, run in enumerate(runs)])


def worker(locking_ms: float) -> dict[str, float]:
    parts = dict.fromkeys(("enlist_s", "probe_s", "recruit_s", "meet_s", "lock_s"), locking_ms / 5e3)
    return {**parts, "locking_s": locking_ms / 1e3, "wait_s": 0.25}


def shown(table: Any) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_the_interval_of_a_median() -> None:
    assert median_interval([2.0]) == (2.0, 2.0, 2.0)
    middle, low, high = median_interval([1.0, 2.0, 3.0, 4.0, 100.0])
    assert middle == 3.0
    assert 1.0 <= low < 3.0 < high <= 100.0


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([in_turn((3.0, 1.0), (8.0, 2.0))], [3.0, 4.0], id="round by round, not any with any"),
        pytest.param([in_turn((3.0, 1.0), (8.0, None), (10.0, 2.0))], [3.0, 5.0], id="the second of a round failed"),
        pytest.param([in_turn((3.0, 1.0), (None, 4.0), (10.0, 2.0))], [3.0, 5.0], id="the first of a round failed"),
        pytest.param([in_turn((3.0, 1.0)), in_turn((8.0, 2.0))], [3.0, 4.0], id="two runs of the experiment"),
        pytest.param([in_turn((3.0, None)), in_turn((None, 2.0))], [], id="nothing took turns"),
    ],
)
def test_ratios_are_of_the_same_round(runs: list[list[dict[str, Any]]], expected: list[float], tmp_path: Path) -> None:
    one, other = points_of(*runs, folder=tmp_path).points
    assert (one.label, other.label) == (SLOW, FAST)
    assert ratios_in_turn(one, other) == expected


def test_of_repeats_the_median_counts(tmp_path: Path) -> None:
    records = [made_up("split", SLOW, [9.0, 4.0, 5.0], "pairs"), made_up("split", FAST, [1.0], "pairs")]
    assert ratios_in_turn(*points_of(records, folder=tmp_path).points) == [5.0]


def test_the_first_of_a_sweep_is_compared_with_each_of_the_others(tmp_path: Path) -> None:
    records = in_turn((4.0, 2.0), (9.0, 3.0), (9.0, 1.0), workers=[worker(100.0), worker(300.0)])
    drawing = pairs.draw(points_of(records, folder=tmp_path))
    first, second = drawing.data.to_dict("records")
    assert (first["point"], first["rounds"], second["point"], second["rounds"]) == (SLOW, 0, FAST, 3)
    assert (first["seconds_median"], second["seconds_median"]) == (9.0, 2.0)
    assert (second["compared"], second["ratio"], second["ratio_low"], second["ratio_high"]) == (SLOW, 3.0, 2.0, 9.0)
    assert pd.isna(first["ratio"])
    assert pd.isna(first["locking_ms_per_worker"]), "data has no locking mechanism"
    assert (second["locking_ms_per_worker"], second["meet_ms_per_worker"], second["wait_ms_per_worker"]) == (200, 40, 250)
    text = shown(drawing.table)
    assert "3.000 (2.000 to 9.000)" in text
    assert "5.00 %" in text, "0.1 of 2 s"
    assert "15.00 %" in text
    times, ratios = drawing.figure.axes
    assert [bar.get_width() for bar in times.patches] == [9.0, 2.0]
    assert [line.get_xdata()[0] for line in ratios.get_lines() if line.get_marker() == "o"] == [3.0]


def test_libraries_are_compared_with_ours_round_by_round(tmp_path: Path) -> None:
    one_round = [("numba", "numba", 1.0), ("libraries", "mkl", 3.0), ("libraries", "torch", 9.0), ("reference", "scipy", 20.0)]
    records = [made_up(sweep, label, [k * time], "peers") for k in (1, 2) for sweep, label, time in one_round]
    records[4]["seconds"]["inference"] = [3.0]  # numba in the second round, where mkl takes 6
    drawing = peers.draw(points_of(records, folder=tmp_path, figure="peers"))
    ours, *others = drawing.data.to_dict("records")
    assert (ours["best_library"], ours["best_library_ratio"]) == ("mkl", 2.5)
    assert (ours["best_library_ratio_low"], ours["best_library_ratio_high"]) == (2.0, 3.0)
    assert all(pd.isna(other["best_library_ratio"]) for other in others)
    assert "2.50 (2.00 to 3.00)" in shown(drawing.table)


def test_kernels_are_run_with_the_switches_that_their_names_say(toys: Callable[[str], Path]) -> None:
    drawn = pd.read_csv(toys("kernel_rates") / "pairs.csv")
    found = {(row["sweep"], row["point"]): record(toys("kernel_rates") / str(number)) for number, row in drawn.iterrows()}
    formats = {label: one["kernel"] for (sweep, label), one in found.items() if sweep == "formats" and label != "reference"}
    assert formats == {"csc": "csc_csc", "csc, all ids looked at": "csc_csc", "csr": "csr_csr"}
    assert found["formats", "csc, all ids looked at"]["optimizations"]["full_columns"] is False
    assert found["formats", "reference"]["backend"] == "scipy_reference"
    kept = found["dense blocks, all rows kept", "1 thread, given order"]
    assert kept["performed_edges"] == kept["instances"] * kept["network_nnz"], "nothing is left out"
    assert kept["optimizations"]["order"] == "given"
    for (sweep, label), one in found.items():
        assert one["threads"] == (2 if "2 threads" in label or sweep == "main job" else 1), (sweep, label)
    assert drawn["compared"].notna().sum() == len(drawn) - drawn["sweep"].nunique()
    assert (drawn["ratio"].dropna() > 0).all()


def test_schedulers_are_compared_on_the_worst_split_and_on_a_balanced_one(toys: Callable[[str], Path]) -> None:
    folder = toys("scheduler_pairs")
    drawn = pd.read_csv(folder / "pairs.csv")
    records = [record(folder / str(number)) for number in range(len(drawn))]
    orders = [one["config"]["partition"]["order"] for one in records]
    assert orders == ["alive_first"] * 6 + ["given"] * 4
    assert [one["hashing"] for one in records] == ["none"] * 6 + ["input"] * 2 + ["none"] * 2
    assert [one["config"]["trace"] for one in records] == [False] * 8 + [True, False]
    assert drawn["scheduler"].tolist() == [SLOW, FAST] * 3 + [FAST, SLOW] + [FAST] * 2
    assert drawn["locking_ms_per_worker"].notna().tolist() == [name == FAST for name in drawn["scheduler"]]
    assert "The locking mechanism of data_then_model" in (folder / "stdout").read_text()
    assert (folder / "8" / "trace.json").exists()

"""The table at the end of a sweep: what differs, what came of it, and nothing that says nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from rich.console import Console

from experiments.records.point import PointRecord
from experiments.records.sweep_table import sweep_table
from sparsednn.results.record import Balance
from sparsednn.results.worker_times import WorkerRecord
from tests.experiments.made_up import measured


def shown(points: list[PointRecord]) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(sweep_table(points))
    return out.getvalue()


def point(override: str, seconds: float = 1.0, **changes: Any) -> PointRecord:
    """Return a complete point that took so long."""
    times = replace(measured().seconds, inference=[seconds], inference_median=seconds)
    return PointRecord(status="complete", overrides=[override], body=measured(seconds=times, **changes))


def heads(points: list[PointRecord]) -> list[str]:
    """Return the names of the columns."""
    return [cell.strip() for cell in shown(points).splitlines()[2].split("┃")[1:-1]]


def test_a_sweep_table_shows_what_differs_and_failed_points_with_their_error() -> None:
    points = [PointRecord(error="layers=7: [wrong]", overrides=["threads=2", f"layers={layers}"]) for layers in (7, 8)]
    text = shown(points)
    assert "2 points" in text
    assert heads(points) == ["layers", "check"], "columns without a cell are left out"
    assert "threads" not in text
    assert "failed: layers=7: [wrong]" in text


def test_a_sweep_table_compares_points_with_the_fastest_of_the_same_job() -> None:
    """2 s and 3 s: once and 1.5 times the fastest; 1 s is another job's. A point that failed has no part in it."""
    points = [
        PointRecord(
            status="complete", overrides=[f"backend={name}", f"instances={n}"],
            body=measured(instances=n, seconds=replace(measured().seconds, inference=[s], inference_median=s)),
        )
        for name, n, s in (("mkl", 20, 3.0), ("numba", 20, 2.0), ("numba", 10, 1.0))
    ]  # fmt: skip
    points.append(PointRecord(error="no torch", overrides=["backend=torch", "instances=10"]))
    lines = shown(points).splitlines()
    assert "x fastest" in lines[2]
    rows = [[cell.strip() for cell in line.split("│")[1:5]] for line in lines if "correct" in line]
    assert rows == [
        ["mkl", "20", "3.000", "1.50"],
        ["numba", "20", "2.000", "1.00"],
        ["numba", "10", "1.000", "1.00"],
    ]
    assert any("failed: no torch" in line for line in lines)


def test_relative_times_of_one_in_every_line_are_left_out() -> None:
    alone = [point("neurons=1024"), point("neurons=4096", 4.0, neurons=4096)]
    assert "x fastest" not in heads(alone), "each is the only one of its job"
    assert "x fastest" not in shown(alone), "nor is it explained"
    assert "x fastest" in heads([point("threads=1", 2.0), point("threads=2")])


def test_a_balance_that_is_perfect_in_every_line_is_left_out() -> None:
    uneven = Balance(busy=1.3, input_nnz=1.0)
    assert "imbalance" not in heads([point("repeats=1"), point("repeats=2")])
    assert "imbalance" in heads([point("repeats=1"), point("repeats=2", imbalance=uneven)])


def test_locking_that_took_nothing_in_every_line_is_left_out() -> None:
    workers = [WorkerRecord(process=0, thread=0, enlist_s=0.001, locking_s=0.001)]
    assert "locking ms" not in heads([point("repeats=1"), point("repeats=2")])
    assert "locking ms" in heads([point("repeats=1"), point("repeats=2", workers=workers)])


def test_categories_and_check_that_are_the_same_everywhere_are_said_once() -> None:
    points = [point("threads=1"), point("threads=2")]
    assert not {"categories", "check"} & set(heads(points))
    assert "all points: 1,812 categories, correct (by the given truth)" in shown(points)
    other = [points[0], point("threads=2", categories_count=1813)]
    assert {"categories"} == {"categories", "check"} & set(heads(other))
    failed = [*points, PointRecord(error="no", overrides=["threads=3"])]
    assert {"categories", "check"} <= set(heads(failed))


def test_what_the_columns_mean_is_said_below() -> None:
    text = shown([point("threads=1", 2.0), point("threads=2")])
    assert "x fastest: time over that of the fastest point with the same network and input" in text

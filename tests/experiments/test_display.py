"""What a run shows."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from experiments.run import display
from experiments.run.display import Display, devices, inference_note, sweep_table, verdict


def test_the_note_says_instances_layers_and_the_nominal_rate() -> None:
    """Half of 60,000 instances through 4e6 connections in 2 s: 60e9 connections a second."""
    note = inference_note(30_000 * 120, 120, 60_000, 4_000_000, 2.0)
    assert note == "30,000/60,000 instances x 120 layers, 60e9 edges/s"


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        pytest.param({"checked": True, "match": True, "source": "published_ids"}, "correct (published_ids)", id="right"),
        pytest.param({"checked": True, "match": False, "source": "given"}, "WRONG (given)", id="wrong"),
        pytest.param({"checked": False, "match": None, "source": None}, "(no truth to check them against)", id="unknown"),
    ],
)
def test_the_verdict(truth: dict[str, object], expected: str) -> None:
    assert verdict(truth) == expected


def test_progress_without_a_terminal_is_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(display, "monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    with Display(Console(file=out, width=80)).stage("inference") as stage:
        for done in range(5):
            stage.update(done, 10, "note")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("inference: ")
    assert 1 <= len(lines) < 5
    assert all(line.endswith("% note") for line in lines)


def test_progress_on_a_terminal_is_live() -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True, width=100)).stage("inference") as stage:
        stage.update(3, 10, "3/10 instances")
        assert stage.progress is not None
        stage.progress.refresh()
    assert "3/10 instances" in out.getvalue()


def test_a_sweep_table_shows_what_differs_and_failed_points_with_their_error() -> None:
    out = io.StringIO()
    failed = {"status": "failed", "error": "layers=7: [wrong]"}
    points = [{**failed, "overrides": ["threads=2", f"layers={layers}"]} for layers in (7, 8)]
    Console(file=out, width=200).print(sweep_table(points))
    assert "2 points" in out.getvalue()
    assert "layers" in out.getvalue().splitlines()[2]
    assert "threads" not in out.getvalue()
    assert "failed: layers=7: [wrong]" in out.getvalue()


def test_a_sweep_table_compares_points_with_the_fastest_of_the_same_job() -> None:
    """2 s and 3 s: once and 1.5 times the fastest; 1 s is another job's. A point that failed has no part in it."""
    complete = {
        "status": "complete", "nominal_edges_per_second": 1e9, "performed_edges_per_second": 1e9, "imbalance": {"busy": 1.0},
        "workers": [{"locking_s": 0.0}], "categories_count": 5, "truth": {"checked": True, "match": True, "source": "given"},
        "neurons": 4, "layers": 2, "network_nnz": 8, "input_nnz": 9,
    }  # fmt: skip
    points = [
        {
            **complete,
            "executor": "threads",
            "instances": n,
            "seconds": {"inference_median": s},
            "overrides": [f"backend={name}", f"instances={n}"],
        }
        for name, n, s in (("mkl", 20, 3.0), ("numba", 20, 2.0), ("numba", 10, 1.0))
    ]
    points.append({"status": "failed", "error": "no torch", "overrides": ["backend=torch", "instances=10"]})
    out = io.StringIO()
    Console(file=out, width=200).print(sweep_table(points))
    lines = out.getvalue().splitlines()
    assert "x fastest" in lines[2]
    rows = [[cell.strip() for cell in line.split("│")[1:5]] for line in lines if "correct" in line]
    assert rows == [
        ["mkl", "20", "3.000", "1.50"],
        ["numba", "20", "2.000", "1.00"],
        ["numba", "10", "1.000", "1.00"],
    ]
    assert any("failed: no torch" in line for line in lines)


def test_devices_are_said_with_what_they_did() -> None:
    device: dict[str, Any] = {
        "devices": [{"name": "H200", "used_bytes": 2e9}, {"name": "H200", "used_bytes": 1e9}],
        "row_groups": 4, "row_groups_s": 0.5, "block_rows": 65_536,
    }  # fmt: skip
    said = "2 x H200; 4 row groups in 0.500 s of their own clocks, at most 65,536 instances at a time, 2.00 GB held"
    assert devices(device) == said
    assert devices({**device, "layers_copied": 1920}) == f"{said}; 1,920 layers copied"
    assert devices({**device, "devices": device["devices"][:1]}).startswith("H200; ")

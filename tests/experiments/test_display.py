"""What a run shows."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from experiments.records import display
from experiments.records.display import Display, devices, inference_note, sweep_table, verdict
from experiments.records.point import PointRecord
from sparsednn.backend import DeviceUse, UsedDevice
from sparsednn.results.record import Truth
from tests.experiments.made_up import measured


def test_the_note_says_instances_layers_and_the_nominal_rate() -> None:
    """Half of 60,000 instances through 4e6 connections in 2 s: 60e9 connections a second."""
    note = inference_note(30_000 * 120, 120, 60_000, 4_000_000, 2.0)
    assert note == "30,000/60,000 instances x 120 layers, 60e9 edges/s"


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        pytest.param(Truth(checked=True, match=True, source="published_ids"), "correct (published_ids)", id="right"),
        pytest.param(Truth(checked=True, match=False, source="given"), "WRONG (given)", id="wrong"),
        pytest.param(Truth(), "(no truth to check them against)", id="unknown"),
    ],
)
def test_the_verdict(truth: Truth, expected: str) -> None:
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
    points = [PointRecord(error="layers=7: [wrong]", overrides=["threads=2", f"layers={layers}"]) for layers in (7, 8)]
    Console(file=out, width=200).print(sweep_table(points))
    assert "2 points" in out.getvalue()
    assert "layers" in out.getvalue().splitlines()[2]
    assert "threads" not in out.getvalue()
    assert "failed: layers=7: [wrong]" in out.getvalue()


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
    two = [UsedDevice(name="H200", number=n, used_bytes=used) for n, used in enumerate((2 * 10**9, 10**9))]
    use = DeviceUse(devices=two, row_groups=4, row_groups_s=0.5, block_rows=65_536)
    said = "2 x H200; 4 row groups in 0.500 s of their own clocks, at most 65,536 instances at a time, 2.00 GB held"
    assert devices(use) == said
    assert devices(replace(use, layers_copied=1920)) == f"{said}; 1,920 layers copied"
    assert devices(replace(use, devices=two[:1])).startswith("H200; ")

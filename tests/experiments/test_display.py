"""The display of a run while it goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from experiments.records import display
from experiments.records.display import Display, inference_note


def test_the_note_says_instances_layers_and_the_nominal_rate() -> None:
    """Half of 60,000 instances through 4e6 connections in 2 s: 60e9 connections a second."""
    note = inference_note(30_000 * 120, 120, 60_000, 4_000_000, 2.0)
    assert note == "30,000/60,000 instances x 120 layers, 60e9 edges/s"


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

"""The summary at the end of a run."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from experiments.records.summary import LOCKING, LOCKING_WORDS, OTHER_TIMES, devices, optimizations, summary, verdict
from sparsednn.backend import DeviceUse, Optimizations, UsedDevice
from sparsednn.results.record import MeasuredSeconds, RunRecord, Truth
from sparsednn.results.simulated_record import SimulatedSeconds
from sparsednn.system.json_fields import named
from tests.experiments.made_up import measured, simulated

OFF: dict[str, Any] = {"rows": "none", "columns": "none", "order": "given", "structure_aware": False}


def lines(run: RunRecord) -> dict[str, str]:
    """Return the lines of a summary by their first word; those below belong to the line above."""
    out = io.StringIO()
    Console(file=out, width=160).print(summary(run))
    found: dict[str, str] = {}
    for line in out.getvalue().splitlines():
        name = line[:14].strip() or next(reversed(found))
        found[name] = f"{found[name]}\n{line[16:].strip()}" if name in found else line[16:].strip()
    return found


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        pytest.param(Truth(checked=True, match=True, source="published_ids"), "correct (by the published list)", id="right"),
        pytest.param(Truth(checked=True, match=False, source="given"), "WRONG (by the given truth)", id="wrong"),
        pytest.param(Truth(), "not checked (no truth)", id="unknown"),
        pytest.param(Truth(checked=True, kind="labels", source="package", correct=1557, of=2000),
                     "1,557 of 2,000 right (by the labels in the package)", id="labels"),
        pytest.param(Truth(checked=True, kind="logits", source="given", match=False, correct=1, of=2),
                     "1 of 2 instances have the logits that are given: NOT AS GIVEN", id="logits"),
    ],
)  # fmt: skip
def test_the_verdict(truth: Truth, expected: str) -> None:
    assert verdict(truth) == expected


def test_what_came_of_it_is_said_first() -> None:
    found = lines(measured(performed_edges=235_929_600_000 // 500))
    assert list(found)[:4] == ["inference", "categories", "input", "network"]
    assert found["inference"] == "2.000 s (median of 3: 1.000 to 3.000)"
    assert found["categories"] == "1,812 instances end above zero: correct (by the given truth)"
    assert found["work"] == "471,859,200 multiply-adds, 1 in 500 of instances x connections; the others are by zero"
    assert found["optimizations"] == "none"
    assert lines(simulated())["inference"].endswith("s (simulated)")


def test_work_that_is_not_less_than_nominal_has_no_share() -> None:
    assert lines(measured(performed_edges=235_929_600_000))["work"] == "235,929,600,000 multiply-adds"


@pytest.mark.parametrize(
    ("on", "said", "key"),
    [
        pytest.param({"rows": "prune"}, "all zero", "optimize.rows=prune", id="prune"),
        pytest.param({"rows": "retire"}, "can no longer change", "optimize.rows=retire", id="retire"),
        pytest.param({"rows": "merge"}, "equal instances are computed once", "optimize.rows=merge", id="merge"),
        pytest.param(
            {"columns": "merge", "structure_aware": True}, "equal neurons of a layer are computed once",
            "optimize.columns=merge", id="equal columns",
        ),
        pytest.param({"columns": "merge"}, "no layer has equal neurons", "optimize.columns=merge", id="no equal columns"),
        pytest.param({"order": "shared_inputs"}, "with the same inputs", "optimize.order=shared_inputs", id="order"),
        pytest.param({"empty_columns": "skip"}, "no entry reaches", "optimize.empty_columns=skip", id="empty columns"),
        pytest.param({"full_columns": True}, "dense vector", "optimize.full_columns=true", id="full columns"),
        pytest.param({"block_rows": 128}, "128 instances at a time", "backend.block_rows=128", id="blocks"),
        pytest.param({"residency": "stream"}, "read from files", "network.residency=stream", id="stream"),
        pytest.param({"others": {"mine": True}}, "", "mine=true", id="a backend's own"),
    ],
)  # fmt: skip
def test_each_optimisation_is_said_in_words_with_its_key(on: dict[str, Any], said: str, key: str) -> None:
    (line,) = optimizations(Optimizations(**OFF | on))
    assert said in line
    assert key in line
    assert "structure_aware" not in line
    saved = lines(measured(optimizations=Optimizations(**OFF | on)))["work"]
    assert saved.endswith("the others are by zero, or saved by optimizations")


def test_times_that_would_be_shown_as_zero_are_left_out() -> None:
    seconds = replace(measured().seconds, load=11.0, prepare=0.3, compile=0.001)
    assert lines(measured(seconds=seconds))["other times"] == "11.00 s to read or make the data, 0.30 s to pack the network"


def test_every_time_and_every_part_of_the_locking_has_words() -> None:
    times = set(named(MeasuredSeconds, "choose", "hash", "prepare", "compile")) | set(
        named(SimulatedSeconds, "load", "profile")
    )
    assert times == set(OTHER_TIMES)
    assert len(LOCKING) == len(LOCKING_WORDS)


def test_devices_are_said_with_what_they_did() -> None:
    two = [UsedDevice(name="H200", number=n, used_bytes=used) for n, used in enumerate((2 * 10**9, 10**9))]
    use = DeviceUse(devices=two, row_groups=4, row_groups_s=0.5, block_rows=65_536)
    said = "2 x H200; 4 row groups in 0.500 s of their own clocks, at most 65,536 instances at a time, 2.00 GB held"
    assert devices(use) == said
    assert devices(replace(use, layers_copied=1920)) == f"{said}; 1,920 layers copied"
    assert devices(replace(use, devices=two[:1])).startswith("H200; ")

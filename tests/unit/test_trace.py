"""Traces are what they say, and are read back as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsednn.results.trace import KINDS, Span, Trace, read_trace

METADATA: dict[str, Any] = {"scheduler": "data_then_model", "kernel": "dense", "simulated": False}

# Two workers: 1 is through after 2 s, waits, and helps with row group 0 from 3 s on, where it waits 0.5 s for worker 0.
STRAGGLER = [
    Span(0, 0, "data", 0.0, 3.0, row_group=0, first_layer=0, last_layer=60, multiply_adds=300),
    Span(0, 0, "probe", 3.0, 3.00002),
    Span(0, 0, "team", 3.00002, 4.0, row_group=0, first_layer=60, last_layer=80, multiply_adds=70),
    Span(0, 1, "data", 0.0, 2.0, row_group=1, first_layer=0, last_layer=80, multiply_adds=200),
    Span(0, 1, "wait", 2.0, 3.00002),
    Span(0, 1, "barrier", 3.25, 3.75),
    Span(0, 1, "team", 3.00002, 3.9, row_group=0, first_layer=60, last_layer=80, multiply_adds=50),
    Span(0, 1, "idle", 3.9, 4.0),
]


def complete(kind: str, colour: str, worker: int, ts: float, dur: float, name: str, **args: object) -> dict[str, object]:
    place = {"ph": "X", "pid": 0, "tid": worker, "name": name, "cat": kind, "cname": colour}
    return place | {"ts": ts, "dur": dur, "args": args}


def test_a_trace_in_the_format_of_trace_viewers() -> None:
    chrome = Trace(STRAGGLER, METADATA).to_chrome()
    assert chrome["otherData"] == METADATA | {"executor": "threads"}
    assert chrome["traceEvents"] == [
        {"ph": "M", "pid": 0, "tid": 0, "name": "process_name", "args": {"name": "process 0"}},
        {"ph": "M", "pid": 0, "tid": 0, "name": "process_sort_index", "args": {"sort_index": 0}},
        {"ph": "M", "pid": 0, "tid": 0, "name": "thread_name", "args": {"name": "worker 0"}},
        {"ph": "M", "pid": 0, "tid": 0, "name": "thread_sort_index", "args": {"sort_index": 0}},
        {"ph": "M", "pid": 0, "tid": 1, "name": "thread_name", "args": {"name": "worker 1"}},
        {"ph": "M", "pid": 0, "tid": 1, "name": "thread_sort_index", "args": {"sort_index": 1}},
        complete(
            "data", "thread_state_runnable", 0, 0, 3e6, "data row group 0", row_group=0, layers=[0, 60], multiply_adds=300
        ),
        complete("probe", "thread_state_unknown", 0, 3e6, 20, "probe"),
        complete(
            "team",
            "thread_state_running",
            0,
            3000020,
            999980,
            "team row group 0",
            row_group=0,
            layers=[60, 80],
            multiply_adds=70,
        ),
        complete(
            "data", "thread_state_runnable", 1, 0, 2e6, "data row group 1", row_group=1, layers=[0, 80], multiply_adds=200
        ),
        complete("wait", "thread_state_uninterruptible", 1, 2e6, 1000020, "wait"),
        complete(
            "team",
            "thread_state_running",
            1,
            3000020,
            899980,
            "team row group 0",
            row_group=0,
            layers=[60, 80],
            multiply_adds=50,
        ),
        complete("barrier", "thread_state_iowait", 1, 3250000, 500000, "barrier"),
        complete("idle", "thread_state_sleeping", 1, 3900000, 100000, "idle"),
    ]


def test_a_simulated_trace_says_so() -> None:
    assert Trace(STRAGGLER, METADATA | {"simulated": True}).to_chrome()["otherData"]["executor"] == "simulated"


@pytest.mark.parametrize("start_s", [1.0, 1.0000000004], ids=["at once", "within the nanosecond"])
def test_a_barrier_comes_behind_the_team_span_that_it_starts_with(start_s: float) -> None:
    """Viewers nest spans that start at once in the order of the file."""
    spans = [Span(0, 0, "barrier", 1.0, 1.5), Span(0, 0, "team", start_s, 2.0)]
    assert [event["cat"] for event in Trace(spans, METADATA).to_chrome()["traceEvents"] if event["ph"] == "X"] == [
        "team",
        "barrier",
    ]


def test_processes_keep_their_workers_apart() -> None:
    spans = [
        Span(1, 0, "data", 0.0, 1.0),
        Span(0, 1, "data", 0.0, 1.0),
        Span(0, 0, "data", 0.0, 2.0),
        Span(1, 0, "idle", 1.0, 2.0),
    ]
    trace = Trace(spans, METADATA)
    trace.validate()
    assert trace.workers() == [(0, 0), (0, 1), (1, 0)]
    names = [(e["pid"], e["args"]["name"]) for e in trace.to_chrome()["traceEvents"] if e["name"].endswith("_name")]
    assert names == [(0, "process 0"), (1, "process 1"), (0, "worker 0"), (0, "worker 1"), (1, "worker 0")]


def test_totals_of_each_worker() -> None:
    nothing = dict.fromkeys(KINDS, 0.0)
    assert Trace(STRAGGLER, METADATA).totals() == {
        (0, 0): nothing | {"data": 3.0, "probe": pytest.approx(2e-5), "team": pytest.approx(0.99998)},
        (0, 1): nothing | {
            "data": 2.0, "wait": pytest.approx(1.00002), "team": pytest.approx(0.89998), "barrier": 0.5,
            "idle": pytest.approx(0.1),
        },
    }  # fmt: skip


def test_shares_of_all_workers_count_each_moment_once() -> None:
    """2 workers x 4 s; the team spans take 0.99998 and 0.89998 s, 0.5 s of which is waiting."""
    shares = Trace(STRAGGLER, METADATA).shares()
    assert shares == {
        "data": 5 / 8, "team": pytest.approx(1.39996 / 8), "probe": pytest.approx(2e-5 / 8), "wait": pytest.approx(1.00002 / 8),
        "barrier": 0.5 / 8, "fetch": 0.0, "idle": pytest.approx(0.1 / 8),
    }  # fmt: skip
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("spans", [[], [Span(0, 0, "data", 0.0, 0.0)]], ids=["no spans", "a span without length"])
def test_a_trace_that_takes_no_time(spans: list[Span], tmp_path: Path) -> None:
    trace = Trace(spans, METADATA)
    assert trace.elapsed_s == 0
    assert trace.shares() == dict.fromkeys(KINDS, 0.0)
    trace.write(tmp_path / "trace.json")
    assert read_trace(tmp_path / "trace.json") == trace


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    metadata = METADATA | {"threads": 2, "options": {"strategy": "earliest_first", "ratio": 0.3}, "note": "größer"}
    Trace(STRAGGLER, metadata).write(tmp_path / "trace.json")
    assert json.loads((tmp_path / "trace.json").read_bytes()) == Trace(STRAGGLER, metadata).to_chrome()
    back = read_trace(tmp_path / "trace.json")
    assert back.metadata == metadata
    assert sorted(back.spans, key=str) == sorted(STRAGGLER, key=str)


def test_numpys_numbers_are_written_too(tmp_path: Path) -> None:
    span = Span(0, np.int64(3), "data", np.float64(0.5), np.float64(1.5), np.int32(2), np.int32(0), np.int32(7), np.int64(9))  # type: ignore[arg-type]
    Trace([span], METADATA).write(tmp_path / "trace.json")
    assert read_trace(tmp_path / "trace.json").spans == [Span(0, 3, "data", 0.5, 1.5, 2, 0, 7, 9)]


def test_a_machine_of_448_workers(tmp_path: Path) -> None:
    spans = [
        Span(p, w, "data", step / 7, (step + 1) / 7, row_group=w, first_layer=step, last_layer=step + 1)
        for p in range(16) for w in range(28) for step in range(25)
    ]  # fmt: skip
    Trace(spans, METADATA).write(tmp_path / "trace.json")
    back = read_trace(tmp_path / "trace.json")
    assert len(back.workers()) == 448
    assert back.spans == [
        Span(s.process, s.worker, s.kind, round(s.start_s, 9), round(s.stop_s, 9), s.row_group, s.first_layer, s.last_layer)
        for s in spans
    ]


KIND_WITHOUT_BARRIER = st.sampled_from([kind for kind in KINDS if kind != "barrier"])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Workers with steps that follow one another, at any resolution and with no length now and then; teams meet at barriers."""
    spans: list[Span] = []
    for worker in range(draw(st.integers(0, 4))):
        now = draw(st.floats(0, 1e-6))
        for step in draw(st.lists(st.floats(0, 1e4) | st.floats(0, 3e-9), max_size=8)):
            kind, group, layer = draw(KIND_WITHOUT_BARRIER), draw(st.integers(-1, 9)), draw(st.integers(-1, 9))
            spans.append(Span(worker % 2, worker, kind, now, now + step, group, layer, layer, draw(st.integers(0, 2**62))))
            if kind == "team" and draw(st.booleans()):
                spans.append(Span(worker % 2, worker, "barrier", now + step / 2, now + step))
            now += step
    ahead = [span for span in spans if span.kind == "barrier"]
    return Trace(sorted(ahead, key=lambda span: span.start_s) + [s for s in spans if s.kind != "barrier"], METADATA)


@given(trace=traces())
def test_any_trace_is_read_back_to_the_nanosecond(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> None:
    trace.validate()
    folder = tmp_path_factory.mktemp("trace")
    trace.write(folder / "once.json")
    once = read_trace(folder / "once.json")
    assert len(once.spans) == len(trace.spans)
    for process, worker in trace.workers():
        for barrier in (False, True):
            written, back = (
                [s for s in t.spans if (s.process, s.worker, s.kind == "barrier") == (process, worker, barrier)]
                for t in (trace, once)
            )
            assert [(s.kind, s.row_group, s.first_layer, s.last_layer, s.multiply_adds) for s in back] == [
                (s.kind, s.row_group, s.first_layer, s.last_layer, s.multiply_adds) for s in written
            ]
            for one, other in zip(written, back, strict=True):
                assert (other.start_s, other.stop_s) == pytest.approx((one.start_s, one.stop_s), abs=1e-9)
    once.write(folder / "twice.json")
    assert (folder / "twice.json").read_bytes() == (folder / "once.json").read_bytes()

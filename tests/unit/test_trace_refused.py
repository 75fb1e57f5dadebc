"""Traces, metadata and files that make no sense are refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from sparsednn.results.trace import Span, Trace, read_trace
from tests.unit.test_trace import METADATA, STRAGGLER

OUTSIDE = "not inside a team span"


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        pytest.param([Span(0, 0, "dat", 0, 1)], r"kind=dat: did you mean data .*legal: data, team,", id="kind"),
        pytest.param([Span(0, 0, "data", -1e-9, 1)], "start at 0 or later", id="before the run"),
        pytest.param([Span(0, 0, "data", 2, 1)], "stop no earlier than they start", id="backwards"),
        pytest.param([Span(0, 0, "data", math.nan, 1)], "must be finite", id="start is not a number"),
        pytest.param([Span(0, 0, "data", 0, math.nan)], "must be finite", id="stop is not a number"),
        pytest.param([Span(0, 0, "data", 0, math.inf)], "must be finite", id="never ends"),
        pytest.param([Span(-1, 0, "data", 0, 1)], "process=-1.*negative", id="process"),
        pytest.param([Span(0, -1, "data", 0, 1)], "worker=-1.*negative", id="worker"),
        pytest.param([Span(0, 0, "data", 0, 1, row_group=-2)], "row_group=-2.*negative", id="row group"),
        pytest.param([Span(0, 0, "data", 0, 1, multiply_adds=-1)], "multiply_adds=-1.*negative", id="multiply-adds"),
        pytest.param([Span(0, 0, "data", 0, 1, 0, 5, 4)], "last_layer=4.*half-open range", id="layers backwards"),
        pytest.param([Span(0, 0, "data", 0, 1, 0, -1, 4)], "first_layer=-1.*half-open range", id="half a range"),
        pytest.param([Span(0, 0, "data", 0, 1), Span(0, 0, "idle", 0.9, 2)], "kind='idle'.*starts before", id="overlap"),
        pytest.param([Span(0, 0, "idle", 1, 2), Span(0, 0, "data", 0, 1)], "kind='data'.*starts before", id="descending"),
        pytest.param([Span(0, 0, "barrier", 0, 1)], OUTSIDE, id="barrier without a team"),
        pytest.param([Span(0, 0, "data", 0, 1), Span(0, 0, "barrier", 0.2, 0.3)], OUTSIDE, id="barrier in no team"),
        pytest.param([Span(0, 0, "team", 0, 1), Span(0, 0, "barrier", 0.9, 1.1)], OUTSIDE, id="barrier outlasts it"),
        pytest.param([Span(0, 0, "team", 1, 2), Span(0, 0, "barrier", 0.9, 1.1)], OUTSIDE, id="barrier ahead of it"),
        pytest.param([Span(0, 1, "team", 0, 1), Span(0, 0, "barrier", 0, 1)], OUTSIDE, id="team of another worker"),
        pytest.param(
            [Span(0, 0, "team", 0, 9), Span(0, 0, "barrier", 1, 3), Span(0, 0, "barrier", 2, 4)], "start_s=2.*starts before",
            id="barriers overlap",
        ),
    ],
)  # fmt: skip
def test_spans_that_make_no_sense_are_refused(spans: list[Span], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Trace(spans, METADATA).validate()
    with pytest.raises(ValueError, match=message):
        Trace(spans, METADATA).write(tmp_path / "trace.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead_s", [0, 1e-16, 1e-9, 2e-9])
@pytest.mark.parametrize(
    "spans",
    [
        pytest.param(lambda e: [Span(0, 0, "data", 0, 0.3 + e), Span(0, 0, "idle", 0.3, 1)], id="overlap"),
        pytest.param(
            lambda e: [Span(0, 0, "team", 0.3, 1), Span(0, 0, "barrier", 0.3 - e, 0.5)], id="barrier ahead of its team"
        ),
        pytest.param(lambda e: [Span(0, 0, "team", 0, 0.3), Span(0, 0, "barrier", 0, 0.3 + e)], id="barrier outlasts its team"),
    ],
)
def test_a_nanosecond_is_no_overlap(spans: Callable[[float], list[Span]], ahead_s: float, tmp_path: Path) -> None:
    """Rounding to the files' resolution makes one of 0.1 + 0.2 > 0.3; two are an overlap."""
    trace = Trace(spans(ahead_s), METADATA)
    if ahead_s > 1e-9:
        with pytest.raises(ValueError, match=f"starts before|{OUTSIDE}"):
            trace.validate()
    else:
        trace.write(tmp_path / "trace.json")
        assert len(read_trace(tmp_path / "trace.json").spans) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"scheduler": None}, "scheduler=None: a str is needed", id="no scheduler"),
        pytest.param({"kernel": 3}, "kernel=3: a str is needed", id="kernel"),
        pytest.param({"simulated": "no"}, "simulated='no': a bool is needed", id="simulated"),
        pytest.param({"executor": "threads"}, "'executor' follows from 'simulated'", id="executor"),
        pytest.param({"rate": math.inf}, "cannot be written as JSON: Out of range", id="infinite"),
        pytest.param({"path": Path()}, "cannot be written as JSON: Object of type", id="no JSON"),
    ],
)
def test_metadata_that_cannot_be_written_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"metadata: .*{message}|metadata: {message}"):
        Trace(STRAGGLER, METADATA | changes).validate()


def with_event(**changes: object) -> str:
    """Return the text of a trace of one event with some keys changed, or left out if None."""
    event = {"ph": "X", "pid": 0, "tid": 0, "cat": "data", "ts": 0, "dur": 1, "args": {}} | changes
    event = {key: value for key, value in event.items() if value is not None}
    return json.dumps({"traceEvents": [event], "otherData": METADATA})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "not a trace: Expecting value", id="empty"),
        pytest.param('{"traceEvents": [', "not a trace: Expecting value", id="cut"),
        pytest.param("\udcff", "not a trace: 'utf-8' codec", id="bytes"),
        pytest.param("[]", "no list 'traceEvents'", id="a list"),
        pytest.param('{"otherData": {}}', "no list 'traceEvents'", id="no events"),
        pytest.param('{"traceEvents": {}}', "no list 'traceEvents'", id="events of another shape"),
        pytest.param('{"traceEvents": []}', "no 'otherData'", id="a trace of another program"),
        pytest.param('{"traceEvents": [], "otherData": {}}', "metadata: scheduler=None", id="metadata lacks something"),
        pytest.param('{"traceEvents": [7], "otherData": {}}', "event 1: is not an object", id="no object"),
        pytest.param(with_event(ph="B"), "event 1: ph='B', where only complete", id="a phase that is not known"),
        pytest.param(with_event(ph=None), "event 1: has no 'ph'", id="no phase"),
        pytest.param(with_event(dur=None), "event 1: has no 'dur'", id="no duration"),
        pytest.param(with_event(cat=None), "event 1: has no 'cat'", id="no kind"),
        pytest.param(with_event(args=None), "event 1: has no 'args'", id="no arguments"),
        pytest.param(with_event(args=[]), r"event 1: args=\[\] is not an object", id="arguments of another shape"),
        pytest.param(with_event(ts="now"), "event 1: ts='now' is not a number", id="start is text"),
        pytest.param(with_event(ts=math.nan), "event 1: cannot convert float NaN", id="start is not a number"),
        pytest.param(with_event(dur=math.inf), "event 1: cannot convert float infinity", id="never ends"),
        pytest.param(with_event(pid=True), "event 1: pid=True is not a whole number", id="process"),
        pytest.param(with_event(tid=0.5), "event 1: tid=0.5 is not a whole number", id="worker"),
        pytest.param(with_event(args={"row_group": "3"}), "event 1: row_group='3' is not a whole", id="row group"),
        pytest.param(with_event(args={"layers": [1]}), r"event 1: layers=\[1\] is not a pair", id="layers"),
        pytest.param(with_event(args={"layers": [0, "end"]}), "event 1: layers='end' is not a whole", id="last layer"),
        pytest.param(with_event(cat=["data"]), r"kind=\['data'\]: .*legal: data", id="kind of another shape"),
        pytest.param(with_event(dur=-1), "stop no earlier than they start", id="backwards"),
    ],
)
def test_a_malformed_file_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=message) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_trace(tmp_path / "none.json")


def test_a_write_that_fails_halfway_changes_nothing(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "trace.json"
    path.write_text("older")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        Trace(STRAGGLER, METADATA).write(path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("trace.json", "older")]

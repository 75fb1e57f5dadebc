"""Holds the trace of a run, the spans of every worker, and reads and writes it as a file for trace viewers.

The files are in the Trace Event Format ("Trace Event Format", Chromium project), which https://ui.perfetto.dev and
chrome://tracing open.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any

from sparsednn.errors import DataError
from sparsednn.results.spans import KINDS, Span, ns, require_one_at_a_time, require_valid
from sparsednn.system.files import atomic_path

__all__ = ["KINDS", "METADATA_TYPES", "Span", "Trace", "WorkerId", "read_trace"]

METADATA_TYPES: Mapping[str, type] = {"scheduler": str, "kernel": str, "simulated": bool}
"""Fields that the metadata of every trace must have, with their types."""

_COLOURS = {  # names that chrome://tracing knows; Perfetto picks its own colours by the events' names
    "data": "thread_state_runnable",
    "team": "thread_state_running",
    "probe": "thread_state_unknown",
    "wait": "thread_state_uninterruptible",
    "barrier": "thread_state_iowait",
    "fetch": "rail_load",
    "idle": "thread_state_sleeping",
}

WorkerId = tuple[int, int]
"""A worker of a run: its process and its number in it."""


@dataclass(slots=True)
class Trace:
    """The spans of one run, each worker's in ascending order, and what was run.

    Attributes
    ----------
    spans : list of Span
        A worker's spans do not overlap, except that its barrier spans lie inside its team spans.
    metadata : dict
        Description of the run, ready for JSON; at least the strings ``scheduler`` and ``kernel``, and the bool ``simulated``.
    """

    spans: list[Span] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the run's start to the end of the last span."""
        return max((span.stop_s for span in self.spans), default=0.0)

    def workers(self) -> list[WorkerId]:
        """Return the workers that have spans, as (process, worker), ascending."""
        return sorted({(int(span.process), int(span.worker)) for span in self.spans})

    def totals(self) -> dict[WorkerId, dict[str, float]]:
        """Return the seconds that each worker spent on each kind; those of ``barrier`` are in those of ``team`` as well."""
        totals = {worker: dict.fromkeys(KINDS, 0.0) for worker in self.workers()}
        for span in self.spans:
            totals[span.process, span.worker][span.kind] += span.duration_s
        return totals

    def shares(self) -> dict[str, float]:
        """Return each kind's share of the time of all workers, from 0 to 1; here ``team`` is without ``barrier``.

        ``data`` and ``team`` together are the share in which workers are busy. All are 0 for a trace that takes no time.
        """
        totals = self.totals()
        whole = len(totals) * self.elapsed_s
        if whole == 0:
            return dict.fromkeys(KINDS, 0.0)
        sums = {kind: math.fsum(worker[kind] for worker in totals.values()) for kind in KINDS}
        sums["team"] -= sums["barrier"]
        return {kind: seconds / whole for kind, seconds in sums.items()}

    def validate(self) -> None:
        """Check the metadata, each span, and that each worker does one thing at a time.

        Times are compared in whole nanoseconds, as the files have them, and may be off by one.

        Raises
        ------
        ValueError
            Naming the first thing that is wrong.
        """
        _require_valid_metadata(self.metadata)
        for span in self.spans:
            require_valid(span)
        for spans in self._by_worker():
            require_one_at_a_time(spans)

    def to_chrome(self) -> dict[str, Any]:
        """Return the trace in the Trace Event Format.

        Processes are its processes and workers its threads; each span is a complete event ("X") with times in microseconds, to
        the nanosecond.

        Raises
        ------
        ValueError
            If the trace is not valid.
        """
        self.validate()
        executor = "simulated" if self.metadata["simulated"] else "threads"
        return {
            "traceEvents": [*_names(self.workers()), *map(_event, chain.from_iterable(map(_nested, self._by_worker())))],
            "displayTimeUnit": "ms",
            "otherData": self.metadata | {"executor": executor},
        }

    def write(self, path: Path) -> None:
        """Write the trace for a trace viewer, atomically: the file is whole or not there.

        Raises
        ------
        ValueError, OSError
            If the trace is not valid, or the file cannot be written.
        """
        chrome = self.to_chrome()
        events = ",\n".join(json.dumps(event, separators=(",", ":"), allow_nan=False) for event in chrome.pop("traceEvents"))
        rest = json.dumps(chrome, allow_nan=False)
        with atomic_path(path) as temporary:
            temporary.write_text(f'{{"traceEvents": [\n{events}\n], {rest[1:]}\n', encoding="utf-8")

    def _by_worker(self) -> list[list[Span]]:
        """Return each worker's spans, in the order that they have."""
        by_worker: dict[WorkerId, list[Span]] = {worker: [] for worker in self.workers()}
        for span in self.spans:
            by_worker[span.process, span.worker].append(span)
        return list(by_worker.values())


def read_trace(path: Path) -> Trace:
    """Read a trace that `Trace.write` wrote: the same spans, in ascending order for each worker, to the nanosecond.

    Raises
    ------
    ValueError, OSError
        If the file is malformed, or cannot be read; the message names it.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # no JSON, or no text
        raise DataError(f"{path}: not a trace: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("traceEvents"), list):
        raise DataError(f"{path}: not a trace: it has no list 'traceEvents'")
    if not isinstance(content.get("otherData"), dict):
        raise DataError(f"{path}: not a trace of sparsednn: it has no 'otherData'")
    trace = Trace(metadata={key: value for key, value in content["otherData"].items() if key != "executor"})
    for number, event in enumerate(content["traceEvents"], start=1):
        try:
            if not isinstance(event, dict):
                raise ValueError("is not an object")
            if event["ph"] != "M":
                trace.spans.append(_span(event))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}: event {number}: {what}") from error
    try:
        trace.validate()
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return trace


def _nested(spans: list[Span]) -> Iterator[Span]:
    """Merge a worker's barrier spans with the others: a viewer wants a span ahead of those inside it."""
    barriers = [span for span in spans if span.kind == "barrier"]
    others = [span for span in spans if span.kind != "barrier"]
    return merge(others, barriers, key=lambda span: ns(span.start_s))


def _names(workers: list[WorkerId]) -> list[dict[str, Any]]:
    """Return the events that name and order the processes and workers."""
    events = []
    for process in dict.fromkeys(process for process, _ in workers):
        place = {"ph": "M", "pid": process, "tid": 0}
        events.append(place | {"name": "process_name", "args": {"name": f"process {process}"}})
        events.append(place | {"name": "process_sort_index", "args": {"sort_index": process}})
    for process, worker in workers:
        place = {"ph": "M", "pid": process, "tid": worker}
        events.append(place | {"name": "thread_name", "args": {"name": f"worker {worker}"}})
        events.append(place | {"name": "thread_sort_index", "args": {"sort_index": worker}})
    return events


def _event(span: Span) -> dict[str, Any]:
    """Return a span as a complete event, with the arguments that it has."""
    args: dict[str, Any] = {}
    if span.row_group >= 0:
        args["row_group"] = int(span.row_group)  # NumPy's integers have no JSON
    if span.first_layer >= 0:
        args["layers"] = [int(span.first_layer), int(span.last_layer)]
    if span.multiply_adds:
        args["multiply_adds"] = int(span.multiply_adds)
    start = ns(span.start_s)
    return {
        "ph": "X",
        "pid": int(span.process),
        "tid": int(span.worker),
        "name": f"{span.kind} row group {span.row_group}" if span.row_group >= 0 else span.kind,
        "cat": span.kind,
        "cname": _COLOURS[span.kind],
        "ts": start / 1000,
        "dur": (ns(span.stop_s) - start) / 1000,
        "args": args,
    }


def _span(event: Mapping[str, Any]) -> Span:
    """Return the span of a complete event."""
    if event["ph"] != "X":
        raise ValueError(f"ph={event['ph']!r}, where only complete events ('X') and names ('M') are known")
    args = event["args"]
    if not isinstance(args, dict):
        raise ValueError(f"args={args!r} is not an object")
    layers = args.get("layers", [-1, -1])
    if not isinstance(layers, list) or len(layers) != 2:
        raise ValueError(f"layers={layers!r} is not a pair")
    start = round(1000 * _number(event, "ts"))
    return Span(
        process=_whole(event["pid"], "pid"),
        worker=_whole(event["tid"], "tid"),
        kind=event["cat"],
        start_s=start / 1e9,
        stop_s=(start + round(1000 * _number(event, "dur"))) / 1e9,
        row_group=_whole(args.get("row_group", -1), "row_group"),
        first_layer=_whole(layers[0], "layers"),
        last_layer=_whole(layers[1], "layers"),
        multiply_adds=_whole(args.get("multiply_adds", 0), "multiply_adds"),
    )


def _number(event: Mapping[str, Any], key: str) -> float:
    if isinstance(event[key], bool) or not isinstance(event[key], int | float):
        raise ValueError(f"{key}={event[key]!r} is not a number")
    return float(event[key])


def _whole(value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key}={value!r} is not a whole number")
    return value


def _require_valid_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that lacks something or cannot be written."""
    for key, wanted in METADATA_TYPES.items():
        if not isinstance(metadata.get(key), wanted):
            raise DataError(f"metadata: {key}={metadata.get(key)!r}: a {wanted.__name__} is needed")
    if "executor" in metadata:
        raise DataError("metadata: 'executor' follows from 'simulated'; leave it out")
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"metadata: cannot be written as JSON: {error}") from error

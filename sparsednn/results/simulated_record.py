"""Declares what only the record of a simulated inference has; only who simulates, or reads such records, needs it."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sparsednn.results.record import RunRecord, Seconds
from sparsednn.system.json_fields import JsonPart, doc, json_part


@json_part
class SimulatedSeconds(Seconds):
    """Times of a simulated run: all virtual but `load`, `profile` and `sizing`."""

    profile: float = field(metadata=doc("counting the work of every row, in real time", "s"))
    processes: list[float] = field(metadata=doc("virtual time of each process, by rank", "s"))
    gather: float = field(metadata=doc("virtual time of collecting the categories", "s"))
    sample: float | None = field(
        default=None,
        metadata=doc("virtual time of counting the work of a sample of the rows, not part of `inference`", "s",
                     when="scheduler=adaptive"),
    )  # fmt: skip
    sizing: float | None = field(
        default=None,
        metadata=doc("settling the sizes of teams and row groups, in real time, not part of `inference`", "s",
                     when="scheduler=adaptive"),
    )  # fmt: skip


@json_part
class SimulatedCluster(JsonPart):
    """The machines that were simulated."""

    nodes: int = field(metadata=doc("number of nodes"))
    processes_per_node: int = field(metadata=doc("processes of each node"))
    cores_per_node: int = field(metadata=doc("cores of each node"))
    threads: int = field(metadata=doc("workers of each process"))
    numa_domains: int = field(metadata=doc("domains of each process"))
    slow_core: float | None = field(metadata=doc("times as long that the first core takes"))
    noisy_node: float | None = field(metadata=doc("times as long that the last node takes, at most"))
    seed: int = field(metadata=doc("seed of the noise"))
    assume: dict[str, float] = field(metadata=doc("assumed in place of the calibration's parameters"))


@json_part
class TrafficEstimate(JsonPart):
    """The bytes that the busiest process moves between memory and its last-level cache, estimated."""

    estimated: bool = field(default=True, metadata=doc("always true: nothing of it is measured"))
    process: int = field(metadata=doc("rank of the process"))
    llc_bytes: float = field(metadata=doc("last-level cache that its workers share", "bytes"))
    touched_bytes: int = field(metadata=doc("what its workers touch", "bytes"))
    memory_bytes: int = field(metadata=doc("what of that is not in the cache", "bytes"))
    from_cache: float = field(metadata=doc("share of what is touched that is in the cache, from 0 to 1"))
    memory_bytes_per_s: float = field(metadata=doc("assumed bandwidth of the memory", "bytes/s"))
    memory_s: float = field(metadata=doc("time that the memory takes for it", "s"))


@json_part
class SimulatedRun(RunRecord):
    """The fields that the record of a simulated inference has."""

    simulated: bool = field(default=True, metadata=doc("always true"))
    cluster: SimulatedCluster = field(metadata=doc("the machines that were simulated"))
    calibration: dict[str, Any] = field(metadata=doc("the whole calibration: see `sparsednn.simulator.calibration`"))
    seconds: SimulatedSeconds = field(metadata=doc("times"))
    traffic: TrafficEstimate | None = field(default=None, metadata=doc("an estimate", when="kernels that keep whole columns"))

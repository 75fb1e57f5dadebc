"""Simulates the processes of a cluster: real schedulers and the real work of every row, in virtual time.

Each process has its own share of the rows and its own scheduler, and nothing is exchanged before the end: so the processes are
simulated one after the other, and a run takes as long as the slowest of them, and collecting the categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import instance_of, whole_number
from sparsednn.backend import CostKind
from sparsednn.errors import OptionError
from sparsednn.execution.base import Timeline
from sparsednn.options.fields import check_value, declarations
from sparsednn.options.groups import MachineOptions
from sparsednn.results.trace import Span
from sparsednn.rows.distribution import initial_rows
from sparsednn.rows.partition import Partition, alive_first, even_bounds
from sparsednn.schedulers import SCHEDULERS, Job, SchedulerOptions
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.cutting import UncutRows
from sparsednn.simulator.executor import CutCosts, SimulatedExecutor
from sparsednn.simulator.noise import Noise
from sparsednn.simulator.outlook import CostOutlook, sampled
from sparsednn.simulator.traffic import Traffic, estimate
from sparsednn.simulator.work import GroupCosts, GroupWork, WorkProfile
from sparsednn.system.cores import worker_domains

CATEGORY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Cluster:
    """The simulated machines, with their slow core and noisy node.

    Attributes
    ----------
    nodes, processes_per_node, cores_per_node : int
    threads : int, optional
        Workers of each process; its share of the node's cores, unless given.
    numa_domains : int
        Domains of each process, in contiguous ranges of its workers.
    slow_core : float, optional
        The first core of the first node takes this many times as long.
    noisy_node : float, optional
        Everything on the last node takes up to this many times as long: from 1 to that, drawn anew for each sixteenth of the
        layers of each row group.
    seed : int
        Of the noise.
    assume : mapping of float
        Values in place of the calibration's assumed parameters (see `sparsednn.simulator.calibration.assuming`).
    """

    nodes: int = 1
    processes_per_node: int = 1
    cores_per_node: int = 1
    threads: int | None = None
    numa_domains: int = 1
    slow_core: float | None = None
    noisy_node: float | None = None
    seed: int = 0
    assume: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, option in declarations(MachineOptions).items():
            object.__setattr__(self, name, check_value(option, f"cluster.{name}", getattr(self, name)))
        for name in ("cores_per_node", "threads", "numa_domains"):
            if getattr(self, name) is not None or name != "threads":
                object.__setattr__(self, name, whole_number(f"cluster.{name}", getattr(self, name), 1))
        instance_of("cluster.assume", self.assume, Mapping, "a mapping of numbers is needed")
        object.__setattr__(self, "seed", whole_number("cluster.seed", self.seed, 0))
        if self.processes_per_node > self.cores_per_node and self.threads is None:
            raise OptionError(
                f"cluster.processes_per_node={self.processes_per_node}: more than cores_per_node={self.cores_per_node}; "
                "give the threads of a process"
            )

    @property
    def n_processes(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.processes_per_node

    @property
    def n_workers(self) -> int:
        """Workers of each process."""
        return self.threads or self.cores_per_node // self.processes_per_node

    @property
    def cores_per_process(self) -> int:
        """Cores that a process has to itself, at least one."""
        return max(self.cores_per_node // self.processes_per_node, 1)


@dataclass(frozen=True, slots=True)
class SchedulingChoice:
    """The scheduling of a run.

    Attributes
    ----------
    scheduler : str
        One of `sparsednn.schedulers.SCHEDULERS`.
    options : SchedulerOptions
    hashes_rows : bool
        Spread neighbouring instances over all row groups of all processes, in ``buckets * 128`` parts.
    row_order : {"given", "alive_first"}
    buckets : int
    """

    scheduler: str
    options: SchedulerOptions = field(default_factory=SchedulerOptions)
    hashes_rows: bool = False
    row_order: str = "given"
    buckets: int = 1


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """The outcome of a simulated run, in virtual seconds.

    Attributes
    ----------
    elapsed_s : float
        From the input in memory until process 0 has all categories.
    process_s : list of float
        Seconds of each process by itself.
    gather_s : float
    timelines : list of Timeline, one for each process
    partition : Partition
        The row groups of all processes, process after process.
    traffic : Traffic, optional
        Of the process that has the most to do, if it was asked for.
    sample_s, sizing_s : float, optional
        With schedulers that cut row groups: what counting the work of the sample takes one worker, in virtual seconds, and what
        settling the sizes has taken, in real ones. Neither is part of `elapsed_s`.
    """

    elapsed_s: float
    process_s: list[float]
    gather_s: float
    timelines: list[Timeline]
    partition: Partition
    traffic: Traffic | None = None
    sample_s: float | None = None
    sizing_s: float | None = None

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of all workers."""
        return sum(times.multiply_adds for timeline in self.timelines for times in timeline.times)

    @property
    def spans(self) -> list[Span]:
        """The spans of all workers, if the run was traced."""
        return [span for timeline in self.timelines for span in timeline.spans]

    @property
    def imbalance(self) -> float:
        """Largest over mean of the workers' busy times; 1 is perfect balance."""
        busy_s = [times.busy_s for timeline in self.timelines for times in timeline.times]
        return max(busy_s) / fmean(busy_s) if max(busy_s) > 0 else 1.0


class ClusterSimulator:
    """Runs plans on a simulated cluster.

    Parameters
    ----------
    profile : WorkProfile
    model : CostModel
    kind : CostKind
        Of a kernel that is calibrated.
    cluster : Cluster
    """

    def __init__(self, profile: WorkProfile, model: CostModel, kind: CostKind, cluster: Cluster) -> None:
        self.profile, self.model, self.kind, self.cluster = profile, model, kind, cluster
        n_workers, n_cores = cluster.n_workers, cluster.cores_per_node
        self._overheads = model.overheads(n_workers, cluster.cores_per_process)
        self._slowdown = model.slowdown(kind, n_workers, n_cores, cluster.processes_per_node)
        self._domains = worker_domains(n_workers, pinned=False, override=cluster.numa_domains)

    def run(self, plan: SchedulingChoice, *, trace: bool = False, traffic: bool = False) -> ClusterRun:
        """Run all processes; deterministic, but for `ClusterRun.sizing_s`.

        With `traffic`, estimate that of the process that has the most to do.
        """
        if SCHEDULERS[plan.scheduler].cuts:
            return self._run_cutting(plan, trace=trace, traffic=traffic)
        n_groups = SCHEDULERS[plan.scheduler](plan.options).n_row_groups(self.cluster.n_workers)
        shares = self._split(plan, n_groups)
        works = self.profile.partition_work([rows for share in shares for rows in share])
        costs = self.model.costs(works, self.kind, self.cluster.cores_per_process)
        timelines = [
            self._run_process(process, plan, costs[process * n_groups : (process + 1) * n_groups], trace=trace)
            for process in range(len(shares))
        ]
        moved = None
        if traffic:
            done = np.array([work.multiply_adds.sum() for work in works]).reshape(len(shares), n_groups).sum(axis=1)
            busiest = int(np.argmax(done))  # the same one with all schedulers
            own = slice(busiest * n_groups, (busiest + 1) * n_groups)
            spans = self._run_process(busiest, plan, costs[own], trace=True).spans
            moved = self._traffic(busiest, spans, works[own], costs[own])
        return self._outcome(timelines, shares, moved)

    def _run_cutting(self, plan: SchedulingChoice, *, trace: bool, traffic: bool) -> ClusterRun:
        """Run all processes with a scheduler that cuts row groups as it goes; all sizes follow from the rows of the first."""
        shares = [rows for (rows,) in self._split(plan, 1)]
        sample = sampled(self.profile, shares[0], plan.options.sample_rows)
        began_s = perf_counter()
        outlooks = {n: self._outlook(sample, n) for n in sorted({len(rows) for rows in shares})}
        for outlook in outlooks.values():
            SCHEDULERS[plan.scheduler](plan.options).n_wanted(self._job(0, outlook))
        sizing_s, timelines, uncut = perf_counter() - began_s, [], []
        for process, rows in enumerate(shares):
            uncut.append(UncutRows(self.profile, self.model, self.kind, self.cluster.cores_per_process, rows))
            line = self._run_process(process, plan, [], uncut[-1].cut, outlooks[len(rows)], trace=trace or traffic)
            timelines.append(line)
            uncut[-1].check()
        moved = None
        if traffic:
            busiest = int(np.argmax([sum(work.multiply_adds.sum() for work in one.works) for one in uncut]))
            moved = self._traffic(busiest, timelines[busiest].spans, uncut[busiest].works, uncut[busiest].costs)
        if not trace:
            timelines = [line._replace(spans=[]) for line in timelines]
        sample_s = outlooks[len(shares[0])].team_s(sample.n_instances, 1) if sample.n_instances else 0.0
        run = self._outcome(timelines, [one.groups for one in uncut], moved)
        return replace(run, sample_s=sample_s, sizing_s=sizing_s)

    def _outcome(
        self, timelines: list[Timeline], groups: Sequence[Sequence[NDArray[np.int64]]], traffic: Traffic | None
    ) -> ClusterRun:
        """Put together what all processes did, given the row groups of each."""
        process_s = [
            timeline.elapsed_s + self.model.fixed_s(sum(map(len, own))) / self.model.core_speed
            for timeline, own in zip(timelines, groups, strict=True)
        ]
        n_bytes = CATEGORY_BYTES * len(self.profile.categories())
        gather_s = self.model.gather_s(self.cluster.n_processes, n_bytes)
        partition = Partition(self.profile.n_instances, tuple(rows for own in groups for rows in own))
        return ClusterRun(max(process_s) + gather_s, process_s, gather_s, timelines, partition, traffic)

    def _outlook(self, sample: WorkProfile, n_rows: int) -> CostOutlook:
        """Return what is expected of `n_rows` rows of a process."""
        cluster = self.cluster
        return CostOutlook(sample, n_rows, self.model, self.kind, cluster.n_workers, cluster.cores_per_process, self._slowdown)

    def _job(self, n_groups: int, outlook: CostOutlook | None) -> Job:
        return Job(self.cluster.n_workers, n_groups, self.profile.n_layers, self._domains, outlook=outlook)

    def _traffic(self, process: int, spans: Sequence[Span], works: Sequence[GroupWork], costs: Sequence[GroupCosts]) -> Traffic:
        """Estimate the traffic of a process by what it did when; it has its share of its node's cache."""
        llc_bytes = self.model.calibration.value("assumed", "llc_bytes") / self.cluster.processes_per_node
        return estimate(process, spans, works, costs, llc_bytes)

    def _split(self, plan: SchedulingChoice, n_groups: int) -> list[list[NDArray[np.int64]]]:
        """Contiguous rows for each process, and of these for each of its row groups."""
        n_rows = self.profile.n_instances
        first = alive_first(self.profile.categories(), n_rows) if plan.row_order == "alive_first" else None
        shares = initial_rows(
            n_rows, self.cluster.n_processes, hashed=plan.hashes_rows, buckets=plan.buckets, first=first,
            spread=SCHEDULERS[plan.scheduler].cuts,
        )  # fmt: skip
        if SCHEDULERS[plan.scheduler].cuts:
            return [[rows] for rows in shares]
        return [[np.sort(rows[a:b]) for a, b in pairwise(even_bounds(len(rows), n_groups))] for rows in shares]

    def _run_process(
        self, process: int, plan: SchedulingChoice, costs: Sequence[GroupCosts], cut: CutCosts | None = None,
        outlook: CostOutlook | None = None, *, trace: bool,
    ) -> Timeline:  # fmt: skip
        cluster, node = self.cluster, process // self.cluster.processes_per_node
        if cluster.noisy_node is not None and node == cluster.nodes - 1:
            noise = Noise(cluster.noisy_node, [cluster.seed, process])
            costs, cut = [noise(group) for group in costs], cut and noise.after(cut)
        executor = SimulatedExecutor(
            cluster.n_workers, self._overheads, slowdown=self._slowdown.tolist(), speeds=self._speeds(process),
            trace=trace, process=process,
        )  # fmt: skip
        job = self._job(len(costs), outlook)
        return executor.run(SCHEDULERS[plan.scheduler](plan.options), job, costs, cut)

    def _speeds(self, process: int) -> list[float]:
        """Return the speed of each worker; worker i is on core i of its process, and around again."""
        speeds = [self.model.core_speed] * self.cluster.n_workers
        if process == 0 and self.cluster.slow_core is not None:
            for worker in range(0, len(speeds), self.cluster.cores_per_process):
                speeds[worker] /= self.cluster.slow_core
        return speeds

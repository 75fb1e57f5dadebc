"""Simulates the processes of a cluster: real schedulers and the real work of every row, in virtual time.

Each process has its own share of the rows and its own scheduler, and nothing is exchanged before the end: so the processes are
simulated one after the other, and a run takes as long as the slowest of them, and collecting the categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean

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
from sparsednn.simulator.executor import SimulatedExecutor
from sparsednn.simulator.traffic import Traffic, estimate
from sparsednn.simulator.work import GroupCosts, GroupWork, WorkProfile
from sparsednn.system.cores import worker_domains

NOISE_SPANS = 16
"""A noisy node changes its speed so often during a row group."""

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
    """

    elapsed_s: float
    process_s: list[float]
    gather_s: float
    timelines: list[Timeline]
    partition: Partition
    traffic: Traffic | None = None

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
        """Run all processes; deterministic. With `traffic`, estimate that of the one that has the most to do."""
        n_groups = SCHEDULERS[plan.scheduler](plan.options).n_row_groups(self.cluster.n_workers)
        shares = self._split(plan, n_groups)
        works = self.profile.partition_work([rows for share in shares for rows in share])
        costs = self.model.costs(works, self.kind, self.cluster.cores_per_process)
        timelines, process_s = [], []
        for process, share in enumerate(shares):
            timeline = self._run_process(process, plan, costs[process * n_groups : (process + 1) * n_groups], trace=trace)
            timelines.append(timeline)
            process_s.append(timeline.elapsed_s + self.model.fixed_s(sum(map(len, share))) / self.model.core_speed)
        n_bytes = CATEGORY_BYTES * len(self.profile.alive_at_end())
        gather_s = self.model.gather_s(self.cluster.n_processes, n_bytes)
        partition = Partition(self.profile.n_instances, tuple(rows for share in shares for rows in share))
        moved = None
        if traffic:
            done = np.array([work.multiply_adds.sum() for work in works]).reshape(len(shares), n_groups).sum(axis=1)
            busiest = int(np.argmax(done))  # the same one with all schedulers
            own = slice(busiest * n_groups, (busiest + 1) * n_groups)
            moved = self._traffic(busiest, plan, works[own], costs[own])
        return ClusterRun(max(process_s) + gather_s, process_s, gather_s, timelines, partition, moved)

    def _traffic(
        self, process: int, plan: SchedulingChoice, works: Sequence[GroupWork], costs: Sequence[GroupCosts]
    ) -> Traffic:
        """Run a process again, for what it did when; it has its share of its node's cache."""
        spans = self._run_process(process, plan, costs, trace=True).spans
        llc_bytes = self.model.calibration.value("assumed", "llc_bytes") / self.cluster.processes_per_node
        return estimate(process, spans, works, costs, llc_bytes)

    def _split(self, plan: SchedulingChoice, n_groups: int) -> list[list[NDArray[np.int64]]]:
        """Contiguous rows for each process, and of these for each of its row groups."""
        n_rows = self.profile.n_instances
        first = alive_first(self.profile.alive_at_end(), n_rows) if plan.row_order == "alive_first" else None
        shares = initial_rows(
            n_rows, self.cluster.n_processes, hashed=plan.hashes_rows, buckets=plan.buckets, first=first
        )  # fmt: skip
        return [[np.sort(rows[a:b]) for a, b in pairwise(even_bounds(len(rows), n_groups))] for rows in shares]

    def _run_process(self, process: int, plan: SchedulingChoice, costs: Sequence[GroupCosts], *, trace: bool) -> Timeline:
        cluster, node = self.cluster, process // self.cluster.processes_per_node
        if cluster.noisy_node is not None and node == cluster.nodes - 1:
            rng = np.random.default_rng([cluster.seed, process])
            costs = [_with_noise(group, cluster.noisy_node, rng) for group in costs]
        executor = SimulatedExecutor(
            cluster.n_workers, self._overheads, slowdown=self._slowdown.tolist(), speeds=self._speeds(process),
            trace=trace, process=process,
        )  # fmt: skip
        job = Job(cluster.n_workers, len(costs), self.profile.n_layers, self._domains)
        return executor.run(SCHEDULERS[plan.scheduler](plan.options), job, costs)

    def _speeds(self, process: int) -> list[float]:
        """Return the speed of each worker; worker i is on core i of its process, and around again."""
        speeds = [self.model.core_speed] * self.cluster.n_workers
        if process == 0 and self.cluster.slow_core is not None:
            for worker in range(0, len(speeds), self.cluster.cores_per_process):
                speeds[worker] /= self.cluster.slow_core
        return speeds


def _with_noise(costs: GroupCosts, most: float, rng: np.random.Generator) -> GroupCosts:
    """The same row group, with each part of its layers slowed down at random."""
    n_layers = len(costs.alone_s)
    factors = rng.uniform(1, most, NOISE_SPANS)[np.arange(n_layers) * NOISE_SPANS // max(n_layers, 1)]
    return replace(costs, alone_s=costs.alone_s * factors)

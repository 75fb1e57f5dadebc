"""Runs a prepared inference, once or repeatedly, in this process alone or together with others."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend import DONE, Backend, Control, InputsBackend
from sparsednn.errors import ActivationOverflowError
from sparsednn.execution.base import Timeline
from sparsednn.execution.layer_ranges import LayerRange, rebalanced
from sparsednn.execution.options import InferOptions
from sparsednn.execution.row_groups import FinishedGroup, RowGroups
from sparsednn.execution.threads import ThreadExecutor
from sparsednn.results.spans import Span
from sparsednn.results.worker_times import WorkerFigures, WorkerTimes
from sparsednn.rows.distribution import Share
from sparsednn.rows.partition import RowGroup, split_evenly
from sparsednn.schedulers import Job, Outlook, Scheduler
from sparsednn.system.cores import worker_domains
from sparsednn.system.json_fields import declared
from sparsednn.system.memory import peak_rss_bytes, proportional_bytes

if TYPE_CHECKING:
    from sparsednn.execution.shared_queues import SharedQueues


Around = Callable[[], AbstractContextManager[None]]
"""Makes what a run is surrounded by."""


@dataclass(slots=True, eq=False, repr=False)
class Repeat:
    """The outcome of one repeat.

    Attributes
    ----------
    seconds : float
        Until rank 0 has all categories.
    categories : int64 array
        Of all processes, 1-based.
    output : csr_array, or None
        Of all instances, on rank 0, if asked for.
    processes : list of dict
        Record of each process, by rank; on ranks other than 0, only this one's.
    """

    seconds: float
    categories: NDArray[np.int64]
    output: sp.csr_array | None
    processes: list[dict[str, Any]]

    def all(self, name: str) -> list[Any]:
        """Return the items of a list that each process has."""
        return [item for process in self.processes for item in process[name]]


@dataclass(slots=True, eq=False, repr=False)
class _Done:
    """Work and times of this process in the stages so far."""

    finished: list[FinishedGroup] = field(default_factory=list)
    times: list[WorkerTimes] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    group_nnz: list[float] = field(default_factory=list)
    multiply_adds: int = 0
    exchange_s: float = 0.0

    def add(self, timeline: Timeline, began_s: float, finished: list[FinishedGroup]) -> None:
        """Add a stage that began `began_s` seconds after the run."""
        self.finished = finished
        self.multiply_adds += sum(result.multiply_adds for _, result in finished)
        self.times = [_sum(*both) for both in zip(self.times, timeline.times, strict=True)] if self.times else timeline.times
        self.spans += [_later(span, began_s) for span in timeline.spans]


class Inference:
    """Prepared stages of a network, and the rows of this process.

    Parameters
    ----------
    backend : Backend
    stages : list of LayerRange
        One, or two where the rows are balanced between them.
    scheduler : Scheduler
    share : Share
    n_workers, n_cores : int
        Threads of this process, and cores that they have.
    options : InferOptions
    output : bool
    outlook_of : callable, optional
        Returns what is expected of so many rows; for schedulers that cut row groups.
    around : callable
        Makes a context manager for each run, which is entered before the clock is on and left when it is off.
    """

    def __init__(
        self, backend: Backend, stages: list[LayerRange], scheduler: Scheduler, share: Share, n_workers: int, n_cores: int,
        options: InferOptions, *, output: bool, outlook_of: Callable[[int], Outlook] | None = None,
        around: Around = nullcontext,
    ) -> None:  # fmt: skip
        self.backend, self.stages, self.scheduler, self.share = backend, stages, scheduler, share
        self.output, self.options, self.n_cores = output, options, n_cores
        self.outlook_of, self.around = outlook_of, around
        self.comm = options.communicator
        first_core = self.comm.node_rank * n_workers  # processes of a node are pinned side by side
        self.executor = ThreadExecutor(
            n_workers, pin=options.cluster.pin, trace=options.run.trace, process=self.comm.rank, first_core=first_core
        )  # fmt: skip
        self.domains = worker_domains(
            n_workers, pinned=options.cluster.pin, override=options.cluster.numa_domains, first_core=first_core
        )

    def run(self) -> Repeat:
        """Run it once; the clock is on from the input in memory until the categories are known. Collective.

        Raises
        ------
        FloatingPointError
            If activations have overflowed float32.
        """
        comm = self.comm
        with self._queues(self.share) as (share, groups, queues):
            if isinstance(self.backend, InputsBackend) and groups:
                self.backend.take_inputs(self.stages[0].plan, groups[0].inputs)
            with self.around():
                comm.barrier()
                started_at = perf_counter()
                done = self._run_stages(share, groups, queues, started_at)
                categories = _categories(done.finished)
                own_s = perf_counter() - started_at
                gathered = comm.all_gather(categories)
                seconds = perf_counter() - started_at
        processes = comm.gather(self._report(done, own_s, seconds))
        output = self._all_output(done.finished) if self.output else None
        mine = processes if processes is not None else [self._report(done, own_s, seconds)]
        return Repeat(comm.broadcast(seconds), np.sort(np.concatenate(gathered)), output, mine)

    def _run_stages(self, share: Share, groups: list[RowGroup], queues: SharedQueues | None, started_at: float) -> _Done:
        done = _Done()
        for number, stage in enumerate(self.stages):
            if number > 0:
                begin = perf_counter()
                share = rebalanced(
                    self.options.communicator, share, done.finished, zeros_stay=self.stages[number - 1].zeros_stay
                )
                groups, queues = self._row_groups(share), None
                done.exchange_s += perf_counter() - begin
            control = Control.for_workers(self.executor.n_workers)
            last = number == len(self.stages) - 1
            row_groups = RowGroups(
                self.backend, stage.plan, groups, control, n_layers=stage.n_layers, n_cores=self.n_cores,
                uncut=share if self.scheduler.cuts else None, output=self.output or not last, queues=queues,
                trace=self.options.run.trace,
            )  # fmt: skip
            began_s = perf_counter() - started_at
            timeline = self.executor.run(
                self.scheduler, self.job(share, len(groups), stage.n_layers), row_groups, self._watch(control, number)
            )
            done.add(timeline, began_s, row_groups.finished())
            if number == 0:
                done.group_nnz = [float(group.nnz) for group in groups or [group for group, _ in done.finished]]
        return done

    def job(self, share: Share, n_row_groups: int, n_layers: int) -> Job:
        """Return the size of what is to be scheduled here."""
        outlook = None if self.outlook_of is None else self.outlook_of(len(share.ids))
        return Job(self.executor.n_workers, n_row_groups, n_layers, self.domains, self.comm.rank, self.comm.size, outlook)

    @contextlib.contextmanager
    def _queues(self, share: Share) -> Iterator[tuple[Share, list[RowGroup], SharedQueues | None]]:
        """Lay out the row groups; with queues that processes share, if the scheduler takes from them."""
        groups = self._row_groups(share)
        if not self.scheduler.takes_from_processes:
            yield share, groups, None
            return
        from sparsednn.execution.shared_queues import SharedQueues, in_group_order  # of one scheduler

        ids = np.concatenate([group.ids for group in groups])
        inputs, rows_of = in_group_order(share.rows, [group.rows for group in groups])
        groups = [RowGroup(inputs, rows, group.ids) for rows, group in zip(rows_of, groups, strict=True)]
        queues = SharedQueues(self.comm, inputs, ids, [len(rows) for rows in rows_of])
        yield share, groups, queues  # after an error nothing is closed: that would wait for the other processes
        queues.close()

    def _row_groups(self, share: Share) -> list[RowGroup]:
        """Split the rows of this process into as many row groups as the scheduler wants."""
        if self.scheduler.cuts:
            return []
        n_groups, unit = self.scheduler.n_row_groups(self.executor.n_workers), self.backend.row_unit(self.stages[0].plan)
        parts = split_evenly(len(share.ids), n_groups, share.order, unit).groups
        return [RowGroup(share.rows, rows, share.ids[rows]) for rows in parts]

    def _report(self, done: _Done, own_s: float, seconds: float) -> dict[str, Any]:
        """Return the report of this process to rank 0."""
        return {
            "process": self.comm.rank,
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "instances": len(self.share.ids),
            "input_nnz": int(self.share.rows.nnz),
            "inference_s": own_s,
            "idle_s": seconds - own_s,
            "exchange_s": done.exchange_s,
            "multiply_adds": done.multiply_adds,
            "peak_rss_bytes": peak_rss_bytes(),
            "pss_bytes": proportional_bytes(),
            "times": done.times,
            "spans": done.spans,
            "group_nnz": done.group_nnz,
        }

    def _all_output(self, finished: list[FinishedGroup]) -> sp.csr_array | None:
        """The last activations of all instances, on rank 0."""
        mine = [(group.ids, result.output) for group, result in finished]
        gathered = self.comm.gather(mine)
        if gathered is None:
            return None
        parts = [part for process in gathered for part in process]
        ids = np.concatenate([ids for ids, _ in parts])
        stacked = sp.csr_array(sp.vstack([output for _, output in parts], format="csr"))
        full = sp.csr_array((self.share.n_instances, stacked.shape[1]), dtype=np.float32) if len(ids) == 0 else stacked
        return _spread(full, ids, self.share.n_instances)

    def _watch(self, control: Control, stage: int) -> Callable[[], None] | None:
        """Progress of this process, in all stages."""
        progress = self.options.progress
        if progress is None:
            return None
        n_layers = sum(one.n_layers for one in self.stages)
        total = len(self.share.ids) * n_layers
        before = len(self.share.ids) * sum(one.n_layers for one in self.stages[:stage])
        return lambda: progress(min(before + int(control.progress[:, DONE].sum()), total), total)


def _spread(rows: sp.csr_array, ids: NDArray[np.int64], n: int) -> sp.csr_array:
    """Return rows in the order of their ids; those that are not there are empty."""
    if len(ids) == n and (np.diff(ids) > 0).all():
        return rows
    order = np.argsort(ids)
    counts = np.zeros(n, np.int64)
    counts[ids[order]] = np.diff(rows.indptr)[order]
    packed = rows[order]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(packed.indptr.dtype)
    return sp.csr_array((packed.data, packed.indices, indptr), shape=(n, rows.shape[1]))


def _categories(finished: list[FinishedGroup]) -> NDArray[np.int64]:
    """Find this process's categories."""
    found = [np.zeros(0, np.int64)]
    found += [categories_of(group.ids, result.sums) for group, result in finished]
    return np.sort(np.concatenate(found))


def categories_of(ids: NDArray[np.int64], sums: NDArray[Any]) -> NDArray[np.int64]:
    """Return the ids (from 1) of the instances whose last activations add up to more than zero, of ids from 0 and those sums.

    Raises
    ------
    FloatingPointError
        If a sum is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(sums))
    if bad.size:
        raise ActivationOverflowError(
            f"instance {ids[bad[0]] + 1}: the last activations are not finite; they have overflowed float32 on the "
            "way (clipped_relu(max) bounds them)"
        )
    found: NDArray[np.int64] = ids[sums > 0] + 1
    return found


def _sum(one: WorkerTimes, other: WorkerTimes) -> WorkerTimes:
    """The times of one worker in two stages."""
    names = (one.name for one in declared(WorkerFigures))
    return WorkerTimes(worker=one.worker, **{name: getattr(one, name) + getattr(other, name) for name in names})


def _later(span: Span, seconds: float) -> Span:
    """Return the span on a clock that began `seconds` earlier."""
    return span._replace(start_s=span.start_s + seconds, stop_s=span.stop_s + seconds)

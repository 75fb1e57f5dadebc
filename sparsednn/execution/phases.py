"""Prepares the run of an inference: gives instances to processes, compiles kernels, times the phases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.backend import Backend, CompactBackend
from sparsednn.data.compact_rows import CompactRows
from sparsednn.execution.layer_ranges import LayerRange
from sparsednn.execution.options import InferOptions
from sparsednn.rows.distribution import Share, bounds_by_work, initial_rows, parts_of, redistribute, row_work
from sparsednn.rows.partition import largest_group


class PhaseTimes:
    """Seconds of the phases of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, Any] = {}

    @contextlib.contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time a phase, or another part of it."""
        began = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began


def redistributed(
    share: Share, options: InferOptions, first: NDArray[np.int64] | None = None, *, spread: bool = False
) -> Share:
    """Give each process its instances, in the order in which they are neighbours; `spread`: see `initial_rows`."""
    comm = options.communicator
    parts = initial_rows(
        share.n_instances, comm.size, hashed=options.hashes_rows, buckets=options.partition.buckets, first=first,
        spread=spread,
    )  # fmt: skip
    if options.partition.split == "work":
        order = np.concatenate(parts)
        parts = parts_of(order, bounds_by_work(row_work(comm, share)[order], comm.size))
    return redistribute(comm, share, parts)


def warm_up(backend: Backend, stages: list[LayerRange], share: Share, n_groups: int, options: InferOptions) -> None:
    """Compile; where processes share a node, one first, so that the others find everything in the cache.

    Without a number of row groups, for row groups of any size: kernels have small ids of rows for small ones.
    """
    compact = isinstance(share.rows, CompactRows)
    comm = options.communicator
    for turn in (True, False) if comm.size > 1 else (True,):
        if turn == (comm.node_rank == 0):
            for stage in stages:
                unit, n_rows = backend.row_unit(stage.plan), len(share.ids)
                for n_rows_at_most in (largest_group(n_rows, n_groups, unit),) if n_groups else (n_rows, min(n_rows, unit)):
                    if compact and isinstance(backend, CompactBackend):
                        backend.warm_up_compact(stage.plan, CompactRows.empty(n_rows_at_most, share.rows.shape[1]))
                    else:
                        backend.warm_up(stage.plan, n_rows_at_most)
        comm.barrier()

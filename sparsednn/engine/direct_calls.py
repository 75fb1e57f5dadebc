"""Calls a network directly, where the backend can: which batches may go this way, what went wrong, and the record of a call."""

from __future__ import annotations

import os
import socket
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.backend import DirectBackend, DirectNetwork, DirectOutcome, Optimizations
from sparsednn.comm import LocalCommunicator
from sparsednn.engine.layouts import DEEP_LAYERS, DirectLayout
from sparsednn.engine.request import Request
from sparsednn.errors import ActivationOverflowError, DataError
from sparsednn.execution.options import InferOptions
from sparsednn.network import Network, NetworkOutline
from sparsednn.network.rounding import FLOAT32
from sparsednn.results.measures import balance, column_imbalance, rates
from sparsednn.results.record import MeasuredRun, MeasuredSeconds, ProcessRecord
from sparsednn.results.result import Result, categories_sha256
from sparsednn.results.worker_times import WorkerRecord
from sparsednn.system.memory import peak_rss_bytes, proportional_bytes, require

SUMMED_AT_ONCE = 2**22
"""Activations that are added up at a time, in double precision."""

WAY_OUT = "other kernels are taken, with the layers packed as infer() has them"

SCHEDULER = "model"
"""Parallelism of direct calls of few instances: all threads are one team, which cuts the columns of each layer."""


def direct_layout(network: Network, asked: Request, kernel: str) -> DirectLayout | None:
    """Return the layout for direct calls, if nothing was asked for that they cannot do; everything is compiled then.

    `kernel` is its name as it was given.
    """
    backend, options = asked.backend, asked.options
    ordinary = asked.options != InferOptions(
        optimize=options.optimize, backend=options.backend, communicator=options.communicator
    ) or not isinstance(options.communicator, LocalCommunicator)
    if ordinary or not isinstance(backend, DirectBackend) or kernel not in backend.direct_kernels:
        return None
    backend.warm_up_direct(network.outline(), asked.kernel.kernel, asked.kernel.weights)
    size = backend.direct_size(network, asked.kernel)

    def make() -> DirectNetwork:
        require(2 * size.n_bytes, f"packing {size.connections:,} connections for direct calls", WAY_OUT)
        return backend.direct(network, asked.kernel, threads_of_calls(asked))

    drops = len(network.layers) >= DEEP_LAYERS and bool(network.zero_rows_stay_zero().any())
    return DirectLayout(size, make, drops=drops)


def threads_of_calls(asked: Request) -> int:
    """Return how many threads a direct call has: no more than there are cores, since they wait for each other spinning."""
    return min(asked.n_threads, asked.n_cores)


def raise_for(outcome: DirectOutcome, batch: NDArray[np.float32], out: NDArray[np.float32], first: int = 0) -> None:
    """Raise the error of a call that did not end well; its first instance is number `first` of the caller's."""
    if outcome is DirectOutcome.NOT_FINITE:
        instance, feature = np.argwhere(~np.isfinite(batch))[0]
        value = batch[instance, feature]
        raise DataError(f"x: instance {first + instance}, feature {feature} (from 0) is {value}, which is not finite")
    bad = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
    raise ActivationOverflowError(
        f"instance {first + bad} (from 0): the last activations are not finite; they have overflowed float32 on the way "
        "(clipped_relu(max) bounds them)"
    )


def categories_of(activations: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the 1-based ids, ascending, of the instances whose activations have a sum above zero, in float64."""
    at_once = max(SUMMED_AT_ONCE // max(activations.shape[1], 1), 1)
    alive = [
        np.add.accumulate(activations[first : first + at_once], axis=1, dtype=np.float64)[:, -1] > 0
        for first in range(0, len(activations), at_once)
    ]
    return np.flatnonzero(np.concatenate([np.zeros(0, np.bool_), *alive])) + 1


def infer_directly(network: NetworkOutline, direct: DirectNetwork, asked: Request, inputs: Any, *, output: bool) -> Result:
    """Call a network once; return the categories and the full record. Nobody else may be calling it."""
    began = perf_counter()
    batch = canonical_inputs(inputs, network.n_inputs).toarray()
    out = np.empty((len(batch), network.n_outputs), np.float32)
    loaded = perf_counter()
    outcome = direct.run(batch, out)
    if outcome is not DirectOutcome.RIGHT:
        raise_for(outcome, batch, out)
    categories = categories_of(out)
    ended = perf_counter()
    seconds = MeasuredSeconds(
        load=loaded - began, choose=0.0, hash=0.0, prepare=0.0, compile=0.0,
        inference=[ended - loaded], inference_median=ended - loaded,
    )  # fmt: skip
    record = _record(network, direct, asked, batch, categories, seconds)
    return Result(categories, sp.csr_array(out) if output else None, record)


def _record(
    network: NetworkOutline, direct: DirectNetwork, asked: Request, batch: NDArray[np.float32], categories: NDArray[np.int64],
    seconds: MeasuredSeconds,
) -> MeasuredRun:  # fmt: skip
    """Return the record of a call. It has one worker, the caller's thread: helpers keep no times."""
    options, took, n = asked.options, seconds.inference_median, len(batch)
    multiply_adds = n * direct.connections - direct.saved
    caller = WorkerRecord(process=0, thread=0, busy_s=took, row_groups=1, multiply_adds=multiply_adds)
    process = ProcessRecord(
        process=0, host=socket.gethostname(), process_id=os.getpid(), instances=n, inference_s=took, idle_s=0.0, exchange_s=0.0,
        multiply_adds=multiply_adds, peak_rss_bytes=peak_rss_bytes(), pss_bytes=proportional_bytes(), load_s=seconds.load,
    )  # fmt: skip
    return MeasuredRun(
        neurons=network.n_inputs,
        layers=network.n_layers,
        instances=n,
        input_nnz=int(np.count_nonzero(batch)),
        network_nnz=network.nnz,
        backend=asked.backend.name,
        kernel=direct.kernel,
        scheduler=SCHEDULER,
        scheduler_options={},
        executor="threads",
        hashing=options.partition.hashing,
        row_order=options.partition.order,
        split=options.partition.split,
        rebalance_after=None,
        processes=1,
        threads=threads_of_calls(asked),
        optimizations=_optimizations(direct),
        exact=direct.tolerance is None,
        tolerance=direct.tolerance,
        categories_count=len(categories),
        categories_sha256=categories_sha256(categories),
        seconds=seconds,
        **rates(n * network.nnz, multiply_adds, took),
        peak_rss_bytes=process.peak_rss_bytes,
        imbalance=balance([caller], [1.0], column_imbalance(network, threads_of_calls(asked))),
        workers=[caller],
        process_records=[process],
    )


def _optimizations(direct: DirectNetwork) -> Optimizations:
    """Return those that are on in direct calls."""
    stored = None if direct.weights == FLOAT32 else direct.weights
    merges = direct.columns == "merge"
    return Optimizations(rows="none", columns=direct.columns, order="given", structure_aware=merges, stored_weights=stored)

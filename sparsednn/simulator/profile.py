"""Counts the work of a network and its inputs by running them once, and keeps the counts in the cache folder."""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.arguments.scalars import whole_number
from sparsednn.backend import Backend, Control, KernelOptions, LaunchingBackend, ProfilingBackend, Team, load_backend
from sparsednn.errors import OptionError
from sparsednn.execution.options import require_types
from sparsednn.execution.prepared_run import categories_of
from sparsednn.network import Network
from sparsednn.simulator.work import WorkProfile
from sparsednn.system.cache import cache_folder, read_cached, write_cached
from sparsednn.system.memory import require

CHUNK_ROWS = 1_024
COUNTS = "numba"
"""The backend that counts for one without its devices: what is nonzero depends on no backend."""

VERSION = 3
_LOG = logging.getLogger(__name__)


def measure_profile(
    network: Network, inputs: sp.csr_array, n_threads: int = 1, backend: str | Backend = "numba", *, cache: bool = True,
    categories: bool = True,
) -> WorkProfile:  # fmt: skip
    """Return how many activations of each instance are nonzero before each layer and after the last.

    Measured once and cached by a hash of the network and the inputs. Hashing of neurons or instances does not change it: counts
    are of instances, by their original ids.

    Parameters
    ----------
    network : Network
    inputs : scipy.sparse matrix or array, shape (instances, network.n_inputs)
    n_threads : int
    backend : str or Backend
        One that has `profile` (see `sparsednn.backend.ProfilingBackend`).
    cache : bool
        Read from and write to the cache folder.
    categories : bool
        Run the instances a second time to find the categories where the last activations can be negative, as logits are:
        there counts do not tell them.

    Raises
    ------
    ValueError
        If the backend cannot make profiles, the inputs do not match the network, or last activations are not finite.
    MemoryError
        If the counts, or the network in the kernel's layout, do not fit.
    """
    require_types(network, backend)
    n_threads = whole_number("n_threads", n_threads, 1)
    backend = load_backend(backend) if isinstance(backend, str) else backend
    if isinstance(backend, LaunchingBackend) and backend.device_figures() is None:
        backend = load_backend(COUNTS)
    if not isinstance(backend, ProfilingBackend):
        raise OptionError(f"backend={backend.name} cannot make profiles; use backend=numba")
    rows = canonical_inputs(inputs, network.n_inputs)
    signed = categories and may_be_negative(network)
    shape = (len(network.layers) + 1 + signed, rows.shape[0])
    path = cache_folder() / f"profile-{fingerprint(network, rows)}.npz" if cache else None
    counts = _read(path, rows, shape) if path is not None else None
    if counts is None:
        require(4 * shape[0] * shape[1], "a profile of the work", "run fewer instances or layers")
        counts = _count(backend, network, rows, n_threads, signed)
        if path is not None:
            _write(path, counts)
    return profile_of(network, counts[:-1], counts[-1] > 0) if signed else profile_of(network, counts)


def may_be_negative(network: Network) -> bool:
    """Whether last activations can be below zero, so that their number does not tell whether their sum is above it."""
    return network.layers[-1].activation.low < 0


def profile_of(network: Network, nonzeros: NDArray[np.int32], positive: NDArray[np.bool_] | None = None) -> WorkProfile:
    """Return a profile from counts of nonzeros, int32 of shape (n_layers + 1, n_instances); `positive`: see `WorkProfile`."""
    layers = network.layers
    return WorkProfile(
        nonzeros,
        np.array([layer.n_inputs for layer in layers], np.int64),
        np.array([layer.n_outputs for layer in layers], np.int64),
        np.array([layer.nnz for layer in layers], np.int64),
        network.zero_rows_stay_zero(),
        np.zeros(len(layers), np.bool_),
        positive,
    )


def prepare_with_profile(
    network: Network, inputs: sp.csr_array, kernel: KernelOptions, n_threads: int, backend: Backend, n_workers: int = 1
) -> tuple[Any, WorkProfile]:
    """Prepare a network for a kernel, and return the plan with the profile of an inference that runs it.

    Columns that the plan merges and rows that it retires are no work. Parameters, errors: see `measure_profile`; `kernel` has
    the full name of a kernel, and the plan is for `n_workers`.
    """
    profile = measure_profile(network, inputs, n_threads, backend)
    assert isinstance(backend, ProfilingBackend)  # or there would be no profile
    plan = backend.prepare(network, kernel, n_workers)
    return plan, profile.as_run(backend.layer_sizes(plan))


def fingerprint(network: Network, inputs: sp.csr_array) -> str:
    """Return a SHA-256 of all that decides which activations are nonzero, as 32 hexadecimal digits."""
    digest = hashlib.sha256(f"profile {VERSION} {inputs.shape}".encode())
    for array in (inputs.indptr, inputs.indices, inputs.data):
        digest.update(np.ascontiguousarray(array).data)
    # a challenge network's generator has one for each, which need not be looked at
    known = network.fingerprint() if network.challenge is None else repr(network.challenge)
    digest.update(known.encode())
    return digest.hexdigest()[:32]


def _count(
    backend: ProfilingBackend, network: Network, inputs: sp.csr_array, n_threads: int, signed: bool
) -> NDArray[np.int32]:  # fmt: skip
    """Run all instances, some at a time on each thread; if signed, a last row has ones for categories."""
    plan = backend.prepare(network, KernelOptions(rows="prune"), n_threads)
    n_rows, n_counts = inputs.shape[0], len(network.layers) + 1
    counts = np.zeros((n_counts + signed, n_rows), np.int32)
    workers = SimpleQueue[int]()
    for worker in range(n_threads):
        workers.put(worker)

    def count(first: int) -> None:
        rows = np.arange(first, min(first + CHUNK_ROWS, n_rows), dtype=np.int64)
        counts[:n_counts, rows] = backend.profile(plan, inputs, rows)
        if signed:
            worker = workers.get()  # each has memory of its own
            counts[-1, categories_of(rows, _sums(backend, plan, inputs, rows, worker)) - 1] = 1
            workers.put(worker)

    backend.profile(plan, inputs, np.zeros(0, np.int64))  # compile once, before threads ask for it at the same time
    if signed:
        backend.warm_up(plan, CHUNK_ROWS)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(count, range(0, n_rows, CHUNK_ROWS)))
    return counts


def _sums(
    backend: Backend, plan: Any, inputs: sp.csr_array, rows: NDArray[np.int64], worker: int
) -> NDArray[np.floating[Any]]:  # fmt: skip
    """Return the sum of the last activations of each row, as an inference finds it."""
    group = backend.open(plan, inputs, rows, worker, output=False)
    backend.run(plan, group, Control.for_workers(worker + 1), Team.of((worker,)), 0)
    return backend.close(plan, group).sums


def _read(path: Path, inputs: sp.csr_array, shape: tuple[int, int]) -> NDArray[np.int32] | None:
    """Return cached counts if they are there and can be right."""
    counts = read_cached(path, "nonzeros", "measuring anew")
    if counts is None:
        return None
    if counts.shape != shape or counts.dtype.kind != "u" or not np.array_equal(counts[0], np.diff(inputs.indptr)):
        _LOG.warning("%s: is not the profile of these inputs; measuring anew", path)
        return None
    return counts.astype(np.int32)


def _write(path: Path, counts: NDArray[np.int32]) -> None:
    """Cache counts in the smallest type; a cache that cannot be written is no reason to fail."""
    small = counts.astype(np.uint16 if counts.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)

    def save(temporary: Path) -> None:
        np.savez_compressed(temporary, nonzeros=small)

    write_cached(path, save, "the profile is not cached")

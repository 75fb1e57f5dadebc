"""Implements the communicator under MPI; only this file imports mpi4py, when a communicator is made.

Values that a node's processes share are pickled with their arrays apart (see `sparsednn.comm.sharing`); these lie in one window
of shared memory, if there is room, and each process unpickles the rest around them.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import csr_of
from sparsednn.comm.base import NodeError
from sparsednn.comm.sharing import ALIGNMENT, PickledPlan, place, starts_of
from sparsednn.errors import MissingPackageError
from sparsednn.system.memory import shared_memory_bytes

T = TypeVar("T")
EXTRA = "install the extra mpi: pip install 'sparsednn[mpi]' (in a clone: pip install -e '.[mpi]')"
STEP_TASKS = "SLURM_STEP_NUM_TASKS"
"""How many tasks srun has started with this process, itself included."""

SIZES = {
    "PMI_RANK": "PMI_SIZE", "PMIX_RANK": STEP_TASKS, "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_RANK": "MV2_COMM_WORLD_SIZE", "PALS_RANKID": "PMI_SIZE",
}  # fmt: skip
"""By the variable that has a process's rank, the one that has the number of processes: MPICH and Intel MPI, PMIx (where only
srun has the number), Open MPI, MVAPICH, Cray PALS."""

SPINS, NAP_S = 200, 50e-6
"""How often a process looks for the others before it sleeps between two looks, and for how long."""

PASSING_ON_S = 0.3
"""Time for the launcher to pass the last message on: after an abort it drops what it has not read."""

CHUNK_BYTES = 1 << 30
"""The most bytes that are sent at once: an MPI library may count in int32."""


AMPLE_BYTES = 1 << 30
FRUGAL = ("UCX_TLS", "^posix")
"""Setting of MPICH where shared memory is smaller: its library UCX takes 4 MB of it for each process, and in starting MPI goes
wrong where these do not fit. System V's shared memory, which is as fast, is not a part of it."""


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether an MPI launcher has started this process and others beside it.

    Variables that it inherited say so too: from the shell that ``srun --pty bash`` started, as one task, or from a program that
    an MPI launcher started alone. One process needs no MPI, and where its launcher has gone, starting MPI would end it. So this
    takes a rank and a size above 1.
    """
    return any(
        (_size(environment, size) or _size(environment, STEP_TASKS)) > 1 for rank, size in SIZES.items() if rank in environment
    )


def _size(environment: Mapping[str, str], name: str) -> int:
    """A number of processes; 0 where none is given that can be understood."""
    text = environment.get(name, "").strip()
    return int(text) if text.isdecimal() else 0


class MpiCommunicator:
    """All processes that the launcher has started.

    Raises
    ------
    ImportError
        If mpi4py, or the MPI library that it needs, is not installed; the message says how to get them.
    """

    def __init__(self) -> None:
        if (shared_memory_bytes() or AMPLE_BYTES) < AMPLE_BYTES:
            os.environ.setdefault(*FRUGAL)
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
            raise MissingPackageError(f"processes: mpi4py cannot be used ({error}); {EXTRA}") from error
        self._mpi = MPI
        self._world = MPI.COMM_WORLD.Dup()
        self._node: Any = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self.rank: int = self._world.rank
        self.size: int = self._world.size
        self.node_rank: int = self._node.rank
        self.node_size: int = self._node.size
        self.unshared_bytes = 0
        self._windows: list[Any] = []  # of what is shared: freed when the process ends

    def barrier(self) -> None:
        """See `Communicator.barrier`."""
        _patiently(self._world.Ibarrier())

    def gather(self, value: T) -> list[T] | None:
        """See `Communicator.gather`."""
        self.barrier()
        return self._world.gather(value)

    def all_gather(self, value: T) -> list[T]:
        """See `Communicator.all_gather`."""
        self.barrier()
        return self._world.allgather(value)

    def broadcast(self, value: T | None) -> T:
        """See `Communicator.broadcast`."""
        self.barrier()
        return self._world.bcast(value)  # type: ignore[no-any-return]

    def exchange(self, values: Sequence[T]) -> list[T]:
        """See `Communicator.exchange`."""
        self.barrier()
        return self._world.alltoall(list(values))

    def share(self, make: Callable[[], T]) -> T:
        """See `Communicator.share`."""
        if self.node_size == 1:
            return make()
        packed = PickledPlan(make()) if self.node_rank == 0 else None
        _patiently(self._node.Ibarrier())
        told = (packed.data, packed.sizes, place(packed.n_bytes, self.node_size)) if packed is not None else None
        data, sizes, where = self._node.bcast(told)
        if where.refusal is not None:
            raise NodeError(where.refusal)
        arrays = [] if packed is None else packed.arrays
        kept = self._in_window(sizes, arrays) if where.shared else self._copied(sizes, arrays)
        return pickle.loads(data, buffers=kept)  # type: ignore[no-any-return]

    def _in_window(self, sizes: Sequence[int], arrays: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Put the arrays of the node's first process where all processes of it see them."""
        starts = starts_of(sizes)
        memory = self._window(starts[-1])
        views = [memory[start : start + size] for start, size in zip(starts, sizes, strict=False)]
        for view, array in zip(views, arrays, strict=False):  # on other processes than the first there are none
            view[:] = array
        _patiently(self._node.Ibarrier())
        return views

    def _copied(self, sizes: Sequence[int], arrays: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Give each process of the node copies of the first one's arrays."""
        if self.node_rank > 0:
            arrays = [np.empty(size, np.uint8) for size in sizes]
        for array in arrays:
            for start in range(0, len(array), CHUNK_BYTES):
                self._node.Bcast([array[start : start + CHUNK_BYTES], self._mpi.BYTE], 0)
        self.unshared_bytes += sum(sizes)
        return list(arrays)

    def _window(self, n_bytes: int) -> NDArray[np.uint8]:
        """New memory that all processes of the node see; `place` has found room for it."""
        window = self._mpi.Win.Allocate_shared(n_bytes + ALIGNMENT if self.node_rank == 0 else 0, 1, comm=self._node)
        self._windows.append(window)
        buffer: Any = window.Shared_query(0)[0]
        memory: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
        offset = -memory.ctypes.data % ALIGNMENT  # pages start alike in every process
        return memory[offset : offset + n_bytes]

    def counters(self) -> MpiCounters:
        """See `Communicator.counters`."""
        return MpiCounters(self._mpi, self._world)

    def expose(self, rows: sp.csr_array) -> MpiRows:
        """See `Communicator.expose`."""
        return MpiRows(self._mpi, self._world, rows)

    def abort(self, message: str, status: int = 1) -> None:
        """See `Communicator.abort`."""
        print(f"error: rank {self.rank} of {self.size}: {message}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        time.sleep(PASSING_ON_S)
        try:
            self._mpi.COMM_WORLD.Abort(status)
        finally:
            os._exit(status)  # MPI may take its time, and nothing here may go on meanwhile


def _patiently(request: Any) -> None:
    """Wait for the others without keeping a core busy that they may need: MPI's own blocking calls spin."""
    for _ in range(SPINS):
        if request.Test():
            return
    while not request.Test():
        time.sleep(NAP_S)


class MpiCounters:
    """One int64 in each process's window."""

    def __init__(self, mpi: Any, world: Any) -> None:
        self._mpi = mpi
        self._window = mpi.Win.Allocate(8, 8, comm=world)
        np.frombuffer(self._window, np.int64)[:] = 0
        world.Barrier()
        self._window.Lock_all(mpi.MODE_NOCHECK)

    def add(self, rank: int, value: int) -> int:
        """See `Counters.add`."""
        before = np.empty(1, np.int64)
        self._window.Fetch_and_op(np.array([value], np.int64), before, rank, 0, self._mpi.SUM)
        self._window.Flush(rank)
        return int(before[0])

    def close(self) -> None:
        """See `Counters.close`."""
        self._window.Unlock_all()
        self._window.Free()


class MpiRows:
    """A window for each of the three arrays of every process's matrix."""

    def __init__(self, mpi: Any, world: Any, rows: sp.csr_array) -> None:
        self._mpi, self._n = mpi, rows.shape[1]
        self._arrays = (rows.indptr, rows.indices, rows.data)
        dtypes: list[tuple[np.dtype[Any], ...]] = world.allgather(tuple(array.dtype for array in self._arrays))
        self._dtypes = dtypes
        self._windows = [mpi.Win.Create(array, array.itemsize, comm=world) for array in self._arrays]
        for window in self._windows:
            window.Lock_all(mpi.MODE_NOCHECK)

    def fetch(self, rank: int, first: int, last: int) -> sp.csr_array:
        """See `Exposed.fetch`."""
        indptr = self._get(0, rank, first, last + 1)
        begin, end = int(indptr[0]), int(indptr[-1])
        return csr_of(indptr - indptr[0], self._get(1, rank, begin, end), self._get(2, rank, begin, end), self._n)

    def _get(self, which: int, rank: int, first: int, last: int) -> NDArray[Any]:
        found = np.empty(last - first, self._dtypes[rank][which])
        if len(found):
            self._windows[which].Get(found, rank, target=(first, len(found), _datatype(self._mpi, found.dtype)))
            self._windows[which].Flush(rank)
        return found

    def close(self) -> None:
        """See `Exposed.close`."""
        for window in self._windows:
            window.Unlock_all()
            window.Free()


def _datatype(mpi: Any, dtype: np.dtype[Any]) -> Any:
    return {"int32": mpi.INT32_T, "int64": mpi.INT64_T, "float32": mpi.FLOAT}[dtype.name]

"""Checks a communicator in every process, under mpiexec."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsednn.comm import Communicator
from sparsednn.comm.mpi import MpiCommunicator
from sparsednn.system.memory import proportional_bytes

N_TAKEN = 500
LARGE = 40 << 20


@dataclass(frozen=True, slots=True)
class Thing:
    """Something to be shared: arrays of several kinds, one of them twice, one that repeats a single value."""

    name: str
    numbers: Any
    again: Any
    one_value: Any
    few: Any


def collectives(comm: Communicator) -> None:
    """Everybody gets what they should."""
    comm.barrier()
    everybody = list(range(comm.size))
    assert comm.gather(comm.rank) == (everybody if comm.rank == 0 else None)
    assert comm.all_gather(comm.rank) == everybody
    assert comm.broadcast("told" if comm.rank == 0 else None) == "told"
    assert comm.exchange([(comm.rank, other) for other in everybody]) == [(other, comm.rank) for other in everybody]


def sharing(comm: Communicator) -> None:
    """One copy on the node, with the same types and values, made by its first process."""
    made: list[int] = []

    def make() -> Thing:
        made.append(comm.rank)
        numbers = np.arange(LARGE, dtype=np.uint8)
        return Thing("thing", numbers, numbers, np.broadcast_to(np.float32(3), LARGE), np.arange(3))

    before = proportional_bytes() or 0
    thing = comm.share(make)
    assert made == ([comm.rank] if comm.node_rank == 0 else [])
    assert thing.name == "thing"
    assert thing.numbers.dtype == np.uint8
    assert np.array_equal(thing.numbers, np.arange(LARGE, dtype=np.uint8))
    assert thing.again is thing.numbers
    assert thing.one_value.strides == (0,)
    assert thing.one_value.shape == (LARGE,)
    assert thing.one_value[-1] == 3
    assert np.array_equal(thing.few, np.arange(3))
    comm.barrier()
    held = sum(comm.all_gather((proportional_bytes() or 0) - before))
    assert comm.unshared_bytes in (0, LARGE)
    n_copies = sum(comm.all_gather(comm.node_rank == 0 or comm.unshared_bytes > 0))
    assert held < (n_copies + 0.5) * LARGE, f"{held:,} bytes are held by all processes together, in {n_copies} copies"
    comm.barrier()  # nobody leaves while others look


def counting(comm: Communicator) -> None:
    """Two threads of every process take numbers from all counters: each number is given out once."""
    counters = comm.counters()
    taken: list[list[int]] = [[] for _ in range(comm.size)]
    lock = threading.Lock()

    def take() -> None:
        for number in range(N_TAKEN):
            rank = (comm.rank + number) % comm.size
            before = counters.add(rank, 1)
            with lock:
                taken[rank].append(before)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank, mine in enumerate(taken):
        numbers = [number for process in comm.all_gather(mine) for number in process]
        assert sorted(numbers) == list(range(len(numbers))), f"counter {rank}"
    counters.close()


def fetching(comm: Communicator) -> None:
    """Any rows of any process, the empty ones too."""
    matrices = [sp.csr_array(sp.random(30, 50, 0.1, random_state=rank, dtype=np.float32)) for rank in range(comm.size)]
    exposed = comm.expose(matrices[comm.rank])
    for rank, matrix in enumerate(matrices):
        for first, last in ((0, 30), (7, 8), (12, 12), (29, 30)):
            found = exposed.fetch(rank, first, last)
            assert found.shape == (last - first, 50)
            assert (found != matrix[first:last]).nnz == 0
    comm.barrier()
    exposed.close()


def check(comm: Communicator) -> None:
    """All of it."""
    collectives(comm)
    sharing(comm)
    counting(comm)
    fetching(comm)


if __name__ == "__main__":
    communicator = MpiCommunicator()
    try:
        check(communicator)
    except BaseException as error:
        communicator.abort(repr(error))
        raise
    print("right", flush=True)

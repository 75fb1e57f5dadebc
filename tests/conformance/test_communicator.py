"""The contract of every communicator."""

from __future__ import annotations

from sparsednn.comm import Communicator, LocalCommunicator


def test_one_process_gathers_what_it_has() -> None:
    comm: Communicator = LocalCommunicator()
    comm.barrier()
    assert (comm.rank, comm.size) == (0, 1)
    assert comm.gather([1, 2]) == [[1, 2]]

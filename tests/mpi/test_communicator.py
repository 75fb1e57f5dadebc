"""Every communicator does what it should: the same checks, alone and on several processes."""

from __future__ import annotations

import pytest

from sparsednn.comm import LocalCommunicator
from tests.mpi.check_communicator import collectives, counting, fetching
from tests.mpi.conftest import mpirun


@pytest.mark.parametrize("n", [1, 2, 4])
def test_processes(n: int) -> None:
    done = mpirun(n, "-m", "tests.mpi.check_communicator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right") == n


def test_one_process_without_mpi() -> None:
    comm = LocalCommunicator()
    collectives(comm)
    counting(comm)
    fetching(comm)

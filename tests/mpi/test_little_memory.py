"""Shared memory too small for a network, as in a container: no process is ended by SIGBUS."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from experiments.config.resolve import from_record
from experiments.launch import mpiexec
from experiments.launch.point import run_point
from sparsednn.comm import sharing
from sparsednn.comm.sharing import LEFT_TO_MPI_BYTES, ArrayPlace, place
from sparsednn.system import memory
from sparsednn.system.memory import KEEP_FREE_BYTES
from tests.mpi.conftest import mpirun

POINT = ("kernel=csc", "instances=600", "network.cache=false")
LITTLE = ("-m", "tests.mpi.little_memory")


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_processes_get_copies_and_this_is_said(tmp_path: Path) -> None:
    done = mpirun(
        2, *LITTLE, "0", "-", "run.py", "-m", *POINT, "cluster.share_network=true,false", f"hydra.sweep.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("note: 2 processes have copies of the network of their own") == 1
    shared, own = (record(tmp_path / number) for number in "01")
    copies = [process["unshared_bytes"] for process in shared["process_records"]]
    assert copies[0] == copies[1] > 100_000
    assert [process["unshared_bytes"] for process in own["process_records"]] == [0, 0]
    assert shared["truth"]["match"] is True
    assert shared["categories_sha256"] == own["categories_sha256"]


def test_copies_are_right_and_counted() -> None:
    done = mpirun(3, *LITTLE, "0", "-", "tests.mpi.check_communicator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right") == 3


def test_what_fits_nowhere_ends_all_processes_and_is_said_once(tmp_path: Path) -> None:
    done = mpirun(
        3, *LITTLE, "1000000", "300000000", "run.py", *POINT, "neurons=4096", "layers=3000", f"hydra.run.dir={tmp_path}"
    )
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    message = record(tmp_path)["error"]
    assert message.startswith("rank 0 of 3: ")
    assert "has room for 0.00 GB, too little for the network shared by 3 processes (0.05 GB)" in message
    assert "cluster.share_network=false" in message
    assert "--shm-size" in message


@pytest.mark.parametrize(
    ("room", "available", "shared", "refused"),
    [
        pytest.param(10**10, 10**10, True, None, id="room enough"),
        pytest.param(10**9 + 64 + LEFT_TO_MPI_BYTES, 10**10, True, None, id="just enough"),
        pytest.param(10**9 + 63 + LEFT_TO_MPI_BYTES, 10**10, False, None, id="all but what MPI needs"),
        pytest.param(0, 2 * 10**9 + KEEP_FREE_BYTES, False, None, id="copies that just fit"),
        pytest.param(0, 2 * 10**9 + KEEP_FREE_BYTES - 1, False, "needs 2.0 GB, but only 2.3 GB", id="copies that do not"),
        pytest.param(10**10, 10**9 + KEEP_FREE_BYTES, True, None, id="memory that is just enough"),
        pytest.param(10**10, 10**9, True, "needs 1.0 GB, but only 1.0 GB", id="too little memory"),
    ],
)
def test_a_place_is_found_for_a_gigabyte_of_three_processes(
    monkeypatch: pytest.MonkeyPatch, room: int, available: int, shared: bool, refused: str | None
) -> None:
    monkeypatch.setattr(sharing.memory, "shared_memory_left", lambda: room)
    monkeypatch.setattr(sharing.memory, "available_bytes", lambda: available)
    found = place(10**9, 3)
    assert found.shared is shared
    assert (found == ArrayPlace(shared)) if refused is None else refused in str(found.refusal)


def volume(monkeypatch: pytest.MonkeyPatch, **figures: int) -> None:
    """A file system with such figures where processes have what they share."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_frsize=4096, **figures))


def test_the_room_of_shared_memory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SHARED_MEMORY", (tmp_path / "missing", tmp_path))
    monkeypatch.setattr(memory, "available_bytes", lambda: 12345)
    assert memory.shared_memory() == tmp_path
    volume(monkeypatch, f_blocks=16384, f_bavail=100)
    assert (memory.shared_memory_bytes(), memory.shared_memory_left()) == (64 * 2**20, 409600)
    volume(monkeypatch, f_blocks=0, f_bavail=0)
    assert (memory.shared_memory_bytes(), memory.shared_memory_left()) == (None, 12345)  # without a limit
    monkeypatch.setattr(os, "statvfs", lambda path: (path / "missing").stat())
    assert (memory.shared_memory_bytes(), memory.shared_memory_left()) == (None, 12345)


def test_mpi_is_not_started_where_it_would_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpiexec, "shared_memory_left", lambda: 2_000_000)
    found = run_point(lambda: from_record({"processes": 2}), tmp_path, [], Console(quiet=True))
    assert found.status == "failed"
    assert (found.error or "").startswith("processes=2: MPI needs 2.2 MB of shared memory to start them, and ")
    assert not (tmp_path / mpiexec.LOG).exists()


@pytest.mark.parametrize("status", [signal.SIGBUS, -signal.SIGBUS, 128 + signal.SIGBUS])
def test_an_end_by_sigbus_names_shared_memory(status: int) -> None:
    assert "--shm-size" in mpiexec._way_out(status)
    assert "--shm-size" not in mpiexec._way_out(status + 2)


@pytest.mark.parametrize(("n_bytes", "told"), [("64 << 20", "^posix"), ("1 << 30", "None"), ("None", "None")])
def test_mpich_is_told_to_be_frugal_where_shared_memory_is_small(n_bytes: str, told: str) -> None:
    program = f"mpi.shared_memory_bytes = lambda: {n_bytes}; mpi.MpiCommunicator(); print(os.environ.get('UCX_TLS'))"
    done = mpirun(1, "-c", f"import os, sparsednn.comm.mpi as mpi; {program}")
    assert done.stdout.strip() == told, done.stderr

"""Packed networks whose makers come at the same time, are killed, or cannot write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.numba_cpu.layout import files as packed_files
from sparsednn.backend import KernelOptions, load_backend
from sparsednn.system.temporary import LOCK, remove_abandoned, temporary_folder
from tests.networks import shifted_network

ROOT = Path(__file__).parents[2]

PACK = """
import sys
from pathlib import Path
import sparsednn
from backends.numba_cpu.layout import files as packed_files
from sparsednn.backend import KernelOptions, load_backend

def pack(folder, n_layers=4):
    network = sparsednn.radixnet(64, n_layers, radices=(2, 2, 2, 2), dense_width=4, bias=-0.3, weight=0.25)
    plan = load_backend("numba").prepare(network, KernelOptions("udc_csc", columns="none", stream_from=folder), 1)
    return int(plan.connections.ids.sum()), int(plan.n_connections.sum())
"""

AT_ONCE = """
import multiprocessing, os
barrier, n_children, n_rounds = multiprocessing.get_context("fork").Barrier(6), 6, 12
publish = packed_files._publish

def publish_together(complete, path):
    barrier.wait(60)
    publish(complete, path)

children = []
for child_number in range(n_children):
    if (child := os.fork()) == 0:
        status = 1
        try:
            expected = pack(Path(sys.argv[1]) / f"alone{child_number}")
            packed_files._publish = publish_together
            for number in range(n_rounds):
                assert pack(Path(sys.argv[1]) / f"round{number}") == expected
            status = 0
        except BaseException as error:
            barrier.abort()
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(status)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""

NEVER_DONE = """
def stay(*_):
    print("packing", flush=True)
    sys.stdin.read()

packed_files._save_rest = stay
pack(Path(sys.argv[1]))
"""


@pytest.fixture
def network() -> sparsednn.Network:
    return sparsednn.radixnet(64, 8, radices=(2, 2, 2, 2), dense_width=4, bias=-0.3, weight=0.25)


def pack(network: sparsednn.Network, folder: Path, columns: str = "none") -> None:
    load_backend("numba").prepare(network, KernelOptions("udc_csc", columns=columns, stream_from=folder), 1)


def test_processes_that_pack_the_same_network_at_once_use_one_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PACK + AT_ONCE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [len(list(folder.iterdir())) for folder in tmp_path.iterdir()] == [1] * (6 + 12)


@pytest.mark.parametrize("is_there", ["nothing", "empty", "without meta", "cut off"])
def test_those_that_are_complete_at_the_same_moment_put_one_whole_folder_there(
    network: sparsednn.Network, tmp_path: Path, is_there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(network, tmp_path / "alone")
    (alone,) = (tmp_path / "alone").iterdir()
    path = tmp_path / "shared" / alone.name
    if is_there != "nothing":
        path.mkdir(parents=True)
    if is_there in ("without meta", "cut off"):
        (path / "ids.bin").write_bytes(b"cut")
    if is_there == "cut off":
        (path / packed_files.META).write_bytes((alone / packed_files.META).read_bytes())
    barrier, publish, failures = Barrier(4), packed_files._publish, []

    def together(complete: Path, path: Path) -> None:
        barrier.wait(60)
        publish(complete, path)

    def run() -> None:
        try:
            pack(network, path.parent)
        except BaseException as error:
            failures.append(error)

    monkeypatch.setattr(packed_files, "_publish", together)
    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(path.parent.iterdir()) == [path]
    for file in alone.glob("*.bin"):
        assert (path / file.name).read_bytes() == file.read_bytes()


@contextmanager
def packer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is never done with packing; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", PACK + NEVER_DONE, str(folder)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "packing\n"
        try:
            yield process
        finally:
            process.kill()


def test_what_a_killed_packer_has_left_is_removed_and_what_a_live_one_has_is_not(
    network: sparsednn.Network, tmp_path: Path
) -> None:
    with packer(tmp_path):
        (unfinished,) = tmp_path.iterdir()
        assert list(unfinished.rglob("*.bin"))
        pack(network, tmp_path)
        (packed,) = set(tmp_path.iterdir()) - {unfinished}
        pack(network, tmp_path)
        assert set(tmp_path.iterdir()) == {unfinished, packed}
    assert unfinished.exists()
    pack(network, tmp_path)  # which is packed already
    assert list(tmp_path.iterdir()) == [packed]


def test_a_folder_that_cannot_be_written_is_named_with_both_ways_out(
    network: sparsednn.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "file"))
    inputs = sp.csr_array(np.ones((2, 64), np.float32))
    with pytest.raises(OSError, match=r"file/layers: .*\(Not a directory\); .*residency=memory.*, or .*SPARSEDNN_CACHE"):
        sparsednn.infer(network, inputs, residency="stream", columns="none")


def test_something_else_of_that_name_is_named_and_stays(network: sparsednn.Network, tmp_path: Path) -> None:
    pack(network, tmp_path)
    (path,) = tmp_path.iterdir()
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    path.write_text("mine")
    with pytest.raises(OSError, match=f"something else has the name {path}; delete that"):
        pack(network, tmp_path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("columns", "digest"),
    [
        ("none", "d04122ebf1dedefe"),
        ("merge", "71fea5bc388a6a85"),
    ],
)
def test_what_is_packed_is_what_this_format_says(tmp_path: Path, columns: str, digest: str) -> None:
    """Whoever packs something else raises `packed_files.FORMAT`, or older files would be taken for it."""
    dense = (np.arange(12 * 10).reshape(12, 10) % 7 % 3).astype(np.float32)
    ragged = sparsednn.Network([sp.csr_array(dense / 4), sp.csr_array(dense.T / 8)], bias=-0.05)
    found = sha256(str(packed_files.FORMAT).encode())
    radixnet = sparsednn.radixnet(12, 4, radices=(2, 3), dense_width=2, bias=-0.1, weight=0.25)
    for network in (ragged, radixnet, shifted_network()):
        folder = tmp_path / str(network.n_outputs + len(network.layers))
        pack(network, folder, columns)
        (path,) = folder.iterdir()
        for file in sorted(path.glob("*.bin")):
            found.update(file.name.encode() + file.read_bytes())
        with np.load(path / packed_files.META) as meta:
            for name in sorted(meta.files):
                found.update(name.encode() + meta[name].tobytes())
    assert found.hexdigest()[:16] == digest


def test_a_temporary_folder_is_there_until_its_end_and_nobody_removes_it(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, ".t-") as folder:
        remove_abandoned(tmp_path, ".t-")
        with temporary_folder(tmp_path, ".t-") as other:
            assert {path.name for path in tmp_path.iterdir()} == {folder.name, other.name}
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".t-of another").mkdir()
    with temporary_folder(tmp_path, ".t-") as folder:
        (folder / "file").write_text("complete")
    assert [path.name for path in tmp_path.iterdir()] == [".t-of another"]


def test_a_new_folder_that_is_taken_for_an_abandoned_one_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, made = Path.mkdir, []

    def mkdir_before_a_cleaner(path: Path) -> None:
        mkdir(path)
        made.append(path)
        if len(made) == 1:
            remove_abandoned(tmp_path, ".t-")

    monkeypatch.setattr(Path, "mkdir", mkdir_before_a_cleaner)
    with temporary_folder(tmp_path, ".t-") as folder:
        assert [folder] == made[1:]
        assert not made[0].exists()

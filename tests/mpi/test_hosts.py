"""Two hosts: ranks in two network namespaces, over TCP and without shared memory, as if on two machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mpi.conftest import MPIEXEC, run

ADDRESSES = ("10.87.113.1", "10.87.113.2")
SHELL = """#!/bin/sh
# In place of ssh: options, a host, a command.
while [ "${{1#-}}" != "$1" ]; do shift; done
case $1 in {0}) space={2};; {1}) space={3};; esac
shift
exec ip netns exec "$space" /bin/sh -c "$*"
"""


def ip(*arguments: str) -> None:
    """Run the system's tool for networks."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


NAMES = (f"sparse-a{os.getpid()}", f"sparse-b{os.getpid()}")


def why_not() -> str:
    """Why two connected namespaces cannot be made here; nothing if they can."""
    if shutil.which("ip") is None:
        return "network namespaces cannot be made: there is no command ip"
    try:
        connect()
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"
    finally:
        delete()
    return ""


def connect() -> None:
    """Make them."""
    for name in NAMES:
        ip("netns", "add", name)
    ip("link", "add", "left", "netns", NAMES[0], "type", "veth", "peer", "name", "right", "netns", NAMES[1])
    for name, device, address in zip(NAMES, ("left", "right"), ADDRESSES, strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", device, "up")


def delete() -> None:
    """Take them away, as far as they are there."""
    for name in NAMES:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


REASON = why_not()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Path]:
    """Two connected namespaces; what starts a command in one of them, as ssh would on a host."""
    connect()
    shell = tmp_path / "shell"
    shell.write_text(SHELL.format(*ADDRESSES, *NAMES))
    shell.chmod(0o755)
    yield shell
    delete()


@pytest.mark.skipif(bool(REASON), reason=REASON)
@pytest.mark.parametrize("program", [("tests.mpi.check_communicator",), ("tests.mpi.check_infer", "hosts")], ids=str)
def test_two_hosts_give_what_one_process_gives(shell: Path, program: tuple[str, ...]) -> None:
    done = run(
        "ip", "netns", "exec", NAMES[0], str(MPIEXEC), "-launcher", "ssh", "-launcher-exec", str(shell), "-hosts",
        ",".join(ADDRESSES),
        "-ppn", "1", "-n", "2", "-env", "MPIR_CVAR_NOLOCAL", "1", "-env", "FI_PROVIDER", "tcp", sys.executable, "-m", *program,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("right") == 2

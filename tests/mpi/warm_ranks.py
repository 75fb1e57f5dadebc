"""Starts ranks as forks of a process that has imported what they need: as new Pythons would be, less their first second.

MPI's launcher starts a small program for each rank (`rank.py`), which imports nothing of ours: it hands its files (the
launcher's too), its folder and its environment to that process by a socket, and ends as the fork does that takes its place.
Whoever ends the small program ends the fork. Tests that are about how ranks start, or are ended, start new Pythons.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import warm

LOOKS_UP_S = 5
"""How often a process that forks looks whether the tests are still there."""

_servers: dict[str, str] = {}
"""The names of the sockets of processes that fork, by what counts in an environment as Python and libraries start."""


def command(environment: Mapping[str, str]) -> list[str]:
    """Return what stands for Python in the command of a rank that is started with an environment."""
    about = json.dumps(sorted((name, value) for name, value in environment.items() if name.startswith(warm.AT_START)))
    if about not in _servers:
        _servers[about] = _start(environment)
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("rank.py")), _servers[about]]


def _start(environment: Mapping[str, str]) -> str:
    """Start a process that will fork; return the name of its socket, where who comes early waits."""
    name = f"sparsednn-ranks-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{name}")
        listener.listen(16)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.mpi.warm_ranks"], cwd=warm.ROOT, env=environment, stdin=listener,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    atexit.register(process.kill)
    return name


def _serve() -> dict[str, Any]:
    """Fork for rank after rank while the tests are there; return what is asked for in the fork."""
    tests = os.getppid()
    listener = socket.socket(fileno=os.dup(0))
    listener.settimeout(LOOKS_UP_S)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.getppid() == tests:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            return _keep(connection)
        connection.close()
    os._exit(0)


def _keep(connection: socket.socket) -> dict[str, Any]:
    """Fork once more, which is the rank, and tell how it ends; end it when nobody is there to be told."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 16)
    pid = os.fork()
    if pid == 0:
        connection.close()
        return {**json.loads(text), "received": files}
    for file in (0, 1, 2, *files):
        os.close(file)
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(connection, select.POLLIN)  # which says nothing more, but ends
    if all(file != ended for file, _ in poll.poll()):
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        connection.send(str(status).encode())
    finally:
        os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Take the files, the folder and the environment of the small program."""
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 100) for file in request["received"]]
    for file in request["received"]:
        os.close(file)
    for file, number in zip(aside, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    warm.become(request["env"], request["cwd"])


if __name__ == "__main__":
    warm.import_what_runs_need()
    _asked = _serve()
    _become(_asked)
    warm.run_program(_asked["command"])

"""Runs parts of the check in a process of their own: an error that leaves a device unusable is that part's only."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import re
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep
from typing import Any

from sparsednn.errors import SparseDnnError

CONTEXT: BaseContext = multiprocessing.get_context("spawn")
"""Processes begin afresh: a context of CUDA does not outlive a fork."""

ASKS_WHERE = signal.SIGUSR1
"""A process that gets it writes down where it is."""

PATIENCE_S = 5.0
"""How long a process may take to end: one that waits in a driver may not end at all."""

ANSWER_S = 0.5
"""How long it may take to say where it is."""

PLACE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')


class ProcessEndedError(SparseDnnError, RuntimeError):
    """A process has ended without an answer, or had to be ended."""


class OwnProcess:
    """A process that does what it is given, one after the other, until it is told to end; then another one goes on."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._said: Path | None = None

    def run(self, work: Callable[..., Any], *arguments: Any, limit_s: float | None = None) -> Any:
        """Return what `work`, a function of a module, returns there.

        Raises
        ------
        Exception
            What `work` has raised.
        ProcessEndedError
            If the process has ended: by a fault, or by the system, which had no more memory; or if it was ended, since it has
            not answered for `limit_s` seconds. The message says where it was.
        """
        if self._process is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((work, arguments))
            answered = self._pipe.poll(limit_s)
            if answered:
                right, found = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if not answered:
            raise self._hung(limit_s)
        if not right:
            raise found
        return found

    def end(self) -> None:
        """End the process, and those that it has started: what comes next is done by another one."""
        process, pipe, said = self._process, self._pipe, self._said
        self._process = self._pipe = self._said = None
        if process is None or pipe is None or said is None:
            return
        pipe.close()  # one that waits for work ends by that
        if process.exitcode is None:
            process.join(ANSWER_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)  # its group has its number
        process.join(PATIENCE_S)
        said.unlink(missing_ok=True)

    def _start(self) -> None:
        handle, name = tempfile.mkstemp(prefix="sparsednn-gpu-check-")
        os.close(handle)
        self._said = Path(name)
        self._pipe, others = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(others, self._pipe, name), daemon=True)  # type: ignore[attr-defined]
        self._process.start()
        others.close()

    def _ended(self) -> ProcessEndedError:
        """Say how the process has ended."""
        assert self._process is not None
        self._process.join(PATIENCE_S)
        status, where = self._process.exitcode, self._where()
        self.end()
        if status == -signal.SIGKILL:
            how = "killed (SIGKILL), as a system does that runs out of memory"
        elif status is not None and status < 0:
            how = f"by {signal.Signals(-status).name}"
        else:
            how = f"exit status {status}"
        return ProcessEndedError(f"its process has ended without an answer: {how}{where}")

    def _hung(self, limit_s: float | None) -> ProcessEndedError:
        """End a process that does not answer; say where it was."""
        assert self._process is not None
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, ASKS_WHERE)
            sleep(ANSWER_S)
        where = self._where()
        self.end()
        return ProcessEndedError(f"its process has not answered for {limit_s:g} s, and was ended{where}")

    def _where(self) -> str:
        """Return where the process was at last, if it has said so: the innermost call of this project's backends, or any."""
        assert self._said is not None
        places = [found.groupdict() for found in PLACE.finditer(self._said.read_text(errors="replace"))]
        ours = [place for place in places if "backends" in Path(place["file"]).parts] or places
        if not ours:
            return ""
        return f"; it was in {ours[0]['function']} ({'/'.join(Path(ours[0]['file']).parts[-3:])}, line {ours[0]['line']})"


def _serve(pipe: Connection, others: Connection, said: str) -> None:
    """Do what comes through a pipe, until its other end is closed."""
    others.close()  # a fork has it
    os.setpgid(0, 0)
    with Path(said).open("w") as file:
        faulthandler.enable(file)
        faulthandler.register(ASKS_WHERE, file)
        with contextlib.suppress(EOFError, KeyboardInterrupt, OSError):
            while True:
                work, arguments = pipe.recv()
                pipe.send(_answer(work, arguments))


def _answer(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """Return whether work has gone well, and what it has returned or raised."""
    try:
        return True, work(*arguments)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # some libraries' errors cannot be sent
            return False, RuntimeError(f"{type(error).__name__}: {error}")
        return False, error

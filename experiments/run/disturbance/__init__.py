"""Owns real stragglers: a program that shares a core with a worker, and a process that is stopped again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from experiments.config.resolve import Config, ConfigError
from experiments.records.display import Display
from experiments.records.point import BURNER, STOPS, Disturbance
from sparsednn.comm import Communicator
from sparsednn.engine import default_threads
from sparsednn.system.cores import pinning_order

PERIOD_S = 0.01
"""A stopped process is stopped once in so many seconds."""

_HERE = Path(__file__).parent


def require_possible(config: Config) -> None:
    """Refuse a burner where there is no second core: all would be slowed, and not one.

    Raises
    ------
    ConfigError
    """
    nice = config.cluster.disturb.burner_nice
    if nice is not None and default_threads() < 2:
        raise ConfigError(
            f"cluster.disturb.burner_nice={nice}: needs two cores, one of which stays undisturbed, and this process may use "
            "1; leave it out"
        )


class Disturber:
    """Disturbs the runs of an inference as its configuration says; on all processes, of which one has it to do.

    Parameters
    ----------
    config : Config
        With `cluster.disturb`.
    comm : Communicator
    """

    def __init__(self, config: Config, comm: Communicator) -> None:
        asked = config.cluster.disturb
        self._nice, self._share, self._repeats, self._comm = asked.burner_nice, asked.stopped_share, config.repeats, comm
        self._shares: list[float] = []

    def around(self) -> AbstractContextManager[None]:
        """Return what surrounds one run."""
        if self._nice is not None and self._comm.rank == 0:
            return self._beside_a_burner(self._core, self._nice)
        if self._share is not None and self._comm.rank == self._comm.size - 1:
            return self._stopped(self._share)
        return nullcontext()

    def record(self, display: Display) -> Disturbance:
        """Return what was done, with the shares of the repeats, and show it in a line. Collective."""
        shares = next(filter(None, self._comm.all_gather(self._shares)))[-self._repeats :]
        found: dict[str, Any] = {"shares": shares, "share_median": median(shares)}
        if self._nice is not None:
            done = Disturbance(kind=BURNER, process=0, core=self._core, nice=self._nice, **found)
        else:
            done = Disturbance(kind=STOPS, process=self._comm.size - 1, asked=self._share, **found)
        display.say(f"note: {_words(done)}")
        return done

    @property
    def _core(self) -> int:
        """The core of the first worker of rank 0, which is the first process of its node."""
        return pinning_order()[0]

    @contextmanager
    def _beside_a_burner(self, core: int, nice: int) -> Iterator[None]:
        with _program("burner.py", core, nice) as burner:
            began, before_s = perf_counter(), _cpu_s(burner.pid)
            yield
            self._shares.append((_cpu_s(burner.pid) - before_s) / (perf_counter() - began))

    @contextmanager
    def _stopped(self, share: float) -> Iterator[None]:
        with _program("stopper.py", share, PERIOD_S) as stopper:
            began = perf_counter()
            yield
            took_s = perf_counter() - began
            stopper.terminate()
            assert stopper.stdout is not None
            self._shares.append(float(stopper.stdout.readline()) / took_s)


def _words(disturbance: Disturbance) -> str:
    """Say what disturbed a run, in a line."""
    took = f"{100 * disturbance.share_median:.0f} %"
    if disturbance.kind == BURNER:
        return f"another program, at nice {disturbance.nice}, took {took} of core {disturbance.core}"
    return f"process {disturbance.process} was stopped for {took} of the time, by SIGSTOP"


@contextmanager
def _program(file: str, *arguments: float) -> Iterator[subprocess.Popen[str]]:
    """Run a program of this folder from its first word on until the block ends.

    It is a child of this process, whose end it notices itself: what kills this process need not know of it.
    """
    command = [sys.executable, "-I", "-S", str(_HERE / file), str(os.getpid()), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise ChildProcessError(f"{file} ended with status {process.wait()} before it began")
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.kill()


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, in nanoseconds' resolution: /proc has hundredths of a second."""
    return time.clock_gettime(~pid << 3 | 2)  # the clock that clock_getcpuclockid(3) of Linux gives

"""Stops its parent again and again, as a program: ``stopper.py PARENT SHARE PERIOD_S``, until it is told to end (SIGTERM).

It leaves its parent running, tells how many seconds it had it stopped, and ends when its parent has, however that came.
"""

import contextlib
import os
import signal
import sys
from time import perf_counter, sleep


def main(parent: int, share: float, period_s: float) -> None:
    """Stop the parent for a share of each period, the first after what is left of one."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted run tells it
    _say("stopping")
    stopped_s = 0.0
    began = perf_counter()
    with contextlib.suppress(ProcessLookupError):
        while not told and os.getppid() == parent:
            _sleep_until(began + (1 - share) * period_s)
            if told or os.getppid() != parent:
                break
            os.kill(parent, signal.SIGSTOP)
            stopped_at = perf_counter()
            _sleep_until(began + period_s)
            stopped_s += perf_counter() - stopped_at  # now: the parent that wakes may take this program's core
            os.kill(parent, signal.SIGCONT)
            began = max(began + period_s, perf_counter() - period_s)  # what was missed is not made up for
    _say(str(stopped_s))


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # a parent that has ended already
        os.write(1, f"{text}\n".encode())


def _sleep_until(moment: float) -> None:
    sleep(max(moment - perf_counter(), 0))


if __name__ == "__main__":
    main(int(sys.argv[1]), *(float(word) for word in sys.argv[2:]))

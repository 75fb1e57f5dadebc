"""Keeps a core busy, as a program: ``burner.py PARENT CORE NICE``. It ends when its parent has, however that came.

It is run by its file and imports nothing but the standard library, so that it starts in milliseconds.
"""

import contextlib
import os
import signal
import sys

TURNS = 20_000
"""Turns of the loop between two looks at the parent: less than a millisecond."""


def main(parent: int, core: int, nice: int) -> None:
    """Stay on a core, with a nice value so much above that of the parent, and burn its time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted run ends it
    os.sched_setaffinity(0, {core})
    os.nice(nice)
    with contextlib.suppress(BrokenPipeError):  # a parent that has ended already
        os.write(1, b"burning\n")
    while os.getppid() == parent:
        for _ in range(TURNS):
            pass


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))

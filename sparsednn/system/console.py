"""Protects a program from its console: work continues when nobody reads its output or when writing fails."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from sparsednn.errors import SparseDnnError

FAULT = 70
"""Exit status after a fault of the program itself (EX_SOFTWARE of sysexits.h)."""

FAULT_NOTE = "this is a fault of sparsednn, not of what it was given: please report it to the project"

UNWRITTEN = 1
"""Exit status if all went well, but not all that was said could be written."""

_NAMES = {"stdout": "standard output", "stderr": "standard error"}


class Enduring:
    """A text stream that drops what its own stream cannot take, from the first failure on; all else is that stream's.

    Parameters
    ----------
    stream : text stream
        Characters that its encoding lacks are written as escapes from now on.

    Attributes
    ----------
    error : OSError or None
        Why writing failed, unless it is only that the reader has gone.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._was_terminal = stream.isatty()
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        if name == "stream":  # while it is being unpickled, there is none
            raise AttributeError(name)
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write, or drop what cannot be written."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is kept back, or drop it."""
        self._attempt(self.stream.flush)

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            if not self._reader_has_gone(error):
                self.error = self.error or error
            self._drop()

    def _reader_has_gone(self, error: OSError) -> bool:
        hung_up = self._was_terminal and error.errno == errno.EIO
        return hung_up or isinstance(error, (BrokenPipeError, ConnectionResetError))

    def _drop(self) -> None:
        """Lead the file itself to nowhere: what is kept back, what C libraries write and what child processes write too."""
        with contextlib.suppress(OSError, ValueError):  # not every stream is a file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def endure() -> None:
    """Let this process outlive its console: wrap standard output and standard error, once, where there are any."""
    logging.raiseExceptions = False  # a log file that cannot be written is no reason for a traceback on the console
    for name in _NAMES:
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Enduring):
            setattr(sys, name, Enduring(stream))


def run_program(main: Callable[[], int]) -> int:
    """Run a program whose console may fail; return its exit status.

    Returns
    -------
    int
        The exit status that `main` returns; 1 after an error that the user can mend, in one line, and `FAULT` after any other,
        with its traceback; in place of 0 it is `UNWRITTEN` if something could not be written for another reason than that its
        reader has gone.

    Raises
    ------
    SystemExit
        As `main` does, with the same rule.
    """
    endure()
    try:
        status = main()
    except SystemExit as end:  # of argparse and Hydra
        if not end.code:
            raise SystemExit(_status()) from None
        raise
    except SparseDnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        print(FAULT_NOTE, file=sys.stderr)
        return FAULT
    return status or _status()


def _status() -> int:
    """Write what is kept back, say what could not be written, and return the exit status that follows."""
    streams = {name: stream for name in _NAMES if isinstance(stream := getattr(sys, name), Enduring)}
    for stream in streams.values():
        stream.flush()
    failed = {name: stream.error for name, stream in streams.items() if stream.error is not None}
    for name, error in failed.items():
        print(
            f"error: {_NAMES[name]} cannot be written: {error.strerror or error}; all else was done",
            file=sys.stderr,
            flush=True,
        )
    return UNWRITTEN if failed else 0

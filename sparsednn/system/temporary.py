"""Makes folders for incomplete files, and removes those that killed processes have left behind.

Whoever makes such a folder holds a lock in it, which the system takes back from dead processes, on other hosts too, where
process ids would mean nothing. On a file system that has no locks nothing is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = "lock"
_TRIES = 100


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, and remove it at the end; what is to stay is moved out of it before.

    Parameters
    ----------
    parent : Path
        Must be there.
    prefix : str
        The folder's name starts so; folders of dead processes that do are removed first.

    Raises
    ------
    OSError
        If nothing can be written in `parent`.
    """
    remove_abandoned(parent, prefix)
    folder, lock = _locked_folder(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the temporary folders whose processes are dead, as far as they may be removed."""
    found: list[Path] = []
    with suppress(OSError):
        found = [path for path in parent.iterdir() if path.name.startswith(prefix)]
    for folder in found:
        with suppress(OSError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder and lock it; until that is done somebody may take it for an abandoned one."""
    for _ in range(_TRIES):
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            if _is_locked(folder / LOCK, lock):
                return folder, lock
            os.close(lock)
    raise FileNotFoundError(errno.ENOENT, "new folders vanish at once", str(parent))


def _is_locked(path: Path, lock: int) -> bool:
    """Lock a file that was opened; whether nobody else has it, and it is still there."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # there are no locks here, so nobody removes anything
        return True
    return os.path.samestat(os.fstat(lock), path.stat())

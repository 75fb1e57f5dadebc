"""Compares the checksums of what is read from files, by as many threads as there are cores."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from sparsednn.system.cores import usable_cores
from sparsednn.system.parallel import in_threads

ALONE_BYTES = 2**22
"""So much is read by one thread sooner than others have been started."""


def first_damaged(parts: Sequence[memoryview], checksums: Sequence[int]) -> int | None:
    """Return the number of the first part whose CRC-32 is another than it should be; None: all are right.

    All parts are read, so what is mapped from a file is in memory afterwards.
    """
    n = 1 if sum(part.nbytes for part in parts) < ALONE_BYTES else usable_cores()

    def first_of(thread: int) -> int | None:
        mine = range(thread, len(parts), n)
        return next((number for number in mine if zlib.crc32(parts[number]) != checksums[number]), None)

    return min((number for number in in_threads(first_of, range(n)) if number is not None), default=None)

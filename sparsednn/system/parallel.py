"""Shares work that releases the GIL among as many threads as this process may use cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from sparsednn.system.cores import usable_cores

AHEAD = 2
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], most_threads: int | None = None) -> Iterator[Result]:
    """Yield what `work` returns for each item, in their order; one item is worked on where the caller is.

    Parameters
    ----------
    work : callable
        Many threads call it at once; NumPy and zlib release the GIL for large arrays.
    items : sequence
    most_threads : int, optional
        Where each thread takes much memory.
    """
    n_threads = min(usable_cores(), len(items), most_threads or len(items))
    if n_threads <= 1:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # most runs share nothing in this way, and need not wait for it

    with ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(work, items)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items that another thread makes, up to `AHEAD` before they are wanted; on one core, as they are wanted.

    An error in making one is raised where it would have been yielded.
    """
    if usable_cores() == 1:
        yield from items
        return
    from concurrent.futures import ThreadPoolExecutor

    made = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(_next, made) for _ in range(AHEAD))
        while found := waiting.popleft().result():
            waiting.append(pool.submit(_next, made))
            yield found[0]


def _next(items: Iterator[Item]) -> tuple[Item] | None:
    """The next item, in a tuple; None: there is none."""
    return next(((item,) for item in items), None)

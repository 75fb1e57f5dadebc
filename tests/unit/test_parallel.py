"""Work that threads share comes back in its order, and so do its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sparsednn.system import checksums, parallel


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (parallel, checksums):
        monkeypatch.setattr(module, "usable_cores", lambda: request.param)
    return int(request.param)


def test_results_come_in_the_order_of_the_items(cores: int) -> None:
    threads = set()
    barrier = threading.Barrier(cores)

    def work(item: int) -> int:
        if item < cores:
            barrier.wait(timeout=60)  # so that there are as many threads
        threads.add(threading.get_ident())
        return item * item

    assert list(parallel.in_threads(work, range(20))) == [item * item for item in range(20)]
    assert len(threads) == cores


def test_there_are_no_more_threads_than_are_allowed(cores: int) -> None:
    at_work, most, lock = set[int](), [0], threading.Lock()

    def work(item: int) -> None:
        with lock:
            at_work.add(item)
            most[0] = max(most[0], len(at_work))
        with lock:
            at_work.discard(item)

    list(parallel.in_threads(work, range(200), most_threads=2))
    assert most[0] <= min(cores, 2)


def test_an_error_is_raised_where_its_result_would_be(cores: int) -> None:
    found = parallel.in_threads(lambda item: 1 / (3 - item), range(5))
    assert [next(found) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_items_are_made_ahead_and_in_order(cores: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            made.append(item)
            yield item

    found = parallel.ahead(items())
    assert made == []
    assert next(found) == 0
    assert list(found) == [1, 2, 3, 4, 5]
    assert made == list(range(6))
    assert list(parallel.ahead([])) == []
    assert list(parallel.ahead([0, None])) == [0, None]


def test_not_all_are_made_before_they_are_wanted() -> None:
    made: list[int] = []
    found = parallel.ahead(made.append(item) for item in range(100))
    next(found)
    found.close()
    assert len(made) <= 2 + parallel.AHEAD


def test_an_error_in_making_an_item_is_raised_in_its_turn(cores: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise MemoryError("no room")

    found = parallel.ahead(items())
    assert next(found) == 1
    with pytest.raises(MemoryError, match="no room"):
        next(found)


@pytest.mark.parametrize("n_bytes", [5, 2**21])
def test_the_first_part_that_differs_is_found(cores: int, n_bytes: int) -> None:
    import zlib

    parts = [memoryview(bytes([number]) * n_bytes) for number in range(7)]
    right = [zlib.crc32(part) for part in parts]
    assert checksums.first_damaged(parts, right) is None
    assert checksums.first_damaged([], []) is None
    for wrong in ({3}, {2, 3, 6}, {0, 6}):
        told = [checksum ^ (number in wrong) for number, checksum in enumerate(right)]
        assert checksums.first_damaged(parts, told) == min(wrong)

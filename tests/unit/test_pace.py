"""A caller goes with helpers or alone, whichever has been faster of late, and finds out when that changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from backends.common.jit import as_python
from backends.numba_cpu.dense.kernels import pace

WAKING_NS = 50_000


class Line:
    """A line of the shared memory, between two others, with calls whose time is told."""

    def __init__(self) -> None:
        self.shared = np.full(24, -7, np.int64)
        self.shared[8:16] = 0
        self.shared[8 + pace.UNTIL] = self.shared[8 + pace.PERIOD] = pace.FIRST_TRY
        self._asleep = False

    def calls(self, n: int, helped_ns: Callable[[int], int], alone_ns: Callable[[int], int]) -> list[bool]:
        """Make calls; return which of them went alone. A helper that was not called sleeps."""
        ways = []
        for number in range(n):
            alone = bool(as_python(pace.goes_alone)(self.shared, 8))
            ns = alone_ns(number) if alone else helped_ns(number) + WAKING_NS * self._asleep
            self._asleep = alone
            as_python(pace.note_call)(self.shared, 8, alone, ns)
            ways.append(alone)
        assert set(self.shared[:8]) | set(self.shared[16:]) == {-7}
        return ways


def always(ns: int) -> Callable[[int], int]:
    return lambda number: ns


def test_helpers_are_called_while_they_are_of_use() -> None:
    line = Line()
    assert sum(line.calls(pace.FIRST_TRY, always(42_000), always(62_000))) == 0
    ways = line.calls(20_000, always(42_000), always(62_000))
    assert 2 <= sum(ways) < 0.005 * len(ways)


def test_the_caller_goes_alone_soon_after_helpers_have_become_slow_and_back() -> None:
    line = Line()
    line.calls(1000, always(42_000), always(62_000))
    ways = line.calls(5000, always(92_000), always(62_000))
    assert ways.index(True) < 20
    assert np.mean(ways[20:]) > 0.97
    ways = line.calls(3 * pace.LAST_TRY, always(42_000), always(62_000))
    assert not any(ways[-pace.FIRST_TRY :]), "it has found out"
    assert ways.index(False) <= pace.LAST_TRY


def test_long_calls_find_out_within_a_quarter_of_a_second() -> None:
    """However long helpers have been slow, and at whatever call they are fast again."""
    helped, alone = 3_600_000, 7_000_000
    n = pace.AGAIN_NS // alone
    for n_slow in (400, 450, 500):
        line = Line()
        line.calls(100, always(helped), always(alone))
        assert np.mean(line.calls(n_slow, always(9_000_000), always(alone))) > 0.9
        ways = line.calls(200, always(helped), always(alone))
        assert np.mean(ways[n + 2 :]) < 0.1, "but for trials"


def test_calls_that_were_interrupted_change_nothing() -> None:
    line = Line()
    line.calls(1000, always(42_000), always(62_000))
    ways = line.calls(5000, lambda number: 42_000 if number % 9 else 4_000_000, always(62_000))
    assert np.mean(ways) < 0.02


def test_times_that_are_nearly_the_same_change_nothing() -> None:
    line = Line()
    ways = line.calls(5000, always(62_000), always(60_000))
    assert np.mean(ways) < 0.02


@pytest.mark.parametrize("ns", [0, 1])
def test_a_clock_that_stands_still_is_no_harm(ns: int) -> None:
    ways = Line().calls(2000, always(ns), always(ns))
    assert np.mean(ways) < 0.2

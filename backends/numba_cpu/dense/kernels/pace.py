"""Decides by what calls have taken whether the caller calls its helpers: without a core of their own they are of no use.

For each number of lanes there is a line in the threads' shared memory. The way that is taken is the one whose calls were faster
of late; the other is tried by two calls in `FIRST_TRY`, or fewer the longer it has been the slower one. The first call after
each change of way does not count, since it may have to wake a helper.
"""

from __future__ import annotations

from backends.common.jit import inline

UNTIL, PERIOD, HELPED_NS, ALONE_NS, GOES_ALONE = range(5)
"""Entries of a line: calls until the other way is tried (0 and -1: it is being tried), and how many are between two trials;
nanoseconds that either way takes (0: not known), and whether the caller goes alone."""

FIRST_TRY, LAST_TRY = 32, 1024
"""Calls between two trials: at first and after a change, and at the most, of short calls."""

AGAIN_NS = 250_000_000
"""Long calls are fewer between two trials, so that these come after so long: at half the speed, a second is long. `FIRST_TRY`
calls are the least all the same, or trials of what is slower would be many."""

BETTER = 15 / 16
"""Share of the other way's time below which a way is taken instead: times that are nearly the same shall change nothing."""

PATIENCE = 8
"""The time of a way rises by one part in so many with each slower call, and falls at once: one call that was interrupted says
little, several say that something has changed."""


@inline
def goes_alone(shared, at):
    """Return whether the next call goes without helpers.

    shared : int64 (lines * 8,)      from `at` on a line as above
    """
    return (shared[at + GOES_ALONE] != 0) != (shared[at + UNTIL] <= 0)


@inline
def note_call(shared, at, alone, ns):
    """Take note of what a call has taken, and choose the way of the next ones.

    shared : int64 (lines * 8,)      from `at` on a line as above
    """
    until = shared[at + UNTIL]
    if until == 0 or until == shared[at + PERIOD]:
        shared[at + UNTIL] = until - 1
        return
    way = ALONE_NS if alone else HELPED_NS
    known = shared[at + way]
    shared[at + way] = ns if known == 0 else min(ns, known + known // PATIENCE + 1)
    if until > 0:
        shared[at + UNTIL] = until - 1
    else:
        most = max(min(AGAIN_NS // max(ns, 1), LAST_TRY), FIRST_TRY)
        shared[at + PERIOD] = min(2 * shared[at + PERIOD], most)
        shared[at + UNTIL] = shared[at + PERIOD]
    goes_now = shared[at + GOES_ALONE] != 0
    mine, other = (ALONE_NS, HELPED_NS) if goes_now else (HELPED_NS, ALONE_NS)
    if shared[at + other] != 0 and shared[at + other] < BETTER * shared[at + mine]:
        shared[at + GOES_ALONE] = 0 if goes_now else 1
        shared[at + PERIOD] = FIRST_TRY
        shared[at + UNTIL] = FIRST_TRY

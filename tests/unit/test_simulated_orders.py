"""Orders that a scheduler should not give, or gives too early, and speeds that make no sense, in virtual time."""

from __future__ import annotations

import pytest

from sparsednn.schedulers import (
    Action,
    Event,
    Job,
    Run,
    Scheduler,
    Sleep,
    Started,
    Stop,
)
from sparsednn.simulator.executor import SimulatedExecutor
from tests.unit.test_simulated import costs


class Broken(Scheduler):
    """Puts its only worker to sleep, or stops it with the work undone."""

    name = "broken"

    def __init__(self, action: type[Sleep] | type[Stop]) -> None:
        super().__init__()
        self.action = action

    def n_row_groups(self, n_workers: int) -> int:
        return 1

    def start(self, job: Job) -> None:
        pass

    def on_event(self, event: Event) -> list[Action]:
        return [self.action(event.worker)]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        pytest.param(Sleep, r"workers \[0\] wait for ever", id="nobody will wake it"),
        pytest.param(Stop, r"left row groups \[0\] unfinished", id="work is left"),
    ],
)
def test_a_broken_scheduler_is_reported(action: type[Sleep] | type[Stop], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        SimulatedExecutor(1).run(Broken(action), Job(1, 1, 2), [costs([1, 1])])


class Hasty(Broken):
    """Gives the second worker an order for each row group before the first of them is done."""

    def n_row_groups(self, n_workers: int) -> int:
        return 2

    def on_event(self, event: Event) -> list[Action]:
        if event == Started(0):
            return [Run(1, 0), Run(1, 1), Stop(0)]
        self.finished = getattr(self, "finished", 0) + (not isinstance(event, Started))
        return [Stop(1)] if self.finished == 2 else []


def test_orders_wait_in_the_mailbox_of_a_busy_worker() -> None:
    timeline = SimulatedExecutor(2).run(Hasty(Stop), Job(2, 2, 1), [costs([1]), costs([2])])
    assert timeline.elapsed_s == 3
    assert [times.row_groups for times in timeline.times] == [0, 2]


@pytest.mark.parametrize("changes", [{"speeds": [1.0]}, {"speeds": [1.0, 0.0]}, {"slowdown": [1.0, 1.0]}])
def test_speeds_that_make_no_sense_are_refused(changes: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="is needed for each of"):
        SimulatedExecutor(2, **changes)  # type: ignore[arg-type]

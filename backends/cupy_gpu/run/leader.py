"""Takes a row group through the layers: its team puts them into streams, a few layers ahead of the device.

The host decides, at a layer boundary, what comes next: whether to go on, and which instances are left. A team's leader does
this for all members; what they do on which device is in `teams`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import DeviceArray, Event
from backends.cupy_gpu.kernels.cusparse import SparseBlock
from backends.cupy_gpu.kernels.dense import DenseBlock, digests, outputs, same, sums
from backends.cupy_gpu.plan import GpuPlan
from backends.cupy_gpu.run.barrier import Meeting
from backends.cupy_gpu.run.row_group import DeviceGroup
from backends.cupy_gpu.run.teams import DeviceTeam, Step, found_by_all
from backends.cupy_gpu.run.worker import KERNEL, Lane
from sparsednn.backend import DONE, SCORE, WORK, Control, Outcome

RUN_AHEAD = 4
"""Layers that a team puts into its streams before the first of them is waited for: so the device need not wait for the host,
and counts of what is done are not far ahead of it. A crew of one waits for the stretch before the last."""

NO_FLAGS = (None, None)
"""Where nothing is noted of instances."""


@dataclass(slots=True)
class Walk:
    """A team's leader that takes a row group through the layers.

    Attributes
    ----------
    plan : GpuPlan
    group : DeviceGroup
    lane : Lane
        Of the worker that opened the group: its device holds the group's activations.
    control : Control
    meeting : Meeting
        Where the members meet before and after each layer; `step` is what the leader has decided.
    device_team : DeviceTeam
    """

    plan: GpuPlan
    group: DeviceGroup
    lane: Lane
    control: Control
    meeting: Meeting
    device_team: DeviceTeam

    def go(self) -> Outcome:
        """Take the group on until it is through, or the team has to leave."""
        fresh, alone = True, len(self.meeting.team.workers) == 1
        while True:
            outcome = self._decide(fresh=fresh)
            if outcome is not None:
                self._catch_up()
            if not alone and not self._step(outcome):
                return Outcome.STOPPED
            if outcome is not None:
                self._take_time(outcome)
                return outcome
            if alone:
                self._stretch()
            fresh = False

    def _stretch(self) -> None:
        """Put a few layers into the stream, up to a checkpoint, or until the worker is called; for a crew of one."""
        plan, group, lane = self.plan, self.group, self.lane
        first, n, last = group.layer, group.block.n, plan.stretches[group.layer] - 1
        begin = lane.record()
        with lane.device.range(f"layers {first} to {last}"):
            block, number, n_ops, flagged = self._several(first, last)
        self._note(begin, n * (number - first), 1)
        group.block, group.layer = block, number
        group.multiply_adds += n_ops
        self.meeting.team.count(0, n_ops)
        self._look_up(lambda: self._flags(n), flagged=flagged)

    def _several(self, first: int, last: int) -> tuple[Any, int, int, bool]:
        """Put layers into the stream: narrow ones in one launch, others one by one until the worker is called.

        Returns the block behind them, the next layer, the multiply-adds, and whether flags were asked for.
        """
        plan, lane, layers, block = self.plan, self.lane, self.lane.layers, self.group.block
        control, leader, n_ops = self.control, self.meeting.team.workers[0], 0
        if plan.runs[first] and last > first:
            flags = self._fresh_flags() if plan.checks[last + 1] else NO_FLAGS
            block, n_ops = plan.kernel.advance_many(lane, plan.network, range(first, last + 1), block, flags)
            return block, last + 1, n_ops, flags is not NO_FLAGS
        number = first
        while True:
            flags = self._fresh_flags() if number == last and plan.checks[number + 1] else NO_FLAGS
            made = layers.take(number)
            block, count = plan.kernel.advance(lane, plan.network, plan.network.layers[number], made, block, flags)
            layers.give_back(number)
            n_ops, number = n_ops + count, number + 1
            if number > last or control.stop_requested() or control.is_called(leader):
                return block, number, n_ops, flags is not NO_FLAGS

    def _fresh_flags(self) -> tuple[DeviceArray, DeviceArray]:
        """Return the lane's flags, all zero."""
        lane = self.lane
        lane.device.zero(lane.flags, lane.stream)
        return lane.flags[: lane.block_rows], lane.flags[lane.block_rows :]

    def _flags(self, n: int) -> NDArray[np.bool_]:
        """Return what a layer has found of n instances: bool, shape (2, n)."""
        found = self.lane.download(self.lane.flags)
        return np.stack([found[:n], found[self.lane.block_rows :][:n]]).astype(np.bool_)

    def _step(self, outcome: Outcome | None) -> bool:
        """Do a layer with the other members of a team, or tell them to leave; False if everything is to stop."""
        group, team = self.group, self.device_team
        step = Step(outcome) if outcome is not None else team.begin(group.layer, group.block, flagged=self._flagged())
        self.meeting.step = step
        if not self.meeting.meet(0):
            return False
        if outcome is None:
            after = team.compute(self.lane, step, 0)
            if not self.meeting.meet(0):
                return False
            group.block, n = team.end(step, after), group.block.n
            group.layer += 1
            group.multiply_adds += sum(step.counts)
            self._note(None, n, RUN_AHEAD)
            self._look_up(lambda: found_by_all(step.flags)[:, :n], flagged=step.flagged)
        return True

    def _decide(self, *, fresh: bool) -> Outcome | None:
        """Return why the team has to leave; None if it goes on, and then there is a block."""
        control, leader, group = self.control, self.meeting.team.workers[0], self.group
        if control.stop_requested():
            return Outcome.STOPPED
        if group.block is None and not self._load():
            return Outcome.THROUGH
        if control.is_called(leader) and not fresh:
            self._catch_up()  # the score is behind what is in the stream
        return control.must_leave(leader, int(control.progress[leader, SCORE]), fresh=fresh)

    def _load(self) -> bool:
        """Bring the next instances in; False if there are none."""
        group, plan = self.group, self.plan
        if len(group.waiting) == 0:
            return False
        group.began = group.began or self.lane.stream.record()
        with self.lane.device.range("load"):
            group.block = plan.kernel.load(self.lane, plan.network, group.next_inputs(self.lane.block_rows))
        self.device_team.moved()
        return True

    def _take_time(self, outcome: Outcome) -> None:
        """Note what a group that is through has taken on the device."""
        if outcome is Outcome.THROUGH and self.group.began is not None:
            ended = self.lane.stream.record()
            ended.synchronize()
            assert self.plan.on_devices is not None
            self.plan.on_devices.group_s.append(self.lane.device.seconds_between(self.group.began, ended))

    def _flagged(self) -> bool:
        """Whether it is worth to look for instances to drop before the next layer."""
        after = self.group.layer + 1
        return self.plan.checks[after] and isinstance(self.group.block, DenseBlock)

    def _look_up(self, flags: Callable[[], NDArray[np.bool_]], *, flagged: bool) -> None:
        """Finish a block that is through, or drop what needs no more; say what the next layer will take."""
        group, plan = self.group, self.plan
        if group.layer == len(plan.network.layers):
            self._catch_up()
            self._finish(group.block)
        elif flagged:
            found = flags()
            self._catch_up()
            with self.lane.device.range("checkpoint"):
                self._drop(found)
        if group.block is not None:
            next_work = group.block.n * plan.network.layers[group.layer].nnz
            self.control.progress[self.meeting.team.workers[0], WORK] = next_work

    def _note(self, begin: Event | None, n: int, most_ahead: int) -> None:
        """Count instances x layers that are in the stream, from an event on if they are timed, when the device has come so far.

        Of what is noted, so much may be ahead of the device.
        """
        self.group.pending.append((begin, self.lane.record(), n))
        while len(self.group.pending) > most_ahead:
            self._wait_for_first()

    def _catch_up(self) -> None:
        """Wait for all that is in the stream, and count it."""
        while self.group.pending:
            self._wait_for_first()
        if self.group.block is None and len(self.group.waiting) == 0:
            self._count(self.group.n_rows * len(self.plan.network.layers) - self.group.n_finished)

    def _wait_for_first(self) -> None:
        begin, end, n = self.group.pending.popleft()
        end.synchronize()
        if begin is None:
            self.lane.release(end)
        else:
            self.lane.note(KERNEL, begin, end)
        self._count(n)

    def _count(self, n: int) -> None:
        """Count instances x layers."""
        progress, leader = self.control.progress, self.meeting.team.workers[0]
        self.group.n_finished += n
        progress[leader, DONE] += n
        progress[leader, SCORE] = self.group.n_finished // max(self.group.n_rows, 1)
        if self.group.block is None and len(self.group.waiting) == 0:
            progress[leader, SCORE] = len(self.plan.network.layers)

    def _drop(self, flags: NDArray[np.bool_]) -> None:
        """Let go of instances that are dead, at the maximum for ever, or the same as others, if that saves an eighth."""
        plan, group, block = self.plan, self.group, self.group.block
        alive, below = flags
        retired = alive & ~below if plan.retires[group.layer] else np.zeros_like(alive)
        keep = np.flatnonzero(alive & ~retired)
        twins: dict[int, int] = {}
        if plan.merges and len(keep) > 1:
            twins = find_twins(self.lane, block, keep, plan.kernel.tile)
            keep = keep[[i not in twins for i in keep.tolist()]] if twins else keep
        if not saves(len(keep), block.n, plan.kernel.tile):
            return
        group.drop(keep, np.flatnonzero(retired), twins, plan.full_sum)
        self._count((block.n - len(keep)) * (len(plan.network.layers) - group.layer))
        group.block = plan.kernel.pick(self.lane, block, keep) if len(keep) else None
        self.device_team.moved()

    def _finish(self, block: Any) -> None:
        """Take the results of a block that is through."""
        plan, group, lane = self.plan, self.group, self.lane
        if isinstance(block, SparseBlock):
            rows = plan.kernel.result(lane, block, plan.network.last)
            group.finish(rows @ np.ones(rows.shape[1]), [rows] if group.wants_output else [])
            return
        found = []
        if group.wants_output:
            found = list(outputs(lane, block, plan.network.last, plan.kernel.spare(lane, block)))
        group.finish(sums(lane, block, plan.network.last), found)


def run_as_member(meeting: Meeting, lane: Lane, member: int) -> Outcome:
    """Run as a member of a team other than its leader."""
    while True:
        if not meeting.meet(member):
            return Outcome.STOPPED
        step = meeting.step
        if step.outcome is not None:
            return step.outcome  # type: ignore[no-any-return]
        meeting.device_team.compute(lane, step, member)
        if not meeting.meet(member):
            return Outcome.STOPPED


def find_twins(lane: Lane, block: DenseBlock, keep: NDArray[np.int64], tile: int) -> dict[int, int]:
    """Return, of the instances `keep`, those that have the bits of an earlier one, and which one that is; none if they are too
    few to be worth it, which the device finds out.
    """
    found = digests(lane, block)
    in_order = lane.device.xp.sort(found)
    if not saves(len(keep) - int((in_order[1:] == in_order[:-1]).sum()), block.n, tile):
        return {}
    hashes = lane.download(found)[keep]
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    candidates = np.flatnonzero(first[group] != np.arange(len(keep)))
    if not candidates.size:
        return {}
    one, other = keep[candidates], keep[first[group[candidates]]]
    really = same(lane, block, one, other)
    return dict(zip(one[really].tolist(), other[really].tolist(), strict=True))


def saves(n_kept: int, n: int, tile: int) -> bool:
    """Whether going on with fewer instances saves an eighth of the tiles."""
    return 8 * -(-n_kept // tile) <= 7 * -(-n // tile)

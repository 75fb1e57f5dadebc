"""Real threads with random delays: no row group is lost, and no bit changes."""

from __future__ import annotations

import faulthandler
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.backend import load_backend
from sparsednn.execution.threads import ThreadExecutor
from sparsednn.schedulers import (
    SCHEDULERS,
    STRATEGIES,
    Action,
    Event,
    Scheduler,
    SchedulerOptions,
)
from tests.schedulers import PlainOutlook, Validated, job_of
from tests.unit.test_threads import Recorder


class Jittery(Recorder):
    """Layers that take a random moment, or none."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(n_layers=rng.randint(1, 5))
        self.rng = rng

    def layer(self, row_group: int, leader: int) -> None:
        time.sleep(self.rng.choice([0, 0, 0, 1e-6, 5e-5]))


def _delayed(scheduler: Scheduler, rng: random.Random) -> Scheduler:
    """Let every decision take a random moment, or none."""
    decide = scheduler.on_event

    def late(event: Event) -> list[Action]:
        time.sleep(rng.choice([0, 0, 0, 2e-5]))
        return decide(event)

    scheduler.on_event = late  # type: ignore[method-assign]
    return scheduler


def _random_options(rng: random.Random) -> SchedulerOptions:
    strategy, ratio = rng.choice(STRATEGIES), rng.choice([0.0, 0.3, 1.0])
    return SchedulerOptions(rng.randint(1, 4), strategy, ratio, threshold=rng.randint(0, 2), minimum_work=rng.choice([0, 40]))


def _random_outlook(rng: random.Random) -> PlainOutlook:
    """Walks that are cheap or dear, teams that share well or badly, workers that start at once or late."""
    return PlainOutlook(
        rng.choice([0, 1, 5, 40]), walk_s=rng.choice([0.1, 10]), shared=rng.choice([0, 0.6, 0.9, 1.0]),
        deviation=rng.choice([0, 1]), start_s=rng.choice([0, 0.1, 100]), wake_s=rng.choice([0, 0.1]),
    )  # fmt: skip


@contextmanager
def _watchdog(seconds: float = 240) -> Iterator[None]:
    """Show where all threads are and end the process, if the block takes too long."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _stress(name: str, n_runs: int) -> None:
    """Real threads with delays at every decision: each row group finished once, and every worker comes back."""
    with _watchdog():
        for seed in range(n_runs):
            rng = random.Random(f"{name} {seed}")
            scheduler = _delayed(Validated(SCHEDULERS[name](_random_options(rng))), rng)
            n_workers = rng.randint(1, 8)
            tasks = Jittery(rng)
            domains = tuple(rng.randint(0, 1) for _ in range(n_workers))
            job = job_of(scheduler, n_workers, tasks.n_layers, _random_outlook(rng), domains)
            tasks.n_groups = job.n_row_groups
            timeline = ThreadExecutor(n_workers, trace=rng.random() < 0.5).run(scheduler, job, tasks)
            n_groups = len(tasks.cuts) if scheduler.cuts else job.n_row_groups
            assert sum(tasks.cuts) == (job.outlook.n_rows if job.outlook is not None else 0)
            assert sorted(group for _, group in tasks.ran) == list(range(n_groups))
            assert sum(t.row_groups for t in timeline.times) == n_groups


def _stress_kernels(name: str, n_runs: int) -> None:
    """The same with compiled kernels and compiled teams, whose output must have the same bits every time."""
    with _watchdog():
        rng = random.Random(name)
        weights = [sp.random_array((30, 30), density=0.3, rng=seed) for seed in range(8)]
        network = sparsednn.Network(weights, bias=-0.1)
        inputs = sp.random_array((40, 30), density=0.4, rng=9)
        expected = sparsednn.infer(network, inputs, backend="scipy_reference", threads=1, output=True).output
        assert expected is not None
        backend = load_backend("numba")
        kernels = [kernel for kernel in backend.same_bits if name in backend.schedulers[kernel]]
        for _ in range(n_runs):
            scheduler = _delayed(SCHEDULERS[name](_random_options(rng)), rng)
            result = sparsednn.infer(
                network, inputs, kernel=rng.choice(kernels), scheduler=scheduler, threads=rng.randint(1, 6), output=True,
                rows=rng.choice(["none", "prune"]), block_rows=16,
            )  # fmt: skip
            assert result.output is not None
            assert result.output.data.tobytes() == expected.data.tobytes()
            assert np.array_equal(result.output.indices, expected.indices)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_lose_no_row_group(name: str) -> None:
    _stress(name, 60)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_change_no_bit(name: str) -> None:
    _stress_kernels(name, 80)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_lose_no_row_group_in_thousands_of_runs(name: str) -> None:
    _stress(name, 3000)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_random_delays_change_no_bit_in_thousands_of_runs(name: str) -> None:
    _stress_kernels(name, 2000)

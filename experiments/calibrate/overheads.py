"""Measures the protocol between threads: deciding, waking, starting, meeting in teams, and sharing a node's memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from statistics import median
from time import perf_counter, sleep, thread_time
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsednn
from experiments.calibrate.fitting import fit
from experiments.calibrate.idle_machine import Quiet
from experiments.calibrate.kernels import KERNELS, PreparedKernel, entry
from sparsednn.backend import Backend, KernelOptions, Team
from sparsednn.network import Network

MEETINGS = {"rowwise_first": 2, "udc_csc": 2, "csc_csc": 3, "csc_csc/paper": 3, "dcsc_csc": 3, "csr_csr": 4}
"""Meetings of a team in a layer (udc: and block), as the kernels are written; the sparse ones add one where rows have died."""

SHARED_CORE_MEMBERS = 4
"""Members of the team that meets on two cores."""


@dataclass(frozen=True, slots=True)
class WorkSeconds:
    """Seconds: elapsed from when all threads are there until the last has done its part; and for each worker, CPU time, and
    elapsed time without its waits for others."""

    elapsed_s: float
    cpu_s: tuple[float, ...]
    busy_s: tuple[float, ...]


def run_at_once(job: PreparedKernel, n_rows: int, teams: Sequence[tuple[int, ...]], cores: Sequence[int]) -> WorkSeconds:
    """Run one row group of `n_rows` for each team, all at once; worker *i* stays on core ``cores[i % len(cores)]``.

    Returns what it took, with the workers in their order.
    """
    n_workers = sum(map(len, teams))
    row_groups = job.row_groups(n_rows * len(teams), len(teams), n_workers=n_workers, n_cores=len(cores))
    ready = threading.Barrier(n_workers)
    spans: dict[int, tuple[float, float, float, float]] = {}

    def work(worker: int, group: int, team: Team, member: int) -> None:
        os.sched_setaffinity(0, {cores[worker % len(cores)]})  # 0: the calling thread
        ready.wait()
        started_s, from_s = perf_counter(), thread_time()
        if member == 0:
            row_groups.open(worker, group)
            opened[group].set()
        opened[group].wait()
        report = row_groups.run(group, team, member)
        stopped_s = perf_counter()
        spans[worker] = started_s, stopped_s, thread_time() - from_s, stopped_s - started_s - report.meet_s

    opened = [threading.Event() for _ in teams]
    threads = []
    for group, workers in enumerate(teams):
        team = row_groups.team(workers)
        threads += [threading.Thread(target=work, args=(w, group, team, m)) for m, w in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts, stops, cpu_s, busy_s = zip(*(spans[worker] for worker in range(n_workers)), strict=True)
    return WorkSeconds(max(stops) - min(starts), cpu_s, busy_s)


def prepared_job(
    backend: Backend, network: Network, options: KernelOptions, inputs: sp.csr_array, n_workers: int
) -> PreparedKernel:
    """Return a job that teams of up to `n_workers` can run."""
    plan = backend.prepare(network, options, n_workers)
    backend.warm_up(plan, inputs.shape[0])
    return PreparedKernel(backend, plan, inputs, len(network.layers))


def counts_of_members(n_cores: int) -> list[int]:
    """Return the numbers of active cores that are measured: powers of two from 2 on, and all."""
    return sorted({2**power for power in range(1, n_cores.bit_length()) if 2**power <= n_cores} | {n_cores})


def decision_s(quiet: Quiet, rounds: int) -> float:
    """One decision of a run on two threads with many row groups, with reporting to it and handing out."""
    network, inputs = sparsednn.radixnet(1024, 6), sparsednn.challenge_inputs(1024, 4_000)

    def once() -> float:
        record = sparsednn.infer(network, inputs, kernel="csc", scheduler="manager_worker", threads=2, split_factor=32).record
        workers = record["workers"]
        return float(sum(worker["enlist_s"] for worker in workers) / (sum(w["row_groups"] for w in workers) + len(workers)))

    return median(quiet.run(once) for _ in range(rounds))


def wake_s(messages: int) -> float:
    """From putting an order into the mailbox of a sleeping thread until it has it."""
    queue: SimpleQueue[float | None] = SimpleQueue()
    taken: list[float] = []

    def wait() -> None:
        while (sent_s := queue.get()) is not None:
            taken.append(perf_counter() - sent_s)

    thread = threading.Thread(target=wait)
    thread.start()
    for _ in range(messages):
        sleep(0.001)
        queue.put(perf_counter())
    queue.put(None)
    thread.join()
    return median(taken)


def start_s(times: int) -> float:
    """Starting one of eight threads after the other, until the last one runs."""
    found = []
    for _ in range(times):
        began: list[float] = []
        threads = [threading.Thread(target=lambda to=began: to.append(perf_counter())) for _ in range(8)]
        started_s = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.append((max(began) - started_s) / len(threads))
    return median(found)


def fixed_s(quiet: Quiet, rounds: int, sizes: Sequence[int], around_s: float) -> tuple[dict[str, float], float]:
    """Elapsed less busy time of runs on one thread, less `around_s`, as seconds of each run and of each row; median error."""
    network = Network.from_layers(sparsednn.radixnet(1024, 6).layers[:1], "nonzero")
    inputs = sparsednn.challenge_inputs(1024, max(sizes))

    def once(size: int) -> float:
        record = sparsednn.infer(network, inputs[:size], threads=1).record
        return float(record["seconds"]["inference_median"] - record["workers"][0]["busy_s"])

    seconds = [max(median(quiet.run(lambda n=n: once(n)) for _ in range(rounds)) - around_s, 1e-6) for n in sizes]  # type: ignore[misc]
    fitted = fit({"run_s": np.ones(len(sizes)), "row_s": np.array(sizes, float)}, seconds)
    return fitted.parameters, fitted.median_error


def barriers(backend: Backend, quiet: Quiet, cores: Sequence[int], rounds: int, layers: int) -> tuple[dict[int, float], float]:
    """One meeting of teams with a core for each member, by their size; and of threads that share a core, for each of a core."""
    network = sparsednn.radixnet(12, layers, radices=(2, 3), dense_width=2, bias=0.0, weight=0.5)
    inputs = sp.csr_array(np.ones((8, 12), np.float32))
    n_most = max(len(cores), SHARED_CORE_MEMBERS)
    job = prepared_job(backend, network, KERNELS["csc_csc"], inputs, n_most)
    sizes = counts_of_members(len(cores))
    runs: dict[Any, Callable[[], WorkSeconds]] = {n: _team(job, 8, n, cores[:n]) for n in (1, *sizes)}
    runs["shared"] = _team(job, 8, SHARED_CORE_MEMBERS, cores[:2])
    found = {name: min(quiet.run(run).elapsed_s for _ in range(rounds)) for name, run in runs.items()}
    n_meetings = layers * MEETINGS["csc_csc"]
    one_s = {name: max(seconds - found[1], 0.0) / n_meetings for name, seconds in found.items()}
    return {n: one_s[n] for n in sizes}, one_s["shared"] / (SHARED_CORE_MEMBERS / 2)


def _team(job: PreparedKernel, n_rows: int, n_members: int, cores: Sequence[int]) -> Callable[[], WorkSeconds]:
    return lambda: run_at_once(job, n_rows, [tuple(range(n_members))], cores)


@dataclass(frozen=True, slots=True)
class Sharing:
    """The losses of workers to each other: by the number of active cores, how much longer a row group takes; and of a team of
    two, what part of a layer its leader does alone, and how much longer the rest takes than half of the time of one."""

    slowdown: dict[int, float]
    serial_share: float
    team_factor: float


def sharing(
    backend: Backend, quiet: Quiet, cores: Sequence[int], rounds: int, kernel: str, network: Network, inputs: sp.csr_array
) -> Sharing:
    """Run row groups side by side and in teams.

    Slowdown is of CPU times, which other programs disturb least. A team's figures need elapsed times, and so are of the
    fastest run: the leader is busy for longer than the other member by what it does alone.
    """
    n_rows, sizes = inputs.shape[0], counts_of_members(len(cores))
    stacked = sp.csr_array(sp.vstack([inputs] * max(sizes), format="csr"))
    job = prepared_job(backend, network, KERNELS[kernel], stacked, max(sizes))
    cpu_s: dict[int, list[float]] = {n: [] for n in (1, *sizes)}
    runs: dict[int, list[WorkSeconds]] = {1: [], 2: []}
    for _ in range(rounds):
        for n, found in cpu_s.items():
            found.append(sum(run_at_once(job, n_rows, [(worker,) for worker in range(n)], cores).cpu_s) / n)
        for n, taken in runs.items():
            taken.append(quiet.run(_team(job, n_rows, n, cores)))
    slowdown = {n: max(median(a / b for a, b in zip(cpu_s[n], cpu_s[1], strict=True)), 1.0) for n in sizes}
    one_s = min(one.elapsed_s for one in runs[1]) * slowdown[2]
    leader_s, other_s = min(runs[2], key=lambda run: run.elapsed_s).busy_s
    serial = float(np.clip((leader_s - other_s) / one_s, 0, 0.9))
    return Sharing(slowdown, serial, max(2 * other_s / (one_s * (1 - serial)), 1.0))


def protocol(quiet: Quiet, rounds: int) -> dict[str, Any]:
    """Return the overheads other than meetings as parameters with their notes."""
    decision, wake, start = decision_s(quiet, rounds), wake_s(100 * rounds), start_s(20 * rounds)
    fixed, error = fixed_s(quiet, rounds, (20, 5_000, 20_000, 60_000), start + 2 * decision)
    note = (
        f"elapsed less busy time of runs of one layer on one thread, less starting and two decisions; median error {error:.1%}"
    )
    return {
        "decision_s": entry(
            decision, "s", "measured", "reporting, deciding and handing out; of runs on 2 threads, 64 row groups"
        ),
        "wake_s": entry(wake, "s", "measured", f"median of {100 * rounds} messages to a sleeping thread"),
        "start_s": entry(start, "s", "measured", "starting 8 threads one after the other; median"),
        "run_s": entry(fixed["run_s"], "s per run", "measured", note),
        "row_s": entry(fixed["row_s"], "s per row", "measured", note),
    }

"""Simulated clusters: how rows get to workers, what stragglers do, and what records say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.rows.partition import split_evenly
from sparsednn.schedulers import ONE_PROCESS_SCHEDULERS, SCHEDULERS, SchedulerOptions
from sparsednn.schedulers.model import ModelScheduler
from sparsednn.schedulers.queues import WorkStealingScheduler
from sparsednn.simulator import tuning
from sparsednn.simulator.cluster import Cluster, ClusterRun, ClusterSimulator, SchedulingChoice
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.simulate import simulate
from sparsednn.simulator.tuning import choose, describe
from sparsednn.simulator.work import WorkProfile
from tests.unit.calibrations import calibration, kind

KERNEL = kind("csc_csc")
RATE = 1e-3
N_LAYERS = 20
ANY_WORK = SchedulerOptions(minimum_work=0, recruiting_ratio=0)


def profile(alive: np.ndarray[Any, np.dtype[np.bool_]]) -> WorkProfile:
    """Instances that die in the first layer or never, with 2 of 4 neurons active: 4 multiply-adds a layer."""
    nonzeros = np.where(alive, 2, 0).astype(np.int32) * np.ones((N_LAYERS + 1, 1), np.int32)
    nonzeros[0] = 2
    every = np.ones(N_LAYERS, np.int64)
    return WorkProfile(nonzeros, 4 * every, 4 * every, 8 * every, np.ones(N_LAYERS, np.bool_), np.zeros(N_LAYERS, np.bool_))


def run(
    scheduler: str, cluster: Cluster, alive: np.ndarray[Any, np.dtype[np.bool_]] | None = None, hashes_rows: bool = False,
    **values: Any,
) -> ClusterRun:  # fmt: skip
    """One simulated run; without other figures, a multiply-add takes a millisecond and all else nothing."""
    found = profile(np.ones(6400, np.bool_) if alive is None else alive)
    model = CostModel(calibration(**{"multiply_add_s": RATE, "full_multiply_add_s": RATE, **values}))
    return ClusterSimulator(found, model, KERNEL, cluster).run(SchedulingChoice(scheduler, ANY_WORK, hashes_rows))


WHOLE_S = 6400 * N_LAYERS * 4 * RATE


@pytest.mark.parametrize("scheduler", sorted(ONE_PROCESS_SCHEDULERS))
def test_balanced_work_scales_over_nodes_processes_and_cores(scheduler: str) -> None:
    for cluster in (Cluster(), Cluster(cores_per_node=4), Cluster(4, 2, 8)):
        workers = cluster.n_processes * cluster.n_workers
        found = run(scheduler, cluster)
        even = 5e-3 if SCHEDULERS[scheduler].cuts else 1e-6  # where sizes are tried, a row may be left over
        assert found.elapsed_s == pytest.approx(WHOLE_S / workers, rel=even)
        assert found.multiply_adds == 6400 * N_LAYERS * 4
        assert found.imbalance == pytest.approx(1, rel=even)
        assert len(found.timelines) == cluster.n_processes


def test_processes_and_row_groups_are_contiguous() -> None:
    """Without overlaps, each instance once; process by process and group by group as an even split has them."""
    found = run("manager_worker", Cluster(2, 1, 2)).partition
    assert len(found.groups) == 2 * 2 * 8
    assert np.concatenate(found.groups).tolist() == list(range(6400))
    halves = [split_evenly(3200, 16).groups[number] + 3200 * half for half in (0, 1) for number in range(16)]
    assert all(np.array_equal(group, rows) for group, rows in zip(found.groups, halves, strict=True))


def test_uneven_inputs_are_healed_within_a_process_only_or_by_hashing() -> None:
    alive = np.arange(6400) < 1600  # all the work of the later layers is at the first of two nodes, in its first half
    cluster = Cluster(2, 1, 2)
    data, shared = run("data", cluster, alive), run("data_then_model", cluster, alive)
    assert data.imbalance > 3
    assert shared.elapsed_s < 0.6 * data.elapsed_s
    hashed = run("data", cluster, alive, hashes_rows=True)
    assert hashed.imbalance == pytest.approx(1, abs=0.05)
    assert hashed.elapsed_s < 0.6 * shared.elapsed_s
    assert data.multiply_adds == shared.multiply_adds == hashed.multiply_adds


def test_alive_first_is_the_worst_order() -> None:
    alive = np.arange(6400) % 4 == 0
    model = CostModel(calibration(multiply_add_s=RATE, full_multiply_add_s=RATE))
    simulator = ClusterSimulator(profile(alive), model, KERNEL, Cluster(cores_per_node=4))
    given, worst = (simulator.run(SchedulingChoice("data", row_order=order)) for order in ("given", "alive_first"))
    assert given.imbalance == pytest.approx(1)
    assert worst.imbalance > 3


def test_a_slow_core_is_the_first_of_the_first_node() -> None:
    found = run("data", Cluster(2, 1, 2, slow_core=3.0))
    assert found.process_s == pytest.approx([WHOLE_S / 4 * 3, WHOLE_S / 4])
    busy = [times.busy_s for timeline in found.timelines for times in timeline.times]
    assert busy == pytest.approx([WHOLE_S / 4 * 3] + [WHOLE_S / 4] * 3)
    for scheduler in ("work_stealing", "data_then_model"):
        assert run(scheduler, Cluster(2, 1, 2, slow_core=3.0)).elapsed_s < 0.8 * found.elapsed_s


def test_a_noisy_node_is_the_last_and_the_same_for_a_seed() -> None:
    cluster = Cluster(2, 1, 2, noisy_node=3.0, seed=1)
    found = run("data", cluster)
    quiet, noisy = found.process_s
    assert quiet == pytest.approx(WHOLE_S / 4)
    assert 1.5 * quiet < noisy < 3 * quiet
    assert run("data", cluster).timelines == found.timelines
    assert run("data", replace(cluster, seed=2)).process_s[1] != noisy


def test_more_threads_than_cores_share_them() -> None:
    for threads in (1, 2, 4):
        found = run("data", Cluster(cores_per_node=2, threads=threads))
        assert found.elapsed_s == pytest.approx(WHOLE_S / min(threads, 2))


def test_processes_of_a_node_share_its_bus() -> None:
    slowdown = {1: 1.0, 4: 2.0}
    assert run("data", Cluster(1, 2, 4), slowdown=slowdown).elapsed_s == pytest.approx(2 * WHOLE_S / 4)
    assert run("data", Cluster(4, 1, 1), slowdown=slowdown).elapsed_s == pytest.approx(WHOLE_S / 4)


def test_what_comes_on_top() -> None:
    values = {"run_s": 1.0, "row_s": 0.01, "network_latency_s": 0.5, "network_bytes_per_s": 51200.0, "core_speed": 2.0}
    found = run("data", Cluster(2), **values)
    assert found.process_s == pytest.approx([(WHOLE_S / 2 + 1 + 32) / 2] * 2)
    assert found.gather_s == pytest.approx(0.5 + 1)
    assert found.elapsed_s == pytest.approx(found.process_s[0] + found.gather_s)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"nodes": 0}, r"cluster.nodes=0: must be at least 1", id="no nodes"),
        pytest.param({"threads": 0}, r"cluster.threads=0: must be at least 1", id="no threads"),
        pytest.param({"processes_per_node": 4, "cores_per_node": 2}, r"processes_per_node=4: more than cores", id="few cores"),
        pytest.param({"slow_core": 0.5}, r"cluster.slow_core=0.5: must be at least 1", id="a slow core that is fast"),
        pytest.param({"noisy_node": float("nan")}, r"cluster.noisy_node=nan", id="not a number"),
    ],
)
def test_clusters_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cluster(**changes)


def test_a_simulated_record_says_so_and_has_all_that_a_real_one_has(
    small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    options: dict[str, Any] = {"kernel": "csc", "scheduler": "data_then_model", "trace": True}
    found = simulate(small_network, small_inputs, cluster=Cluster(2, 1, 3), **options)
    real = sparsednn.infer(small_network, small_inputs, threads=3, **options)
    assert found.categories.tolist() == real.categories.tolist()
    assert found.output is None
    record = json.loads(json.dumps(found.record))
    only_real = {"process_records", "split", "rebalance_after"}  # simulated processes differ in nothing but their rows
    assert set(real.record) - set(record) == only_real
    assert {"simulated", "cluster", "calibration", "traffic"} == set(record) - set(real.record)
    assert record["simulated"] is True
    assert record["performed_edges"] == real.record["performed_edges"]
    assert record["executor"] == "simulated"
    assert record["calibration"] == CostModel().calibration.content
    assert (record["processes"], record["threads"], len(record["workers"])) == (2, 3, 6)
    assert set(record["workers"][0]) == set(real.record["workers"][0])
    assert record["seconds"]["inference_median"] == record["seconds"]["inference"][0] > 0
    assert found.trace is not None
    assert found.trace.metadata["simulated"] is True
    found.trace.validate()
    assert simulate(small_network, small_inputs, cluster=Cluster(2, 1, 3), **options).trace == found.trace


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"repeats": 2}, "repeats: means nothing in virtual time", id="repeats"),
        pytest.param({"pin": True}, "pin: means nothing in virtual time", id="pinning"),
        pytest.param({"scheduler": "dat"}, "scheduler=dat: did you mean data", id="unknown scheduler"),
        pytest.param({"kernel": "csr", "scheduler": "model"}, "scheduler=model does not go with kernel=csr_csr", id="no pair"),
        pytest.param({"kernel": "udc_udc"}, "kernel=udc_udc: .*calibrate it first", id="not calibrated"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated(
    options: dict[str, Any], message: str, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(small_network, small_inputs, **options)


def test_auto_takes_the_simplest_of_plans_that_are_equally_fast() -> None:
    model = CostModel(calibration(multiply_add_s=RATE, full_multiply_add_s=RATE))
    choice = choose(profile(np.ones(6400, np.bool_)), model, KERNEL, 4, ANY_WORK)
    assert (choice.scheduler, choice.plan.hashes_rows) == ("data", False)
    assert len(choice.predicted) == 2 * (1 + 3 + 3 + 3) + 1
    assert "data is predicted to take 128 s on 4 threads" in choice.reason


def test_auto_avoids_stragglers_and_says_why() -> None:
    model = CostModel(calibration(multiply_add_s=RATE, full_multiply_add_s=RATE, barrier_s={2: 1.0}))
    alive = np.arange(6400) < 800
    choice = choose(profile(alive), model, KERNEL, 4, ANY_WORK)
    assert choice.predicted[describe(choice.plan)] <= min(choice.predicted.values()) * 1.01
    assert choice.predicted["data"] > 2 * min(choice.predicted.values())
    assert choice.scheduler == "manager_worker"
    assert "the best of the others: work_stealing " in choice.reason
    limited = choose(profile(alive), model, KERNEL, 4, ANY_WORK, schedulers=["data", "model"])
    assert list(limited.predicted) == ["data", "model", "data hashing=input"]
    assert describe(limited.plan) == "data hashing=input"
    assert limited.reason.startswith("data hashing=input is predicted to take 23.4 s on 4 threads, 2.87 times faster than ")
    assert limited.reason.endswith("the slowest of 3 plans tried (the best of the others: model: 41.6 s)")
    with pytest.raises(ValueError, match="no scheduler to choose from"):
        choose(profile(alive), model, KERNEL, 4, schedulers=[])


def test_auto_tunes_a_scheduler_by_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scheduler is known by name: one that is new is tuned as well."""

    class Mine(WorkStealingScheduler):
        name = "mine"
        tuned: ClassVar[Mapping[str, tuple[Any, ...]]] = {"threshold": (1, 2), "split_factor": (4, 8)}

    class Whole(ModelScheduler):
        name = "whole"

    for one in (Mine, Whole):
        monkeypatch.setitem(SCHEDULERS, one.name, one)
    monkeypatch.setattr(tuning, "ONE_PROCESS_SCHEDULERS", ("mine", "whole"))
    model = CostModel(calibration(multiply_add_s=RATE, full_multiply_add_s=RATE))
    choice = choose(profile(np.arange(6400) < 800), model, KERNEL, 4, ANY_WORK, schedulers=["whole", "mine"])
    tried = [f"mine threshold={threshold} split_factor={factor}" for threshold in (1, 2) for factor in (4, 8)]
    assert list(choice.predicted) == [*tried, "whole", *(f"{plan} hashing=input" for plan in tried)]
    assert choice.options.split_factor in (4, 8)


def test_schedulers_are_tuned_by_options_that_there_are() -> None:
    tuned = {name: scheduler.tuned for name, scheduler in SCHEDULERS.items() if scheduler.tuned}
    assert set(tuned) == {"data_then_model", "manager_worker", "work_stealing", "global_work_stealing"}
    for values in tuned.values():
        for name, tried in values.items():
            assert [getattr(SchedulerOptions(**{name: value}), name) for value in tried] == list(tried)


def test_the_record_says_which_optimisations_the_kernel_has(
    small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    """The sparse kernel merges nothing, whatever is asked for; a real run's record says the same."""
    asked = {"kernel": "csc", "rows": "merge", "columns": "merge"}
    simulated = simulate(small_network, small_inputs, **asked).record
    real = sparsednn.infer(small_network, small_inputs, **asked).record
    assert simulated["optimizations"] == real["optimizations"]
    assert simulated["optimizations"]["columns"] == "none"


def test_other_assumptions_change_times_and_are_in_the_record() -> None:
    network, inputs = sparsednn.radixnet(1024, 12), sparsednn.challenge_inputs(1024, 300)
    options: dict[str, Any] = {"kernel": "csc", "scheduler": "model"}

    def simulated(**assume: float) -> dict[str, Any]:
        return simulate(network, inputs, cluster=Cluster(2, 1, 28, assume=assume), **options).record

    plain, slow = simulated(), simulated(core_speed=0.5, slowdown=3.0)
    assert slow["seconds"]["inference_median"] > 1.5 * plain["seconds"]["inference_median"]
    assert slow["cluster"]["assume"] == {"core_speed": 0.5, "slowdown": 3.0}
    assert slow["calibration"]["assumed"]["core_speed"]["value"] == 0.5
    assert slow["categories_sha256"] == plain["categories_sha256"]
    small, large = simulated(llc_bytes=1e5)["traffic"], simulated(llc_bytes=1e9)["traffic"]
    assert small["memory_bytes"] > large["memory_bytes"] > 0
    assert small["touched_bytes"] == large["touched_bytes"]
    assert small["memory_s"] == pytest.approx(small["memory_bytes"] / small["memory_bytes_per_s"])


def test_traffic_is_estimated_for_the_same_rows_with_each_scheduler() -> None:
    network, inputs = sparsednn.radixnet(1024, 12), sparsednn.challenge_inputs(1024, 600)
    small_cache = Cluster(3, 1, 4, assume={"llc_bytes": 1e5})
    found = {
        scheduler: simulate(network, inputs, kernel="csc", scheduler=scheduler, cluster=small_cache).record["traffic"]
        for scheduler in ("data", "model", "data_then_model", "work_stealing")
    }
    assert len({traffic["process"] for traffic in found.values()}) == 1
    assert found["model"]["memory_bytes"] < found["data"]["memory_bytes"], "one layer in use at a time"
    assert "traffic" not in simulate(network, inputs, kernel="udc", cluster=Cluster()).record, "blocks go depth first"

"""The adaptive scheduler on simulated clusters: who gets which rows, against other schedulers, and what records say."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.backend import CostKind
from sparsednn.results.trace import Trace
from sparsednn.rows.partition import spread_order
from sparsednn.schedulers import (
    ONE_PROCESS_SCHEDULERS,
    SCHEDULERS,
    Action,
    Cut,
    Event,
    Job,
    Run,
    Scheduler,
    SchedulerOptions,
    Stop,
)
from sparsednn.simulator.cluster import Cluster, ClusterRun, ClusterSimulator, SchedulingChoice
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.executor import SimulatedExecutor
from sparsednn.simulator.outlook import CostOutlook, sampled
from sparsednn.simulator.profile import measure_profile
from sparsednn.simulator.simulate import simulate
from sparsednn.simulator.work import WorkProfile
from tests.schedulers import PlainOutlook
from tests.unit.calibrations import calibration, kind
from tests.unit.test_simulated import costs
from tests.unit.test_simulation import KERNEL, profile

PAPER = kind("csc_csc", rows="none", full_columns=False, empty_columns="walk")
NEURONS, LAYERS = 1024, 30


def instances(n_rows: int, share_alive: float, seed: int = 0) -> WorkProfile:
    """Instances that lose their activations layer by layer, and some of which all neurons become active: as the challenge's."""
    rng = np.random.default_rng(seed)
    alive = np.arange(n_rows) < share_alive * n_rows
    layers, first = np.arange(LAYERS + 1)[:, None], rng.uniform(60, 400, n_rows)
    left = np.maximum(1 - layers / rng.uniform(3, LAYERS, n_rows), 0) * first
    left = np.where(alive, np.minimum(first + layers * 150, NEURONS), left)
    every = np.ones(LAYERS, np.int64)
    stay = np.ones(LAYERS, np.bool_)
    return WorkProfile(left.astype(np.int32), NEURONS * every, NEURONS * every, 32 * NEURONS * every, stay, ~stay)


def run(
    scheduler: str, cluster: Cluster, found: WorkProfile, model: CostModel | None = None, order: str = "alive_first",
    **options: Any,
) -> ClusterRun:  # fmt: skip
    """One simulated run of csc in the paper's form, by default with the calibration of the package."""
    choice = SchedulingChoice(scheduler, SchedulerOptions(**options), row_order=order)
    return ClusterSimulator(found, model or CostModel(), PAPER, cluster).run(choice, trace=True)


def test_every_instance_is_in_one_row_group_and_the_living_are_spread() -> None:
    """With a quarter alive and first, each process and each row group has a quarter alive."""
    found = run("adaptive", Cluster(2, 2, 4), instances(8000, 0.25))
    groups = found.partition.groups
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(8000))
    assert all((np.diff(rows) > 0).all() for rows in groups)
    for rows in groups:
        assert len(rows) < 40 or (rows < 2000).mean() == pytest.approx(0.25, abs=0.05)
    assert max(found.process_s) == pytest.approx(min(found.process_s), rel=0.05)
    assert found.imbalance < 1.1
    for timeline in found.timelines:
        Trace(timeline.spans, {"scheduler": "adaptive", "kernel": "none", "simulated": True}).validate()


@pytest.fixture(scope="module")
def challenge(challenge_network: sparsednn.Network, challenge_rows: sp.csr_array) -> WorkProfile:
    """The real work of the challenge's first instances."""
    return measure_profile(challenge_network, challenge_rows[:3000], cache=False)


def of_the_best(found: WorkProfile, cluster: Cluster, kernel: CostKind) -> float:
    """Its time, by that of the fastest of the others with its best parameters: seconds in all, since all are simulated."""
    simulator = ClusterSimulator(found, CostModel(), kernel, cluster)
    others = [
        simulator.run(SchedulingChoice(name, SchedulerOptions(split_factor=split), hashes_rows, "alive_first")).elapsed_s
        for name in ONE_PROCESS_SCHEDULERS
        if not SCHEDULERS[name].cuts
        for split in ((4, 16) if "split_factor" in SCHEDULERS[name].tuned else (8,))
        for hashes_rows in (False, True)
    ]
    return simulator.run(SchedulingChoice("adaptive", row_order="alive_first")).elapsed_s / min(others)


def test_it_is_nearly_as_fast_as_the_best_of_the_others(challenge: WorkProfile) -> None:
    """Within a tenth at nine of ten points, and nowhere more than a quarter behind. Starting is not free."""
    points = itertools.product((40, 300, 3000), [(1, 1), (1, 4), (4, 2), (2, 28)], (PAPER, kind("udc_csc"), kind("dcsc_csc")))
    ratios = {}
    for n_rows, (nodes, cores), kernel in points:
        found = replace(challenge, nonzeros=np.ascontiguousarray(challenge.nonzeros[:, :n_rows]))
        ratios[n_rows, nodes, cores, kernel.parameters] = of_the_best(found, Cluster(nodes, 1, cores), kernel)
    assert max(ratios.values()) <= 1.25, ratios
    assert np.mean(np.array(list(ratios.values())) <= 1.10) >= 0.9, ratios


def test_a_straggler_is_helped_and_given_less() -> None:
    """Where teams bring nothing, row groups even it out: three whole cores and a slow one, each at work until the end."""
    model = CostModel(calibration(multiply_add_s=1e-5, full_multiply_add_s=1e-5, serial_share=1.0))
    for slow in (2.0, 4.0):
        simulator = ClusterSimulator(profile(np.ones(6000, np.bool_)), model, KERNEL, Cluster(cores_per_node=4, slow_core=slow))
        data, mine = (simulator.run(SchedulingChoice(name)) for name in ("data", "adaptive"))
        assert data.elapsed_s == pytest.approx(4.8 / 4 * slow)
        assert mine.elapsed_s == pytest.approx(4.8 / (3 + 1 / slow), rel=0.05)
        rows = [times.multiply_adds for times in mine.timelines[0].times]
        assert rows[0] < 0.7 * min(rows[1:])


def test_workers_that_bring_nothing_are_not_started() -> None:
    """3 s for each start, and 2 s of work in all: one is enough, and is reported beside those that were not there."""
    model = CostModel(calibration(multiply_add_s=1e-5, full_multiply_add_s=1e-5, start_s=3.0))
    simulator = ClusterSimulator(profile(np.ones(2500, np.bool_)), model, KERNEL, Cluster(cores_per_node=4))
    found = simulator.run(SchedulingChoice("adaptive"))
    busy_s = [times.busy_s for times in found.timelines[0].times]
    assert busy_s == pytest.approx([2, 0, 0, 0])
    assert found.elapsed_s == pytest.approx(3 + 2)
    assert simulator.run(SchedulingChoice("data")).elapsed_s > 4 * 3


def test_a_noisy_node_slows_its_own_row_groups_down() -> None:
    found = instances(4000, 0.5)
    quiet, noisy = run("adaptive", Cluster(2, 1, 2, noisy_node=3.0, seed=1), found).process_s
    assert 1.5 * quiet < noisy < 3 * quiet


def test_it_is_deterministic() -> None:
    one, other = (run("adaptive", Cluster(2, 1, 6, noisy_node=2.0, slow_core=1.5), instances(5000, 0.4)) for _ in range(2))
    assert one.timelines == other.timelines
    assert one.sample_s == other.sample_s


@pytest.mark.parametrize("options", [{"sample_rows": 5000}, {"sample_rows": 32}])
def test_the_forecast_of_all_rows_by_all_rows_is_what_they_cost(options: dict[str, int]) -> None:
    """Worked out by the cost model from the rows themselves; by a sample, it is within a tenth."""
    found = instances(5000, 0.5)
    model, order = CostModel(), spread_order(5000)
    outlook = CostOutlook(sampled(found, order, options["sample_rows"]), 5000, model, PAPER, 2, 2, np.ones(3))
    (costs,) = model.costs([found.group_work(np.arange(5000))], PAPER)
    alone_s = costs.open_s + float(costs.alone_s.sum()) + costs.close_s
    assert outlook.team_s(5000, 1) == pytest.approx(alone_s, rel=1e-9 if options["sample_rows"] == 5000 else 0.1)
    assert outlook.team_s(5000, 1) / 2 < outlook.team_s(5000, 2) < outlook.team_s(5000, 1)
    assert 0 < outlook.first_layer_s(5000, 1) < alone_s / 10
    assert outlook.row_s() == pytest.approx(alone_s / 5000, rel=0.3)
    assert 0 < outlook.deviation_s(100) < outlook.team_s(100, 1)


def test_blocks_are_known_to_the_forecast() -> None:
    model = CostModel()
    outlook = CostOutlook(instances(32, 0.5), 600, model, kind("udc_csc"), 2, 2, np.ones(3))
    assert outlook.block_rows == model.block_rows(kind("udc_csc")) > 1
    own = CostOutlook(instances(32, 0.5), 600, model, kind("udc_csc", block_rows=64), 2, 2, np.ones(3))
    assert own.block_rows == 64


class Torn(Scheduler):
    """Cuts other rows than it should."""

    name, cuts = "torn", True

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut

    def n_row_groups(self, n_workers: int) -> int:
        return 0

    def start(self, job: Job) -> None:
        self.done = False

    def on_event(self, event: Event) -> list[Action]:
        if self.done:
            return [Stop(0)]
        self.done = True
        return [self.cut, Run(0, self.cut.row_group)]


def test_a_row_group_that_is_not_the_next_is_refused() -> None:
    job = Job(1, 0, 1, outlook=PlainOutlook(4))
    with pytest.raises(RuntimeError, match="0 row groups and not another"):
        SimulatedExecutor(1).run(Torn(Cut(1, 0, 4)), job, [], lambda start, stop: costs([1.0]))
    with pytest.raises(RuntimeError, match="no rows to be cut"):
        SimulatedExecutor(1).run(Torn(Cut(0, 0, 4)), job, [])


@pytest.mark.parametrize(("start", "stop"), [(1, 400), (0, 401), (0, 399), (2, 2)])
def test_rows_that_are_left_out_are_reported(start: int, stop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Torn):
        def __init__(self, options: SchedulerOptions) -> None:
            super().__init__(Cut(0, start, stop))

    monkeypatch.setitem(SCHEDULERS, "torn", Here)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="cut only 399 of 400|the scheduler cuts rows"):
        run("torn", Cluster(), instances(400, 0.5))


def test_the_record_tells_what_the_sample_and_the_sizes_take() -> None:
    rng = np.random.default_rng(0)
    network = sparsednn.Network([sp.random_array((30, 30), density=0.3, rng=rng) for _ in range(5)], bias=-0.1)
    inputs = sp.random_array((90, 30), density=0.4, rng=rng)
    found = simulate(network, inputs, kernel="csc", scheduler="adaptive", cluster=Cluster(2, 1, 3), trace=True)
    plain = simulate(network, inputs, kernel="csc", scheduler="data", cluster=Cluster(2, 1, 3))
    assert found.record["scheduler"] == "adaptive"
    assert np.array_equal(found.categories, plain.categories)
    assert len(found.record["workers"]) == 6
    seconds = found.record["seconds"]
    assert 0 < seconds["sample"] < 1
    assert seconds["sizing"] > 0
    assert plain.record["seconds"].get("sample") is None
    assert found.record["traffic"]["touched_bytes"] > 0
    assert found.trace is not None
    found.trace.validate()


def test_no_instances_are_no_fault() -> None:
    network = sparsednn.Network([sp.csc_array(np.ones((3, 3)))], bias=-0.1)
    found = simulate(network, np.zeros((0, 3)), kernel="csc", scheduler="adaptive", cluster=Cluster(2, 1, 2))
    assert found.categories.tolist() == []

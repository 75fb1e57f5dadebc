"""infer: options, own backends and schedulers, records."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn import backend as interface
from sparsednn.backend import load_backend, registry
from sparsednn.schedulers import (
    ONE_PROCESS_SCHEDULERS,
    SCHEDULERS,
    Action,
    Event,
    Finished,
    Job,
    Run,
    Scheduler,
    SchedulerOptions,
    Started,
    Stop,
)
from sparsednn.schedulers.data import DataScheduler


class Forgetful(Scheduler):
    """Stops every worker without giving it anything to do."""

    name = "forgetful"

    def n_row_groups(self, n_workers: int) -> int:
        return 3

    def start(self, job: Job) -> None: ...

    def on_event(self, event: Event) -> list[Action]:
        return [Stop(event.worker)] if isinstance(event, Started | Finished) else []


class Backwards(Scheduler):
    """Worker 0 runs all row groups, the last first."""

    name = "backwards"

    def n_row_groups(self, n_workers: int) -> int:
        return 4

    def start(self, job: Job) -> None:
        self.left = job.n_row_groups

    def on_event(self, event: Event) -> list[Action]:
        self.left -= 1
        return [Run(event.worker, self.left)] if event.worker == 0 and self.left >= 0 else [Stop(event.worker)]


def test_a_scheduler_of_ones_own_decides(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    expected = sparsednn.infer(small_network, small_inputs, backend="scipy_reference", output=True)
    result = sparsednn.infer(small_network, small_inputs, scheduler=Backwards(), threads=1, output=True)
    assert (result.output != expected.output).nnz == 0
    assert result.record["scheduler"] == "backwards"
    assert result.record["workers"][0]["row_groups"] == 4


def test_a_scheduler_that_forgets_row_groups_is_found_out(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(RuntimeError, match=r"left row groups \[0, 1, 2\] unfinished"):
        sparsednn.infer(small_network, small_inputs, scheduler=Forgetful(), threads=2)


def test_a_backend_of_ones_own_is_taken_as_an_object(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    backend = load_backend("scipy_reference")
    backend.name = "mine"
    result = sparsednn.infer(small_network, small_inputs, backend=backend, scheduler=DataScheduler())
    assert result.record["backend"] == "mine"


def test_all_that_a_backend_needs_is_imported_from_one_place() -> None:
    """Backends of others do so; names may be added."""
    names = (
        "ENTRY_POINT_GROUP STOP_FLAG LINE LEGAL_OPTIONS KernelOptions Control Outcome Team GroupResult Backend LayerSizes "
        "ProfilingBackend DeviceBackend DeviceError require_in_memory kernel_name require_schedulable workers_of backend_names "
        "load_backend"
    ).split()
    assert set(names) <= set(interface.__all__)
    assert all(hasattr(interface, name) for name in interface.__all__)


def test_a_former_name_of_a_kernel_is_taken_with_a_word(
    small_network: sparsednn.Network, small_inputs: sp.csr_array, caplog: pytest.LogCaptureFixture
) -> None:
    registry._warn_of_former_name.cache_clear()
    results = [
        sparsednn.infer(small_network, small_inputs, kernel=kernel) for kernel in ("adaptive", "adaptive", "rowwise_first")
    ]
    assert [result.record["kernel"] for result in results] == ["rowwise_first"] * 3
    said = [record.getMessage() for record in caplog.records]
    assert said == ["kernel=adaptive: is called rowwise_first now; the former name is still taken"]  # once
    with pytest.raises(ValueError, match=r"kernel=adaptive: .*\(backend scipy_reference\)"):
        sparsednn.infer(small_network, small_inputs, backend="scipy_reference", kernel="adaptive")


def test_a_backend_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint(name="broken", value="a_package_that_is_not_there:Backend", group=registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "_installed", lambda path: (broken,))
    with pytest.raises(
        ImportError, match="backend=broken needs a package that cannot be imported: .*a_package_that_is_not_there"
    ):
        load_backend("broken")


def test_no_backend_at_all_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_installed", lambda path: ())
    with pytest.raises(ValueError, match="pip install"):
        load_backend("numba")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"backend": "nmba"}, ValueError, r"backend=nmba: did you mean numba\?", id="unknown backend"),
        pytest.param({"kernel": "cs"}, ValueError, "kernel=cs: did you mean", id="unknown kernel"),
        pytest.param(
            {"scheduler": "date"},
            ValueError,
            r"scheduler=date: did you mean data or adaptive or auto\?",
            id="unknown scheduler",
        ),
        pytest.param({"threads": 0}, ValueError, "threads=0: must be at least 1", id="no threads"),
        pytest.param({"threads": 100_000}, ValueError, "threads=100000: at most 4096", id="too many threads"),
        pytest.param({"thread": 2}, TypeError, r"unknown key thread: did you mean threads\b", id="a parameter misspelt"),
        pytest.param({"repeats": 0}, ValueError, "repeats=0: must be at least 1", id="no repeats"),
        pytest.param({"rows": "prun"}, ValueError, r"rows=prun: did you mean prune\?", id="unknown row option"),
        pytest.param({"columns": "fold"}, ValueError, "columns=fold: legal: none, merge", id="unknown column option"),
        pytest.param({"order": "x"}, ValueError, "order=x", id="unknown order"),
        pytest.param({"hashing": "layers"}, ValueError, r"hashing=layers: did you mean layer\?", id="unknown hashing"),
        pytest.param({"row_order": "dead_first"}, ValueError, "row_order=dead_first: .*alive_first", id="unknown row order"),
        pytest.param({"buckets": 0}, ValueError, "buckets=0", id="no buckets"),
        pytest.param({"split_factor": 0}, ValueError, "split_factor=0", id="no row groups"),
        pytest.param({"strategy": "first"}, ValueError, "strategy=first: .*earliest_first", id="unknown strategy"),
        pytest.param({"recruiting_ratio": 2}, ValueError, "recruiting_ratio=2: must be from 0 to 1", id="ratio above one"),
        pytest.param({"threshold": -1}, ValueError, "threshold=-1", id="negative threshold"),
        pytest.param({"minimum_work": -1}, ValueError, "minimum_work=-1", id="negative work"),
        pytest.param({"numa_domains": 0}, ValueError, "numa_domains=0: must be at least 1", id="no NUMA domains"),
        pytest.param({"block_rows": 0}, ValueError, "block_rows=0", id="no block rows"),
        pytest.param({"repeat": 3}, TypeError, r"unknown key repeat: did you mean repeats\?", id="unknown option"),
    ],
)
def test_options_that_are_not_legal_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str,
    small_network: sparsednn.Network, small_inputs: sp.csr_array,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message):
        sparsednn.infer(small_network, small_inputs, **arguments)


def test_a_scheduler_that_is_at_work_is_not_given_to_another_call(
    small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    """It has the state of one run; two runs at once would hand out each other's row groups."""
    shared = SCHEDULERS["manager_worker"](SchedulerOptions())
    refused: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(RuntimeError, match="scheduler=manager_worker: this object is at work in another call") as caught:
            sparsednn.infer(small_network, small_inputs, scheduler=shared, threads=1)
        refused.append(str(caught.value))

    first = sparsednn.infer(small_network, small_inputs, scheduler=shared, threads=1, progress=again)
    assert refused
    after = sparsednn.infer(small_network, small_inputs, scheduler=shared, threads=1)  # one after the other is legal
    assert after.categories.tolist() == first.categories.tolist()


def test_repeats_are_timed_one_by_one(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    record = sparsednn.infer(small_network, small_inputs, repeats=4, threads=2).record
    times = record["seconds"]["inference"]
    assert len(times) == 4
    assert record["seconds"]["inference_median"] == pytest.approx(float(np.median(times)))


def test_progress_ends_with_everything_done(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    calls: list[tuple[int, int]] = []
    sparsednn.infer(small_network, small_inputs, threads=1, progress=lambda done, total: calls.append((done, total)))
    assert calls
    assert calls[-1] == (9 * 4, 9 * 4)


@pytest.mark.parametrize("kernel", ["udc_csc", "udc_udc", "csc_csc", "dcsc_csc", "csc_udc", "csr_csr"])
@pytest.mark.parametrize("rows", ["none", "prune"])
def test_every_kernel_counts_all_rows_as_done(
    kernel: str, rows: str, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    """Rows that die count for all the layers that they need not be taken through."""
    calls: list[tuple[int, int]] = []
    inputs = sp.vstack([challenge_rows[:300], sp.csr_array((20, 1024), dtype=np.float32)])
    network = sparsednn.Network.from_layers(challenge_network.layers[:24])
    sparsednn.infer(
        network, inputs, kernel=kernel, rows=rows, threads=2, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (320 * 24, 320 * 24)


def test_the_network_fits_no_memory(monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network) -> None:
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: 1000)
    monkeypatch.setattr("sparsednn.system.memory.UNASKED_BYTES", 0)
    with pytest.raises(MemoryError, match=r"needs .* GB, but only .* GB of memory are available"):
        sparsednn.infer(small_network, np.ones((2, 12)), kernel="udc_udc")


@pytest.mark.parametrize("hashing", ["none", "input"])
def test_alive_first_moves_rows_but_no_result(
    hashing: str, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    rows = challenge_rows[:4000]
    expected = sparsednn.infer(challenge_network, rows, kernel="csc", threads=2, output=True)
    result = sparsednn.infer(
        challenge_network, rows, kernel="csc", threads=2, output=True, row_order="alive_first", hashing=hashing
    )
    assert (result.output != expected.output).nnz == 0
    assert result.categories.tolist() == expected.categories.tolist()
    assert result.record["row_order"] == "alive_first"


class Watched(DataScheduler):
    """Keeps the jobs it is given."""

    def start(self, job: Job) -> None:
        super().start(job)
        self.job = job


def test_the_scheduler_is_told_the_domain_of_every_worker(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    scheduler = Watched()
    sparsednn.infer(small_network, small_inputs, scheduler=scheduler, threads=5, numa_domains=2)
    assert scheduler.job.domains == (0, 0, 0, 1, 1)


def test_options_of_the_scheduler_reach_it(
    monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    made: list[Watched] = []

    def make(options: SchedulerOptions) -> Watched:
        made.append(Watched(options))
        return made[-1]

    monkeypatch.setitem(SCHEDULERS, "data", make)
    wanted = {"split_factor": 3, "strategy": "slower_first", "recruiting_ratio": 0.5, "threshold": 2, "minimum_work": 7}
    sparsednn.infer(small_network, small_inputs, scheduler="data", threads=1, **wanted)
    assert made[0].options == SchedulerOptions(**wanted)


def test_auto_chooses_a_scheduler_and_says_why(challenge_network: sparsednn.Network, challenge_rows: sp.csr_array) -> None:
    record = sparsednn.infer(challenge_network, challenge_rows[:2000], kernel="csc", scheduler="auto", threads=2).record
    predicted = record["auto"]["predicted_s"]
    assert record["scheduler"] in ONE_PROCESS_SCHEDULERS
    assert {name.split()[0] for name in predicted} == set(ONE_PROCESS_SCHEDULERS) - {"adaptive"}  # which chooses by itself
    best = min(predicted[name] for name in predicted if name.split()[0] == record["scheduler"])
    assert best <= 1.01 * min(predicted.values())
    assert record["scheduler"] in record["auto"]["reason"]
    assert record["seconds"]["choose"] > 0


def test_auto_needs_a_kernel_that_is_calibrated(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(ValueError, match="kernel=udc_udc: .*calibrate it first"):
        sparsednn.infer(small_network, small_inputs, kernel="udc_udc", scheduler="auto")


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, (2 + 4 / 3) / 2), (4, (4 + 2 / 1.5) / 2)])
def test_the_imbalance_of_columns_is_recorded(threads: int, expected: float) -> None:
    """Layer 1: its outputs have 4, 0, 0 and 0 connections; layer 2: 2, 2, 1 and 1."""
    first = sp.csr_array(np.array([[1.0, 0, 0, 0]] * 4))
    second = sp.csr_array(np.array([[1.0, 1, 0, 0]] * 2 + [[0, 0, 0, 0]] * 2) + np.diag([0, 0, 1.0, 1]))
    record = sparsednn.infer(sparsednn.Network([first, second]), np.ones((3, 4)), threads=threads).record
    assert record["imbalance"]["layer_nnz"] == pytest.approx(expected)


def test_rows_are_counted_from_one_in_categories() -> None:
    network = sparsednn.Network([sp.csr_array(np.eye(2))])
    result = sparsednn.infer(network, np.array([[0, 0], [1, 0], [0, 0], [0, 2]]))
    assert result.categories.tolist() == [2, 4]
    assert result.output is None

"""Inferences whose scheduler cuts row groups: what they record, repeat, keep and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.numba_cpu.backend import NumbaBackend
from sparsednn.errors import OptionError, SparseDnnError
from sparsednn.schedulers import SCHEDULERS, Action, Cut, Event, Job
from sparsednn.schedulers.adaptive import AdaptiveScheduler
from sparsednn.simulator import profile
from tests.unit.test_simulated_adaptive import Torn


@pytest.fixture
def network(rng: np.random.Generator) -> sparsednn.Network:
    """Ten layers, in which some instances die."""
    return sparsednn.Network([sp.random_array((200, 200), density=0.2, rng=rng) for _ in range(10)], bias=-1.5)


@pytest.fixture
def inputs(rng: np.random.Generator) -> sp.csr_array:
    """More and more entries: in this order, some row groups would have more to do than others."""
    return sp.csr_array((rng.random((900, 200)) < np.linspace(0, 0.5, 900)[:, None]).astype(np.float32))


class Noting(AdaptiveScheduler):
    """Notes how many rows the row groups of each run have: by the forecast, and where there are many by measured times too."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[list[int]] = []

    def start(self, job: Job) -> None:
        self.runs.append([])
        super().start(job)

    def on_event(self, event: Event) -> list[Action]:
        actions = super().on_event(event)
        self.runs[-1] += [action.stop - action.start for action in actions if isinstance(action, Cut)]
        return actions


@pytest.mark.parametrize("kernel", ["auto", "csc", "csr"])
@pytest.mark.parametrize("order", ["given", "alive_first"])
def test_the_record_and_the_trace_are_complete(
    kernel: str, order: str, network: sparsednn.Network, inputs: sp.csr_array
) -> None:
    alone, noting = sparsednn.infer(network, inputs, kernel=kernel, threads=1, output=True, rows="none"), Noting()
    found = sparsednn.infer(
        network, inputs, kernel=kernel, scheduler=noting, threads=3, output=True, rows="none", repeats=3, trace=True,
        row_order=order,
    )  # fmt: skip
    assert alone.output is not None
    assert found.output is not None
    assert found.output.data.tobytes() == alone.output.data.tobytes()
    assert np.array_equal(found.output.indices, alone.output.indices)
    assert np.array_equal(found.categories, alone.categories)
    assert 0 < len(found.categories) < 900
    record = found.record
    assert record["scheduler"] == "adaptive"
    assert record["scheduler_options"]["sample_rows"] == 32
    assert len(record["seconds"]["inference"]) == 3
    assert record["seconds"]["choose"] > 0
    assert record["performed_edges"] == alone.record["performed_edges"]
    assert sum(worker["multiply_adds"] for worker in record["workers"]) == record["performed_edges"]
    assert found.trace is not None
    found.trace.validate()
    groups = {span.row_group for span in found.trace.spans if span.kind in ("data", "team")}
    assert sorted(groups) == list(range(len(groups)))
    assert sum(worker["row_groups"] for worker in record["workers"]) == len(groups)
    uneven_rows = [max(sizes) * len(sizes) / 900 for sizes in noting.runs if sizes]
    assert len(uneven_rows) >= 3
    assert min(uneven_rows) * 0.8 < record["imbalance"]["input_nnz"] < 1.25 * max(uneven_rows)


def test_workers_that_bring_nothing_are_not_started_but_recorded(small_network: sparsednn.Network) -> None:
    """A few multiply-adds are done before a second thread has started."""
    found = sparsednn.infer(small_network, np.ones((9, 12)), kernel="csc", scheduler="adaptive", threads=4)
    workers = found.record["workers"]
    assert [worker["row_groups"] for worker in workers] == [1, 0, 0, 0]
    assert [worker["busy_s"] > 0 for worker in workers] == [True, False, False, False]
    assert workers[3]["idle_s"] == pytest.approx(found.record["seconds"]["inference"][0], rel=0.5)


def test_no_instances_are_no_fault(small_network: sparsednn.Network) -> None:
    found = sparsednn.infer(small_network, np.zeros((0, 12)), scheduler="adaptive", threads=2, output=True)
    assert found.categories.tolist() == []
    assert found.output is not None
    assert found.output.shape == (0, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "adaptive", "backend": "scipy_reference"}, "scheduler=adaptive does not go with kernel=csr_csr"),
        ({"scheduler": "adaptive", "kernel": "blas"}, "scheduler=adaptive does not go with kernel=blas"),
        ({"scheduler": "adaptive", "rebalance_after": 2}, "rebalance_after=2: not with scheduler=adaptive, which spreads"),
        ({"scheduler": SCHEDULERS["adaptive"](), "rebalance_after": 2}, "rebalance_after=2: not with scheduler=adaptive"),
        ({"scheduler": SCHEDULERS["global_work_stealing"](), "rebalance_after": 2}, "rebalance_after=2: not with scheduler"),
        ({"scheduler": SCHEDULERS["adaptive"](), "backend": "numpy_dense"}, "numpy_dense cannot count the work"),
        ({"scheduler": SCHEDULERS["adaptive"](), "kernel": "udc_udc"}, "kernel=udc_udc: .*calibration"),
        ({"scheduler": "adaptive", "walk_share": 0.0}, "walk_share=0: must be from 0.001 to 1"),
        ({"scheduler": "adaptive", "sample_rows": 0}, "sample_rows=0"),
    ],
)
def test_what_it_does_not_go_with_is_refused_by_name(
    options: dict[str, Any], message: str, small_network: sparsednn.Network
) -> None:
    with pytest.raises(SparseDnnError, match=message):
        sparsednn.infer(small_network, np.ones((9, 12)), threads=2, **options)


def test_a_compiled_network_counts_its_first_call(
    network: sparsednn.Network, inputs: sp.csr_array, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And cannot be saved: a file does not have the connections that are counted with."""
    counted, count = [], profile.measure_profile
    monkeypatch.setattr(profile, "measure_profile", lambda *given, **named: counted.append(given) or count(*given, **named))
    with sparsednn.compile(network, kernel="csc", scheduler="adaptive", threads=2, sample_rows=20) as compiled:
        for rows in (inputs, inputs[:300]):
            assert np.array_equal(compiled.infer(rows).categories, sparsednn.infer(network, rows, threads=1).categories)
        with pytest.raises(OptionError, match="compiled with scheduler=adaptive cannot be saved"):
            compiled.save(tmp_path / "saved")
    assert [rows.shape for _, rows, *_ in counted] == [(20, 200)]


def test_kernels_are_compiled_for_small_and_for_large_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of up to 65,536 rows are smaller, and need kernels of their own; which of them are cut, only the run tells.

    With as many neurons, whose kernels other tests compile.
    """
    network, inputs = sparsednn.Network([sp.csr_array(np.ones((70_000, 2)))], bias=0.5), sp.eye_array(70_000, format="csr")
    warmed: list[int] = []
    warm_up = NumbaBackend.warm_up
    monkeypatch.setattr(NumbaBackend, "warm_up", lambda self, plan, n: warmed.append(n) or warm_up(self, plan, n))  # type: ignore[func-returns-value]
    found = sparsednn.infer(network, inputs, kernel="csc", scheduler="adaptive", threads=2)
    assert len(found.categories) == 70_000
    assert min(warmed) <= 65_536 < max(warmed)


@pytest.mark.parametrize(("cut", "message"), [(Cut(0, 0, 3), "cut only 3 of 4 rows"), (Cut(0, 1, 4), "cuts rows 1 to 4")])
def test_rows_that_are_left_out_are_reported(cut: Cut, message: str, small_network: sparsednn.Network) -> None:
    with pytest.raises(RuntimeError, match=message):
        sparsednn.infer(small_network, np.ones((4, 12)), kernel="csc", scheduler=Torn(cut), threads=1)

"""Every scheduler with every kernel that it goes with: the bits of the reference, whoever did which part."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsednn
from sparsednn.backend import load_backend
from sparsednn.data.radixnet import radixnet
from sparsednn.schedulers import SCHEDULERS, STRATEGIES, Scheduler, SchedulerOptions
from tests.backends import ON_HOST, USABLE, agree, of, same_bits, skipped
from tests.conformance.test_backend import COLUMNS, REFERENCE, ROWS, challenge_reference, reference
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases

PAIRS = of(
    (name, kernel, scheduler)
    for name, backend in USABLE.items()
    for kernel, legal in backend.schedulers.items()
    for scheduler in legal
) + skipped("auto", "data")
ILLEGAL = of(
    (name, kernel, scheduler)
    for name, backend in USABLE.items()
    for kernel, legal in backend.schedulers.items()
    for scheduler in SCHEDULERS
    if scheduler not in legal
) + skipped("auto", "model")


def eager(name: str, **options: object) -> Scheduler:
    """A scheduler that forms teams from the first layer on, however little there is to do."""
    return SCHEDULERS[name](SchedulerOptions(**{"minimum_work": 0, "recruiting_ratio": 0.0, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
@pytest.mark.parametrize("hashing", ["none", "input"])
@pytest.mark.parametrize("threads", [3] if JIT_DISABLED else [1, 3, 16])
def test_schedulers_and_hashing_change_no_bit(
    backend: str, kernel: str, scheduler: str, hashing: str, threads: int, small_network: sparsednn.Network,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """More than 128 rows, or hashing moves none."""
    rows = sp.csr_array((rng.random((140 if JIT_DISABLED else 300, 12)) < 0.4).astype(np.float32))
    expected = sparsednn.infer(small_network, rows, backend=REFERENCE, threads=1, output=True)
    result = sparsednn.infer(
        small_network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler, split_factor=3),
        hashing=hashing, threads=threads, output=True,
    )  # fmt: skip
    assert agree(backend, kernel, result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)
    assert result.record["scheduler"] == scheduler
    assert result.record["hashing"] == hashing


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
@given(
    case=cases(),
    rows=ROWS,
    columns=COLUMNS,
    full=st.booleans(),
    empty=st.sampled_from(["walk", "skip"]),
    threads=st.integers(1, 5),
    block_rows=st.sampled_from([None, 16]),
    strategy=st.sampled_from(STRATEGIES),
)
def test_teams_give_the_bits_of_the_reference(
    backend: str, kernel: str, scheduler: str, case: Case, rows: str, columns: str, full: bool, empty: str, threads: int,
    block_rows: int | None, strategy: str,
) -> None:  # fmt: skip
    expected = reference(case)
    result = sparsednn.infer(
        case.network, case.inputs, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler, strategy=strategy),
        threads=threads, output=True, rows=rows, columns=columns, full_columns=full, empty_columns=empty,
        block_rows=block_rows,
    )  # fmt: skip
    assert result.output is not None
    assert expected.output is not None
    assert agree(backend, kernel, result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
def test_every_multiply_add_is_counted_once(
    backend: str, kernel: str, scheduler: str, small_network: sparsednn.Network, rng: np.random.Generator
) -> None:
    """No zeros anywhere in the input, and no rows dropped: as many as one thread does, and all of them some worker's."""
    rows = sp.csr_array(rng.random((96, 12)).astype(np.float32) + 1)
    one, many = (
        sparsednn.infer(
            small_network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(name), threads=threads, rows="none"
        ).record
        for name, threads in (("data", 1), (scheduler, 3))
    )
    assert many["performed_edges"] == one["performed_edges"] > 0
    assert sum(worker["multiply_adds"] for worker in many["workers"]) == many["performed_edges"]


@pytest.mark.skipif(JIT_DISABLED, reason="the whole challenge takes minutes without the JIT")
@pytest.mark.parametrize(("backend", "kernel", "scheduler"), [pair for pair in PAIRS if pair.values[0] != REFERENCE])
@pytest.mark.parametrize("hashing", ["none", "input"])
def test_challenge_rows_have_the_same_bits(
    backend: str, kernel: str, scheduler: str, hashing: str, challenge_network: sparsednn.Network,
    challenge_rows: sp.csr_array,
) -> None:  # fmt: skip
    """In the layers in which instances die and become saturated; later ones change nothing that is left."""
    rows, network = challenge_rows[:700], sparsednn.Network.from_layers(challenge_network.layers[:36])
    expected = challenge_reference(network, rows)
    for threads in (3,) if backend == ON_HOST else (2, 16):
        result = sparsednn.infer(
            network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler), hashing=hashing,
            threads=threads, output=True,
        )  # fmt: skip
        assert agree(backend, kernel, result.output, expected), f"{threads} threads"


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), ILLEGAL)
def test_a_scheduler_and_a_kernel_that_do_not_go_together_are_refused(
    backend: str, kernel: str, scheduler: str, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    legal = ", ".join(USABLE[backend].schedulers[kernel])
    with pytest.raises(ValueError, match=f"scheduler={scheduler} does not go with kernel={kernel} .*legal: {legal}"):
        sparsednn.infer(small_network, small_inputs, backend=USABLE[backend], kernel=kernel, scheduler=scheduler)


@pytest.mark.skipif(JIT_DISABLED, reason="too many rows for plain Python")
@pytest.mark.parametrize("kernel", ["udc_csc", "csc_csc", "dcsc_csc", "csr_csr"])
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_a_worker_with_all_the_work_is_helped(kernel: str, threads: int) -> None:
    """All of the first worker's instances stay alive and the others' are empty: those help it, and the bits stay."""
    network = radixnet(1024, 42 if kernel == "csr_csr" else 120)  # which takes several times as long for a layer
    alive = sp.csr_array(np.ones((400, 1024), np.float32))
    inputs = sp.csr_array(sp.vstack([alive, sp.csr_array((400 * (threads - 1), 1024), dtype=np.float32)]))
    data, team = (
        sparsednn.infer(
            network, inputs, kernel=kernel, scheduler=eager(name), threads=threads, output=True, rows="prune", columns="none"
        )
        for name in ("data", "data_then_model")
    )
    assert same_bits(team.output, data.output)
    worked = [worker["multiply_adds"] for worker in team.record["workers"]]
    assert max(worked) < 0.95 * sum(worked), "nobody helped"
    assert team.record["workers"][0]["recruit_s"] > 0
    assert all(worker["wait_s"] > 0 for worker in team.record["workers"][1:])


def test_a_team_makes_more_room_together(rng: np.random.Generator) -> None:
    """From few entries to many within two layers: the sparse kernels need more room several times, in the middle of a team."""
    n, m, n_rows = (60, 90, 16) if JIT_DISABLED else (200, 300, 64)  # as often more room, in a fortieth of the time
    spread = sp.csr_array(np.ones((8, n), np.float32))
    network = sparsednn.Network([spread, sp.csr_array(np.eye(n)), sp.csr_array(np.ones((n, m)))], bias=0.5, bias_on="all")
    inputs = sp.csr_array((rng.random((n_rows, 8)) < 0.3).astype(np.float32))
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, threads=1, output=True)
    for kernel, scheduler in (("csc", "model"), ("csr", "data_then_model"), ("udc", "model")):
        result = sparsednn.infer(network, inputs, kernel=kernel, scheduler=eager(scheduler), threads=3, output=True)
        assert same_bits(result.output, expected.output)


def test_an_error_of_one_member_ends_the_whole_team(monkeypatch: pytest.MonkeyPatch, small_network: sparsednn.Network) -> None:
    """A member that cannot get memory must not leave the others waiting at a meeting."""
    backend = load_backend("numba")
    run = type(backend).run

    def failing(self, plan, group, control, team, member):  # type: ignore[no-untyped-def]
        if member == 1:
            raise MemoryError("no room for an accumulator")
        return run(self, plan, group, control, team, member)

    monkeypatch.setattr(type(backend), "run", failing)
    with pytest.raises(MemoryError, match="no room for an accumulator"):
        sparsednn.infer(small_network, np.ones((50, 12)), backend=backend, kernel="csc", scheduler="model", threads=3)

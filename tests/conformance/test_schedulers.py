"""Every scheduler with every kernel that it goes with: the bits of the reference, whoever did which part.

What else is varied meets each kernel and each scheduler somewhere (`tests.covering`); all combinations are run as `slow`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from sparsednn.backend import load_backend
from sparsednn.data.radixnet import radixnet
from sparsednn.schedulers import SCHEDULERS, STRATEGIES, Scheduler, SchedulerOptions
from tests.backends import ON_HOST, USABLE, agree, of, same_bits, skipped
from tests.conformance.test_backend import COLUMNS, REFERENCE, ROWS, challenge_reference, reference
from tests.conftest import JIT_DISABLED
from tests.covering import with_each
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


HASHING, THREADS = ("none", "input"), (3,) if JIT_DISABLED else (1, 3, 16)


def check_small(
    backend: str, kernel: str, scheduler: str, hashing: str, threads: int, network: sparsednn.Network, rng: np.random.Generator
) -> None:
    """More than 128 rows, or hashing moves none."""
    rows = sp.csr_array((rng.random((140 if JIT_DISABLED else 300, 12)) < 0.4).astype(np.float32))
    expected = sparsednn.infer(network, rows, backend=REFERENCE, threads=1, output=True)
    result = sparsednn.infer(
        network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler, split_factor=3),
        hashing=hashing, threads=threads, output=True,
    )  # fmt: skip
    assert agree(backend, kernel, result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)
    assert result.record["scheduler"] == scheduler
    assert result.record["hashing"] == hashing


@pytest.mark.parametrize(("backend", "kernel", "scheduler", "hashing", "threads"), with_each(PAIRS, HASHING, THREADS))
def test_schedulers_and_hashing_change_no_bit(
    backend: str, kernel: str, scheduler: str, hashing: str, threads: int, small_network: sparsednn.Network,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    check_small(backend, kernel, scheduler, hashing, threads, small_network, rng)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
def test_schedulers_and_hashing_in_all_combinations(
    backend: str, kernel: str, scheduler: str, small_network: sparsednn.Network, rng: np.random.Generator
) -> None:
    for hashing, threads in itertools.product(HASHING, THREADS):
        check_small(backend, kernel, scheduler, hashing, threads, small_network, rng)


def check_team(
    backend: str, kernel: str, scheduler: str, case: Case, rows: str, columns: str, full: bool, empty: str, threads: int,
    block_rows: int | None, strategy: str,
) -> None:  # fmt: skip
    """Run a case in teams from the first layer on."""
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


TEAMS: dict[str, Any] = {
    "case": cases(), "rows": ROWS, "columns": COLUMNS, "full": st.booleans(), "empty": st.sampled_from(["walk", "skip"]),
    "threads": st.integers(1, 5), "block_rows": st.sampled_from([None, 16]), "strategy": st.sampled_from(STRATEGIES),
}  # fmt: skip


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
@settings(max_examples=2 if JIT_DISABLED else 5)
@given(options=st.fixed_dictionaries(TEAMS))
def test_teams_give_the_bits_of_the_reference(backend: str, kernel: str, scheduler: str, options: dict[str, Any]) -> None:
    """Few networks for each pair, and dozens for each kernel and each scheduler."""
    check_team(backend, kernel, scheduler, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
@settings(max_examples=60)
@given(options=st.fixed_dictionaries(TEAMS))
def test_teams_of_many_networks(backend: str, kernel: str, scheduler: str, options: dict[str, Any]) -> None:
    check_team(backend, kernel, scheduler, **options)


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), PAIRS)
def test_every_multiply_add_is_counted_once(
    backend: str, kernel: str, scheduler: str, small_network: sparsednn.Network, rng: np.random.Generator
) -> None:
    """No zeros anywhere in the input, and no rows dropped: as many as one thread does, and all of them some worker's."""
    rows = sp.csr_array(rng.random((24 if JIT_DISABLED else 96, 12)).astype(np.float32) + 1)
    one, many = (
        sparsednn.infer(
            small_network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(name), threads=threads, rows="none"
        ).record
        for name, threads in (("data", 1), (scheduler, 3))
    )
    assert many["performed_edges"] == one["performed_edges"] > 0
    assert sum(worker["multiply_adds"] for worker in many["workers"]) == many["performed_edges"]


COMPUTED = [pair for pair in PAIRS if pair.values[0] != REFERENCE]
FEW_AND_MANY = (2, 16)


def check_challenge(
    backend: str, kernel: str, scheduler: str, hashing: str, threads: int, network: sparsednn.Network, rows: sp.csr_array
) -> None:
    """In the layers in which instances die and become saturated; later ones change nothing that is left."""
    rows, network = rows[:700], sparsednn.Network.from_layers(network.layers[:36])
    expected = challenge_reference(network, rows)
    result = sparsednn.infer(
        network, rows, backend=USABLE[backend], kernel=kernel, scheduler=eager(scheduler), hashing=hashing,
        threads=3 if backend == ON_HOST else threads, output=True,
    )  # fmt: skip
    assert agree(backend, kernel, result.output, expected)


@pytest.mark.skipif(JIT_DISABLED, reason="the whole challenge takes minutes without the JIT")
@pytest.mark.parametrize(("backend", "kernel", "scheduler", "hashing", "threads"), with_each(COMPUTED, HASHING, FEW_AND_MANY))
def test_challenge_rows_have_the_same_bits(
    backend: str, kernel: str, scheduler: str, hashing: str, threads: int, challenge_network: sparsednn.Network,
    challenge_rows: sp.csr_array,
) -> None:  # fmt: skip
    check_challenge(backend, kernel, scheduler, hashing, threads, challenge_network, challenge_rows)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kernel", "scheduler"), COMPUTED)
def test_challenge_rows_in_all_combinations(
    backend: str, kernel: str, scheduler: str, challenge_network: sparsednn.Network, challenge_rows: sp.csr_array
) -> None:
    for hashing, threads in itertools.product(HASHING, FEW_AND_MANY):
        check_challenge(backend, kernel, scheduler, hashing, threads, challenge_network, challenge_rows)


@pytest.mark.parametrize(("backend", "kernel", "scheduler"), ILLEGAL)
def test_a_scheduler_and_a_kernel_that_do_not_go_together_are_refused(
    backend: str, kernel: str, scheduler: str, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    legal = ", ".join(USABLE[backend].schedulers[kernel])
    with pytest.raises(ValueError, match=f"scheduler={scheduler} does not go with kernel={kernel} .*legal: {legal}"):
        sparsednn.infer(small_network, small_inputs, backend=USABLE[backend], kernel=kernel, scheduler=scheduler)


HELPED = [
    pytest.param(kernel, threads, marks=() if kernel == "udc_csc" or threads == often else pytest.mark.slow)
    for kernel, often in (("udc_csc", 2), ("csc_csc", 3), ("dcsc_csc", 4), ("csr_csr", 2))
    for threads in (2, 3, 4)
]
"""Each kernel and each number of threads, since teams of all kernels meet by the same code."""


@pytest.mark.skipif(JIT_DISABLED, reason="too many rows for plain Python")
@pytest.mark.parametrize(("kernel", "threads"), HELPED)
def test_a_worker_with_all_the_work_is_helped(kernel: str, threads: int) -> None:
    """All of the first worker's instances stay alive and the others' are empty: those help it, and the bits stay."""
    slow = kernel in ("csr_csr", "dcsc_csc")
    network = radixnet(1024, 42 if slow else 120)  # which take several times as long for a layer
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

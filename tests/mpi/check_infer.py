"""Checks in every process, under mpiexec: all schedulers and ways to split rows give what one process gives, bit for bit."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import scipy.sparse as sp

import sparsednn
from sparsednn.comm.mpi import MpiCommunicator
from sparsednn.data.challenge_inputs import challenge_inputs
from sparsednn.data.radixnet import radixnet
from sparsednn.rows.partition import even_bounds
from sparsednn.schedulers import SCHEDULERS, SchedulerOptions
from tests.backends import same_bits
from tests.covering import covering

KERNELS = ("rowwise_first", "csc", "csr")
SPLITS = (
    {},
    {"hashing": "input"},
    {"hashing": "both"},
    {"split": "work"},
    {"row_order": "alive_first"},
    {"row_order": "alive_first", "hashing": "input", "split": "work"},
)


def small() -> tuple[sparsednn.Network, sp.csr_array]:
    """A network whose instances die, live and saturate, with random weights."""
    rng = np.random.default_rng(1)
    weights = [sp.csc_array(sp.random(40, 40, 0.2, random_state=rng, data_rvs=rng.standard_normal)) for _ in range(6)]
    network = sparsednn.Network(weights, bias=-0.1, activation=sparsednn.clipped_relu(4.0))
    rows = (rng.random((300, 40)) < np.linspace(0, 0.5, 300)[:, None]).astype(np.float32)
    return network, sp.csr_array(rows)


OF_SEVERAL = ("split", "rebalance_after", "threads", "scheduler")
"""Options that make no difference to one process with one thread."""

_alone: list[tuple[object, ...]] = []


def alone(network: sparsednn.Network, rows: sp.csr_array, options: dict[str, object]) -> sparsednn.Result:
    """Return what one process finds, which is worked out once for each network, rows and options."""
    for *known, result in _alone:
        if known[0] is network and known[1] is rows and known[2] == options:
            assert isinstance(result, sparsednn.Result)
            return result
    result = sparsednn.infer(network, rows, output=True, threads=1, **options)  # type: ignore[arg-type]
    _alone.append((network, rows, options, result))
    return result


def check(comm: MpiCommunicator, network: sparsednn.Network, rows: sp.csr_array, **options: object) -> dict[str, object]:
    """Run with all processes and with one; the same categories and bits."""
    expected = alone(network, rows, {name: value for name, value in options.items() if name not in OF_SEVERAL})
    scheduler = SCHEDULERS[str(options.pop("scheduler", "data"))](
        SchedulerOptions(minimum_work=0, recruiting_ratio=0.0, split_factor=3)
    )
    bounds = even_bounds(rows.shape[0], comm.size)
    own = rows[bounds[comm.rank] : bounds[comm.rank + 1]]
    found = sparsednn.infer(network, own, scheduler=scheduler, communicator=comm, output=True, **options)  # type: ignore[arg-type]
    assert np.array_equal(found.categories, expected.categories), options
    assert found.record["instances"] == rows.shape[0]
    assert found.record["processes"] == comm.size
    if comm.rank == 0:
        assert found.output is not None
        assert expected.output is not None
        assert same_bits(found.output, expected.output), options
    else:
        assert found.output is None
    return found.record


def main(comm: MpiCommunicator, what: str) -> None:
    """Run one group of checks."""
    network, rows = small()
    if what in ("schedulers", "combinations"):
        pairs = [(kernel, name) for kernel, name in product(KERNELS, SCHEDULERS) if (kernel, name) != ("csr", "model")]
        every = [(*pair, threads) for pair, threads in product(pairs, (1, 2))]
        for kernel, name, threads in covering(pairs, (1, 2)) if what == "schedulers" else every:
            record = check(comm, network, rows, kernel=kernel, scheduler=name, threads=threads)
            assert len(record["workers"]) == comm.size * threads  # type: ignore[arg-type]
        for few in (rows[-n:] for n in (1, 2, 5)):  # fewer instances than row groups, and than processes
            for name in SCHEDULERS:
                check(comm, network, few, kernel="csc", scheduler=name, threads=2)
    elif what == "splits":
        for split, name in product(SPLITS, ("data", "data_then_model", "global_work_stealing", "adaptive")):
            check(comm, network, rows, kernel="csc", scheduler=name, threads=2, **split)
        for after, kernel in product((1, 3, 6, 99), ("rowwise_first", "csc", "csr")):
            record = check(comm, network, rows, kernel=kernel, rebalance_after=after, threads=2)
            assert record["rebalance_after"] == after
        check(comm, network, rows, kernel="csc", share_network=False)
        assert check(comm, network, rows, kernel="csc", weights="float16", threads=2)["exact"] is False
    elif what == "hosts":
        assert comm.node_size == 1, "the processes share a machine"
        for name in SCHEDULERS:
            check(comm, network, rows, kernel="csc", scheduler=name, threads=2, hashing="input")
        check(comm, network, rows, rebalance_after=3, threads=2, split="work")
    else:
        network, rows = radixnet(1024, 120), challenge_inputs(1024, 700)
        record = check(comm, network, rows, threads=2)
        check(comm, network, rows, rebalance_after=20, hashing="input")
        assert record["categories_count"] > 0
    print(f"{what}: right", flush=True)


if __name__ == "__main__":
    try:
        communicator = MpiCommunicator()
        for group in sys.argv[1:]:
            main(communicator, group)
    except BaseException as error:
        MpiCommunicator().abort(repr(error))
        raise

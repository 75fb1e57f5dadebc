"""Which rows a process loads, and which it runs, is one decision: none is sent to another process before a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import scipy.sparse as sp
from hydra import compose, initialize_config_dir
from rich.console import Console

from experiments.config.resolve import Config, register, resolve
from experiments.records.display import Display
from experiments.run.arguments import infer_arguments
from experiments.run.load import load
from sparsednn.comm import LocalCommunicator
from sparsednn.engine import infer

CONF = Path(__file__).parents[2] / "conf"
N_ROWS, N_NEURONS = 1100, 16
T = TypeVar("T")


class Processes:
    """The messages of processes that are threads of this one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.said: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=60)
        self.exchanged_rows = 0


class ThreadCommunicator(LocalCommunicator):
    """One of them; each rank is a node of its own. Counts the rows that go from one to another."""

    def __init__(self, processes: Processes, rank: int) -> None:
        self.rank, self.size, self._processes = rank, processes.size, processes

    def barrier(self) -> None:
        self._processes.barrier.wait()

    def all_gather(self, value: T) -> list[T]:
        self._processes.said[self.rank] = value
        self.barrier()
        said = list(self._processes.said)
        self.barrier()
        return said

    def gather(self, value: T) -> list[T] | None:
        said = self.all_gather(value)
        return said if self.rank == 0 else None

    def broadcast(self, value: T | None) -> T:
        return self.all_gather(value)[0]  # type: ignore[return-value]

    def exchange(self, values: Sequence[T]) -> list[T]:
        everybodys = self.all_gather(values)
        if self.rank == 0:
            self._processes.exchanged_rows += sum(
                len(ids)
                for rank, sent in enumerate(everybodys)
                for to, (ids, _) in enumerate(sent)
                if to != rank  # type: ignore[misc]
            )
        return [sent[self.rank] for sent in everybodys]

    def share(self, make: Callable[[], T]) -> T:
        return make()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rows = sp.random_array((N_ROWS, N_NEURONS), density=0.3, format="csr", rng=np.random.default_rng(0), dtype=np.float32)
    sp.save_npz(tmp_path / "inputs.npz", rows)
    register()
    overrides = [
        f"neurons={N_NEURONS}", "layers=2", "network.radices=[2,2]", "network.dense_width=4", "network.bias=-0.01",
        "input=files", f"input.path={tmp_path / 'inputs.npz'}", "backend=scipy_reference", "threads=1",
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(compose("config", overrides))


def exchanged_rows(loaded: Config, run: Config, size: int = 3) -> int:
    """How many rows change hands where processes load by one configuration and run by another."""
    processes = Processes(size)

    def process(rank: int) -> None:
        comm = ThreadCommunicator(processes, rank)
        try:
            data = load(loaded, Display(Console(quiet=True)), comm)
            infer(data.network, data.inputs, communicator=comm, row_ids=data.row_ids, **infer_arguments(run))
        except BaseException:
            processes.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        list(pool.map(process, range(size)))
    return processes.exchanged_rows


def hashed(config: Config, hashing: str, buckets: int) -> Config:
    return replace(config, partition=replace(config.partition, hashing=hashing, buckets=buckets))


@pytest.mark.parametrize(
    ("hashing", "buckets"), [("none", 1), ("input", 1), ("input", 3), ("layer", 1), ("both", 1), ("both", 2)]
)
def test_each_process_loads_the_rows_that_it_runs(config: Config, hashing: str, buckets: int) -> None:
    chosen = hashed(config, hashing, buckets)
    assert exchanged_rows(chosen, chosen) == 0


@pytest.mark.parametrize(
    ("loaded", "run"), [(("none", 1), ("input", 1)), (("input", 1), ("input", 3)), (("both", 1), ("layer", 1))]
)
def test_rows_that_another_process_has_loaded_are_sent(config: Config, loaded: tuple[str, int], run: tuple[str, int]) -> None:
    """Else the test above could not fail."""
    assert exchanged_rows(hashed(config, *loaded), hashed(config, *run)) > N_ROWS // 3

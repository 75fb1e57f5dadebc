"""A compiled network's life: its threads, its end, forks and pickles, and what many calls leave behind."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.errors import OptionError, OptionTypeError
from tests.conftest import JIT_DISABLED
from tests.unit.test_compiled import NETWORK, X


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sparsednn-")]


def n_open() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def expected() -> np.ndarray:
    output = sparsednn.infer(NETWORK, X, output=True).output
    assert output is not None
    return output.toarray()


def test_closing_ends_the_threads_and_refuses_calls() -> None:
    before = len(helpers())
    compiled = sparsednn.compile(NETWORK, threads=3)
    compiled(X)
    compiled.close()
    compiled.close()
    assert len(helpers()) == before
    for call in (compiled, compiled.predict, compiled.categories, compiled.infer):
        with pytest.raises(OptionError, match="closed"):
            call(X)
    with pytest.raises(OptionError, match="closed"):
        compiled.describe()


def test_garbage_collection_closes_it() -> None:
    before = len(helpers())
    for _ in range(5):
        sparsednn.compile(NETWORK, threads=3)(X)
    gc.collect()
    assert len(helpers()) == before


def test_calls_of_several_threads_are_served_one_after_the_other(expected: np.ndarray) -> None:
    wrong: list[Any] = []
    with sparsednn.compile(NETWORK, threads=2) as compiled:

        def many(scale: int) -> None:
            for _ in range(300):
                if not np.array_equal(compiled(X * np.float32(scale)), whole[scale]):
                    wrong.append(scale)

        whole = {scale: compiled(X * np.float32(scale)) for scale in range(1, 5)}
        threads = [threading.Thread(target=many, args=(scale,)) for scale in whole]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_forked_child_is_refused_by_name() -> None:
    with sparsednn.compile(NETWORK, threads=2) as compiled:
        compiled(X)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            try:
                compiled(X)
            except OptionError as error:
                os.write(writer, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert "before the process was forked" in os.read(reader, 1000).decode()
        assert compiled(X).shape == (3, 3)


def test_it_cannot_be_pickled() -> None:
    with sparsednn.compile(NETWORK) as compiled, pytest.raises(OptionTypeError, match="cannot be pickled"):
        pickle.dumps(compiled)


def test_many_calls_leave_nothing_behind() -> None:
    """A hundred bytes a call would be seen."""
    with sparsednn.compile(NETWORK, threads=2) as compiled:
        for _ in range(1000):
            compiled(X)
        files, threads, resident = n_open(), threading.active_count(), psutil.Process().memory_info().rss
        for _ in range(100_000):
            compiled(X)
        assert (n_open(), threading.active_count()) == (files, threads)
        assert psutil.Process().memory_info().rss - resident < 8 << 20


@pytest.mark.skipif(JIT_DISABLED, reason="without the JIT there are no helpers")
def test_networks_that_are_not_called_cost_no_cpu(rng: np.random.Generator) -> None:
    """Their helpers sleep; each would be seen to spin for all of the time."""
    weights = sp.csr_array(np.where(rng.random((400, 400)) < 0.5, 1.0, 0.0))
    network = sparsednn.Network([weights, weights], bias=0.1, bias_on="all")
    x = rng.random((4, 400), dtype=np.float32)
    with sparsednn.compile(network, threads=2) as one, sparsednn.compile(network, threads=2) as other:
        for _ in range(20):
            assert np.array_equal(one(x), other(x))
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.1


def test_a_team_has_no_more_threads_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsednn.engine.request.default_threads", lambda: 2)
    before = len(helpers())
    with sparsednn.compile(NETWORK, threads=7) as compiled:
        assert len(helpers()) - before <= 1
        assert compiled.infer(X).record["threads"] == 2

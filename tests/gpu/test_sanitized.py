"""Kernels that share memory between threads: under ThreadSanitizer, and with addresses, alignments and integers checked.

The compiler takes 10 s of processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels.source import ADDED, MANY, shared_kernel, source
from tests.gpu import host_kernels, sanitized
from tests.gpu.host_device import HostDevice
from tests.gpu.sanitized import Call

KERNELS = (MANY, ADDED, shared_kernel(uniform=False))

pytestmark = [  # looked at when a test is run, not when it is found
    pytest.mark.skipif("not sanitized.can(sanitized.THREADS)", reason="no C++ compiler with ThreadSanitizer"),
    pytest.mark.skipif("not sanitized.can(sanitized.MEMORY)", reason="no C++ compiler with AddressSanitizer"),
]
Programs = Callable[[str, tuple[str, ...]], Path]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """What compiles a source for a sanitizer, once."""
    return cache(lambda text, options: sanitized.program(text, KERNELS, options, tmp_path_factory.mktemp("sanitized")))


@pytest.fixture
def call(request: pytest.FixtureRequest, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A kernel's last call in a run of four layers whose outputs share inputs, or of narrow ones whose outputs do not."""
    kernel, n = request.param, 40
    calls: list[Call] = []
    monkeypatch.setattr(host_kernels, "call", sanitized.noted(calls, kernel))
    weights = []
    for _ in range(4):
        pattern = np.repeat(rng.random((n, n // 4)) < 12 / n, 4, axis=1) if kernel != MANY else rng.random((n, n)) < 0.3
        values = 0.25 if kernel == ADDED else rng.normal(size=pattern.shape)
        weights.append(sp.csc_array(np.where(pattern, values, 0).astype(np.float32)))
    network = sparsednn.Network(weights, bias=0.3, bias_on="all", activation=sparsednn.clipped_relu(4.0))
    inputs = sp.csr_array(rng.random((100, n), np.float32))
    sparsednn.infer(network, inputs, backend=CupyBackend([HostDevice()]), columns="none", order="given", rows="prune")
    assert calls
    return calls[-1]


each = pytest.mark.parametrize("call", KERNELS, indirect=True)


@each
@pytest.mark.parametrize("options", [sanitized.THREADS, sanitized.MEMORY], ids=["threads", "memory"])
def test_threads_do_not_race_and_read_and_write_what_is_theirs(call: Call, options: tuple[str, ...], program: Programs) -> None:
    found = sanitized.run(program(source(), options), call)
    assert found.returncode == 0, found.stderr.decode()[:2000]
    assert found.stdout == b"".join(call.results)


@each
def test_a_missing_barrier_would_be_found(call: Call, program: Programs) -> None:
    made = program(source().replace("__syncthreads();", ""), sanitized.THREADS)
    assert b"data race" in sanitized.run(made, call).stderr

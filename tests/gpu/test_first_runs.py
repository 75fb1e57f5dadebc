"""What a first run on a GPU would show, on a stand-in for CuPy that says what it does in silence: bits, waits, first calls."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import ONE_DEVICE, CupyBackend
from backends.cupy_gpu.device import cuda
from backends.cupy_gpu.device.modules import KernelModules
from backends.cupy_gpu.kernels.source import OPTIONS, source
from backends.cupy_gpu.plan import GpuPlan
from tests.backends import agree, same_bits
from tests.conformance.test_backend import REFERENCE
from tests.conformance.test_denormals import tiny
from tests.conformance.test_schedulers import eager
from tests.gpu import host_kernels
from tests.gpu.fake_cupy import Fake
from tests.gpu.test_cuda import infer
from tests.gpu.test_streams import deep

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")


@pytest.mark.parametrize("residency", ["memory", "stream"])
def test_denormal_numbers_are_those_of_the_cpu(fake: Fake, residency: str) -> None:
    network, inputs = tiny()
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    assert same_bits(infer(network, inputs, residency=residency).output, expected.output)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the C++ compiler's code is made to flush on x86-64 only")
def test_kernels_that_flush_would_be_found(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CuPy's RawModule has them compiled, whatever options it is given."""
    module = fake.RawModule(code=source(), options=(*OPTIONS, "--ftz=false"))
    monkeypatch.setattr(KernelModules, "function", lambda self, kernel, number: module.get_function(kernel))
    network, inputs = tiny()
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    assert not same_bits(infer(network, inputs, threads=1).output, expected.output)


class Watched(CupyBackend):
    """Notes what has been done by the end of the warm-up; the stand-in's log goes on with what comes then."""

    def __init__(self, fake: Fake) -> None:
        super().__init__()
        self._fake = fake
        self.warmed: set[str] = set()
        self.largest = 0

    def warm_up(self, plan: GpuPlan, largest_group: int) -> None:
        super().warm_up(plan, largest_group)
        self.warmed, self.largest = {*self._fake.log}, self._fake.largest
        self._fake.log.clear()
        self._fake.waits.clear()


def dying(rng: np.random.Generator) -> tuple[sparsednn.Network, sp.csr_array]:
    """The challenge's weights and bias, of which rows with one entry die at once; others die later, or become twins."""
    weights = sp.csc_array(np.outer(rng.permutation(64) % 2, np.full(64, 1 / 16)))
    network = sparsednn.Network([weights] * 9, bias=-0.3, activation=sparsednn.clipped_relu(32.0))
    inputs = np.repeat((rng.random((300, 64)) < 0.3).astype(np.float32), 2, axis=0)
    inputs[::5] = np.eye(64, dtype=np.float32)[np.arange(120) % 64]
    return network, sp.csr_array(inputs)


RUNS = [
    pytest.param("fused", {}, id="fused"),
    pytest.param("fused", {"rows": "none"}, id="fused, nothing dropped"),
    pytest.param("fused", {"residency": "stream", "columns": "none"}, id="fused, streamed"),
    pytest.param("fused", {"scheduler": eager("model")}, id="fused, a team on two devices"),
    pytest.param("fused", {"threads": 4}, id="fused, two workers on each device"),
    pytest.param("cusparse_spmm", {}, id="cusparse_spmm"),
    pytest.param("cusparse_spmm", {"residency": "stream", "columns": "none"}, id="cusparse_spmm, streamed"),
    pytest.param("cusparse_spgemm", {}, id="cusparse_spgemm"),
    pytest.param("cusparse_spgemm", {"residency": "stream", "columns": "none"}, id="cusparse_spgemm, streamed"),
]


@pytest.mark.parametrize(("kernel", "options"), RUNS)
def test_a_run_does_nothing_that_the_warm_up_has_not_done(
    fake: Fake, kernel: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    """A kernel's first call loads it, CuPy's own kernels are compiled, a stream and its memory are made: before the clock."""
    network, inputs = dying(rng)
    backend = Watched(fake)
    result = infer(network, inputs, backend=backend, kernel=kernel, **options)
    assert agree("cupy_on_host", kernel, result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert {line.partition(" ")[0] for line in fake.log} >= (
        {"sum_rows", "fill_rows"} if kernel != "cusparse_spgemm" else {"searchsorted"}
    )
    if "rows" not in options and kernel != "cusparse_spgemm":
        assert {"hash_rows on 0", "sort on 0", "pick_rows on 0", "same_rows on 0"} <= {*fake.log}
    assert {*fake.log} - backend.warmed == set()
    assert not [line for line in fake.log if line.startswith(("NVRTC", "a stream")) or "is loaded" in line]
    if kernel == "fused":
        assert fake.largest == backend.largest, "blocks have their memory"


@pytest.mark.parametrize(("kernel", "options"), [run for run in RUNS if "cusparse_spmm" in str(run.id)])
def test_layers_of_the_library_are_made_without_a_wait(
    fake: Fake, kernel: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    """CuPy 14 waits for the device where a matrix is made of three arrays, and does so in `bincount`."""
    network, inputs = dying(rng)
    infer(network, inputs, backend=Watched(fake), kernel=kernel, **options)
    assert fake.waits == []


def test_layers_of_sparse_products_are_made_without_a_wait(fake: Fake, rng: np.random.Generator) -> None:
    network, inputs = dying(rng)
    infer(network, inputs, backend=Watched(fake), kernel="cusparse_spgemm")
    assert fake.waits == []


@pytest.mark.parametrize("residency", ["memory", "stream"])
def test_a_network_that_is_called_again_gives_its_memory_back_first(
    fake: Fake, residency: str, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    """What is pinned cannot be pinned once more, and what the call before has taken is not there for the next."""
    network, inputs = deep(rng)
    model = sparsednn.compile(network, backend="cupy", residency=residency, threads=2)
    for _ in range(2):
        result = model.infer(inputs, output=True)
        assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert caplog.messages == []


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through the host"])
def test_devices_copy_from_each_other_without_the_host_where_they_can(
    fake: Fake, direct: bool, rng: np.random.Generator
) -> None:
    """CuPy switches that on in its own copies only; the stand-in refuses a copy that goes through the host for no reason."""
    fake.direct = direct
    network, inputs = deep(rng)
    for _ in range(2):  # the second time it is on already
        result = infer(network, inputs, scheduler=eager("model"))
        assert same_bits(result.output, sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output)
    assert any(line.startswith("a copy from 0 to 1") for line in fake.log)
    assert sorted(fake.enabled) == ([(0, 1), (1, 0)] if direct else [])
    assert result.record["device"]["devices"][1]["peers"] == ([0] if direct else [])


def test_memory_of_the_host_lives_until_it_is_copied(fake: Fake) -> None:
    """Where the host's memory is the device's, a copy from there may be made after the call has returned."""
    device = cuda.cuda_devices()[0]
    stream = device.new_stream()
    with device.current(stream):
        found = device.upload(np.arange(6).reshape(2, 3)[:, ::2].astype(np.float32), stream)
    stream.synchronize()
    assert found.tolist() == [[0, 2], [3, 5]]
    assert stream._kept == [], "and no longer"


def test_teams_on_one_device_are_told_that_they_gain_nothing(
    fake: Fake, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    network, inputs = deep(rng)
    infer(network, inputs, scheduler=eager("model"), threads=2)
    assert caplog.messages == []
    infer(network, inputs, scheduler=eager("model"), threads=3)
    assert caplog.messages == [ONE_DEVICE]

"""Order, overlap and release: devices that do everything as late as events allow give the same bits, and forget nothing."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from sparsednn.backend import DONE, SCORE, Control, KernelOptions, Outcome, Team
from tests.backends import same_bits
from tests.conformance.test_backend import REFERENCE, ROWS, reference
from tests.conformance.test_schedulers import eager
from tests.gpu import host_device, host_kernels
from tests.gpu.host_device import HostDevice, HostStream
from tests.networks import Case, cases

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")


EARLY = {
    "none": lambda n: False,
    "every other": lambda n: n % 2 == 0,
    "the others": lambda n: n % 2 == 1,
    "all": lambda n: True,
}
"""Which streams of a lazy device do all as early as they may, and not as late. With streamed layers every other one copies."""


def lazy(n: int, early: str = "none") -> CupyBackend:
    return CupyBackend([HostDevice(number, lazy=True, early=EARLY[early]) for number in range(n)])


@pytest.mark.parametrize("residency", ["memory", "stream"])
@pytest.mark.parametrize("scheduler", ["data", "model", "data_then_model", "work_stealing"])
@settings(max_examples=25)
@given(
    case=cases(), n_devices=st.integers(1, 3), threads=st.integers(1, 5), rows=ROWS, block_rows=st.sampled_from([None, 1]),
    early=st.sampled_from([*EARLY]),
)  # fmt: skip
def test_devices_that_are_as_late_or_early_as_they_may_be_give_the_bits_of_the_reference(
    residency: str, scheduler: str, case: Case, n_devices: int, threads: int, rows: str, block_rows: int | None, early: str
) -> None:
    expected = reference(case)
    result = sparsednn.infer(
        case.network, case.inputs, backend=lazy(n_devices, early), scheduler=eager(scheduler), threads=threads,
        residency=residency, rows=rows, block_rows=block_rows, output=True,
    )  # fmt: skip
    assert result.output is not None
    assert expected.output is not None
    assert same_bits(result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)


ONE_BY_ONE = 264
"""A width at which layers go one by one; several narrow ones go in one launch."""


def deep(rng: np.random.Generator, n_layers: int = 9, n: int = 40) -> tuple[sparsednn.Network, sp.csr_array]:
    """Layers with the same connections (any can be taken for another) and other weights, in which no instance ends early."""
    connected = rng.random((n, n)) < 12 / n
    weights = [sp.csc_array(connected * (rng.random((n, n)) + 0.1)) for _ in range(n_layers)]
    return sparsednn.Network(weights), sp.csr_array(rng.random((300, n)).astype(np.float32))


def zeroed(device: HostDevice, n: int, dtype: Any) -> Any:
    """Memory that is safe to take for a layer: one without connections."""
    array = np.zeros(n, dtype).view(host_device.OnDevice)
    array.number = device.number
    return array


class Deaf:
    """A stream that waits for no other."""

    def __init__(self, stream: HostStream) -> None:
        self._stream = stream

    def wait(self, event: object) -> None:
        """Not done."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.parametrize("early", EARLY)
@pytest.mark.parametrize(("n_devices", "threads"), [(1, 2), (1, 3), (2, 2), (2, 3), (3, 3)])
def test_teams_on_one_and_several_devices(early: str, n_devices: int, threads: int, rng: np.random.Generator) -> None:
    """Many layers without a look at the instances in between: only events hold the members together."""
    network, inputs = deep(rng, 30)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output
    for residency in ("memory", "stream"):
        result = sparsednn.infer(
            network, inputs, backend=lazy(n_devices, early), scheduler=eager("model"), threads=threads, rows="none",
            residency=residency, output=True,
        )  # fmt: skip
        assert same_bits(result.output, expected)
        assert sum(worker["multiply_adds"] > 0 for worker in result.record["workers"]) == 2, "two slices: two members work"


@pytest.mark.parametrize("n_devices", [1, 2])
def test_a_member_that_does_not_wait_for_the_others_would_be_found(
    n_devices: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = deep(rng)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output
    options = {"scheduler": eager("model"), "threads": 2, "output": True, "rows": "none"}
    assert same_bits(sparsednn.infer(network, inputs, backend=lazy(n_devices), **options).output, expected)
    monkeypatch.setattr(HostStream, "wait", lambda self, event: None)
    monkeypatch.setattr(HostDevice, "empty", zeroed)
    with np.errstate(all="ignore"):
        try:
            wrong = sparsednn.infer(network, inputs, backend=lazy(n_devices), **options).output
        except FloatingPointError:
            return
    assert not same_bits(wrong, expected)


def run(backend: CupyBackend, plan: Any, inputs: sp.csr_array, team: Team | None = None) -> Outcome:
    group = backend.open(plan, inputs, np.arange(inputs.shape[0]), 0, output=False)
    outcome = backend.run(plan, group, Control.for_workers(1), team or Team.of((0,)), 0)
    backend.close(plan, group)
    return outcome


def test_memory_that_is_given_back_too_early_would_be_found() -> None:
    device = HostDevice(lazy=True)
    one, other = device.new_stream(), device.new_stream()
    with device.current(one):
        array = device.empty(4, np.float32)
    device.zero(array, one)
    one.synchronize()
    device.zero(array[1:], other)
    del array
    assert host_device.FAULTS == ["zero in stream 0.2: its memory is given back before"]
    host_device.FAULTS.clear()


def test_few_layers_are_ahead_of_the_device(rng: np.random.Generator) -> None:
    """A kernel that is put into a stream is waited for a few layers later, so that progress and calls are true."""
    network, inputs = deep(rng, 20, ONE_BY_ONE)
    device = HostDevice(lazy=True)
    backend = CupyBackend([device])
    plan = backend.prepare(network, KernelOptions(columns="none", rows="none"), 1)
    backend.warm_up(plan, inputs.shape[0])
    device.log.clear()
    run(backend, plan, inputs)
    ahead, most = 0, 0
    for _, kind, what in device.log:
        if what.startswith("layer"):
            ahead += 1 if kind == "put" else -1
            most = max(most, ahead)
    assert 2 <= most <= 8, "two stretches of 4"


def test_memory_is_given_back_with_the_plan(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = deep(rng)
    arrays: list[weakref.ref[Any]] = []
    empty = HostDevice.empty

    def counted(self: HostDevice, n: int, dtype: Any) -> Any:
        array = empty(self, n, dtype)
        arrays.append(weakref.ref(array.base if array.base is not None else array))
        return array

    monkeypatch.setattr(HostDevice, "empty", counted)
    for residency in ("memory", "stream"):
        gc.collect()
        gc.disable()  # the collector does not know how much of a device's memory waits for it
        try:
            sparsednn.infer(network, inputs, backend=lazy(2), threads=3, residency=residency, output=True)
            assert arrays
            assert not [array for array in arrays if array() is not None]
            assert not host_device.PINNED
        finally:
            gc.enable()


def test_a_group_goes_on_where_a_called_team_has_left_it(rng: np.random.Generator) -> None:
    network, inputs = deep(rng, n=ONE_BY_ONE)
    backend, control = CupyBackend([HostDevice()]), Control.for_workers(2)
    plan = backend.prepare(network, KernelOptions(), 2)
    group = backend.open(plan, inputs, np.arange(300), 0, output=True)
    control.call(0, 0)
    layers = []
    while backend.run(plan, group, control, Team.of((0,)), 0) is Outcome.CALLED:
        layers.append(int(control.progress[0, SCORE]))
    assert layers == list(range(1, 9))
    assert control.progress[0, [DONE, SCORE]].tolist() == [300 * 9, 9]
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True).output
    assert same_bits(backend.close(plan, group).output, expected)

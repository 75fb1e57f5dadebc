"""Instances that are dropped, retired and merged on a device: less is computed, nothing changes, and everything is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.kernels.dense import DenseBlock
from backends.cupy_gpu.run import leader as walk
from backends.cupy_gpu.run.leader import find_twins, saves
from backends.cupy_gpu.run.worker import Lane
from sparsednn.backend import DONE, SCORE, WORK, Control, KernelOptions, Outcome, Team
from tests.backends import agree, nearly_equal
from tests.conformance.test_backend import REFERENCE
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")

KERNELS = ["fused", "cusparse_spmm"]


def run(network: sparsednn.Network, inputs: Any, kernel: str, rows: str) -> sparsednn.Result:
    backend = CupyBackend([HostDevice()])
    return sparsednn.infer(network, inputs, backend=backend, kernel=kernel, rows=rows, threads=1, output=True)


def checked(network: sparsednn.Network, inputs: Any, kernel: str, rows: str) -> int:
    """The multiply-adds of a run that has the right results."""
    result = run(network, inputs, kernel, rows)
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    assert nearly_equal(result.output, expected.output)
    assert np.array_equal(result.categories, expected.categories)
    return int(result.record["performed_edges"])


@pytest.mark.parametrize("kernel", KERNELS)
def test_dead_instances_are_not_computed(kernel: str) -> None:
    """Of 512 instances 128 survive the first layer of five."""
    inputs = np.full((512, 4), 0.5)
    inputs[::4] = 9
    network = sparsednn.Network([sp.csr_array(np.eye(4))] * 5, bias=-1.0)
    assert checked(network, inputs, kernel, "none") == 5 * 512 * 4
    assert checked(network, inputs, kernel, "prune") == (512 + 4 * 128) * 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_saturated_instances_are_not_computed(kernel: str) -> None:
    """Three quarters are at the maximum everywhere after the first layer, and every later layer keeps them there."""
    inputs = np.full((512, 4), 9.0)
    inputs[::4, 0] = 1
    network = sparsednn.Network([sp.csr_array(np.eye(4))] * 5, activation=sparsednn.clipped_relu(2.0))
    assert checked(network, inputs, kernel, "prune") == 5 * 512 * 4
    assert checked(network, inputs, kernel, "retire") == (512 + 4 * 128) * 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_instances_with_the_same_bits_are_computed_once(kernel: str, rng: np.random.Generator) -> None:
    """512 instances, of which four are the same each time, and not at once: two become so in the second layer."""
    inputs = np.repeat(rng.random((128, 4)) + 1, 4, axis=0)
    inputs[::2, 3] += 1  # the last input leads nowhere after the first layer
    first, second = np.eye(4), np.diag([1.0, 1.0, 1.0, 0.0])
    network = sparsednn.Network([sp.csr_array(w) for w in (first, second, second, second, second)])
    n_ops = checked(network, inputs, kernel, "merge")
    assert n_ops == 512 * 4 + 256 * 3 + 3 * 128 * 3
    assert checked(network, inputs, kernel, "retire") == 512 * 4 + 4 * 512 * 3


def test_hashes_that_collide_merge_nothing_that_differs(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "digests", lambda lane, block: lane.upload(np.zeros(block.n, np.uint64)))
    network = sparsednn.Network([sp.csr_array(rng.random((8, 8)))] * 3)
    inputs = rng.random((300, 8)).astype(np.float32)
    result = run(network, sp.csr_array(inputs), "fused", "merge")
    expected = sparsednn.infer(network, inputs, backend=REFERENCE, output=True)
    assert agree("cupy_on_host", "fused", result.output, expected.output)


def test_twins_are_found_by_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(HostDevice(), 6)
    block = DenseBlock(None, n_neurons=1, n=6, n_padded=6, by_instance=False)
    monkeypatch.setattr(walk, "digests", lambda lane, block: lane.upload(np.array([7, 5, 7, 5, 7, 1], np.uint64)))
    monkeypatch.setattr(walk, "same", lambda lane, block, one, other: np.array([True, False, True]))
    assert find_twins(lane, block, np.arange(6), 1) == {2: 0, 4: 0}
    monkeypatch.setattr(walk, "same", lambda lane, block, one, other: np.array([True]))
    assert find_twins(lane, block, np.array([0, 3, 4]), 1) == {4: 0}, "ids are those of the block"
    assert find_twins(lane, block, np.arange(6), 128) == {}, "not worth it"


@pytest.mark.parametrize(
    ("kept", "n", "tile", "expected"),
    [
        pytest.param(0, 1, 128, True, id="nothing left"),
        pytest.param(1, 128, 128, False, id="one tile stays one tile"),
        pytest.param(128, 129, 128, True, id="two tiles become one"),
        pytest.param(1000, 1100, 1, False, id="less than an eighth"),
        pytest.param(875, 1000, 1, True, id="an eighth"),
    ],
)
def test_what_is_worth_it(kept: int, n: int, tile: int, expected: bool) -> None:
    assert saves(kept, n, tile) == expected


def test_progress_counts_what_was_dropped_when_it_is_dropped() -> None:
    """Half of 256 instances die in the first layer: after it, they are through."""
    inputs = np.full((256, 4), 0.5, np.float32)
    inputs[::2] = 9
    network = sparsednn.Network([sp.csr_array(np.eye(4))] * 6, bias=-1.0)
    backend, control = CupyBackend([HostDevice()]), Control.for_workers(1)
    plan = backend.prepare(network, KernelOptions(rows="prune"), 1)
    group = backend.open(plan, sp.csr_array(inputs), np.arange(256), 0, output=False)
    control.call(0, 0)
    assert backend.run(plan, group, control, Team.of((0,)), 0) is Outcome.CALLED
    assert control.progress[0, [DONE, SCORE, WORK]].tolist() == [256 + 128 * 5, (256 + 128 * 5) // 256, 128 * 4]

"""The GPU in the simulator: counted on devices, planned by a model of launches, instructions and bytes, and labelled so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from backends.cupy_gpu.costs import known_launch
from sparsednn.backend import CostKind, LayerLaunch
from sparsednn.errors import DataError, OptionError
from sparsednn.simulator.cluster import Cluster
from sparsednn.simulator.gpu.card import CARDS, Card, read_card
from sparsednn.simulator.gpu.model import BOUNDS, GpuCostModel, rows_left
from sparsednn.simulator.profile import measure_profile
from sparsednn.simulator.simulate import simulate
from sparsednn.simulator.work import GroupWork
from tests.conftest import JIT_DISABLED
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice
from tests.gpu.test_streams import deep

needs_kernels = pytest.mark.skipif(
    host_kernels.COMPILER is None or JIT_DISABLED, reason="no C++ compiler for the GPU kernels, or no JIT"
)
STAGED = LayerLaunch("made_up", 1024, 1024, 32 * 1024, 32, 100_000, 3.0, 0.25, 0.0625, 32)
DIRECT = STAGED._replace(shared_loads=0.0, global_loads=0.3125)
KIND = CostKind("cupy/fused", "blocks", True, row_unit=128)


def with_figures(**values: float) -> Card:
    """A card on which nothing takes long but what is given."""
    usual = {"multiprocessors": 1e6, "clock_hz": 1e9, "compute_share": 1.0, "memory_share": 1.0, "shared_bytes_per_clock": 1e9}
    slow = {"host_launch_s": 1e-12, "launch_s": 1e-12, "checkpoint_s": 1e-12, "run_s": 1e-12, "l2_bytes": 1.0}
    fast = {"memory_bytes_per_s": 1e30, "l2_bytes_per_clock": 1e20, "host_bytes_per_s": 1e30, "lanes": 1e9, "issues": 1e9}
    return read_card("h100").assuming({**usual, **slow, **fast, **values})


@pytest.mark.parametrize(
    ("launch", "figures", "seconds"),
    [
        pytest.param(STAGED, {"issues": 4, "multiprocessors": 8}, 1280 * 32768 * 3 / 32 / 4 / 8 * 1e-9, id="instructions"),
        pytest.param(STAGED, {"lanes": 128, "multiprocessors": 8}, 1280 * 32768 * 2 / 128 / 8 * 1e-9, id="lanes"),
        pytest.param(STAGED, {"shared_bytes_per_clock": 128}, 1280 * 32768 * 4 / 128 / 320 * 1e-9, id="shared memory"),
        pytest.param(STAGED, {"memory_bytes_per_s": 1e12}, (1280 * 2048 * 4 + 100_000) / 1e12, id="memory"),
        pytest.param(STAGED, {"l2_bytes": 1e9, "l2_bytes_per_clock": 1e4}, 1280 * 2048 * 4 / 1e13, id="L2"),
        pytest.param(DIRECT, {"l2_bytes_per_clock": 1e3, "l2_bytes": 1e9}, 1280 * 32768 * 5 / 1e12, id="gathered from L2"),
        pytest.param(STAGED, {"issues": 1}, 1280 * 32768 * 3 / 32 / 320 * 1e-9, id="fewer blocks than multiprocessors"),
        pytest.param(STAGED, {"launch_s": 5e-6}, 5e-6, id="a launch"),
    ],
)  # fmt: skip
def test_the_scarcest_resource_decides(launch: LayerLaunch, figures: dict[str, float], seconds: float) -> None:
    model = GpuCostModel(with_figures(**figures), [launch])
    assert model.layers_s(np.array([1280]))[0] == pytest.approx(seconds, rel=1e-6)
    assert model.bounds(np.array([1280])).shape == (1, len(BOUNDS))
    assert model.layers_s(np.array([0]))[0] == 0


def work_of(alive: list[int], full: list[int], n_rows: int = 1000) -> GroupWork:
    """A row group with so many rows left."""
    n = len(alive)
    sizes, always = np.full(n, 1024), np.ones(n, np.bool_)
    nnz = np.full(n, 5000)
    return GroupWork(
        n_rows, np.array(alive), nnz, nnz, np.array(full), np.zeros(n, np.int64), np.zeros(n), sizes, sizes, 32 * sizes, always,
        always,
    )  # fmt: skip


def test_rows_are_dropped_at_checkpoints_where_that_saves_an_eighth() -> None:
    work = work_of([1000, 950, 800, 700, 600, 500, 100, 50], [0, 0, 0, 0, 0, 0, 40, 50])
    assert rows_left(work, KIND).tolist() == [1000, 1000, 800, 700, 600, 600, 60, 60]
    assert rows_left(work, KIND._replace(prunes=False)).tolist() == [1000] * 8


def test_the_host_bounds_small_layers_and_takes_turns_among_streams() -> None:
    card = with_figures(host_launch_s=1e-5, checkpoint_s=1e-3)
    work = work_of([1000] * 8, [0] * 8)
    costs = [GpuCostModel(card, [STAGED] * 8, n).costs([work], KIND)[0] for n in (1, 3)]
    looks = np.array([1, 1, 1, 1, 0, 1, 0, 0]) * 1e-3  # before layers 1, 2, 3, 4, 6
    for n, found in zip((1, 3), costs, strict=True):
        assert found.alone_s == pytest.approx(n * 1e-5 + looks)
        assert found.serial_share == pytest.approx(1, rel=1e-3), "a team's other members cannot help"
    in_blocks = GpuCostModel(card, [STAGED] * 8).costs([work], KIND._replace(block_rows=256, prunes=False))[0]
    assert in_blocks.alone_s == pytest.approx([4e-5] * 8)


def test_streams_share_a_device() -> None:
    model = GpuCostModel(read_card(), [STAGED], n_devices=2)
    assert model.slowdown(KIND, 4, 4).tolist() == [1, 1, 1, 1.5, 2]
    assert GpuCostModel(read_card(), [STAGED]).slowdown(KIND, 4, 4).tolist() == [1, 1, 1, 1, 1]


@needs_kernels
def test_devices_count_as_cores_do(rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    expected = measure_profile(network, inputs, cache=False)
    found = measure_profile(network, inputs, 2, CupyBackend([HostDevice()]), cache=False)
    np.testing.assert_array_equal(found.nonzeros, expected.nonzeros)
    assert (expected.nonzeros[-1] > 0).any()


@needs_kernels
def test_auto_plans_by_the_model_and_says_so(rng: np.random.Generator) -> None:
    network, inputs = deep(rng)
    backend = CupyBackend([HostDevice(0), HostDevice(1)])
    found = sparsednn.infer(network, inputs, backend=backend, scheduler="auto", output=True)
    auto = found.record["auto"]
    assert auto["simulated"] is True
    assert "s on 2 streams, by a model of a GPU with assumed figures of host" in auto["reason"]
    assert {name.split()[0] for name in auto["predicted_s"]} == {
        "data", "model", "data_then_model", "manager_worker", "work_stealing"
    }  # fmt: skip
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True)
    assert found.record["scheduler"] in {name.split()[0] for name in auto["predicted_s"]}
    np.testing.assert_array_equal(found.output.toarray().view(np.uint32), expected.output.toarray().view(np.uint32))
    with pytest.raises(OptionError, match=r"kernel=cusparse_spmm: what cuSPARSE takes cannot be predicted; use kernel=fused"):
        sparsednn.infer(network, inputs, backend=backend, scheduler="auto", kernel="cusparse_spmm")


def test_gpus_are_simulated_without_one() -> None:
    """Rows that all stay: twice the GPUs take half as long, but for what does not depend on them."""
    network, inputs = sparsednn.radixnet(1024, 12), sparsednn.challenge_inputs(1024, instances=600)
    many = sp.csr_array(sp.vstack([inputs] * 100, format="csr"))
    seconds = {}
    for n in (1, 2, 4):
        found = simulate(network, many, "cupy", cluster=Cluster(cores_per_node=n), rows="none", columns="none")
        seconds[n] = found.record["seconds"]["inference_median"]
        assert found.record["calibration"]["card"] == "NVIDIA H100 SXM5 80 GB"
        assert {one["source"] for one in found.record["calibration"]["parameters"].values()} == {"assumed"}
    assert 1.6 < seconds[1] / seconds[2] < 2.05
    assert seconds[4] < seconds[2]
    chosen = simulate(network, inputs, "cupy", scheduler="auto", cluster=Cluster(cores_per_node=2))
    assert "assumed figures of NVIDIA H100" in chosen.record["auto"]["reason"]


@pytest.mark.parametrize("name", CARDS)
def test_cards_say_where_each_figure_is_from(name: str) -> None:
    card = read_card(name)
    assert all(entry["note"] and entry["source"] == "assumed" for entry in card.content["parameters"].values())
    launch = known_launch(card.generation, kernel="layer_16", n_inputs=1, n_outputs=1, terms=1, n_bytes=1)
    assert launch.instructions > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "not the figures of a GPU"),
        ({"card": 7}, "card is 7; text is needed"),
        ({"parameters": {}}, r"parameters\.multiprocessors is missing"),
        ({"more": {"clock": {"value": 1, "source": "assumed"}}}, r"clock: did you mean clock_hz"),
        ({"more": {"clock_hz": {"value": 0, "source": "assumed"}}}, r"parameters\.clock_hz\.value is 0; a number above 0"),
        ({"more": {"clock_hz": {"value": 1, "source": "guess"}}}, r"parameters\.clock_hz\.source"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = json.loads(json.dumps(read_card().content)) | change
    content["parameters"] |= content.pop("more", {})
    path = tmp_path / "card.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as error:
        read_card(path)
    assert str(path) in str(error.value)
    with pytest.raises(DataError, match="assume"):
        read_card().assuming({"clock": 1.0})


def test_kernels_that_nobody_counted_are_refused() -> None:
    with pytest.raises(OptionError, match=r"its machine code for sm_70 is not counted"):
        known_launch("sm_70", kernel="layer_16", n_inputs=1, n_outputs=1, terms=1, n_bytes=1)
    newer = known_launch("sm_120", kernel="layer_16", n_inputs=1, n_outputs=1, terms=1, n_bytes=1)
    assert newer == known_launch("sm_90", kernel="layer_16", n_inputs=1, n_outputs=1, terms=1, n_bytes=1)

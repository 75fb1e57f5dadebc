"""The roofline: microkernels do what they are counted for, and the model's arithmetic is what can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from backends.numba_cpu.dense.kernels.grouped import TILE_COLUMNS
from experiments.roofline import measure as roofline
from experiments.roofline import model as roofline_model
from experiments.roofline.kernels import machine as kernels
from experiments.roofline.model import Cache, Work, caches, roof, set_sizes, tiles
from experiments.roofline.probes import (
    LayerCase,
    Probe,
    ProbeThreads,
    _touched,
    group_case,
    machine_probes,
    radixnet_case,
)
from sparsednn.network import Network
from tests.conftest import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="microkernels are compiled code")
LEVELS = (Cache("L1", 32 << 10, 1), Cache("L2", 1 << 20, 1), Cache("L3", 32 << 20, 2))


@pytest.fixture(autouse=True)
def _tiles_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count by hand for tiles that every processor has."""
    monkeypatch.setattr(roofline_model, "WIDEST_TILE", 64)


@compiled
@pytest.mark.parametrize("lanes", kernels.LANES)
def test_chains_multiply_and_then_add_with_every_rounding(lanes: int) -> None:
    sums = np.random.default_rng(0).random(kernels.N_CHAINS * lanes, np.float32)
    expected, fused, exact = sums.copy(), sums.copy(), sums.astype(np.float64)
    factor, term, n_turns = np.float32(-0.93), np.float32(1.7), 20
    kernels.FUSED[lanes](fused, factor, term, n_turns)
    kernels.UNFUSED[lanes](sums, factor, term, n_turns)
    for _ in range(n_turns):
        expected = expected * factor + term
        exact = (exact * np.float64(factor) + np.float64(term)).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(sums, expected)
    np.testing.assert_array_equal(fused, exact.astype(np.float32))
    assert (sums != fused).any()


@compiled
@pytest.mark.parametrize("lanes", kernels.LANES)
def test_loads_add_up_every_element_of_the_set_round_and_round(lanes: int) -> None:
    width, rounds = kernels.N_LOADS * lanes, 3
    data = np.random.default_rng(0).integers(-(2**31), 2**31, 8 * width).astype(np.int32)
    sums = np.arange(width, dtype=np.int32)
    kernels.LOADS[lanes](data, len(data) - 1, 8 * rounds + 1, sums)
    rows = data.reshape(8, width)
    expected = np.arange(width) + rounds * rows.sum(axis=0, dtype=np.int64) + rows[0]
    np.testing.assert_array_equal(sums, expected.astype(np.int32))


@compiled
def test_the_layer_that_is_timed_is_the_layer() -> None:
    weights = np.array([[0.5, 0, 2], [0, 1, 0.25], [1.5, 0, 0]], np.float32)
    case = LayerCase(Network([sp.csc_array(weights)], bias=-0.5), "none")
    x = np.random.default_rng(0).random((3, 8), np.float32)
    memory = np.zeros(2 * case.n_slots * 8, np.float32)
    memory[: x.size] = x.ravel()
    once = weights.T @ x - np.float32(0.5)
    twice = weights.T @ np.maximum(once, 0)
    blocks = case.run(memory, 8, 1)
    np.testing.assert_allclose(blocks[1, : x.size].reshape(3, 8), np.maximum(once, 0), rtol=1e-6, atol=1e-6)
    memory[: x.size] = x.ravel()
    blocks = case.run(memory, 8, 2)
    expected = np.where(twice != 0, np.maximum(twice - np.float32(0.5), 0), 0)
    np.testing.assert_allclose(blocks[0, : x.size].reshape(3, 8), expected, rtol=1e-5, atol=1e-5)


def test_counts_of_a_radixnet_layer_by_hand() -> None:
    work = radixnet_case(256, "none").work(128)
    assert work == Work(256, 256, n_connections=256 * 32, n_stored=16 * 32, stride=128, id_bytes=2, n_grouped=256 * 32)
    assert work.multiply_adds == 256 * 32 * 128
    n_tiles = 16 * 8 * 16 // TILE_COLUMNS  # of 16 columns and 16 instances, or parts of such
    assert work.loaded_bytes == n_tiles * 32 * (4 * 16 + 4 * TILE_COLUMNS + 2)
    assert work.stored_bytes == 256 * 4 * 128
    assert work.set_bytes == 2 * 256 * 4 * 128 + 16 * 32 * 2
    varied = radixnet_case(256, "none", one_weight=False).work(136)
    assert varied == Work(256, 256, 256 * 32, 16 * 32, 136, id_bytes=6, n_grouped=256 * 32, weight_bytes=4)
    assert varied.loaded_bytes == work.loaded_bytes // 8 * 9
    assert varied.set_bytes == 2 * 256 * 4 * 136 + 16 * 32 * 2 + 256 * 32 * 4
    assert radixnet_case(256, "merge").work(128) == Work(16, 16, 16 * 32, 16 * 32, 128, 2)


@pytest.mark.parametrize(
    ("widest", "stride", "widths"),
    [(64, 8, [8]), (64, 56, [56]), (64, 72, [40, 32]), (64, 136, [48, 48, 40]), (128, 136, [72, 64]), (128, 384, [128] * 3)],
    ids=str,
)
def test_tiles_are_as_few_and_as_equal_as_can_be(
    monkeypatch: pytest.MonkeyPatch, widest: int, stride: int, widths: list[int]
) -> None:
    monkeypatch.setattr(roofline_model, "WIDEST_TILE", widest)
    assert tiles(stride) == widths


def test_the_least_bytes_are_what_the_nearer_cache_cannot_hold() -> None:
    work = Work(n_inputs=1000, n_outputs=1000, n_connections=32_000, n_stored=2_000, stride=128, id_bytes=6)
    needed = work.least_bytes(LEVELS, 2)
    touched = 2 * 1000 * 512 + 2_000 * 6
    assert needed == {"L1": 32_000 * (512 + 12), "L2": touched - (32 << 10), "L3": 0, "memory": 0}
    wide = Work(65_536, 65_536, 65_536 * 32, 4096 * 32, 128, 8).least_bytes(LEVELS, 2)
    assert wide["memory"] == 65_536 * 1024 + 4096 * 32 * 8 - (16 << 20)


@compiled
def test_a_cache_misses_what_was_used_too_long_ago() -> None:
    # Two times 4 rows of 32 bytes, and for each output the 6 bytes of its one connection, from the input of its own number.
    chain = LayerCase(Network([sp.csc_array(np.diag(np.arange(1, 5, dtype=np.float32)))]), "none")
    everything = 2 * 4 * 32 + 4 * 6
    # One byte short: the connection, brought in, drives out the row that is written next, and that the next connection.
    for size, missed in ((everything, 0), (everything - 1, 4 * (6 + 32)), (64, everything)):
        assert chain.bytes_in_order(8, (Cache("L1", size, 1),), 1) == {"L1": 4 * (32 + 6), "memory": missed}
    # Room for what one output needs: the second one finds both inputs; one of them is still there from when it was written.
    shared = LayerCase(Network([sp.csc_array(np.array([[1, 2], [3, 4]], np.float32))]), "none")
    counted = shared.bytes_in_order(8, (Cache("L1", 12 + 3 * 32, 1),), 1)
    assert counted == {"L1": 4 * (32 + 6), "memory": (12 + 32 + 32) + (12 + 32)}


@compiled
@pytest.mark.parametrize("columns", ["none", "merge"])
def test_no_order_needs_less_than_the_bound(columns: str) -> None:
    case, levels = radixnet_case(256, columns), (Cache("L1", 4096, 1), Cache("L2", 1 << 14, 1), Cache("L3", 1 << 16, 1))
    least, counted = case.work(64).least_bytes(levels, 1), case.bytes_in_order(64, levels, 1)
    assert least.keys() == counted.keys()
    assert all(least[name] <= counted[name] for name in least)
    assert counted["L2"] > 0


def test_the_roof_is_the_least_of_its_limits() -> None:
    bandwidth = {"L1": 200.0, "L2": 100.0, "memory": 10.0}
    assert roof(60.0, bandwidth, 1000, {"L1": 4000, "L2": 1000, "memory": 0}) == (50.0, "L1")
    assert roof(60.0, bandwidth, 1000, {"L1": 4000, "L2": 4000, "memory": 100}) == (25.0, "L2")
    assert roof(60.0, bandwidth, 1000, {"L1": 4000, "L2": 1000, "memory": 2000}) == (5.0, "memory")
    assert roof(40.0, bandwidth, 1000, {"L1": 4000, "L2": 1000, "memory": 0}) == (40.0, "arithmetic")


def test_sets_fit_their_level_and_no_nearer_one() -> None:
    assert set_sizes(LEVELS, 1) == {"L1": 16 << 10, "L2": 512 << 10, "L3": 4 << 20, "memory": 64 << 20}
    assert set_sizes(LEVELS, 2)["memory"] == 32 << 20
    odd = (Cache("L1", 48 << 10, 2), Cache("L2", 1280 << 10, 2))
    assert set_sizes(odd, 4) == {"L1": 16 << 10, "L2": 512 << 10, "memory": 8 << 20}


def write_cache(root: Path, files: list[dict[str, str]]) -> Path:
    for number, entries in enumerate(files):
        folder = root / f"index{number}"
        folder.mkdir(parents=True)
        for name, text in entries.items():
            (folder / name).write_text(text + "\n")
    return root


def test_caches_are_read_from_the_system(tmp_path: Path) -> None:
    files = [
        {"level": "1", "type": "Data", "size": "48K", "shared_cpu_list": "0,32"},
        {"level": "1", "type": "Instruction", "size": "32K", "shared_cpu_list": "0,32"},
        {"level": "2", "type": "Unified", "size": "2M", "shared_cpu_list": "0,32"},
        {"level": "3", "type": "Unified", "size": "32768K", "shared_cpu_list": "0-7,32-39"},
    ]
    found = caches(write_cache(tmp_path, files))
    assert found == (Cache("L1", 48 << 10, 2), Cache("L2", 2 << 20, 2), Cache("L3", 32 << 20, 16))
    assert [level.capacity_bytes(8) for level in found] == [48 << 10, 2 << 20, 4 << 20]


def test_caches_are_assumed_where_the_system_does_not_tell(tmp_path: Path) -> None:
    found = caches(tmp_path / "nowhere")
    assert [level.name for level in found] == ["L1", "L2", "L3"]
    assert all(level.assumed for level in found)


def test_a_size_that_is_none_is_named(tmp_path: Path) -> None:
    write_cache(tmp_path, [{"level": "1", "type": "Data", "size": "large", "shared_cpu_list": "0"}])
    with pytest.raises(ValueError, match=r"index0/size: 'large' is not a cache's size such as 32K"):
        caches(tmp_path)


def test_all_threads_work_at_the_same_time_on_memory_of_their_own() -> None:
    team, seen = ProbeThreads(2, 4096, patience_s=0), []

    def run(memory: Any, n_turns: int) -> None:
        seen.append((memory.ctypes.data, len(memory), n_turns))

    rate = team.rate(Probe({}, 10, 4096, run, n_turns=3), 2)
    team.close()
    assert rate > 0
    assert len({address for address, _, _ in seen}) == 2
    assert {entry[1:] for entry in seen} == {(1024, 3)}
    assert team.n_measured == 1


@compiled
def test_the_benchmark_states_roofs_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "caches", lambda: (Cache("L1", 8 << 10, 1), Cache("L2", 64 << 10, 1)))
    done: list[tuple[int, int]] = []
    found = roofline.measure(2, 2, roofline.TOY, lambda *of: done.append(of))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert {(rate["threads"], rate["name"], rate["lanes"]) for rate in found["rates"]} == {
        (n, name, lanes) for n in (1, 2) for name in ("unfused", "fused", "L1", "L2", "memory") for lanes in kernels.LANES
    }
    assert len(found["kernels"]) == 2 * (1 + 3 * 2)
    assert found["measured"] == 3 * (len(found["rates"]) + len(found["kernels"]))
    for entry in found["rates"] + found["kernels"]:
        assert len(entry["values"]) == 2
        assert 0 < entry["low"] <= entry["median"] <= entry["high"]
    for case in found["kernels"]:
        most, ordered = case["any_order"], case["this_order"]
        assert most["rate"] >= ordered["rate"] > 0
        for one in (most, ordered):
            assert one["bytes"]["L1"] == case["loaded_bytes"]
            assert all(share > 0 for share in one["share"]["values"])
    check_roof_again(found)


def check_roof_again(written: dict[str, Any]) -> None:
    """Work one roof out from the record alone."""
    case = next(case for case in written["kernels"] if case["stride"] == 128 and case["columns"] == "none")
    best = {}
    for rate in written["rates"]:
        if rate["threads"] == case["threads"]:
            best.setdefault(rate["name"], []).append(rate["values"])
    best = {name: np.median(np.max(values, axis=0)) for name, values in best.items()}
    needed = case["this_order"]["bytes"]
    limits = [best["unfused"], *(best[n] * case["multiply_adds"] / needed[n] for n in needed if needed[n])]
    assert case["this_order"]["rate"] == pytest.approx(min(limits))


def test_sets_are_as_large_as_caches_ask_for_or_as_large_as_they_may_be() -> None:
    levels = (Cache("L1", 8 << 10, 1), Cache("L2", 64 << 10, 1))
    wanted, small = (
        {one.about["name"]: (one.about["set_bytes"], one.n_bytes) for one in machine_probes(levels, 1, most)[2:5]}
        for most in (roofline.FULL.most_bytes, 16 << 10)
    )
    assert wanted["L1"][0] < 8 << 10 < wanted["L2"][0] < 64 << 10 < wanted["memory"][0]
    assert small == {"L1": wanted["L1"], "L2": (16 << 10,) * 2, "memory": (16 << 10,) * 2}


def test_memory_is_written_with_the_same_values_again_and_again() -> None:
    memory = _touched(150_000)
    assert np.array_equal(memory, np.resize(np.random.default_rng(0).random(1 << 16, np.float32), 150_000))


@compiled
def test_one_group_stays_in_l1() -> None:
    case = group_case()
    work = case.work(roofline.GROUP_STRIDE)
    assert (work.n_inputs, work.n_outputs, work.n_connections, work.n_stored) == (32, 16, 512, 32)
    assert case.bytes_in_order(64, (Cache("L1", 32 << 10, 1),), 1)["memory"] == 0

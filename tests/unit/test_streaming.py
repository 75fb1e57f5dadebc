"""Layers in files that are read while others are computed: the same bits, each file made once, and nothing read for nothing."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.numba_cpu.layout import files as packed_files
from backends.numba_cpu.layout import reader
from backends.numba_cpu.layout.reader import LayerReader
from sparsednn.backend import KernelOptions, load_backend
from tests.backends import same_bits
from tests.conftest import JIT_DISABLED

WIDTH, LAYERS, ROWS = 64, 12, 60
KERNELS = ["rowwise_first", "udc_csc"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packed layers are kept; a new one for each test."""
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    return tmp_path / "layers"


@pytest.fixture
def network() -> sparsednn.Network:
    """Uniform columns of equal weights."""
    return sparsednn.radixnet(WIDTH, LAYERS, radices=(2, 2, 2, 2), dense_width=4, bias=-0.3, weight=0.25)


@pytest.fixture
def inputs(rng: np.random.Generator) -> sp.csr_array:
    """Sparse rows, some of them empty and some the same."""
    dense = np.where(rng.random((ROWS, WIDTH)) < 0.4, rng.random((ROWS, WIDTH)), 0).astype(np.float32)
    dense *= rng.uniform(0.2, 1.5, (ROWS, 1)).astype(np.float32)  # some die on the way
    dense[::9], dense[1::7] = 0, dense[1]
    return sp.csr_array(dense)


def ragged(rng: np.random.Generator, weights: str) -> sparsednn.Network:
    """Layers of several widths, columns of several lengths (some empty, some the same); weights equal or not."""
    layers = []
    widths = [WIDTH, 40, 70, 70, WIDTH, 50]
    for n, m in pairwise(widths):
        values = np.full((n, m), 0.25) if weights == "equal" else rng.normal(size=(n, m)) * 0.4
        dense = np.where(rng.random((n, m)) < 0.2, values, 0).astype(np.float32)
        layers.append(sp.csr_array(dense[:, rng.integers(0, m - 10, m)]))
    return sparsednn.Network(layers, bias=-0.05, activation=sparsednn.clipped_relu(4))


def infer(network: sparsednn.Network, inputs: sp.csr_array, **options: Any) -> sparsednn.Result:
    return sparsednn.infer(network, inputs, **{"threads": 1, "output": True, "residency": "stream", **options})


def require_same(network: sparsednn.Network, inputs: sp.csr_array, **options: Any) -> None:
    in_memory, streamed = infer(network, inputs, residency="memory", **options), infer(network, inputs, **options)
    assert in_memory.output is not None
    assert streamed.output is not None
    assert in_memory.output.nnz > 0
    assert same_bits(streamed.output, in_memory.output)
    assert np.array_equal(streamed.categories, in_memory.categories)
    assert streamed.record["performed_edges"] == in_memory.record["performed_edges"]
    assert "stream" not in in_memory.record


def packed(folder: Path) -> Path:
    """The only packed network."""
    (found,) = folder.iterdir()
    return found


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("scheduler", ["data", "model", "data_then_model", "manager_worker", "work_stealing"])
def test_all_schedulers_find_the_same(
    network: sparsednn.Network, inputs: sp.csr_array, kernel: str, threads: int, scheduler: str
) -> None:
    require_same(
        network, inputs, kernel=kernel, threads=threads, scheduler=scheduler, block_rows=16, minimum_work=0, threshold=0,
        split_factor=2,
    )  # fmt: skip


@pytest.mark.parametrize("rows", ["none", "prune", "retire", "merge"])
@pytest.mark.parametrize("columns", ["none", "merge"])
@pytest.mark.parametrize("order", ["given", "shared_inputs"])
def test_all_optimisations_find_the_same(
    network: sparsednn.Network, inputs: sp.csr_array, rows: str, columns: str, order: str
) -> None:
    require_same(network, inputs, rows=rows, columns=columns, order=order, block_rows=16)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("weights", ["equal", "unequal"])
@pytest.mark.parametrize("columns", ["none", "merge"])
@pytest.mark.parametrize("hashing", ["none", "layer"])
def test_ragged_layers_find_the_same(
    rng: np.random.Generator, inputs: sp.csr_array, kernel: str, weights: str, columns: str, hashing: str
) -> None:
    require_same(ragged(rng, weights), inputs, kernel=kernel, columns=columns, hashing=hashing, threads=2)


def test_a_network_without_connections_is_streamed_too(inputs: sp.csr_array) -> None:
    nothing = sparsednn.Network([sp.csr_array((WIDTH, WIDTH), dtype=np.float32)] * 3, bias=1.0, bias_on="all")
    require_same(nothing, inputs)


def test_what_layers_have_in_common_is_in_the_file_once(inputs: sp.csr_array, folder: Path) -> None:
    one = sparsednn.radixnet(WIDTH, 4, radices=(2, 2, 2, 2), dense_width=4, bias=-0.2, weight=0.125)
    three_times = sparsednn.Network.from_layers([*one.layers] * 3)
    infer(one, inputs, columns="none")
    first = packed(folder)
    infer(three_times, inputs, columns="none")
    (second,) = [path for path in folder.iterdir() if path != first]
    sizes = {path.name: path.stat().st_size for path in first.glob("*.bin")}
    assert sizes["ids.bin"] > 0
    assert {path.name: path.stat().st_size for path in second.glob("*.bin")} == sizes


def test_the_second_run_packs_nothing(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = infer(network, inputs)

    def packs_again(*_: object) -> None:
        raise AssertionError("packed again")

    monkeypatch.setattr(packed_files, "_make", packs_again)
    second = infer(network, inputs, kernel="udc_csc", rows="none")  # packed in the same way
    assert same_bits(second.output, first.output)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="packed again"):
        infer(network, inputs, columns="none")
    assert len(list(folder.iterdir())) == 1


def _without_meta(path: Path) -> None:
    (path / "meta.npz").unlink()


def _shortened(name: str) -> Callable[[Path], None]:
    def shorten(path: Path) -> None:
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[: len(whole) // 2])

    return shorten


def _emptied_meta(path: Path) -> None:
    (path / "meta.npz").write_bytes(b"")


def _flipped_meta(path: Path) -> None:
    raw = bytearray((path / "meta.npz").read_bytes())
    raw[raw.index(b"neurons.widths.npy") + len("neurons.widths.npy") + 150] ^= 1  # an entry of the array
    (path / "meta.npz").write_bytes(raw)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_without_meta, id="half written"),
        pytest.param(_shortened("ids.bin"), id="ids cut off"),
        pytest.param(_shortened("meta.npz"), id="meta cut off"),
        pytest.param(_emptied_meta, id="meta empty"),
        pytest.param(_flipped_meta, id="meta damaged"),
    ],
)
def test_a_folder_that_is_not_whole_is_made_again(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, spoil: Callable[[Path], None]
) -> None:
    first = infer(network, inputs)
    path = packed(folder)
    before = {file.name: file.read_bytes() for file in path.glob("*.bin")}
    spoil(path)
    assert same_bits(infer(network, inputs).output, first.output)  # type: ignore[arg-type]
    assert packed(folder) == path
    assert {file.name: file.read_bytes() for file in path.glob("*.bin")} == before


@pytest.mark.parametrize(("threads", "scheduler"), [(1, "data"), (2, "data"), (2, "model"), (2, "data_then_model")])
def test_a_damaged_layer_ends_the_run_with_its_number(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, threads: int, scheduler: str
) -> None:
    options: dict[str, Any] = {"threads": threads, "scheduler": scheduler, "rows": "none", "minimum_work": 0}
    infer(network, inputs, **options)
    path = packed(folder)
    with np.load(path / "meta.npz") as meta:
        at, length = meta["ids.at"], meta["ids.length"]
    layer = 6  # the second copy of layer 2's pattern would be stored once: the damage is where this one begins
    raw = bytearray((path / "ids.bin").read_bytes())
    raw[int(at[layer]) * 2 + int(length[layer])] ^= 1
    (path / "ids.bin").write_bytes(raw)
    with pytest.raises(
        OSError, match=f"{path.name}: layer {1 + int(np.argmax(at == at[layer]))} is damaged .*delete the folder"
    ):
        infer(network, inputs, **options)


def test_too_little_space_is_said_before_anything_is_written(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"packing [\d,]+ connections .*0.0 GB are free; .*SPARSEDNN_CACHE"):
        infer(network, inputs)
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_all_the_same_leaves_nothing_behind(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    infer(network, inputs, residency="memory")  # compiled: the compiler's cache would be cut off too
    with full_disk(), pytest.raises(OSError, match=r"layers: packed layers cannot be written \(.*SPARSEDNN_CACHE"):
        infer(network, inputs, columns="none")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("repeats", [1, 3])
def test_one_wave_reads_each_layer_once(network: sparsednn.Network, inputs: sp.csr_array, repeats: int, folder: Path) -> None:
    streamed = infer(network, inputs, kernel="udc_csc", rows="none", repeats=repeats).record["stream"]
    assert set(streamed) == {
        "layers", "different_layers_read", "layers_read", "bytes_read", "read_s", "waited_s", "overlap"
    }  # fmt: skip
    assert (streamed["layers"], streamed["different_layers_read"], streamed["layers_read"]) == (LAYERS, LAYERS, LAYERS)
    with np.load(packed(folder) / "meta.npz") as meta:
        entry_bytes = {name: np.dtype(str(meta[f"{name}.dtype"])).itemsize for name in packed_files.FILES}
        assert streamed["bytes_read"] == sum(n * int(meta[f"{name}.length"].sum()) for name, n in entry_bytes.items())
    assert streamed["read_s"] > 0
    assert streamed["waited_s"] >= 0
    assert 0 <= streamed["overlap"] <= 1


def test_layers_that_nobody_lives_to_see_are_not_read(network: sparsednn.Network) -> None:
    faint = sp.csr_array(np.eye(8, WIDTH, dtype=np.float32))  # too faint for the bias
    result = infer(network, faint, rows="prune")
    assert len(result.categories) == 0
    assert 0 < result.record["stream"]["different_layers_read"] <= 2 + reader.AHEAD_LAYERS < LAYERS


@pytest.mark.parametrize("kernel", ["csc_csc", "dcsc_csc", "csr_csr", "csc_udc", "udc_udc"])
def test_kernels_that_need_the_network_in_memory_refuse(
    network: sparsednn.Network, inputs: sp.csr_array, kernel: str, folder: Path
) -> None:
    with pytest.raises(ValueError, match=f"residency=stream: kernel={kernel} .*use rowwise_first or udc_csc"):
        infer(network, inputs, kernel=kernel)
    assert not folder.exists()


def test_other_backends_refuse(network: sparsednn.Network, inputs: sp.csr_array) -> None:
    with pytest.raises(ValueError, match=r"residency=stream: backend=scipy_reference .*use backend=numba"):
        infer(network, inputs, backend="scipy_reference")


def test_an_error_while_reading_lets_nobody_wait(
    network: sparsednn.Network, inputs: sp.csr_array, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: LayerReader, layer: int) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(LayerReader, "_read", breaks)
    with pytest.raises(OSError, match=r"layers-\w+: layers could not be read \(the disk is gone\)"):
        infer(network, inputs, threads=2, scheduler="model")


def test_the_thread_ends_with_the_plan(network: sparsednn.Network, folder: Path) -> None:
    before = set(threading.enumerate())
    plan: Any = load_backend("numba").prepare(network, KernelOptions("rowwise_first", stream_from=folder), 1)
    (thread,) = set(threading.enumerate()) - before
    plan.reader.begin(0)
    thread.join(0.05)
    assert thread.is_alive()
    del plan
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.skipif(JIT_DISABLED, reason="too much work for plain Python")
def test_the_challenge_is_right_with_files(challenge_network: sparsednn.Network, challenge_rows: sp.csr_array) -> None:
    require_same(challenge_network, challenge_rows[:300], threads=2, scheduler="data_then_model")

"""The cache of packed networks: taken as they were put, the longest unused go first, nothing in it ends a run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.numba_cpu.backend import NumbaBackend
from sparsednn.backend import KernelOptions
from sparsednn.engine import PreparedNetwork, Request
from sparsednn.engine.network_cache import NetworkCache, key_of
from sparsednn.execution.options import infer_options

ROOT = Path(__file__).parents[2]
BACKEND: Any = NumbaBackend()
REQUEST = Request.checked(BACKEND, "auto", "data", 1, False, infer_options({}))
X = sp.csr_array(np.eye(64, dtype=np.float32))


def network(bias: float = -0.3) -> sparsednn.Network:
    return sparsednn.radixnet(64, 8, radices=(2, 2, 2, 2), dense_width=4, bias=bias, weight=0.25)


def packed(bias: float = -0.3) -> PreparedNetwork:
    prepared = PreparedNetwork(network(bias), REQUEST)
    prepared.pack()
    return prepared


def output(prepared: PreparedNetwork) -> bytes:
    found = prepared.infer(X, output=True).output
    assert found is not None
    return found.toarray().tobytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def cache(tmp_path: Path) -> NetworkCache:
    return NetworkCache(tmp_path / "networks", 10**9)


def test_a_network_is_taken_as_it_was_put(cache: NetworkCache) -> None:
    assert cache.take("one", BACKEND) is None
    assert cache.put("one", packed())
    found = cache.take("one", BACKEND)
    assert found is not None
    expected = sparsednn.infer(network(), X, backend="scipy_reference", output=True).output
    assert expected is not None
    assert output(PreparedNetwork(found, REQUEST)) == expected.toarray().tobytes()
    assert cache.put("one", packed()) is None, "it is there already"
    assert cache.take("two", BACKEND) is None
    assert names(cache.folder) == ["network-one"]


def test_what_was_not_used_for_longest_goes_first(cache: NetworkCache) -> None:
    size = cache.put("a", packed())
    assert size is not None
    on_disk = sum(file.stat().st_size for file in (cache.folder / "network-a").iterdir())
    small = NetworkCache(cache.folder, 2 * on_disk + size)  # room for two and the layers of a third
    small.put("b", packed())
    for number, key in enumerate("ab"):
        os.utime(cache.folder / f"network-{key}" / "header.json", (number, number))
    assert small.take("a", BACKEND) is not None  # so b is the one
    tight = NetworkCache(cache.folder, on_disk + size)
    tight.put("c", packed())
    assert names(cache.folder) == ["network-a", "network-c"]
    assert NetworkCache(cache.folder, size - 1).put("d", packed()) is None
    assert names(cache.folder) == ["network-a", "network-c"], "nothing goes for one that has no room at all"


def test_a_network_in_use_stays_readable_when_it_is_removed(cache: NetworkCache) -> None:
    size = cache.put("a", packed())
    found = cache.take("a", BACKEND)
    assert found is not None
    assert size is not None
    NetworkCache(cache.folder, size).put("b", packed(-0.2))
    assert names(cache.folder) == ["network-b"]
    assert output(PreparedNetwork(found, REQUEST)) == output(packed())


@pytest.mark.parametrize("file", ["header.json", "plan.bin", "outline.bin"])
@pytest.mark.parametrize("kind", ["damaged", "cut", "gone"])
def test_what_is_not_whole_is_thrown_away_with_a_warning(
    file: str, kind: str, cache: NetworkCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("a", packed())
    path = cache.folder / "network-a" / file
    content = path.read_bytes()
    path.unlink()
    if kind == "damaged":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        assert cache.take("a", BACKEND) is None
    assert "network-a" in caplog.text
    assert "it is made anew" in caplog.text
    assert names(cache.folder) == []
    assert cache.put("a", packed())
    assert cache.take("a", BACKEND) is not None


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert NetworkCache(tmp_path / "file" / "networks", 10**9).put("a", packed()) is None
    assert "Not a directory" in caplog.text
    assert "SPARSEDNN_CACHE" in caplog.text


def test_the_key_has_all_that_decides_what_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    options, about = KernelOptions("rowwise_first"), {"neurons": 64, "seed": 1}
    known = key_of(about, BACKEND, options)
    assert known == key_of(dict(reversed(about.items())), BACKEND, replace(options, rows="none", block_rows=64))
    others = [key_of({**about, "seed": 2}, BACKEND, options)]
    others += [key_of(about, BACKEND, replace(options, **{name: value})) for name, value in
               (("kernel", "udc_csc"), ("columns", "none"), ("order", "given"))]  # fmt: skip
    monkeypatch.setattr(np, "__version__", "0")
    others.append(key_of(about, BACKEND, options))
    monkeypatch.setattr(NumbaBackend, "layout_version", -1)
    others.append(key_of(about, BACKEND, options))
    assert len({known, *others}) == 7


def test_plans_differ_in_nothing_that_is_not_in_the_key() -> None:
    """Threads, how instances are dropped, and the block's size."""
    stored = [
        BACKEND.store_plan(BACKEND.prepare(network(), KernelOptions("rowwise_first", rows=rows, block_rows=size), threads))
        for rows, size, threads in (("merge", None, 1), ("none", 64, 3))
    ]
    assert stored[0].values == stored[1].values
    for name, array in stored[0].arrays.items():
        assert np.array_equal(array, stored[1].arrays[name]), name


PROGRAM = """
import sys
from pathlib import Path
from tests.unit import test_network_cache as here

cache = here.NetworkCache(Path(sys.argv[1]), int(sys.argv[2]))
prepared = {key: here.packed(bias) for key, bias in (("a", -0.3), ("b", -0.2))}
expected = {key: here.output(one) for key, one in prepared.items()}
taken = 0
for number in range(150):
    key = "ab"[number % 2]
    found = cache.take(key, here.BACKEND)
    if found is None:
        cache.put(key, prepared[key])
    elif number % 5 == 0:
        taken += 1
        assert here.output(here.PreparedNetwork(found, here.REQUEST)) == expected[key]
print(taken)
"""


@pytest.mark.parametrize("room", [1, 10])
def test_processes_that_put_take_and_remove_at_once_see_whole_networks_only(room: int, tmp_path: Path) -> None:
    """With room for one network each of them removes the other's all the time."""
    size = NetworkCache(tmp_path / "first", 10**9).put("a", packed())
    assert size is not None
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "networks"), str(size * room + 100)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in running:
        out, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert "made anew" not in errors
        assert room == 1 or int(out) > 0
    assert set(names(tmp_path / "networks")) <= {"network-a", "network-b"}

"""Compiled networks in folders: the same bits after loading, and one line about every folder that cannot be loaded."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsednn
from backends.numba_cpu.layout.files import FORMAT
from sparsednn.backend import KernelOptions, load_backend
from sparsednn.data.truth import challenge_categories
from sparsednn.engine import saved
from sparsednn.errors import OptionError, StorageError
from sparsednn.schedulers import SCHEDULERS, SchedulerOptions
from tests import oracle
from tests.conftest import JIT_DISABLED
from tests.networks import Case, cases, shifted_network

ROOT = Path(__file__).parents[2]
NETWORK = sparsednn.Network(
    [sp.csr_array(np.eye(6, 40) + np.eye(6, 40, 2)), sp.csr_array(np.ones((40, 3)) * [1, -1, 1])], bias=0.5, bias_on="all"
)  # fmt: skip
X = np.arange(18, dtype=np.float32).reshape(3, 6) % 5
MANY = np.tile(X, (30, 1))
"""So many that infer() takes other kernels than the direct ones."""


def bits(array: np.ndarray) -> bytes:
    """Minus zero and zero are one."""
    return (array + np.float32(0)).tobytes()


def dense(result: sparsednn.Result) -> np.ndarray:
    assert result.output is not None
    return result.output.toarray()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved network, which has not been loaded yet."""
    with sparsednn.compile(NETWORK, threads=1) as compiled:
        compiled.save(tmp_path / "saved")
    return tmp_path / "saved"


@settings(max_examples=2 if JIT_DISABLED else 12)
@given(case=cases(widest=20, most_rows=8), columns=st.sampled_from(["none", "merge"]), threads=st.sampled_from([1, 3]))
def test_random_networks_have_the_bits_of_the_oracle_after_loading(
    case: Case, columns: str, threads: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    x, path = case.inputs.toarray(), tmp_path_factory.mktemp("saved") / "network"
    naive = oracle.infer(case.weights, case.bias, case.network.bias_on, case.limits, x)
    with sparsednn.compile(case.network, threads=2, columns=columns) as compiled:
        compiled.save(path)
    with sparsednn.load(path, threads=threads) as loaded:
        assert bits(loaded(x)) == bits(naive)
        assert bits(dense(loaded.infer(x, output=True))) == bits(naive)
        assert loaded.infer(x).categories.tolist() == oracle.categories(naive)
        assert bits(dense(loaded.infer(np.tile(x, (65, 1)), output=True))) == bits(np.tile(naive, (65, 1))), "the other layout"
        assert loaded(x, sparse=True).shape == naive.shape


def test_the_challenge_is_solved_from_a_folder(challenge_network: sparsednn.Network, tmp_path: Path) -> None:
    truth, rows = challenge_categories(1024), sparsednn.challenge_inputs(1024, instances=700)
    with sparsednn.compile(challenge_network) as compiled:
        compiled.save(tmp_path / "challenge")
        record = compiled.infer(rows).record
    with sparsednn.load(tmp_path / "challenge") as loaded:
        result = loaded.infer(rows)
        assert result.categories.tolist() == loaded.categories(rows).tolist() == truth[truth <= 700].tolist()
        for name in ("neurons", "layers", "network_nnz", "performed_edges", "kernel", "optimizations"):
            assert result.record[name] == record[name]
        assert result.record["imbalance"]["layer_nnz"] == record["imbalance"]["layer_nnz"]


@pytest.mark.parametrize("options", [{"kernel": "csc"}, {"kernel": "csr"}, {"kernel": "udc_udc"}, {"rows": "prune"}])
def test_networks_compiled_with_other_options_keep_them(options: dict[str, Any], tmp_path: Path) -> None:
    with sparsednn.compile(NETWORK, threads=1, **options) as compiled:
        compiled.save(tmp_path / "saved")
        expected = compiled.infer(X, output=True)
    with sparsednn.load(tmp_path / "saved", threads=1) as loaded:
        found = loaded.infer(X, output=True)
        assert bits(dense(found)) == bits(dense(expected)) == bits(loaded(X))
        assert (found.record["kernel"], found.record["optimizations"]) == (
            expected.record["kernel"], expected.record["optimizations"],
        )  # fmt: skip


@pytest.mark.slow  # compiles kernels for these ids; tests/unit/test_packing.py looks at what is packed
@pytest.mark.skipif(JIT_DISABLED, reason="too wide for plain Python")
def test_ids_of_more_than_sixteen_bits(rng: np.random.Generator, tmp_path: Path) -> None:
    n = 70_000
    wide = sp.csr_array((rng.normal(size=3000), (rng.permutation(n)[:3000], rng.integers(0, 40, 3000))), shape=(n, 40))
    x = (rng.random((2, n)) < 0.5).astype(np.float32)
    with sparsednn.compile(sparsednn.Network([wide]), threads=1) as compiled:
        expected = compiled(x)
        compiled.save(tmp_path / "saved")
    with sparsednn.load(tmp_path / "saved", threads=2) as loaded:
        assert bits(loaded(x)) == bits(expected)


def test_layouts_are_in_files_until_they_are_used(folder: Path) -> None:
    with sparsednn.load(folder, threads=1) as loaded:
        assert [layout.state for layout in loaded.describe().layouts] == ["in files", "in files"]
        loaded(X)
        assert [layout.state for layout in loaded.describe().layouts] == ["packed", "in files"]
        loaded.infer(MANY)
        assert [layout.state for layout in loaded.describe().layouts] == ["packed", "packed"]


def test_a_loaded_network_can_be_saved_again_and_the_first_folder_removed(folder: Path, tmp_path: Path) -> None:
    with sparsednn.load(folder, threads=1) as loaded:
        loaded.save(tmp_path / "again")
        expected = loaded(X)
        shutil.rmtree(folder)
        assert bits(loaded(X)) == bits(expected), "files that are removed stay as long as they are in use"
    with sparsednn.load(tmp_path / "again", threads=1) as loaded:
        assert bits(loaded(X)) == bits(expected)


def test_a_folder_is_replaced_whole_by_another_network(folder: Path) -> None:
    other = sparsednn.Network([sp.csr_array(np.eye(6))])
    (folder.parent / "empty").mkdir()
    with sparsednn.compile(other) as compiled:
        compiled.save(folder)
        compiled.save(folder.parent / "empty")
    with sparsednn.load(folder) as loaded, sparsednn.load(folder.parent / "empty") as same:
        assert bits(loaded(X)) == bits(same(X)) == bits(X)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["empty", "saved"]


def test_nothing_is_left_of_a_network_that_could_not_be_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any) -> dict[str, Any]:
        path.write_bytes(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (folder / saved.HEADER).read_bytes()
    monkeypatch.setattr(saved, "write_arrays", full)
    with sparsednn.compile(NETWORK) as compiled:
        for path in (folder, folder.parent / "new"):
            with pytest.raises(StorageError, match=r"saved \(No space left on device\); make room, or save elsewhere"):
                compiled.save(path)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]
    assert (folder / saved.HEADER).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"backend": "scipy_reference"}, "backend=scipy_reference"),
        ({"scheduler": "auto"}, "scheduler=auto"),
        ({"scheduler": SCHEDULERS["data"](SchedulerOptions())}, "scheduler object"),
        ({"hashing": "layer"}, "hashing=layer"),
        ({"rebalance_after": 1}, "rebalance_after=1"),
        ({"residency": "stream"}, "residency=stream"),
        ({"progress": lambda done, total: None}, "progress"),
    ],
)
def test_what_files_cannot_hold_is_refused_by_name(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    with sparsednn.compile(NETWORK, **options) as compiled, pytest.raises(OptionError, match=f"save: .*{name}"):
        compiled.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("columns", "digest"), [("none", "81b7e0e53e6b7443"), ("merge", "a8de191eafe47975")])
def test_what_is_stored_is_what_this_version_says(columns: str, digest: str) -> None:
    """Whoever packs something else raises `backends.numba_cpu.layout.files.FORMAT`, or older folders would be taken for it."""
    backend: Any = load_backend("numba")
    weights = (np.arange(12 * 10).reshape(12, 10) % 7 % 3).astype(np.float32)
    network = sparsednn.Network([sp.csr_array(weights / 4), sp.csr_array(weights.T / 8)], bias=-0.05)
    options = KernelOptions("rowwise_first", columns=columns)
    found = sha256(str(FORMAT).encode())
    for packed in (network, shifted_network()):
        direct = backend.direct(packed, options, 1)
        for stored in (backend.store_direct(direct), backend.store_plan(backend.prepare(packed, options, 1))):
            found.update(repr(sorted(stored.values.items())).encode())
            for name, array in sorted(stored.arrays.items()):
                found.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        direct.close()
    assert found.hexdigest()[:16] == digest


PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import sparsednn
from sparsednn.system.memory import peak_rss_bytes, reset_peak_rss

small, large = map(Path, sys.argv[1:])
for path in (small, large):
    reset_peak_rss()
    before = peak_rss_bytes()
    with sparsednn.load(path, threads=1, verify=True) as loaded:
        x = np.ones((1, loaded.outline.n_inputs), np.float32)
        y = loaded(x)
        many = loaded.infer(np.tile(x, (65, 1)), output=True).output.toarray()
        assert many[64].tobytes() == y.tobytes()
        grown, files = peak_rss_bytes() - before, sum(file.stat().st_size for file in path.iterdir())
print(files, grown / files)
"""


@pytest.mark.skipif(JIT_DISABLED, reason="too much work for plain Python")
def test_loading_and_calling_take_no_second_copy_in_memory(rng: np.random.Generator, tmp_path: Path) -> None:
    """In a process that has loaded and called another network before: code and libraries do not count."""
    large = sp.csr_array(np.where(rng.random((1500, 1500)) < 0.9, rng.random((1500, 1500)), 0).astype(np.float32))
    for name, network in (("small", NETWORK), ("large", sparsednn.Network([large, large, large]))):
        with sparsednn.compile(network, threads=1) as compiled:
            compiled.save(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "small", tmp_path / "large"],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files, share = map(float, done.stdout.split())
    assert files > 40e6
    assert share < 1.1

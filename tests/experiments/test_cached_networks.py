"""run.py with packed networks of earlier runs: what it takes, keeps, says, and does when one is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp

from tests import warm

ROOT = Path(__file__).parents[2]
RUN = ["network.radices=[2,2,2,2]", "network.dense_width=64", "network.bias=-0.3", "layers=8", "threads=1"]
KEPT, TAKEN = "network: kept packed in the cache for later runs (", "packed, from the cache)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of networks; that of the challenge's inputs goes with it."""
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    sp.save_npz(tmp_path / "inputs.npz", sp.random_array((40, 1024), density=0.3, rng=1, format="csr", dtype="float32"))
    return ["input=files", f"input.path={tmp_path / 'inputs.npz'}"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = warm.run([sys.executable, "run.py", *RUN, *arguments], env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_the_second_run_takes_what_the_first_has_kept(folder: Path, inputs: list[str], tmp_path: Path) -> None:
    said = [run(*inputs, f"hydra.run.dir={tmp_path / str(number)}").stdout for number in range(2)]
    assert KEPT in said[0]
    assert TAKEN not in said[0]
    assert TAKEN in said[1]
    assert KEPT not in said[1]
    first, second = (record(tmp_path / str(number)) for number in range(2))
    for name in ("categories_sha256", "performed_edges", "network_nnz", "layers", "neurons", "kernel", "config_hash"):
        assert first[name] == second[name], name
    assert len(list(folder.iterdir())) == 1
    off = run(*inputs, "network.cache=false", f"hydra.run.dir={tmp_path / 'off'}").stdout
    assert KEPT not in off
    assert TAKEN not in off
    assert record(tmp_path / "off")["config_hash"] == first["config_hash"], "results do not depend on it"
    assert record(tmp_path / "off")["categories_sha256"] == first["categories_sha256"]


def test_other_networks_and_kernels_are_others_there(folder: Path, inputs: list[str], tmp_path: Path) -> None:
    different = ["seed=1", "network.weight=0.05", "optimize.columns=none"]
    at = f"hydra.run.dir={tmp_path / 'run'}"
    for number, override in enumerate(["seed=5489", *different], start=1):
        assert KEPT in run(*inputs, override, at).stdout, override
        assert len(list(folder.iterdir())) == number
    assert TAKEN in run(*inputs, "threads=2", "optimize.rows=none", "scheduler=model", "partition.hashing=input", at).stdout


def test_a_damaged_network_is_made_anew_with_a_warning(folder: Path, inputs: list[str], tmp_path: Path) -> None:
    at = f"hydra.run.dir={tmp_path / 'run'}"
    run(*inputs, at)
    categories = record(tmp_path / "run")["categories_sha256"]
    (plan,) = folder.glob("*/plan.bin")
    plan.write_bytes(plan.read_bytes()[:-1] + b"\xff")
    done = run(*inputs, at)
    assert "is damaged (its checksum differs)" in done.stdout + done.stderr
    assert "it is made anew" in done.stdout + done.stderr
    assert KEPT in done.stdout
    assert record(tmp_path / "run")["categories_sha256"] == categories
    assert TAKEN in run(*inputs, at).stdout


def test_networks_from_files_are_kept_if_asked_for_and_known_by_their_content(
    folder: Path, inputs: list[str], tmp_path: Path
) -> None:
    layers = tmp_path / "layers"
    layers.mkdir()
    for number in (1, 2):
        sp.save_npz(layers / f"n1024-l{number}.npz", sp.eye_array(1024, format="csr", dtype="float32"))
    at = f"hydra.run.dir={tmp_path / 'run'}"
    files = [
        *inputs,
        "network=files",
        f"network.path={layers}",
        "layers=2",
        "network.radices=null",
        "network.dense_width=16",
        at,
    ]
    said = [run(*files).stdout, run(*files, "network.cache=true").stdout, run(*files, "network.cache=true").stdout]
    assert [(KEPT in one, TAKEN in one) for one in said] == [(False, False), (True, False), (False, True)]
    sp.save_npz(layers / "n1024-l2.npz", 2 * sp.eye_array(1024, format="csr", dtype="float32"))
    assert KEPT in run(*files, "network.cache=true").stdout
    assert KEPT in run(*files, "network.cache=true", "network.bias_on=all").stdout


@pytest.mark.parametrize("option", ["partition.hashing=layer", "backend=scipy_reference"])
def test_what_needs_the_network_itself_does_not_use_the_cache_and_says_so_if_asked(
    option: str, folder: Path, inputs: list[str], tmp_path: Path
) -> None:
    at = f"hydra.run.dir={tmp_path / 'run'}"
    said = run(*inputs, option, "network.cache=true", at).stdout
    assert f"network cache: not used with {option}" in said
    assert not folder.exists()


def test_the_size_of_the_cache_has_a_limit(folder: Path, inputs: list[str], tmp_path: Path) -> None:
    at = f"hydra.run.dir={tmp_path / 'run'}"
    assert KEPT in run(*inputs, "seed=1", at).stdout
    size = sum(file.stat().st_size for file in folder.glob("*/*"))
    assert KEPT not in run(*inputs, "seed=2", "network.cache_gb=1e-6", at).stdout
    assert KEPT in run(*inputs, "seed=2", f"network.cache_gb={1.5 * size / 1e9}", at).stdout
    assert len(list(folder.iterdir())) == 1
    assert TAKEN in run(*inputs, "seed=2", at).stdout


def test_two_runs_at_once_both_end_well_and_leave_one_network(folder: Path, inputs: list[str], tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "run.py", *RUN, *inputs, f"hydra.run.dir={tmp_path / str(number)}"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for process in running:
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, out + errors
        assert "WARNING" not in out + errors
    assert record(tmp_path / "0")["categories_sha256"] == record(tmp_path / "1")["categories_sha256"]
    assert len(list(folder.iterdir())) == 1

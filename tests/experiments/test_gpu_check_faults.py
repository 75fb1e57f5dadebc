"""The check of a GPU as a user runs it, where everything goes wrong: CuPy's place is taken, and its calls have faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from experiments.gpu_check import difference, transfers
from sparsednn.network import Network
from tests.conftest import JIT_DISABLED
from tests.gpu import host_kernels
from tests.gpu.faulty_cupy import FAULTS, MODULES

ROOT = Path(__file__).parents[2]
needs_kernels = pytest.mark.skipif(
    host_kernels.COMPILER is None or JIT_DISABLED, reason="no C++ compiler for the GPU kernels, or no JIT"
)
LIMIT_S = 40
"""Longer than any part takes that does not hang, on a machine that is busy."""


def run_as_user(folder: Path, faults: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Python where ``import cupy`` finds one with faults."""
    for name, text in MODULES.items():
        path = folder / "modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    library = folder / "host.so"
    if not library.exists():
        host_kernels.build(folder, host_kernels.library()[1])
    environment = {
        **os.environ,
        FAULTS: faults,
        host_kernels.BUILT: str(library),
        "PYTHONPATH": f"{folder / 'modules'}{os.pathsep}{ROOT}",
    }
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.mark.slow
@needs_kernels
def test_whatever_breaks_the_others_are_reported(tmp_path: Path) -> None:
    """A section crashes, one hangs, one is killed, and a kernel is wrong by one bit."""
    faults = (
        f"funcGetAttribute=crash,copy of {transfers.TOY_BYTES}=hang,empty of {transfers.TOY_MEMORY_BYTES}=killed,"
        "layer_16_uniform_staged=wrong"
    )
    keys = ("experiment.toy=true", f"cluster.timeout_s={LIMIT_S}", f"hydra.run.dir={tmp_path / 'out'}")
    done = run_as_user(tmp_path, faults, "run.py", "experiment=gpu_check", *keys)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "parts, about" in done.stdout, "how long it will take"
    (record,) = (tmp_path / "out").rglob("result.json")
    found: dict[str, Any] = json.loads(record.read_text())["gpu_check"]
    report = (record.parent / "gpu_report.md").read_text()
    errors = found["errors"]
    assert errors["attributes"].startswith("its process has ended without an answer: by SIGSEGV; it was in ")
    assert errors["copies"].startswith(f"its process has not answered for {LIMIT_S} s, and was ended; it was in copy_in (")
    assert errors["bandwidth"].startswith("its process has ended without an answer: killed (SIGKILL)")
    assert {*errors} == {"attributes", "copies", "bandwidth"}
    assert found["left_out"]["peers"] == "there is one GPU only"
    assert [name for name in ("devices", "cold", "layers", "launches", "conformance", "networks") if not found[name]] == []
    wrong = next(row for row in found["bits"] if row["status"] == "wrong")
    assert "(0x" in wrong["difference"]
    assert wrong["difference"] in report
    assert found["unfinished"] == 0
    for name in errors:
        assert f"- {name}: its process has" in report
    again = wrong["difference"].partition("again: python ")[2].split()
    shown = run_as_user(tmp_path, faults, *again)
    assert shown.returncode == 1
    assert shown.stdout.partition("; again")[0] == wrong["difference"].partition("; again")[0]
    assert run_as_user(tmp_path, "", *again).stdout == "all bits are the same\n"


def network_and_inputs(rng: np.random.Generator) -> tuple[Network, sp.csr_array]:
    weights = [sp.random_array((40, 40), density=0.3, rng=rng, format="csc", dtype=np.float32) for _ in range(7)]
    return Network(weights, bias=-0.1), sp.random_array((9, 40), density=0.5, rng=rng, format="csr", dtype=np.float32)


@pytest.mark.parametrize("layer", [1, 2, 3, 5, 7])
def test_the_first_place_is_found(layer: int, rng: np.random.Generator) -> None:
    """Even if it is one bit of one activation."""
    network, inputs = network_and_inputs(rng)

    def run(part: Network, rows: sp.csr_array) -> np.ndarray[Any, np.dtype[np.float32]]:
        found = sparsednn.infer(part, rows, backend="scipy_reference", output=True).output.toarray()
        if len(part.layers) >= layer:
            found[4, 17:19].view(np.uint32)[:] ^= 1
        return found

    found = difference.first_difference(network, inputs, run)
    assert found is not None
    assert (found.layer, found.instance, found.neuron, found.n_different) == (layer, 4, 17, 2)
    assert int(difference.bits(found.found), 16) == int(difference.bits(found.expected), 16) ^ 1
    first = Network.from_layers(network.layers[:layer], network.bias_on)
    right = sparsednn.infer(first, inputs, backend="scipy_reference", output=True).output
    assert found.expected == right.toarray()[4, 17]
    near = difference.first_difference(network, inputs, run, exact=False)
    assert (near is None) == (found.expected > 1e-3), "kernels that add in another order may be a bit off"


def test_a_command_has_what_is_not_usual() -> None:
    asked = difference.ASKED | {"layers": 7, "columns": "none"}
    assert difference.command(asked) == "python -m experiments.gpu_check.difference --layers 7 --columns none"
    assert difference.command(difference.ASKED) == "python -m experiments.gpu_check.difference"


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "experiment=gpu_check", f"hydra.run.dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: backend=cupy needs a package that cannot be imported: No module named 'cupy'")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("result.json"))

"""The library needs none of what only run.py, figures and reports need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        blocked = "hydra omegaconf rich matplotlib plotly jinja2 pandas onnx safetensors"
        if name.partition(".")[0] in blocked.split():
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import scipy.sparse as sp
import sparsednn

others = ("sparsednn.importers", "sparsednn.schedulers.adaptive", "sparsednn.schedulers.queues")
network = sparsednn.radixnet(12, 2, radices=(2, 3), dense_width=2, bias=-0.1, weight=0.25)
for backend in ("numba", "scipy_reference"):
    result = sparsednn.infer(network, sp.eye_array(12), backend=backend, threads=1, output=True)
    print(backend, result.output.shape)
print(any(name in sys.modules for name in others), callable(sparsednn.from_onnx), hasattr(sparsednn, "none"))
try:
    sparsednn.from_onnx(b"")
except sparsednn.errors.MissingPackageError as error:
    print(error)
"""


def test_an_inference_needs_neither_configuration_nor_figures_nor_tables() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["numba (12, 12)", "scipy_reference (12, 12)", "False True False"]
    assert "pip install 'sparsednn[onnx]'" in done.stdout


def test_numpy_and_scipy_are_loaded_before_all_modules_of_the_library() -> None:
    """Else the collector looks through all that they have made, once or twice more."""
    program = "import sys, sparsednn; at = list(sys.modules).index; print(at('scipy.sparse._csr'), at('sparsednn.engine'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    scipy_at, first_of_ours = map(int, done.stdout.split())
    assert scipy_at < first_of_ours

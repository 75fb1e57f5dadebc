"""The tour's notebook has the code of its page, which is run as a whole where PyTorch is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled
from tests.conftest import JIT_DISABLED
from tests.docs.markdown import blocks

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
NOTEBOOK: dict[str, Any] = json.loads((GUIDE / "tour.ipynb").read_text(encoding="utf-8"))
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnx") is None,
    reason="PyTorch or onnx (extra torch) is not installed",
)


def code() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_has_the_code_of_the_page_and_nothing_of_a_machine() -> None:
    assert code() == [block.text.rstrip("\n") for block in blocks(GUIDE / "tour.md") if block.language == "python"]
    for cell in NOTEBOOK["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    headings = [line for line in (GUIDE / "tour.md").read_text(encoding="utf-8").splitlines() if line.startswith(("# ", "## "))]
    texts = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown"]
    assert [text.splitlines()[0] for text in texts if text.startswith("#")] == headings


@NEEDS_TORCH
@pytest.mark.skipif(JIT_DISABLED, reason="takes long with kernels that are not compiled")
def test_the_notebook_runs_and_its_network_is_pruned_and_right(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "\n".join(code())], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = sparsednn.load_model(tmp_path / "digits.safetensors")
    assert model.network.nnz == round(0.2 * (64 * 128 + 128 * 64 + 64 * 10))
    images, labels = labelled.digits_test()
    y = images[400:].astype(np.float64)
    for layer in model.network.layers:
        y = np.clip(y @ layer.to_scipy().toarray() + layer.bias, layer.activation.low, None)
    assert (y.argmax(1) == labels[400:]).mean() > 0.85

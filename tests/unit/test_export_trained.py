"""The command that writes trained networks in the layouts of other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data.__main__ import main
from sparsednn.data.layouts import distsparsednn, snicit
from sparsednn.network import Network

WIDTHS = (6, 5, 3)


def saved(folder: Path, activation: str, bias_on: str) -> tuple[Network, Path]:
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((6, 5), (5, 3))]
    biases = [rng.normal(size=width).astype(np.float32) for width in WIDTHS[1:]]
    network = Network(weights, bias=biases, bias_on=bias_on, activation=[activation, "identity"])  # type: ignore[arg-type]
    sparsednn.Model(network=network).save(folder / "model.safetensors")
    return network, folder / "model.safetensors"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    sp.save_npz(tmp_path / "x.npz", sp.csr_array((rng.random((20, 6)) * (rng.random((20, 6)) < 0.5)).astype(np.float32)))
    return tmp_path / "x.npz"


@pytest.mark.parametrize("form", ["tsv", "bin"])
def test_a_saved_model_becomes_a_folder_of_distsparsednn(
    form: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, model = saved(tmp_path, "relu", "all")
    command = ["export", "--layout", "distsparsednn", "--model", str(model), "--inputs", str(inputs), "--format", form]
    assert main([*command, str(tmp_path / "out")]) == 1, "biases are added elsewhere there"
    assert "bias_on='nonzero' makes it the same network here" in capsys.readouterr().err
    assert main([*command, "--bias-on", "nonzero", "--instances", "15", str(tmp_path / "out")]) == 0
    assert "6 files in" in capsys.readouterr().out
    found = distsparsednn.read(tmp_path / "out")
    assert found.network.fingerprint() == Network.from_layers(network.layers, "nonzero").fingerprint()
    assert (found.inputs != sp.load_npz(inputs).tocsr()[:15]).nnz == 0
    result = sparsednn.infer(found.network, found.inputs, backend="scipy_reference", threads=1, output=True)
    assert found.predictions.correct(result.output) == 15
    dense = np.where(result.output.toarray() > 0, result.output.toarray(), 0)
    assert found.predictions.classes.tolist() == dense.argmax(axis=1).tolist()


def test_a_saved_model_becomes_a_folder_of_snicit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, model = saved(tmp_path, "clip(0,1)", "all")
    assert main(["export", "--layout", "snicit", "--model", str(model), str(tmp_path / "out")]) == 0
    assert f"4 files in {tmp_path}/out" in capsys.readouterr().out
    assert snicit.read_network(tmp_path / "out").fingerprint() == network.fingerprint()


SNICIT = ["--layout", "snicit", "--model", "snicit"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--model", "x"], "--model x: is for --layout distsparsednn or snicit", id="the challenge's network"),
        pytest.param(["--bias-on", "all"], "--bias-on all: is for --layout distsparsednn or snicit", id="its biases"),
        pytest.param(["--layout", "snicit"], "--layout snicit: say which network: --model FILE", id="no network"),
        pytest.param(["--layout", "snicit", "--model", "nowhere"], "nowhere: no such file", id="no such file"),
        pytest.param([*SNICIT, "--format", "bin"], "--format bin: --layout snicit is", id="text"),
        pytest.param([*SNICIT, "--neurons", "4096"], "--neurons 4096: the model says", id="size"),
        pytest.param([*SNICIT, "--inputs", "x"], "--inputs x: is for --layout dist", id="inputs"),
        pytest.param(["--layout", "distsparsednn", "--model", "snicit"], "say which instances go with the network", id="none"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *options, str(tmp_path / "out")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "out").exists()

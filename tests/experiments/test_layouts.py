"""run.py with networks from files as trained ones have them: widths, biases, activations, and the folders of other programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hydra import compose, initialize_config_dir

import sparsednn
from experiments.config.resolve import register, resolve
from experiments.run.files import read_instances, read_network
from sparsednn.data.labelled import snicit_network
from sparsednn.data.layouts.export import write_snicit
from tests import warm
from tests.conftest import JIT_DISABLED
from tests.unit import plain_layouts
from tests.unit.test_distsparsednn import N_INSTANCES, random_folder

CONF = Path(__file__).parents[2] / "conf"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "run.py", "threads=1", *arguments], env=dict(os.environ))


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.fixture
def trained(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder of DistSparseDNN's with the classes that its program finds."""
    folder = tmp_path / "trained"
    folder.mkdir()
    random_folder(folder, rng)
    return folder


def of_folder(folder: Path, out: Path, *more: str) -> list[str]:
    files = ["network=files", f"network.path={folder}", "input=files", f"input.path={folder}", f"input.truth={folder}"]
    return [*files, "network.layout=distsparsednn", f"hydra.run.dir={out}", *more]


def test_a_folder_of_distsparsednn_is_run_and_its_predictions_are_the_truth(trained: Path, tmp_path: Path) -> None:
    done = run(*of_folder(trained, tmp_path / "out", "network.widths=[9,7,6,4]"))
    assert done.returncode == 0, done.stderr
    assert f"classes (softmax): {N_INSTANCES} of {N_INSTANCES} are those of {trained}/predictions.txt" in done.stdout
    found = record(tmp_path / "out")
    assert found["truth"]["checked"], found["truth"]
    truth = found["truth"]
    assert (truth["kind"], truth["correct"], truth["of"], truth["match"]) == ("labels", N_INSTANCES, N_INSTANCES, None)
    assert (found["neurons"], found["layers"], found["instances"]) == (9, 3, N_INSTANCES)


@pytest.mark.parametrize("classifier", ["softmax", "sigmoid"])
def test_predictions_are_those_that_the_truth_counts(classifier: str, trained: Path, tmp_path: Path) -> None:
    if classifier == "sigmoid":
        (trained / "predictions.txt").write_text("".join(f"{i} {i % 2}\n" for i in range(1, N_INSTANCES + 1)))
    done = run(*of_folder(trained, tmp_path / "out", f"network.classifier={classifier}", "output.predictions=true"))
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(tmp_path / "out" / "predictions.csv")
    given = pd.read_csv(trained / "predictions.txt", sep=r"\s+", header=None)
    assert written["label"].tolist() == given[1].tolist()
    assert (written["class"] == written["label"]).sum() == record(tmp_path / "out")["truth"]["correct"]
    assert set(written["class"]) == {"softmax": {0, 1, 3}, "sigmoid": {0, 1}}[classifier]


def test_a_network_may_be_right_about_some_instances_only(trained: Path, tmp_path: Path) -> None:
    lines = (trained / "predictions.txt").read_text().splitlines()
    lines[2] = f"3 {(int(lines[2].split()[1]) + 1) % 4}"
    (trained / "predictions.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "bin").mkdir()
    plain_layouts.to_binary(trained, tmp_path / "bin")
    done = run(*of_folder(tmp_path / "bin", tmp_path / "out", "kernel=csc", "layers=3"))
    assert done.returncode == 0, done.stderr
    assert f"{N_INSTANCES - 1} of {N_INSTANCES} are those of {tmp_path}/bin/predictions.bin" in done.stdout
    assert record(tmp_path / "out")["truth"]["correct"] == N_INSTANCES - 1
    done = run(*of_folder(tmp_path / "bin", tmp_path / "out", "kernel=csc", "instances=2"))
    assert "2 of 2 are those of" in done.stdout


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        pytest.param("bias1.txt", None, "no file bias1 with one of the endings .txt", id="no bias"),
        pytest.param("predictions.txt", "1 0\n", "has 1 instances, but 39 are run", id="a cut file"),
    ],
)
def test_wrong_files_are_one_error(file: str, content: str | None, message: str, trained: Path, tmp_path: Path) -> None:
    if content is None:
        (trained / file).unlink()
    else:
        (trained / file).write_text(content)
    done = run(*of_folder(trained, tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_layers_with_widths_biases_activations_and_ids_from_0(rng: np.random.Generator, tmp_path: Path) -> None:
    """Categories are those of double precision, in which no instance's sum is near zero."""
    widths = (6, 5, 3)
    matrices = [np.round(rng.normal(size=shape) * 0.4, 2) for shape in ((6, 5), (5, 3))]
    biases = [np.round(rng.random(width) / 2, 2) for width in widths[1:]]
    x = np.round(rng.random((30, 6)), 2)
    hidden = np.clip(x @ matrices[0] + biases[0], 0, 1)
    biases[1][0] -= np.round(np.median((hidden @ matrices[1] + biases[1]).sum(axis=1)), 2) + 0.003
    y = hidden @ matrices[1] + biases[1]
    assert np.abs(y.sum(axis=1)).min() > 1e-4
    for number, (matrix, bias) in enumerate(zip(matrices, biases, strict=True), start=1):
        lines = [f"{i}\t{j}\t{matrix[i, j]}\n" for i, j in zip(*np.nonzero(matrix), strict=True)]
        (tmp_path / f"n6-l{number}.tsv").write_text("".join(lines))
        (tmp_path / f"n6-b{number}.tsv").write_text("".join(f"{value}\n" for value in bias))
    lines = [f"{i}\t{j}\t{x[i, j]}\n" for i, j in zip(*np.nonzero(x), strict=True)]
    (tmp_path / "sparse-images-6.tsv").write_text("".join(lines))
    right = np.flatnonzero(y.sum(axis=1) > 0) + 1
    assert 0 < len(right) < 30
    (tmp_path / "neuron6-l2-categories.tsv").write_text("".join(f"{i}\n" for i in right))
    files = ["network=files", f"network.path={tmp_path}", "input=files", f"input.path={tmp_path}", f"input.truth={tmp_path}"]
    common = [*files, "network.widths=[6,5,3]", f"hydra.run.dir={tmp_path}/out"]
    done = run(*common, "network.index_base=0", "input.index_base=0", "network.activation=['clip(0,1)',identity]")
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["truth"]["match"] is True
    done = run(*common, "network.activation=relu")
    assert done.returncode == 1
    assert "each row seems to count from 0, as network.index_base=0 says" in done.stderr


def test_what_the_files_contradict_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "n2-l1.tsv").write_text("1\t1\t1\n")
    (tmp_path / "n2-b1.tsv").write_text("1\n2\n")
    (tmp_path / "x.tsv").write_text("0\t1\t1\n")
    files = ["network=files", f"network.path={tmp_path}", "network.widths=[2,2]", "input=files", f"input.path={tmp_path}/x.tsv"]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        silent, given, right = (
            resolve(compose("config", overrides=[*files, *more]))
            for more in ((), ("network.activation=relu", "network.bias=1"), ("network.activation=relu",))
        )
    with pytest.raises(ValueError, match=r"^network.activation=null: .* nothing tells its activations; say them"):
        read_network(silent)
    with pytest.raises(ValueError, match=rf"^network.bias=1.0: {tmp_path} has files of biases \(n2-b1, ...\); leave it out"):
        read_network(given)
    assert read_network(right).layers[0].bias.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"instance 0 is outside 1..1; .* from 0, as input.index_base=0 says"):
        read_instances(right, 2)


def test_a_folder_of_snicit_is_run(tmp_path: Path, rng: np.random.Generator) -> None:
    shapes = ((6, 5), (5, 5), (5, 3))
    weights = [(rng.normal(size=shape) * (rng.random(shape) < 0.6)).astype(np.float32) for shape in shapes]
    biases = [rng.normal(size=shape[1]).astype(np.float32) for shape in shapes]
    network = sparsednn.Network(weights, bias=biases, activation=["clip(0,1)", "clip(0,1)", "identity"])
    write_snicit(tmp_path / "net", network)
    inputs = sp.csr_array(rng.random((20, 6)).astype(np.float32))
    sp.save_npz(tmp_path / "x.npz", inputs)
    done = run(
        "network=files", "network.layout=snicit", f"network.path={tmp_path}/net", "input=files", f"input.path={tmp_path}/x.npz",
        f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", threads=1)
    assert record(tmp_path / "out")["categories_sha256"] == expected.record["categories_sha256"]
    assert record(tmp_path / "out")["network_nnz"] == network.nnz


@pytest.mark.skipif(JIT_DISABLED, reason="10,000 instances take minutes without the JIT")
def test_the_network_of_snicit_is_right_about_9494_of_the_mnist_test_images(tmp_path: Path) -> None:
    write_snicit(tmp_path / "net", snicit_network())
    done = run(
        "network=files", "network.layout=snicit", f"network.path={tmp_path}/net", "input=mnist", "input.scale=255",
        f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    truth = record(tmp_path / "out")["truth"]
    assert (truth["kind"], truth["correct"], truth["of"]) == ("labels", 9494, 10_000)


def test_a_packed_network_is_another_with_another_bias(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "cache"))
    arguments = of_folder(trained, tmp_path / "out", "network.cache=true")
    kept, taken = "kept packed in the cache", "packed, from the cache"
    said = [run(*arguments).stdout for _ in range(2)]
    assert [(kept in one, taken in one) for one in said] == [(True, False), (False, True)]
    assert f"{N_INSTANCES} of {N_INSTANCES} are those of" in said[1]
    (trained / "bias2.txt").write_text("0 5\n")
    assert kept in run(*arguments).stdout

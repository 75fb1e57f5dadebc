"""run.py with models of other programs: their accuracy, by every scheduler and kernel; what was recorded and written."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from onnx.reference import ReferenceEvaluator

import sparsednn
from sparsednn.backend import load_backend
from sparsednn.data import labelled
from tests import warm
from tests.importers.keras_models import needs_h5py
from tests.importers.test_keras_files import BIAS, KERNEL, old_file
from tests.importers.torch_programs import FILES

DIGITS = {"mlp_80": 557, "mlp_90": 550, "mlp_95": 545, "cnn_80": 550}
"""Right answers of 597, as PyTorch counted them when the networks were trained."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "run.py", *arguments], env={**os.environ, **environment})


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def digits(name: str) -> list[str]:
    return ["network=onnx", f"network.path={labelled.digits_network(name)}", "input=digits"]


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def expected_logits(name: str) -> np.ndarray:
    """The answers of onnx's own reference for all digits."""
    reference = ReferenceEvaluator(str(labelled.digits_network(name)))
    images = labelled.digits_test()[0].reshape(-1, 1, 8, 8)
    return np.asarray(reference.run(None, {reference.input_names[0]: images})[0])


def test_a_sweep_over_models_finds_what_they_were_trained_to(tmp_path: Path) -> None:
    paths = ",".join(str(labelled.digits_network(name)) for name in DIGITS)
    done = run("-m", "network=onnx", f"network.path={paths}", "input=digits", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [record(tmp_path / str(number)) for number in range(len(DIGITS))]
    assert [one["truth"]["correct"] for one in found] == list(DIGITS.values())
    assert [one["truth"]["of"] for one in found] == [597] * 4
    assert {one["status"] for one in found} == {"complete"}, "a wrong answer is a result"
    assert all(one["truth"]["match"] is None for one in found)
    assert "93.30% of the instances are classified right, 557 of 597 by the labels in the package" in " ".join(
        done.stdout.split()
    )
    table = done.stdout[done.stdout.rindex("4 points") :]
    assert all(word in table for word in ("accuracy", "93.30%", "92.13%", "91.29%", "550 of 597 right"))


SLOW = [pytest.param(kernel, marks=pytest.mark.slow) for kernel in ("udc_csc", "udc_udc", "csc_udc", "csc_csc", "csr_csr")]


@pytest.mark.parametrize("kernel", ["rowwise_first", *SLOW])
def test_every_scheduler_gives_the_same_accuracy(kernel: str, tmp_path: Path) -> None:
    schedulers = load_backend("numba").schedulers[kernel]
    done = run(
        "-m", *digits("mlp_90"), f"kernel={kernel}", f"scheduler={','.join(schedulers)}", "threads=2",
        f"hydra.sweep.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [record(tmp_path / str(number)) for number in range(len(schedulers))]
    assert [one["scheduler"] for one in found] == list(schedulers)
    assert {one["truth"]["correct"] for one in found} == {DIGITS["mlp_90"]}
    assert len({json.dumps(one["accuracy"]) for one in found}) == 1


def test_a_record_says_what_the_model_is_and_which_answers_are_right(tmp_path: Path) -> None:
    done = run(*digits("cnn_80"), "output.predictions=true", "output.categories=true", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    found, logits, labels = record(tmp_path), expected_logits("cnn_80"), labelled.digits_test()[1]
    assert (found["neurons"], found["config"]["neurons"], found["instances"]) == (64, None, 597)
    assert found["model"]["file"] == str(labelled.digits_network("cnn_80"))
    assert (found["model"]["input_shape"], found["model"]["postprocess"]) == ([1, 8, 8], "none")
    assert found["model"]["nonzero_weights"] < found["model"]["weights"]
    assert len(found["model"]["sparsity"]) == found["layers"]
    assert found["truth"] == {
        "checked": True, "source": "package", "match": None, "kind": "labels", "correct": 550, "of": 597,
    }  # fmt: skip
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    assert found["accuracy"]["confusion"] == confusion.tolist()
    low, high = found["accuracy"]["interval95"]
    assert low < 550 / 597 < high
    assert abs(high - low - 2 * 1.96 * np.sqrt(550 / 597 * 47 / 597 / 597)) < 2e-3, "near the normal interval"
    assert found["accuracy"]["top5"] == pytest.approx(
        np.mean([label in np.argsort(-row)[:5] for label, row in zip(labels, logits, strict=True)])
    )
    categories = np.flatnonzero(logits.sum(axis=1) > 0) + 1
    ids = (tmp_path / f"neuron64-l{found['layers']}-categories.tsv").read_text().split()
    assert ids == [str(number) for number in categories], "the challenge's categories"


def test_predictions_are_the_reference_s(tmp_path: Path) -> None:
    done = run(*digits("mlp_95"), "instances=300", "output.predictions=true", "network.cache=true", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "network cache: not used with network=onnx" in done.stdout
    assert f"predictions: {tmp_path / 'predictions.csv'}" in done.stdout
    rows, logits, labels = predictions(tmp_path), expected_logits("mlp_95")[:300], labelled.digits_test()[1][:300]
    best = np.argsort(-logits, axis=1)[:, :5]
    assert [row["instance"] for row in rows] == [str(number) for number in range(1, 301)]
    assert [int(row["class"]) for row in rows] == logits.argmax(axis=1).tolist()
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert [[int(row[f"class_{n}"]) for n in range(1, 6)] for row in rows] == best.tolist()
    values = [[float(row[f"logit_{n}"]) for n in range(1, 6)] for row in rows]
    np.testing.assert_allclose(values, np.take_along_axis(logits, best, axis=1), atol=1e-6 * np.abs(logits).max())
    assert record(tmp_path)["truth"]["of"] == 300


def test_a_program_of_pytorch_is_run_without_pytorch(tmp_path: Path) -> None:
    program = FILES / "cnn_80.pt2"
    done = run("network=torch", f"network.path={program}", "input=digits", "scheduler=model", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path)["truth"]["correct"] == DIGITS["cnn_80"]
    assert record(tmp_path)["model"]["file"] == str(program)


@needs_h5py
def test_a_model_of_keras_is_run_without_keras(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    logits = x + np.maximum(x @ KERNEL + BIAS, 0)
    np.savez(tmp_path / "data.npz", x=x, y=logits.argmax(axis=1))
    done = run(
        "network=keras", f"network.path={old_file(tmp_path / 'old.h5')}", "input=npz", f"input.path={tmp_path}/data.npz",
        "output.predictions=true", f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (record(tmp_path / "out")["truth"]["correct"], record(tmp_path / "out")["truth"]["source"]) == (20, "given")
    found = [float(row["logit_1"]) for row in predictions(tmp_path / "out")]
    np.testing.assert_allclose(found, logits.max(axis=1), rtol=1e-6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, of a network of one sigmoid: 1 where the first of two numbers is the larger, which are scaled by 10."""
    network = sparsednn.Network.from_dense(
        [np.array([[3.0], [-3.0]])], [np.array([0.0])], layout="in_out", activation=["identity"]
    )
    model = sparsednn.Model(network=network, postprocess="sigmoid", class_names=("second", "first, surely"))
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    model.with_preprocessing(scale=10).save(path)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four pairs of whole numbers."""
    np.save(tmp_path / "x.npy", np.array([[5, 1], [1, 5], [9, 0], [2, 2]], np.uint8))
    return tmp_path / "x.npy"


def test_a_saved_model_keeps_its_scale_its_ending_and_its_names(saved: Path, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("1\n0\n0\n1\n")
    model = ["network=saved", f"network.path={saved}", "input=npy", f"input.path={pairs}"]
    more = [f"input.labels={tmp_path / 'labels.txt'}", "output.predictions=true"]
    done = run(*model, *more, f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    rows = predictions(tmp_path / "out")
    assert [row["class"] for row in rows] == ["1", "0", "1", "1"]
    assert [row["class_name"] for row in rows] == ["first, surely", "second", "first, surely", "first, surely"]
    sure = 1 / (1 + np.exp(-np.array([1.2, 1.2, 2.7, 0.0])))
    np.testing.assert_allclose([float(row["probability_1"]) for row in rows], sure, rtol=1e-6)
    found = record(tmp_path / "out")
    assert (found["truth"]["correct"], found["accuracy"]["confusion"]) == (3, [[1, 1], [0, 2]])
    assert found["accuracy"]["class_names"] == ["second", "first, surely"]
    assert found["preprocessing"] == {"scale": 10.0, "mean": [0.0], "std": [1.0], "layout": "as_is"}
    done = run(*model, *more, "input.mean=[0.25]", f"hydra.run.dir={tmp_path}/other")
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path / "other")["preprocessing"] == {"scale": 10.0, "mean": [0.25], "std": [1.0], "layout": "as_is"}


def test_without_labels_a_model_is_run_and_compared_with_nothing(saved: Path, pairs: Path, tmp_path: Path) -> None:
    done = run("network=saved", f"network.path={saved}", "input=npy", f"input.path={pairs}", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "compared with nothing: input.labels=FILE has the true classes" in done.stdout
    assert record(tmp_path / "out")["truth"] == {"checked": False, "source": None, "match": None}
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_a_simulation_of_a_model_predicts_its_time_and_compares_nothing(tmp_path: Path) -> None:
    network = sparsednn.Network([sp.csc_array(np.eye(64, 10, dtype=np.float32))], bias=[np.zeros(10)], activation="relu")
    sparsednn.Model(network=network).save(tmp_path / "relu.safetensors")
    done = run(
        "network=saved", f"network.path={tmp_path}/relu.safetensors", "input=digits", "executor=simulated",
        "cluster.cores_per_node=4", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels are not compared: executor=simulated computes no outputs" in done.stdout
    assert record(tmp_path)["truth"]["checked"] is False
    categories = []
    for number, executor in enumerate((["executor=simulated"], ["threads=1"], ["executor=simulated", "scheduler=auto"])):
        done = run(*digits("mlp_90"), *executor, f"hydra.run.dir={tmp_path}/{number}")
        assert done.returncode == 0, done.stdout + done.stderr
        found = record(tmp_path / str(number))
        categories.append((found["categories_count"], found["categories_sha256"]))
        assert (found["neurons"], found["layers"]) == (64, 4), "as the file has them"
    assert len(set(categories)) == 1, "those of a real run, of logits of either sign"


def test_a_run_of_a_model_is_done_again_from_its_record_and_its_answers_compared(tmp_path: Path) -> None:
    assert run(*digits("mlp_80"), f"hydra.run.dir={tmp_path}").returncode == 0
    found = record(tmp_path)
    found["truth"]["correct"] = 556
    (tmp_path / "result.json").write_text(json.dumps(found))
    done = warm.run([sys.executable, "-m", "experiments.rerun", str(tmp_path)])
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}: truth.correct\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["network=onnx", "network.path=/nowhere.onnx"], "/nowhere.onnx: ", id="no file"),
        pytest.param(["network=saved", "network.path=run.py"], "run.py: no saved model", id="no model"),
        pytest.param([*digits("mlp_80"), "input=mnist"],
                     "mnist: has instances of shape (28, 28), but the network takes (1, 8, 8)", id="other images"),
        pytest.param([*digits("mlp_80"), "input=challenge"], "64", id="the challenge's inputs"),
        pytest.param(["instances=10", "layers=12", "input.truth=run.py"], "is not an id; labels, the classes of instances, are "
                     "input.labels=FILE", id="a truth of another kind"),
        pytest.param(["layers=12", "input=digits"], "digits: has instances of shape (64,), but the network takes (1024,)",
                     id="another network"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert record(tmp_path)["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_snicit_s_network_reads_9494_of_10000_digits(processes: int, tmp_path: Path) -> None:
    model = sparsednn.Model(network=labelled.snicit_network(), input_shape=(28, 28))
    model.with_preprocessing(scale=255).save(tmp_path / "snicit.safetensors")
    schedulers = [*load_backend("numba").schedulers["rowwise_first"], *(["global_work_stealing"] if processes > 1 else [])]
    done = run(
        "-m", "network=saved", f"network.path={tmp_path}/snicit.safetensors", "input=mnist", f"processes={processes}",
        f"scheduler={','.join(dict.fromkeys(schedulers))}", f"hydra.sweep.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("result.json")]
    assert len(found) >= 5
    assert {(one["truth"]["correct"], one["truth"]["of"]) for one in found} == {(9494, 10_000)}


def test_the_labels_of_mnist_are_those_of_its_file(tmp_path: Path) -> None:
    """Sparse instances of a file of triples, and the labels of an idx file beside them."""
    images, labels = labelled.mnist_test()
    sp.save_npz(tmp_path / "x.npz", sp.csr_array(images[:100].reshape(100, -1).astype(np.float32) / np.float32(255)))
    header = np.array([0x801, 100], ">u4").tobytes()
    (tmp_path / "y.idx.gz").write_bytes(gzip.compress(header + labels[:100].astype(np.uint8).tobytes()))
    sparsednn.Model(network=labelled.snicit_network()).save(tmp_path / "snicit.safetensors")
    done = run(
        "network=saved", f"network.path={tmp_path}/snicit.safetensors", "input=files", f"input.path={tmp_path}/x.npz",
        f"input.labels={tmp_path}/y.idx.gz", f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path / "out")["truth"] == {
        "checked": True, "source": "given", "match": None, "kind": "labels", "correct": 99, "of": 100,
    }  # fmt: skip

"""DistSparseDNN's folders: read as that program reads them, its classes, and what is written comes back to the bit."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data.layouts.distsparsednn import read, read_inputs, read_network, read_predictions
from sparsednn.data.layouts.export import write_distsparsednn
from sparsednn.data.layouts.predictions import classes_of
from tests.unit import plain_layouts

WIDTHS = (9, 7, 6, 4)
N_INSTANCES = 40


def random_folder(
    folder: Path, rng: np.random.Generator, widths: tuple[int, ...] = WIDTHS, classifier: str = "softmax"
) -> None:
    """A network with neurons that nothing reaches, and instances of zeros: one in the middle, and the last."""
    weights = [np.round(rng.normal(size=shape), 3) * (rng.random(shape) < 0.5) for shape in itertools.pairwise(widths)]
    weights[0][:, 2] = 0
    weights[-1] = np.abs(weights[-1]) * (-1.0) ** np.arange(widths[-2])[:, np.newaxis]
    biases = [np.round(rng.normal(size=width), 2) * (rng.random(width) < 0.7) for width in widths[1:]]
    biases[-1] = np.round(biases[-1] / 10, 3)
    x = np.round(rng.random((N_INSTANCES, widths[0])), 3) * (rng.random((N_INSTANCES, widths[0])) < 0.4)
    x[[4, N_INSTANCES - 1]] = 0
    plain_layouts.write_text(folder, weights, biases, x, [0] * N_INSTANCES)
    right = plain_layouts.classes(folder, len(weights), N_INSTANCES, classifier)
    (folder / "predictions.txt").write_text("".join(f"{i} {c}\n" for i, c in enumerate(right, start=1)))


@pytest.mark.parametrize(("widths", "classifier"), [(WIDTHS, "softmax"), ((9, 7, 1), "sigmoid")])
@pytest.mark.parametrize("kind", ["text", "binary", "gzipped"])
def test_classes_are_those_of_the_program(
    kind: str, widths: tuple[int, ...], classifier: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    text = folder = tmp_path / "text"
    text.mkdir()
    random_folder(text, rng, widths, classifier)
    if kind == "binary":
        folder = tmp_path / "bin"
        folder.mkdir()
        plain_layouts.to_binary(text, folder)
    if kind == "gzipped":
        for path in list(text.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    found = read(folder, widths=widths)
    assert [(layer.n_inputs, layer.n_outputs) for layer in found.network.layers] == list(itertools.pairwise(widths))
    assert found.inputs.shape == (N_INSTANCES, widths[0])
    assert found.predictions.classifier == classifier
    assert len(set(found.predictions.classes.tolist())) > 1, "the network tells classes apart"
    result = sparsednn.infer(found.network, found.inputs, backend="scipy_reference", threads=1, output=True)
    assert found.predictions.correct(result.output) == N_INSTANCES
    found.predictions.classes[3] += 1
    assert found.predictions.correct(result.output) == N_INSTANCES - 1


def test_without_widths_the_largest_ids_tell_and_nothing_changes(rng: np.random.Generator, tmp_path: Path) -> None:
    random_folder(tmp_path, rng)
    with (tmp_path / "weights0.txt").open("a") as file:
        file.write("8 7 0.25\n")  # an eighth neuron, which only this layer knows of
    told = read(tmp_path)
    assert [layer.n_outputs for layer in told.network.layers] == [8, 6, 4]
    outputs = [
        sparsednn.infer(network, told.inputs, backend="scipy_reference", threads=1, output=True).output.toarray()
        for network in (told.network, read_network(tmp_path, widths=(9, 8, 6, 4)))
    ]
    assert outputs[0].tobytes() == outputs[1].tobytes()


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_what_is_written_comes_back_to_the_bit(suffix: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """Values that six decimals do not hold; a last feature, neurons and an instance without anything, an empty layer."""
    widths = (9, 7, 6, 4)
    weights = [(rng.normal(size=shape) * (rng.random(shape) < 0.4)).astype(np.float32) for shape in itertools.pairwise(widths)]
    weights[0][0, :3] = [1e-40, 3.4028235e38, -1 / 3]
    weights[0][8], weights[0][:, 6], weights[1][6], weights[2][:] = 0, 0, 0, 0
    biases = [rng.normal(size=width).astype(np.float32) for width in widths[1:]]
    biases[1][:] = 0
    network = sparsednn.Network(weights, bias=biases, bias_on="nonzero", activation=["relu", "relu", "identity"])
    inputs = sp.csr_array((rng.normal(size=(12, 9)) * (rng.random((12, 9)) < 0.4)).astype(np.float32))
    dense = inputs.toarray()
    dense[11] = 0
    classes = rng.integers(0, 4, 12)
    written = write_distsparsednn(tmp_path / "new", network, sp.csr_array(dense), classes, suffix)
    assert sorted(path.name for path in written) == sorted(path.name for path in (tmp_path / "new").iterdir())
    found = read(tmp_path / "new")
    assert found.network.fingerprint() == network.fingerprint()
    assert found.inputs.toarray().tobytes() == dense.tobytes()
    assert found.predictions.classes.tolist() == classes.tolist()
    again = write_distsparsednn(tmp_path / "again", found.network, found.inputs, found.predictions.classes, suffix)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


@pytest.mark.parametrize(
    ("outputs", "softmax", "sigmoid"),
    [
        pytest.param([0, 0, 0], 0, 0, id="nothing stored: class 0, though the logistic function of 0 is 0.5"),
        pytest.param([-1, -2, 0], 0, 0, id="nothing positive"),
        pytest.param([-3, -2, 1e-39], 0, 1, id="a subnormal number does not count for softmax"),
        pytest.param([0, 2, 2], 1, 1, id="the lowest of equal ones"),
        pytest.param([1, 0, 3], 2, 1, id="the largest"),
        pytest.param([5, -1, 0], 0, 0, id="sigmoid looks at the last that is stored"),
    ],
)
def test_classes_of_outputs_by_hand(outputs: list[float], softmax: int, sigmoid: int) -> None:
    rows = np.array([[1, 2, 3], outputs, [0, 0, 0]], np.float32)
    for given in (rows, sp.csr_array(rows), sp.coo_array(rows)):
        assert classes_of(given, "softmax").tolist() == [2, softmax, 0]
        assert classes_of(given, "sigmoid").tolist() == [1, sigmoid, 0]
    with pytest.raises(ValueError, match="classifier=argmax: .*legal: softmax, sigmoid"):
        classes_of(rows, "argmax")


LEGAL = {
    "weights0.txt": "0 0 1\n1 1 0.5\n",
    "weights1.txt": "0 0 1\n1 1 -1\n",
    "bias0.txt": "1 0.5\n",
    "bias1.txt": "",
    "input.txt": "1 0 1\n2 1 0.5\n",
    "predictions.txt": "1 0\n2 1\n",
}
WRONG = [
    pytest.param("weights1.txt", None, "no file weights1 .*, only layers=1 before it", id="no last weights"),
    pytest.param("weights0.txt", None, r"no file weights0 with .*\.txt\.gz.*, though weights1\.txt is", id="no first"),
    pytest.param("bias0.txt", None, r"no file bias0 .*, though bias1\.txt is there; an empty file", id="no bias"),
    pytest.param("bias2.txt", "", r"bias2\.txt: is there beside layers=2; .*layers=3", id="a bias of no layer"),
    pytest.param("weights0.bin", "", r"weights0\.bin and .*weights0\.txt are both there", id="two formats"),
    pytest.param("weights0.txt", "", r"weights0\.txt: is empty", id="empty weights"),
    pytest.param("weights0.txt", "0 0 1\n1 1 0.", r"weights0\.txt:2: the last line has no end", id="cut in a line"),
    pytest.param("weights0.txt", "0 0 1\n1 1\n", r"weights0\.txt:2: 2 fields in place of 3", id="cut fields"),
    pytest.param("weights0.txt", "0 0 nan\n", r"weights0\.txt:1: the value nan is not finite", id="NaN"),
    pytest.param("weights0.txt", "0 0 1e39\n", r"weights0\.txt:1: the value inf is not finite", id="beyond float32"),
    pytest.param("weights0.txt", "0 0 1\n0 0 2\n", r"weights0\.txt:2: row 0, column 0 is there for the second", id="twice"),
    pytest.param(
        "weights0.txt", "1 1 1\n2 2 1\n", r"weights0\.txt:2: row 2 is outside 0\.\.1; .* row counts from 0", id="from 1"
    ),
    pytest.param("weights1.txt", "0 0 1\n5 1 1\n", r"weights1\.txt:2: row 5 is outside 0\.\.1", id="a neuron that is not"),
    pytest.param("weights1.txt", "0 7 1\n", r"weights1\.txt:1: column 7 is outside 0\.\.1; are the widths", id="an output"),
    pytest.param("weights0.txt", "-1 0 1\n", r"weights0\.txt:1: row -1 is outside", id="below 0"),
    pytest.param("bias0.txt", "2 1\n", r"bias0\.txt:1: neuron 2 is outside 0\.\.1", id="bias of a neuron that is not"),
    pytest.param("bias0.txt", "1 1\n1 1\n", r"bias0\.txt:2: neuron 1 is there for the second time", id="bias twice"),
    pytest.param("bias0.txt", "0 0\n1 inf\n", r"bias0\.txt:2: the bias inf is not finite", id="infinite bias"),
    pytest.param("bias0.txt", "0 1e39\n", r"bias0\.txt:1: the bias 1e\+39 is not finite in", id="a bias beyond float32"),
    pytest.param("input.txt", "0 0 1\n1 1 1\n", r"input\.txt:1: instance 0 is outside .* counts from 1", id="instance 0"),
    pytest.param("input.txt", "1 2 1\n", r"input\.txt:1: feature 2 is outside 0\.\.1; .*unless widths say so", id="a feature"),
    pytest.param("input.txt", None, r"no file input with", id="no input"),
    pytest.param("input.txt", "3 0 1\n", r"predictions\.txt: has 2 instances, but the input has 3", id="too few predictions"),
    pytest.param("predictions.txt", None, r"no file predictions with", id="no predictions"),
    pytest.param("predictions.txt", "", r"predictions\.txt: is empty", id="empty predictions"),
    pytest.param("predictions.txt", "1 0\n3 1\n", r"predictions\.txt: instance 2 has no class, though 3 has", id="a gap"),
    pytest.param("predictions.txt", "1 0\n1 1\n", r"predictions\.txt:2: instance 1 is there for the second", id="two classes"),
    pytest.param("predictions.txt", "0 0\n1 1\n", r"predictions\.txt:1: instance 0 is outside 1\.\.1", id="predictions from 0"),
    pytest.param("predictions.txt", "1 0\n2 2\n", r"predictions\.txt:2: class 2: must be from 0 to 1", id="no such class"),
    pytest.param("predictions.txt", "1 0\n2 0.5\n", r"predictions\.txt:2: class '0.5' is not an id", id="a broken class"),
    pytest.param("predictions.txt", "1 0\n2 -1\n", r"predictions\.txt:2: class -1: must be", id="a negative class"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_wrong_files_are_one_line_with_file_and_place(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    for file, text in LEGAL.items():
        (tmp_path / file).write_text(text)
    assert read(tmp_path, widths=(2, 2, 2)).predictions.classes.tolist() == [0, 1]
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read(tmp_path, widths=(2, 2, 2))
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("weights0.bin", 11, "11 bytes are not a whole number of 12-byte records"),
        ("bias0.bin", 7, "7 bytes are not a whole number of 8-byte records"),
        ("input.bin", 13, "13 bytes are not a whole number of 12-byte records"),
        ("predictions.bin", 4, "4 bytes are not a whole number of 8-byte records"),
    ],
)
def test_binary_files_of_a_wrong_size_are_refused(name: str, size: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for file, text in LEGAL.items():
        (tmp_path / "text" / file).write_text(text)
    plain_layouts.to_binary(tmp_path / "text", tmp_path)
    assert read(tmp_path, widths=(2, 2, 2)).inputs.toarray().tolist() == [[1, 0], [0, 0.5]]
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:size].ljust(size, b"\0"))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/{name}: {message}; the file is truncated"):
        read(tmp_path, widths=(2, 2, 2))


def test_an_id_that_no_memory_holds_is_refused_with_its_line(tmp_path: Path) -> None:
    for file, text in LEGAL.items():
        (tmp_path / file).write_text(text)
    (tmp_path / "weights0.txt").write_text("0 0 1\n999999999999999999 1 1\n")
    with pytest.raises(MemoryError, match=r"weights0\.txt: 1,000,000,000,000,000,000 neurons needs .* at .*weights0\.txt:2"):
        read_network(tmp_path)


def test_layers_that_are_asked_for_are_held_against_the_files(tmp_path: Path) -> None:
    for file, text in LEGAL.items():
        (tmp_path / file).write_text(text)
    assert len(read_network(tmp_path, layers=2).layers) == 2
    with pytest.raises(FileNotFoundError, match=r"no file weights2 .*, only layers=2 before it"):
        read_network(tmp_path, layers=3)
    with pytest.raises(ValueError, match=r"weights1\.txt: is there beside layers=1; .* layers=2"):
        read_network(tmp_path, layers=1)
    with pytest.raises(FileNotFoundError, match=r"no file weights0 with one of the endings"):
        read_network(tmp_path / "..")


def test_instances_are_cut_and_files_may_be_named(tmp_path: Path) -> None:
    for file, text in LEGAL.items():
        (tmp_path / file).write_text(text)
    assert read_inputs(tmp_path / "input.txt", 2, instances=1).toarray().tolist() == [[1, 0]]
    assert read_predictions(tmp_path / "predictions.txt")[0].tolist() == [0, 1]
    assert read_inputs(tmp_path, 2, instances=3, n_at_least=3).toarray().tolist() == [[1, 0], [0, 0.5], [0, 0]]
    with pytest.raises(ValueError, match=r"input\.txt: has 2 instances, fewer than instances=3; .*\(3 0 0\)"):
        read_inputs(tmp_path, 2, instances=3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"bias_on": "all"}, "bias_on='all': DistSparseDNN adds biases to sums that are not zero", id="bias"),
        pytest.param({"activation": "relu"}, "layer 2: activation=relu: DistSparseDNN has identity there", id="last layer"),
        pytest.param({"activation": ["clip(0,1)", "identity"]}, "layer 1: activation=clip: DistSparseDNN has relu", id="clip"),
        pytest.param({"activation": ["leaky_relu", "identity"]}, "layer 1: activation=leaky_relu: ", id="slope"),
    ],
)
def test_networks_that_the_program_cannot_have_are_not_written(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    options = {"bias": [np.ones(2), np.ones(2)], "bias_on": "nonzero", "activation": ["relu", "identity"]}
    network = sparsednn.Network([np.eye(2), np.eye(2)], **{**options, **changed})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        write_distsparsednn(tmp_path / "x", network, np.eye(2), np.array([0, 1]))
    assert not (tmp_path / "x").exists()


def test_a_folder_with_other_files_is_not_written_into(tmp_path: Path) -> None:
    network = sparsednn.Network([np.eye(2)], activation="identity")
    inputs, classes = sp.csr_array(np.eye(2)), np.array([0, 1])
    (tmp_path / "weights1.bin").touch()
    with pytest.raises(ValueError, match=r"weights1\.bin: is there already, of a network with more layers"):
        write_distsparsednn(tmp_path, network, inputs, classes)
    (tmp_path / "weights1.bin").rename(tmp_path / "weights0.bin")
    with pytest.raises(ValueError, match=r"weights0\.bin: is there already, and nobody could tell it from weights0\.txt"):
        write_distsparsednn(tmp_path, network, inputs, classes)
    with pytest.raises(ValueError, match=r"inputs have shape \(2, 2\); \(1, 2\) is needed"):
        write_distsparsednn(tmp_path, network, inputs, classes[:1])
    with pytest.raises(ValueError, match=r"classes: -1 \(instance 1, from 0\) is below 0"):
        write_distsparsednn(tmp_path, network, inputs, np.array([0, -1]))
    with pytest.raises(ValueError, match="suffix=.tsv: "):
        write_distsparsednn(tmp_path, network, inputs, classes, ".tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["weights0.bin"]

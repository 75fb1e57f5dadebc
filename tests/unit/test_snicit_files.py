"""SNICIT's folders: its network read as published, and written, to the bit; files that are wrong are named."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data.labelled import mnist_test, snicit_network
from sparsednn.data.layouts.export import write_snicit
from sparsednn.data.layouts.snicit import read_network
from tests.conftest import JIT_DISABLED

WIDTHS = (5, 4, 4, 3)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network that comes with the package, as files."""
    folder = tmp_path_factory.mktemp("snicit")
    write_snicit(folder, snicit_network())
    return folder


def test_the_network_of_the_package_comes_back_to_the_bit(written: Path) -> None:
    network = snicit_network()
    assert sorted(path.name for path in (written / "tsv_weights").iterdir()) == sorted(
        ["l1-dense.tsv", *(f"l{k}-sparse.tsv" for k in range(2, 20)), "l20-dense.tsv"]
    )
    assert (written / "tsv_weights" / "l1-dense.tsv").read_text().count("\n") == 784 * 128
    first = (written / "tsv_weights" / "l2-sparse.tsv").read_text().split("\n")[0].split("\t")
    row, column = int(first[0]), int(first[1])
    assert network.layers[1].to_scipy()[row, column] == np.float32(first[2])
    steps: list[tuple[int, int]] = []
    found = read_network(written, layers=20, progress=lambda done, total: steps.append((done, total)))
    assert found.fingerprint() == network.fingerprint()
    assert steps[-1] == (20, 20)


@pytest.mark.skipif(JIT_DISABLED, reason="10,000 instances take minutes without the JIT")
def test_it_is_right_about_9494_of_the_mnist_test_images(written: Path) -> None:
    images, labels = mnist_test()
    inputs = sp.csr_array(images.reshape(-1, 784) / np.float32(255))
    output = sparsednn.infer(read_network(written), inputs, threads=2, output=True).output
    assert np.count_nonzero(output.toarray().argmax(axis=1) == labels) == 9494


def small_folder(folder: Path) -> list[np.ndarray]:
    """Files of a network as anybody would write them by hand; the last layer is dense."""
    rng = np.random.default_rng(5)
    for name in ("tsv_weights", "tsv_biases"):
        (folder / name).mkdir()
    shapes = itertools.pairwise(WIDTHS)
    matrices = [np.round(rng.normal(size=shape), 2) * (rng.random(shape) < 0.7) for shape in shapes]
    for k, (kind, matrix) in enumerate(zip(("dense", "sparse", "dense"), matrices, strict=True), start=1):
        lines = [f"{value}\n" for value in matrix.reshape(-1)]
        if kind == "sparse":
            lines = [f"{i}\t{j}\t{matrix[i, j]}\n" for i, j in zip(*np.nonzero(matrix), strict=True)]
        (folder / "tsv_weights" / f"l{k}-{kind}.tsv").write_text("".join(lines))
        (folder / "tsv_biases" / f"l{k}-{kind}.tsv").write_text("".join(f"{k / 4}\n" for _ in range(matrix.shape[1])))
    return matrices


def test_it_computes_what_that_program_computes(tmp_path: Path) -> None:
    matrices, x = small_folder(tmp_path), np.random.default_rng(6).random((7, 5)).astype(np.float32)
    y = x.astype(np.float64)
    for k, matrix in enumerate(matrices, start=1):
        z = y @ matrix + k / 4
        y = z if k == len(matrices) else np.clip(z, 0, 1)
    result = sparsednn.infer(read_network(tmp_path), x, backend="scipy_reference", threads=1, output=True)
    np.testing.assert_allclose(result.output.toarray(), y, rtol=1e-5, atol=1e-6)


def test_the_folder_of_one_network_below_tsv_weights_may_be_named(tmp_path: Path) -> None:
    matrices = small_folder(tmp_path)
    for name in ("tsv_weights", "tsv_biases"):
        (tmp_path / name / "net").mkdir()
        for path in (tmp_path / name).glob("*.tsv"):
            path.rename(path.parent / "net" / path.name)
    network = read_network(tmp_path / "tsv_weights" / "net")
    assert [layer.to_scipy().shape for layer in network.layers] == [matrix.shape for matrix in matrices]
    with pytest.raises(FileNotFoundError, match="has no folder tsv_weights, and is not in one"):
        read_network(tmp_path / "tsv_biases")


WRONG = [
    pytest.param(
        "tsv_weights/l2-sparse.tsv", None, "no file l2-dense or l2-sparse .*though l3-dense.tsv is there", id="a layer"
    ),
    pytest.param("tsv_weights/l3-dense.tsv", None, r"tsv_biases/l3-dense\.tsv: is there beside layers=2", id="the last layer"),
    pytest.param("tsv_biases/l3-dense.tsv", None, "tsv_biases: no file l3-dense or l3-sparse .*only layers=2", id="a bias"),
    pytest.param("tsv_weights/l2-dense.tsv", "1\n", "l2-dense.tsv and .*l2-sparse.tsv are both there", id="two kinds"),
    pytest.param(
        "tsv_weights/l1-dense.tsv",
        "1\n2\n3\n",
        r"l1-dense\.tsv: has 3 weights, not those of any number",
        id="cut",
    ),
    pytest.param(
        "tsv_weights/l3-dense.tsv",
        "1\n2\n3\n",
        r"l3-dense\.tsv: has 3 weights, not those of 4 inputs x 3",
        id="cut, last",
    ),
    pytest.param("tsv_weights/l3-dense.tsv", "1\nNaN\n3\n", r"l3-dense\.tsv:2: the value NaN is not finite", id="NaN"),
    pytest.param("tsv_weights/l2-sparse.tsv", "4\t1\t1\n", r"l2-sparse\.tsv:1: row 4 is outside 0\.\.3", id="a row"),
    pytest.param("tsv_weights/l2-sparse.tsv", "0\t4\t1\n", r"l2-sparse\.tsv:1: column 4 is outside 0\.\.3", id="a column"),
    pytest.param(
        "tsv_weights/l2-sparse.tsv", "0\t1\t1\n0\t1\t1\n", r"tsv:2: row 0, column 1 is there for the second", id="twice"
    ),
    pytest.param(
        "tsv_weights/l2-sparse.tsv", "0.5 9 -26 1 7 2\n", r"l2-sparse\.tsv:1: 1 tab-separated fields", id="other fields"
    ),
    pytest.param("tsv_biases/l2-sparse.tsv", "1\n2\n", r"l2-sparse\.tsv:\d+: column 3 is outside 0\.\.1", id="fewer biases"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_wrong_files_are_one_line_with_file_and_place(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    small_folder(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read_network(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_widths_are_held_against_the_files(tmp_path: Path) -> None:
    small_folder(tmp_path)
    assert read_network(tmp_path, widths=WIDTHS).n_inputs == 5
    with pytest.raises(ValueError, match=r"l1-dense\.tsv: has 20 weights, not those of 6 inputs x 4 outputs"):
        read_network(tmp_path, widths=(6, 4, 4, 3))
    with pytest.raises(ValueError, match=r"tsv_biases/l3-dense\.tsv: has 3 values, but there are 2 neurons in layer 3"):
        read_network(tmp_path, widths=(5, 4, 4, 2))
    with pytest.raises(ValueError, match=r"l3-dense\.tsv: is there beside layers=2; .*layers=3"):
        read_network(tmp_path, widths=(5, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"bias_on": "nonzero"}, "bias_on='nonzero': SNICIT adds biases everywhere", id="bias"),
        pytest.param(
            {"activation": ["relu", "identity"]}, r"layer 1: activation=relu: SNICIT has clip\(0,1\) there", id="relu"
        ),
        pytest.param({"activation": "clip(0,1)"}, "layer 2: activation=clip: SNICIT has identity there", id="last layer"),
    ],
)
def test_networks_that_the_program_cannot_have_are_not_written(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:  # fmt: skip
    given = {"activation": ["clip(0,1)", "identity"], **options}
    network = sparsednn.Network([np.eye(2), np.eye(2)], bias=[np.ones(2), np.ones(2)], **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        write_snicit(tmp_path / "x", network)
    assert not (tmp_path / "x").exists()


def test_empty_layers_come_back_and_other_files_are_not_mixed_up(tmp_path: Path) -> None:
    weights = [np.eye(3), np.zeros((3, 3)), np.eye(3)]
    network = sparsednn.Network(
        weights, bias=[np.ones(3), np.ones(3), np.ones(3)], activation=["clip(0,1)", "clip(0,1)", "identity"]
    )  # fmt: skip
    written = write_snicit(tmp_path, network)
    assert read_network(tmp_path).fingerprint() == network.fingerprint()
    assert write_snicit(tmp_path, network) == written
    two = sparsednn.Network(weights[:2], bias=[np.ones(3), np.ones(3)], activation=["clip(0,1)", "identity"])
    with pytest.raises(ValueError, match=r"l2-sparse\.tsv: is there already, and nobody could tell it from l2-dense\.tsv"):
        write_snicit(tmp_path, two)
    for name in ("tsv_weights", "tsv_biases"):
        (tmp_path / name / "l2-sparse.tsv").unlink()
    with pytest.raises(ValueError, match=r"l3-dense\.tsv: is there already, of a network with more layers"):
        write_snicit(tmp_path, two)

"""Networks, inputs and truth from files, and the export of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import sparsednn
from sparsednn.data.__main__ import main
from sparsednn.data.files import export, read_inputs, read_network, read_truth
from sparsednn.data.triples import write_ids, write_triples
from tests.conftest import JIT_DISABLED

ACTIVATION = sparsednn.clipped_relu(32)


def network_from(folder: Path, layers: int, neurons: int = 12) -> sparsednn.Network:
    return read_network(folder, neurons, layers, bias=-0.1, activation=ACTIVATION)


def infer(network: sparsednn.Network, inputs: sp.csr_array) -> sparsednn.Result:
    return sparsednn.infer(network, inputs, backend="scipy_reference", threads=1, output=True)


def random_matrix(rng: np.random.Generator, n_rows: int, n_columns: int) -> sp.csr_array:
    return sp.csr_array(np.round(rng.random((n_rows, n_columns)) * 4).astype(np.float32) / 4)


@pytest.mark.parametrize("suffix", [".tsv", ".bin"])
def test_what_is_exported_is_read_back_and_computes_the_same(
    suffix: str, small_network: sparsednn.Network, small_inputs: sp.csr_array, tmp_path: Path
) -> None:
    result = infer(small_network, small_inputs)
    steps: list[tuple[int, int]] = []
    written = export(
        tmp_path, small_network, small_inputs, result.categories, suffix, lambda done, total: steps.append((done, total))
    )
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        *(f"neuron12/n12-l{number}{suffix}" for number in (1, 2, 3, 4)),
        f"sparse-images-12{suffix}",
        f"neuron12-l4-categories{suffix}",
    ]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    network, inputs = network_from(tmp_path, 4), read_inputs(tmp_path, 12, None)
    for one, other in zip(network.layers, small_network.layers, strict=True):
        assert (one.to_scipy() != other.to_scipy()).nnz == 0
    assert (inputs != small_inputs).nnz == 0
    again = infer(network, inputs)
    assert (again.output != result.output).nnz == 0
    assert read_truth(tmp_path, 12, 4).tolist() == again.categories.tolist() == result.categories.tolist()


@pytest.mark.parametrize("below", [True, False], ids=["in the folder neuron12", "in the folder itself"])
@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".bin", ".bin.gz", ".npz", ".mtx", ".mtx.gz"])
def test_layers_of_every_format_are_found(suffix: str, below: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    matrix = random_matrix(rng, 12, 12)
    folder = tmp_path / "neuron12" if below else tmp_path
    folder.mkdir(exist_ok=True)
    plain = folder / f"n12-l1{suffix.removesuffix('.gz')}"
    if plain.suffix == ".npz":
        sp.save_npz(plain, matrix)
    elif plain.suffix == ".mtx":
        scipy.io.mmwrite(plain, matrix, precision=9)
    else:
        write_triples(plain, matrix, by_column=True)
    if suffix.endswith(".gz"):
        (folder / f"n12-l1{suffix}").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert (network_from(tmp_path, 1).layers[0].to_scipy() != matrix).nnz == 0


def test_formats_with_a_shape_may_be_rectangular(rng: np.random.Generator, tmp_path: Path) -> None:
    first, second = random_matrix(rng, 12, 5), random_matrix(rng, 5, 7)
    sp.save_npz(tmp_path / "n12-l1.npz", first)
    scipy.io.mmwrite(tmp_path / "n12-l2.mtx", second, precision=9)
    network = network_from(tmp_path, 2)
    assert [(layer.n_inputs, layer.n_outputs) for layer in network.layers] == [(12, 5), (5, 7)]
    assert (network.layers[1].to_scipy() != second).nnz == 0


def test_a_missing_layer_is_named_with_the_endings_that_were_looked_for(
    small_network: sparsednn.Network, small_inputs: sp.csr_array, tmp_path: Path
) -> None:
    export(tmp_path, small_network, small_inputs, np.array([1]), ".tsv")
    with pytest.raises(
        FileNotFoundError, match=r"no file n12-l5 .*\.tsv, \.tsv\.gz, \.bin, \.bin\.gz, \.npz, \.mtx, \.mtx\.gz"
    ):
        network_from(tmp_path, 5)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not-there: no such folder"):
        network_from(tmp_path / "not-there", 1)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        pytest.param([(13, 12)], "the first layer has 13 inputs, not neurons=12", id="the first layer is too wide"),
        pytest.param([(12, 5), (6, 5)], "layer 1 has 5 outputs but layer 2 has 6 inputs", id="layers do not match"),
    ],
)
def test_layers_of_the_wrong_width_are_refused(
    shapes: list[tuple[int, int]], message: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    for number, shape in enumerate(shapes, start=1):
        sp.save_npz(tmp_path / f"n12-l{number}.npz", random_matrix(rng, *shape))
    with pytest.raises(ValueError, match=message):
        network_from(tmp_path, len(shapes))


def test_a_text_layer_of_a_wider_network_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "n12-l1.tsv").write_text("1\t1\t1\n12\t13\t1\n")
    with pytest.raises(ValueError, match=r"n12-l1.tsv:2: column 13 is outside 1..12"):
        network_from(tmp_path, 1)


DAMAGED = [
    pytest.param("npz", b"", id="an empty npz"),
    pytest.param("npz", b"PK\x03\x04 and so on", id="a damaged npz"),
    pytest.param("mtx", b"", id="an empty mtx"),
    pytest.param("mtx", b"%%MatrixMarket matrix coordinate real general\n12 12 2\n1 1 1\n", id="a truncated mtx"),
    pytest.param("mtx", b"1\t1\t1\n", id="an mtx without its header"),
]


@pytest.mark.parametrize(("ending", "content"), DAMAGED)
def test_damaged_layers_are_refused_by_name(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"n12-l1.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: cannot be read"):
        network_from(tmp_path, 1)


@pytest.mark.parametrize(("ending", "content"), DAMAGED)
def test_damaged_inputs_are_refused_by_name(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"inputs.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}: cannot be read"):
        read_inputs(path, 12, None)


def test_an_npz_that_holds_no_sparse_matrix_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "n12-l1.npz", weights=np.eye(12))
    with pytest.raises(ValueError, match=r"n12-l1.npz: cannot be read"):
        network_from(tmp_path, 1)


def test_a_layer_with_a_weight_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    weights = np.eye(12)
    weights[3, 3] = np.nan
    sp.save_npz(tmp_path / "n12-l1.npz", sp.csr_array(weights))
    with pytest.raises(ValueError, match=r"n12-l1.npz: .*nan, not finite"):
        network_from(tmp_path, 1)


def test_inputs_of_the_wrong_width_are_refused(small_inputs: sp.csr_array, tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "inputs.npz", small_inputs)
    write_triples(tmp_path / "inputs.tsv", small_inputs, by_column=False)
    with pytest.raises(ValueError, match=r"inputs.npz: has 12 features, not neurons=11"):
        read_inputs(tmp_path / "inputs.npz", 11, None)
    with pytest.raises(ValueError, match=r"inputs.tsv:\d+: feature 12 is outside 1..11"):
        read_inputs(tmp_path / "inputs.tsv", 11, None)


@pytest.mark.parametrize("name", ["inputs.tsv", "inputs.npz", "inputs.mtx"])
def test_an_input_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
        read_inputs(tmp_path / name, 12, None)


@pytest.mark.parametrize("ending", ["tsv", "bin"])
def test_truth_is_read_from_a_file_and_from_a_folder(ending: str, tmp_path: Path) -> None:
    write_ids(tmp_path / f"neuron12-l4-categories.{ending}", np.array([2, 5]))
    assert read_truth(tmp_path, 12, 4).tolist() == [2, 5]
    assert read_truth(tmp_path / f"neuron12-l4-categories.{ending}", 12, 99).tolist() == [2, 5]
    with pytest.raises(FileNotFoundError, match="neuron12-l8-categories"):
        read_truth(tmp_path, 12, 8)


@pytest.mark.skipif(JIT_DISABLED, reason="50 instances take a minute without the JIT")
@pytest.mark.parametrize("ending", ["tsv", "bin"])
def test_the_command_exports_the_published_layout(
    ending: str, challenge_rows: sp.csr_array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    arguments = ["export", "--neurons", "1024", "--layers", "6", "--instances", "50", "--format", ending, str(folder)]
    assert main(arguments) == 0
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        f"neuron1024-l6-categories.{ending}",
        *(f"neuron1024/n1024-l{number}.{ending}" for number in range(1, 7)),
        f"sparse-images-1024.{ending}",
    ]
    captured = capsys.readouterr()
    assert "8 files" in captured.out
    assert captured.err == ""
    network = read_network(folder, 1024, 6, bias=-0.3, activation=ACTIVATION)
    inputs = read_inputs(folder, 1024, 50)
    assert (inputs != challenge_rows[:50]).nnz == 0
    expected = infer(sparsednn.radixnet(1024, 6), challenge_rows[:50]).categories.tolist()
    assert infer(network, inputs).categories.tolist() == read_truth(folder, 1024, 6).tolist() == expected


@pytest.mark.skipif(JIT_DISABLED, reason="inference comes before the folder is looked at")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--neurons", "1000"], "neurons=1000", id="neurons that make no network"),
        pytest.param(["--layers", "7"], "nearest legal: 6", id="layers that make no block"),
        pytest.param(["--layers", "6", "--instances", "0"], "instances=0", id="no instances"),
        pytest.param(["--layers", "6", "--instances", "5"], "in-the-way", id="a folder that is a file"),
    ],
)
def test_the_command_refuses_in_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in-the-way"
    path.write_text("a file")
    assert main(["export", *options, str(path)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert path.read_text() == "a file"


def test_a_shaped_file_whose_indices_lie_outside_is_refused_by_name(tmp_path: Path) -> None:
    matrix = sp.csr_array(np.eye(12, dtype=np.float32))
    matrix.indices[7] = 12
    sp.save_npz(tmp_path / "x.npz", matrix)
    with pytest.raises(ValueError, match=r"x.npz: not a valid sparse matrix"):
        read_inputs(tmp_path / "x.npz", 12, None)


def test_no_instances_are_exported_as_none(tmp_path: Path) -> None:
    network = sparsednn.Network([sp.eye_array(2)])
    export(tmp_path, network, sp.csr_array((0, 2), dtype=np.float32), np.empty(0, np.int64), ".bin")
    assert (tmp_path / "sparse-images-2.bin").read_bytes() == b""

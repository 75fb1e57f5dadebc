"""Layers from files as trained networks have them: each its own width, a bias for each neuron, ids from 0."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data.files import read_inputs, read_network
from sparsednn.data.vectors import read_vector, write_vector

WIDTHS = (5, 4, 3)
WEIGHTS = [np.arange(20).reshape(5, 4) % 3 - 1.0, np.arange(12).reshape(4, 3) % 4 - 1.5]
BIASES = [np.array([0.5, -1, 0, 1 / 3], np.float32), np.array([1e-40, 2, -3], np.float32)]


def write_layers(folder: Path, base: int = 1) -> None:
    """Files as anybody would write them by hand."""
    for number, matrix in enumerate(WEIGHTS, start=1):
        lines = [f"{i + base}\t{j + base}\t{matrix[i, j]}\n" for i, j in zip(*np.nonzero(matrix), strict=True)]
        (folder / f"n5-l{number}.tsv").write_text("".join(lines))


def network_from(folder: Path, **options: object) -> sparsednn.Network:
    given = {"bias": 0.0, "activation": ["relu", "identity"], "widths": WIDTHS, **options}
    return read_network(folder, 5, 2, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [0, 1])
def test_layers_have_their_own_widths_and_ids_from_0_or_1(base: int, tmp_path: Path) -> None:
    write_layers(tmp_path, base)
    network = network_from(tmp_path, index_base=base)
    assert [layer.to_scipy().toarray().tolist() for layer in network.layers] == [matrix.tolist() for matrix in WEIGHTS]
    assert [layer.activation.name for layer in network.layers] == ["relu", "identity"]
    assert network.bias_on == "nonzero"


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    ".tsv": lambda path, bias: path.write_text("".join(f"{value!r}\n" for value in bias.astype(float).tolist())),
    ".tsv.gz": lambda path, bias: path.write_bytes(gzip.compress("".join(f"{v}\n" for v in bias.tolist()).encode())),
    ".bin": lambda path, bias: path.write_bytes(bias.astype("<f4").tobytes()),
    ".bin.gz": lambda path, bias: path.write_bytes(gzip.compress(bias.astype("<f4").tobytes())),
    ".npy": lambda path, bias: np.save(path, bias.astype(np.float64)),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_neuron_may_have_its_own_bias(suffix: str, tmp_path: Path) -> None:
    write_layers(tmp_path)
    for number, bias in enumerate(BIASES, start=1):
        WRITERS[suffix](tmp_path / f"n5-b{number}{suffix}", bias)
    network = network_from(tmp_path, bias=None)
    assert [layer.bias.tobytes() for layer in network.layers] == [bias.tobytes() for bias in BIASES]
    assert network.bias_on == "all"
    assert network_from(tmp_path, bias=None, bias_on="nonzero").bias_on == "nonzero"
    y = np.maximum(np.ones((1, 5), np.float32) @ WEIGHTS[0].astype(np.float32) + BIASES[0], 0)
    expected = y @ WEIGHTS[1].astype(np.float32) + BIASES[1]
    result = sparsednn.infer(network, np.ones((1, 5)), backend="scipy_reference", threads=1, output=True)
    np.testing.assert_allclose(result.output.toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("base", "asked", "message"),
    [
        pytest.param(
            0, 1, r"n5-l1\.tsv:1: row 0 is outside 1\.\.5; each row seems to count from 0, as index_base=0", id="rows from 0"
        ),
        pytest.param(
            1, 0, r"n5-l1\.tsv:\d+: row 5 is outside 0\.\.4; each row seems to count from 1, as index_base=1", id="from 1"
        ),
    ],
)
def test_another_first_id_is_told_where_it_can_be_seen(base: int, asked: int, message: str, tmp_path: Path) -> None:
    write_layers(tmp_path, base)
    with pytest.raises(ValueError, match=message):
        network_from(tmp_path, index_base=asked)


def test_an_id_that_fits_neither_way_is_only_out_of_range(tmp_path: Path) -> None:
    write_layers(tmp_path)
    with (tmp_path / "n5-l1.tsv").open("a") as file:
        file.write("0\t1\t1\n")
    with pytest.raises(ValueError, match=r"row 0 is outside 1\.\.5$"):
        network_from(tmp_path)


@pytest.mark.parametrize("base", [0, 1])
def test_inputs_count_from_0_or_1(base: int, tmp_path: Path) -> None:
    dense = np.array([[0, 2.5, 0], [0, 0, 0], [1, 0, 3]])
    path = tmp_path / "x.tsv"
    path.write_text("".join(f"{i + base}\t{j + base}\t{dense[i, j]}\n" for i, j in zip(*np.nonzero(dense), strict=True)))
    assert read_inputs(path, 3, None, base).toarray().tolist() == dense.tolist()
    message = "instance 0 is outside 1.*count from 0, as index_base=0" if base == 0 else "feature 3 is outside .*index_base=1"
    with pytest.raises(ValueError, match=message):
        read_inputs(path, 3, None, 1 - base)
    with pytest.raises(ValueError, match=rf"has 3 instances, fewer than instances=5; .*\({4 + base}, {base}, 0\)"):
        read_inputs(path, 3, 5, base)


def test_files_with_a_shape_are_held_against_the_widths(tmp_path: Path) -> None:
    write_layers(tmp_path)
    (tmp_path / "n5-l2.tsv").unlink()
    sp.save_npz(tmp_path / "n5-l2.npz", sp.csr_array(WEIGHTS[1]))
    assert (network_from(tmp_path).layers[1].to_scipy().toarray() == WEIGHTS[1]).all()
    with pytest.raises(ValueError, match=r"n5-l2\.npz: is 4 x 3, but widths=\[5, 4, 2\] says 4 x 2 of layer 2"):
        network_from(tmp_path, widths=(5, 4, 2))
    with pytest.raises(ValueError, match=r"the first layer has 6 inputs, not neurons=5"):
        network_from(tmp_path, widths=(6, 4, 3))


WRONG = [
    pytest.param("n5-b2.tsv", None, r"no file n5-b2 with one of the endings \.tsv, .*\.npy", id="one is missing"),
    pytest.param("n5-b2.bin", b"", r"n5-b2\.bin and .*|n5-b2\.tsv and .*are both there", id="two formats"),
    pytest.param("n5-b2.tsv", b"1\n2\n", r"n5-b2\.tsv: has 2 values, but there are 3 neurons", id="too few"),
    pytest.param("n5-b2.tsv", b"1\n2\n3\n4\n", r"n5-b2\.tsv: has 4 values, but there are 3 neurons", id="too many"),
    pytest.param("n5-b2.tsv", b"1\n2\n3", r"n5-b2\.tsv:3: the last line has no end", id="cut"),
    pytest.param("n5-b2.tsv", b"1\nnan\n3\n", r"n5-b2\.tsv:2: the value nan is not finite", id="NaN"),
    pytest.param("n5-b2.tsv", b"1\n\n1e39\n3\n", r"n5-b2\.tsv:3: inf is not finite in float32", id="beyond float32"),
    pytest.param("n5-b2.tsv", b"1 1\n2\n3\n", r"n5-b2\.tsv:1: value '1 1' is not a number", id="two numbers in a line"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_wrong_biases_are_one_line_with_file_and_place(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    write_layers(tmp_path)
    for number, bias in enumerate(BIASES, start=1):
        write_vector(tmp_path / f"n5-b{number}.tsv", bias)
    assert network_from(tmp_path, bias=None).layers[1].bias.tobytes() == BIASES[1].tobytes()
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        network_from(tmp_path, bias=None)
    assert "\n" not in str(caught.value)


def test_wrong_vectors_of_other_formats(tmp_path: Path) -> None:
    binary, array = tmp_path / "a.bin", tmp_path / "a.npy"
    binary.write_bytes(b"\0" * 7)
    with pytest.raises(ValueError, match=r"a\.bin: 7 bytes are not a whole number of 4-byte numbers; the file is truncated"):
        read_vector(binary)
    binary.write_bytes(np.array([1, np.nan], "<f4").tobytes())
    with pytest.raises(ValueError, match=r"a\.bin: value 2: nan is not finite"):
        read_vector(binary)
    with pytest.raises(FileNotFoundError, match=r"a\.npy: no such file"):
        read_vector(array)
    np.save(array, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"a\.npy: holds an array of shape \(2, 2\); one of shape \(n,\) is needed"):
        read_vector(array)
    np.save(array, np.array([1, None], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read: "):
        read_vector(array)
    np.save(array, np.ones(100))
    whole = array.read_bytes()
    for damaged in (whole.replace(b"(100,)", b"(999,)"), whole.replace(b"(100,)", b"(100, "), whole[:-1], whole[:20], b""):
        array.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.npy: cannot be read: "):
            read_vector(array)
    np.save(array, np.ones(2, np.complex64))
    with pytest.raises(TypeError, match=r"a\.npy: complex"):
        read_vector(array)

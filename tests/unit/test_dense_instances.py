"""Files of dense instances and of labels: what they hold is read as it is, or refused in a line that names the file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image

from sparsednn.data.arrays_in_files import IDX_TYPES, read_idx
from sparsednn.data.dense_instances import open_instances
from sparsednn.data.labels import read_labels
from sparsednn.errors import SparseDnnError
from tests.archives import compressed_by_unknown_means


def idx(array: np.ndarray) -> bytes:
    """An array as an idx file has it."""
    [code] = [code for code, dtype in IDX_TYPES.items() if np.dtype(dtype) == array.dtype.newbyteorder(">")]
    return bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(IDX_TYPES[code]).tobytes()


ARRAY = np.arange(24).reshape(4, 3, 2)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_of_every_type(dtype: str, zipped: bool, tmp_path: Path) -> None:
    content = idx(ARRAY.astype(dtype))
    (tmp_path / "x").write_bytes(gzip.compress(content) if zipped else content)
    found = open_instances("idx", tmp_path / "x")
    assert (found.n, found.shape, found.labels) == (4, (3, 2), None)
    taken = found.take(np.array([3, 1]))
    np.testing.assert_array_equal(taken, ARRAY[[3, 1]].astype(dtype))
    assert taken.dtype == np.dtype(dtype)


def test_arrays_of_numpy_and_their_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(ARRAY))
    np.savez_compressed(tmp_path / "both.npz", images=ARRAY, labels=np.array([3, 2, 1, 0]))
    np.savez(tmp_path / "one.npz", whatever=ARRAY)
    for kind, name in (("npy", "x.npy"), ("npz", "both.npz"), ("npz", "one.npz")):
        found = open_instances(kind, tmp_path / name)
        np.testing.assert_array_equal(found.take(np.array([0, 2])), ARRAY[[0, 2]])
        assert (found.labels is not None) == (name == "both.npz")
    np.testing.assert_array_equal(open_instances("npz", tmp_path / "both.npz").labels, [3, 2, 1, 0])


def test_folders_of_images_by_class_and_without(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6), np.uint8)
    for number, (folder, suffix) in enumerate((("cat", "png"), ("cat", "PNG"), ("dog", "bmp"), ("dog", "pgm"))):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(pixels[number]).save(tmp_path / folder / f"{number}.{suffix}")
    (tmp_path / "dog" / "about.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    found = open_instances("images_folder", tmp_path)
    assert (found.n, found.shape, found.class_names, found.channels_last) == (4, (5, 6), ("cat", "dog"), True)
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(found.take(np.arange(4)), pixels)
    flat = open_instances("images_folder", tmp_path / "cat")
    assert (flat.n, flat.labels) == (2, None)


def test_colours_and_palettes_are_read_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (3, 4, 3), np.uint8) * 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "b.png")
    found = open_instances("images_folder", tmp_path)
    np.testing.assert_array_equal(found.take(np.arange(2)), [pixels, pixels])


@pytest.mark.parametrize(("name", "n"), [("mnist", 10_000), ("digits", 597)])
def test_what_comes_with_the_package_has_labels(name: str, n: int) -> None:
    found = open_instances(name, None)
    assert (found.n, found.labels is not None and len(found.labels)) == (n, n)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("y.txt", b"3\n\n0\r\n12", id="text"),
        pytest.param("y.txt.gz", gzip.compress(b"3\n0\n12\n"), id="zipped text"),
        pytest.param("y", idx(np.array([3, 0, 12], "u1")), id="idx"),
        pytest.param("y.gz", gzip.compress(idx(np.array([3, 0, 12], "i4"))), id="zipped idx"),
    ],
)
def test_labels(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(read_labels(tmp_path / name), [3, 0, 12])


def test_labels_in_files_of_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", np.array([3, 0, 12]))
    np.savez(tmp_path / "y.npz", x=ARRAY, y=np.array([3, 0, 12]))
    for name in ("y.npy", "y.npz"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), [3, 0, 12])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is no idx file", id="nothing"),
        pytest.param(b"\x89PNG....", "is no idx file, as those of MNIST are: it begins with", id="another format"),
        pytest.param(b"\0\0\x08\0", "is no idx file", id="no axes"),
        pytest.param(b"\0\0\x08\x09" + bytes(36), "is no idx file", id="too many axes"),
        pytest.param(idx(ARRAY.astype("u1"))[:-1], r"does not hold an array of the shape \(4, 3, 2\)", id="cut"),
        pytest.param(idx(ARRAY.astype("u1"))[:9], "does not hold an array of the shape", id="cut in the header"),
        pytest.param(idx(ARRAY.astype("u1")) + b"x", "does not hold an array of the shape", id="too long"),
        pytest.param(b"\0\0\x0e\x04" + b"\xff" * 16, "needs .* GB, but only .*is its header right?", id="a shape that lies"),
        pytest.param(gzip.compress(idx(ARRAY.astype("u1")))[:-12], "cannot be read", id="cut while compressed"),
        pytest.param(idx(np.arange(4, dtype="u1")), r"has shape \(4,\); \(instances, ...\) is needed", id="labels"),
    ],
)
def test_idx_files_that_are_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SparseDnnError, match=message) as caught:
        open_instances("idx", tmp_path / "x")
    assert str(caught.value).startswith(str(tmp_path / "x"))
    assert "\n" not in str(caught.value)


def test_other_files_that_cannot_be_read(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], object))
    np.savez(tmp_path / "two.npz", a=ARRAY, b=ARRAY)
    np.savez(tmp_path / "x.npz", x=ARRAY, images=ARRAY)
    sp.save_npz(tmp_path / "sparse.npz", sp.csr_array(np.eye(3)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:200])
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    for kind, name, message in (
        ("npy", "objects.npy", "no .npy file, or a damaged one"),
        ("npy", "text.npy", "holds <U1; numbers are needed"),
        ("npy", "two.npz", "holds several arrays; this is an .npz file"),
        ("npy", "cut.npy", "no .npy file, or a damaged one"),
        ("npz", "objects.npz", "no .npz file, or a damaged one"),
        ("npz", "two.npz", "holds a, b; one array x or images"),
        ("npz", "x.npz", "holds x, images; one array x or images"),
        ("npz", "sparse.npz", "is a sparse matrix of scipy.sparse.save_npz, which input=files reads"),
        ("npz", "cut.npz", "no .npz file, or a damaged one"),
        ("npz", "none.npz", "no such file"),
        ("npy", ".", "is a folder; a file is needed"),
        ("images_folder", "two.npz", "is a file; a folder of images is needed"),
        ("images_folder", "none", "no such folder"),
        ("images_folder", ".", "has no image with one of the endings .png"),
    ):
        with pytest.raises(SparseDnnError) as caught:
            open_instances(kind, tmp_path / name)
        assert f"{tmp_path / name}: {message}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_images_that_differ_or_cannot_be_read(tmp_path: Path) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    for name, image, message in (
        ("b.png", Image.new("L", (3, 4)), r"is an image of shape \(4, 3\), but .*a.png of \(3, 4\); make all alike"),
        ("b.png", Image.new("RGB", (4, 3)), r"is an image of shape \(3, 4, 3\)"),
        ("b.png", Image.new("RGBA", (4, 3)), r"is of a kind that is not read \(RGBA\); save it as plain grey or RGB"),
        ("b.png", b"no image", "no image, or a damaged one"),
        ("b.bmp", (tmp_path / "a.png").read_bytes(), "no image, or a damaged one"),
    ):
        path = tmp_path / name
        path.write_bytes(image) if isinstance(image, bytes) else image.save(path)
        with pytest.raises(SparseDnnError, match=f"{name}: {message}"):
            open_instances("images_folder", tmp_path).take(np.arange(2))
        path.unlink()
    (tmp_path / "class").mkdir()
    Image.new("L", (4, 3)).save(tmp_path / "class" / "b.png")
    with pytest.raises(SparseDnnError, match=r"has images, and folders with images \(class\)"):
        open_instances("images_folder", tmp_path)


@pytest.mark.parametrize("line", ["1.0", "-1", "one", "1,2", "9" * 20])
def test_lines_that_are_no_labels_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text(f"0\n{line}\n")
    with pytest.raises(SparseDnnError, match=r"y\.txt:2: '.*' is no label: a class, from 0, a line"):
        read_labels(tmp_path / "y.txt")


def test_an_idx_file_is_read_whatever_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(idx(ARRAY.astype("u1")))
    np.testing.assert_array_equal(read_idx(tmp_path / "plain.gz"), ARRAY)


def test_archives_of_an_unknown_compression_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=ARRAY)
    path.write_bytes(compressed_by_unknown_means(path.read_bytes()))
    with pytest.raises(SparseDnnError, match=r"x\.npz: no \.npz file, or a damaged one: .*compression"):
        open_instances("npz", path)

"""Data sets as they are published are read part by part, or refused in a line that says what is needed and where it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from experiments.config.resolve import Config, ConfigError
from experiments.config.source_schema import InputConfig
from experiments.sweeps.trained import datasets
from sparsednn.data import published
from sparsednn.data.dense_instances import open_instances
from sparsednn.data.published import read_published
from sparsednn.errors import SparseDnnError

RNG = np.random.default_rng(5)
IMAGES = {"train": RNG.integers(0, 256, (6, 4, 5)), "t10k": RNG.integers(0, 256, (3, 4, 5))}
LABELS = {"train": np.arange(6) % 3, "t10k": np.array([2, 0, 1])}
COLOURED = RNG.integers(0, 256, (12, 3, 32, 32))
CLASSES = np.arange(12) % 10
VOCABULARY = ("the", "film", "bad", "good", "rare")
REVIEWS = {"train": "9 0:5 3:2\n1 0:1 2:4 4:1\n10 1:3 3:3\n2 0:2 1:1\n", "test": "7 3:1 4:2\n4 0:1 2:1\n3\n"}


def write_idx(folder: Path, zipped: bool) -> Path:
    folder.mkdir()
    for prefix in ("train", "t10k"):
        for kind, array in (("images", IMAGES[prefix]), ("labels", LABELS[prefix])):
            content = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
            content += bytes(array.ravel().tolist())
            name = f"{prefix}-{kind}-idx{array.ndim}-ubyte"
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_cifar10(folder: Path) -> Path:
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for number, name in enumerate(names):
        of = (2 * number, 2 * number + 1)
        (folder / name).write_bytes(b"".join(bytes([CLASSES[one], *COLOURED[one].ravel().tolist()]) for one in of))
    return folder


def write_imdb(folder: Path) -> Path:
    for part, text in REVIEWS.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "labeledBow.feat").write_text(text)
    (folder / "imdb.vocab").write_text("".join(f"{word}\n" for word in VOCABULARY))
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_of_idx_files(zipped: bool, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "fashion", zipped)
    for part, prefix in (("train", "train"), ("test", "t10k")):
        x, y = read_published("idx", folder, part)
        assert np.array_equal(x, IMAGES[prefix])
        assert np.array_equal(y, LABELS[prefix])
    opened = open_instances("idx", folder)
    assert np.array_equal(opened.take(np.array([2, 0])), IMAGES["t10k"][[2, 0]])
    assert np.array_equal(opened.labels, LABELS["t10k"])


@pytest.mark.parametrize("above", [False, True])
def test_cifar10_in_its_binary_version(above: bool, tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "own" / "cifar-10-batches-bin")
    given = folder.parent if above else folder
    x, y = read_published("cifar10", given, "train")
    assert (x.dtype, y.dtype) == (np.uint8, np.int64)
    assert np.array_equal(x, COLOURED[:10])
    assert np.array_equal(y, CLASSES[:10])
    opened = open_instances("cifar10", given)
    assert (opened.n, opened.shape) == (2, (3, 32, 32))
    assert np.array_equal(opened.take(np.arange(2)), COLOURED[10:])
    assert opened.labels is not None
    assert opened.labels.tolist() == [0, 1]


def test_reviews_are_the_most_frequent_words_that_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_imdb(tmp_path / "aclImdb")
    x, y = read_published("imdb", folder, "test")
    order = ["the", "good", "film", "bad", "rare"]  # 8, 5, 4, 4 and 1 times in the training reviews
    assert x.tolist() == [[word in ("good", "rare") for word in order], [word in ("the", "bad") for word in order], [False] * 5]
    assert y.tolist() == [1, 0, 0]
    monkeypatch.setattr(published, "IMDB_WORDS", 2)
    x, y = read_published("imdb", tmp_path, "train")
    assert x.tolist() == [[1, 1], [1, 0], [0, 1], [1, 0]]
    assert y.tolist() == [1, 0, 1, 0]


def test_networks_are_trained_and_tested_on_the_parts_as_published(tmp_path: Path) -> None:
    def loaded(kind: str, folder: Path, scale: float | None = None) -> datasets.Dataset:
        return datasets.load(Config(input=InputConfig(name=kind, path=str(folder), scale=scale)))

    fashion = loaded("idx", write_idx(tmp_path / "fashion", True), 255)
    assert fashion.shape == (1, 4, 5)
    assert np.array_equal(np.rint(fashion.x[:, 0] * 255), IMAGES["train"])
    assert np.array_equal(fashion.test_y, LABELS["t10k"])
    cifar = loaded("cifar10", write_cifar10(tmp_path / "cifar"), 255)
    assert (cifar.shape, len(cifar.y), len(cifar.test_y)) == ((3, 32, 32), 10, 2)
    assert np.array_equal(cifar.test_x, COLOURED[10:].astype(np.float32) / np.float32(255))
    imdb = loaded("imdb", write_imdb(tmp_path / "aclImdb"))
    assert (imdb.x.dtype, imdb.shape, imdb.n_classes, len(imdb.test_y)) == (np.float32, (5,), 2, 3)
    assert imdb.record()["name"] == f"{tmp_path / 'aclImdb'}, its own test set"
    with pytest.raises(ConfigError, match="holds integers up to 255; say their scale: input.scale=255"):
        loaded("cifar10", tmp_path / "cifar")
    with pytest.raises(ConfigError, match="input.labels=some: .*has labels of its own; leave input.labels out"):
        datasets.load(Config(input=InputConfig(name="imdb", path=str(tmp_path / "aclImdb"), labels="some")))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("idx", "the four files train-images-idx3-ubyte, .* Zalando Research's Fashion-MNIST"),
        ("cifar10", "the binary version on the University of Toronto's page of CIFAR-10"),
        ("imdb", "the Large Movie Review Dataset on Stanford's page of it"),
    ],
)
def test_a_wrong_folder_is_told_what_is_needed_and_where_it_is(kind: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, said in ((tmp_path, "no such file"), (tmp_path / "none", "no such folder"), (tmp_path / "file", "is a file")):
        with pytest.raises(SparseDnnError, match=f"{said}; .*{message}") as raised:
            read_published(kind, folder, "test")
        assert str(raised.value).startswith(str(folder))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["data_batch_1", "cifar-10-batches-py"])
def test_pickles_of_cifar10_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not opened")
    with pytest.raises(SparseDnnError, match="Python version, pickles, which are never opened; .* the binary version"):
        read_published("cifar10", tmp_path, "test")


def test_damaged_data_sets_are_refused(tmp_path: Path) -> None:
    fashion, cifar, imdb = write_idx(tmp_path / "f", False), write_cifar10(tmp_path / "c"), write_imdb(tmp_path / "i")

    def refused(kind: str, path: Path, content: bytes, message: str) -> None:
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(SparseDnnError, match=message):
            read_published(kind, path.parent if kind != "imdb" else imdb, "test")
        path.write_bytes(before)

    batch, reviews = cifar / "test_batch.bin", imdb / "test" / "labeledBow.feat"
    refused("cifar10", batch, batch.read_bytes()[:-1], "has 6,145 bytes, no whole number of CIFAR-10's 3073")
    refused("cifar10", batch, b"", "has 0 bytes")
    refused("cifar10", batch, bytes([10]) + batch.read_bytes()[1:], "has class 10; CIFAR-10 has classes 0 to 9")
    refused("idx", fashion / "t10k-labels-idx1-ubyte", bytes([0, 0, 8, 1, 0, 0, 0, 1, 0]), "has 3 images, but .* 1 labels")
    images = (fashion / "t10k-images-idx3-ubyte").read_bytes()
    refused("idx", fashion / "t10k-labels-idx1-ubyte", images, "no images and their classes")
    for text, message in (
        ("7 1:1\n7 1:2:3 4\n", "line 2: is not 'stars word:count ...', but b'7 1:2:3 4'"),
        ("7 1:one", "line 1: is not"),
        ("7 -1:1", "line 1: is not"),
        ("7 5:1", "line 1: has a word beyond imdb.vocab's 5, or a count of 0"),
        ("7 1:0", "line 1: has a word beyond"),
        ("5 1:1", "line 1: has 5 stars; reviews have 1 to 4, or 7 to 10"),
        ("11 1:1", "line 1: has 11 stars"),
        ("", "has no reviews"),
    ):
        refused("imdb", reviews, text.encode(), message)

"""Reads data sets as they are published, in two parts: idx files as MNIST's, CIFAR-10's binary version, IMDB's reviews."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsednn.data.arrays_in_files import read_idx
from sparsednn.errors import DataError, MissingFileError
from sparsednn.system.memory import require

Part = Literal["train", "test"]
IDX_PREFIX = {"train": "train", "test": "t10k"}
CIFAR_FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
CIFAR_SHAPE, CIFAR_CLASSES = (3, 32, 32), 10
CIFAR_RECORD = 1 + 3 * 32 * 32
"""Bytes of an instance: its class, then its red, green and blue pixels, row by row."""

IMDB_WORDS = 10_000
"""How many words are features, those most frequent in the training reviews: as many as DistSparseDNN's generator has."""

MOST_NEGATIVE, LEAST_POSITIVE = 4, 7
"""Stars of a review, of 10: up to the first it is negative, from the second on positive; there are none between."""

LINE = re.compile(rb"\d{1,9}(?: \d{1,9}:\d{1,9})*\s*")
"""Of a file of reviews: stars, then words and how often each is there."""

WANTED = {
    "idx": "the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte "
    "(.gz or not) are needed, which the pages of MNIST and of Zalando Research's Fashion-MNIST have",
    "cifar10": "the folder cifar-10-batches-bin is needed: the binary version on the University of Toronto's page of CIFAR-10",
    "imdb": "the folder aclImdb is needed, with imdb.vocab and labeledBow.feat in train and test: the Large Movie Review "
    "Dataset on Stanford's page of it",
}  # fmt: skip
"""By kind, what a folder must have and where that is to be had."""


class Labelled(NamedTuple):
    """Instances of a part, and the class of each.

    Attributes
    ----------
    x : uint8 array, shape (n, ...)
        Images from idx files: (n, height, width), any type of number; CIFAR-10: (n, 3, 32, 32); IMDB: (n, words), 1 where a
        review has the word, as DistSparseDNN's generator has it, the most frequent word first.
    y : int64 array, shape (n,)
        IMDB: 0 negative, 1 positive.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]


def read_published(kind: str, folder: Path, part: Part) -> Labelled:
    """Read the training or the test part of a data set: kind "idx", "cifar10" or "imdb".

    No pickle is ever opened: CIFAR-10 is read in its binary version only.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If there is no such folder, or a file is missing or damaged, in one line that says what is needed and who has it.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", 2017.
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    A. L. Maas et al., "Learning word vectors for sentiment analysis", ACL 2011.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; {WANTED[kind]}")
    return _READERS[kind](folder, part)


def _idx(folder: Path, part: Part) -> Labelled:
    images, labels = (_there(folder, f"{IDX_PREFIX[part]}-{name}-ubyte", "idx") for name in ("images-idx3", "labels-idx1"))
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(f"{images}: has shape {x.shape}, and {labels.name} {y.shape}, {y.dtype}: no images and their classes")
    if len(x) != len(y):
        raise DataError(f"{images}: has {len(x)} images, but {labels.name} {len(y)} labels")
    return Labelled(x, y.astype(np.int64))


def _cifar10(folder: Path, part: Part) -> Labelled:
    folder = _within(folder, "cifar-10-batches-bin")
    if (folder / "data_batch_1").exists() or (folder / "cifar-10-batches-py").exists():
        raise DataError(f"{folder}: is CIFAR-10's Python version, pickles, which are never opened; {WANTED['cifar10']}")
    paths = [_there(folder, name, "cifar10") for name in CIFAR_FILES[part]]
    require(2 * sum(path.stat().st_size for path in paths), f"{folder}: images", "is it CIFAR-10?")
    records = [_cifar_records(path) for path in paths]
    every = np.concatenate(records)
    return Labelled(every[:, 1:].reshape(-1, *CIFAR_SHAPE), every[:, 0].astype(np.int64))


def _cifar_records(path: Path) -> NDArray[np.uint8]:
    content = path.read_bytes()
    if not content or len(content) % CIFAR_RECORD:
        raise DataError(f"{path}: has {len(content):,} bytes, no whole number of CIFAR-10's {CIFAR_RECORD}; is it cut off?")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() >= CIFAR_CLASSES:
        raise DataError(f"{path}: has class {records[:, 0].max()}; CIFAR-10 has classes 0 to {CIFAR_CLASSES - 1}")
    return records


def _imdb(folder: Path, part: Part) -> Labelled:
    folder = _within(folder, "aclImdb")
    n_words = len(_there(folder, "imdb.vocab", "imdb").read_bytes().splitlines())
    reviews = {one: _reviews(_there(folder / one, "labeledBow.feat", "imdb"), n_words) for one in sorted({"train", part})}
    training = reviews["train"]
    frequency = np.bincount(training.words, training.counts, n_words)
    frequent = np.argsort(-frequency, kind="stable")[:IMDB_WORDS]
    feature = np.full(n_words, -1)
    feature[frequent] = np.arange(len(frequent))
    chosen = reviews[part]
    require(5 * len(chosen.y) * len(frequent), f"{folder}: reviews as {len(frequent):,} words", "run fewer at a time")
    x = np.zeros((len(chosen.y), len(frequent)), np.uint8)
    kept = feature[chosen.words] >= 0
    x[chosen.review[kept], feature[chosen.words[kept]]] = 1
    return Labelled(x, chosen.y)


class _Reviews(NamedTuple):
    """Of each pair of a file of reviews: review, word, how often, int64 (n_pairs,); and classes, int64 (n_reviews,)."""

    review: NDArray[np.int64]
    words: NDArray[np.int64]
    counts: NDArray[np.int64]
    y: NDArray[np.int64]


def _reviews(path: Path, n_words: int) -> _Reviews:
    """Read lines "stars word:count word:count ...", words from 0."""
    stars, pairs = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not LINE.fullmatch(line):
            raise DataError(f"{path}: line {number}: is not 'stars word:count ...', but {line[:40]!r}")
        first, *rest = line.replace(b":", b" ").split()
        stars.append(int(first))
        pairs.append(np.array(rest, np.int64).reshape(-1, 2))
        words, counts = pairs[-1].T
        if len(words) and (words.max() >= n_words or counts.min() < 1):
            raise DataError(f"{path}: line {number}: has a word beyond imdb.vocab's {n_words}, or a count of 0")
        if not (1 <= stars[-1] <= MOST_NEGATIVE or LEAST_POSITIVE <= stars[-1] <= 10):
            raise DataError(f"{path}: line {number}: has {stars[-1]} stars; reviews have 1 to 4, or 7 to 10")
    if not stars:
        raise DataError(f"{path}: has no reviews")
    every = np.concatenate(pairs)
    review = np.repeat(np.arange(len(pairs)), [len(one) for one in pairs])
    return _Reviews(review, every[:, 0], every[:, 1], (np.array(stars) >= LEAST_POSITIVE).astype(np.int64))


def _within(folder: Path, name: str) -> Path:
    """Return the folder of a name that lies in a folder, or that folder."""
    return folder / name if (folder / name).is_dir() else folder


def _there(folder: Path, name: str, kind: str) -> Path:
    """Return a file of a folder, compressed if it is an idx file that is not there otherwise."""
    for path in (folder / name, *([folder / f"{name}.gz"] if kind == "idx" else [])):
        if path.is_file():
            return path
    raise MissingFileError(f"{folder / name}: no such file; {WANTED[kind]}")


_READERS: Mapping[str, Callable[[Path, Part], Labelled]] = {"idx": _idx, "cifar10": _cifar10, "imdb": _imdb}

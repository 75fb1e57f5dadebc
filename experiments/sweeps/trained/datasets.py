"""Loads the instances that networks are trained and tested on: those of the package, or a user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.image_schema import DATASETS
from experiments.config.resolve import Config, ConfigError
from experiments.config.source_schema import InputConfig
from sparsednn.data import labelled
from sparsednn.data.dense_instances import is_published, open_instances
from sparsednn.data.published import read_published
from sparsednn.errors import DataError
from sparsednn.importers.preprocessing import ImageLayout, Preprocessing

TEST_SHARE = 1 / 3
"""Share of the instances that are kept for the test, where nobody has parted them."""

SPLIT_SEED = 1
GREY_AXES, COLOUR_AXES = 3, 4
"""Axes of arrays of images, with that of the instances."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Instances to train on and others to test with.

    Attributes
    ----------
    name : str
        What the record calls them.
    x, y : float32 (n, *shape), int64 (n,)
        For training; images have the shape (channels, height, width).
    test_x, test_y : float32 (m, *shape), int64 (m,)
        For the test; no network was trained on them.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one instance."""
        return self.x.shape[1:]

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(max(self.y.max(), self.test_y.max())) + 1

    def record(self) -> dict[str, Any]:
        """Return what the record says of them."""
        return {"name": self.name, "shape": list(self.shape), "training": len(self.y), "test": len(self.test_y)}


def load(config: Config) -> Dataset:
    """Load what ``input`` says: ``mnist``, ``digits``, the folder of a published data set, or a file of labelled instances.

    MNIST and data sets (``cifar10``, ``imdb``, ``idx`` with a folder) are parted into training and test by who has published
    them. Of all others a third, drawn with a fixed seed, is for the test.

    Raises
    ------
    ConfigError
        If the input has no labels, or integers that nobody scales.
    FileNotFoundError, ValueError, MemoryError
        If a file is missing or damaged, or labels do not go with the instances.
    """
    kind = config.input.name
    if kind == "mnist":
        (x, y), (test_x, test_y) = labelled.mnist_training(), labelled.mnist_test()
        return Dataset("MNIST, its own test set", _grey(x), y, _grey(test_x), test_y)
    if kind == "digits":
        digits, labels = labelled.digits_test()
        side = math.isqrt(digits.shape[1])
        return _parted("digits", digits.reshape(-1, 1, side, side), labels)
    if is_published(kind, Path(config.input.path or "")):
        return _published(config)
    return _parted(config.input.path or kind, *_given(config))


def _grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[:, None].astype(np.float32) / np.float32(255)


def _preprocessed(values: NDArray[Any], given: InputConfig) -> NDArray[np.float32]:
    """Return instances as a network takes them, float32 (n, channels, height, width) if they are images: grey ones have one."""
    layout: ImageLayout = "hwc" if values.ndim == COLOUR_AXES and given.layout == "hwc" else "as_is"
    if values.ndim == GREY_AXES:
        values = values[:, None]
    shape = values.shape[1:] if layout == "as_is" else (values.shape[3], *values.shape[1:3])
    said = {name: value for name in ("scale", "mean", "std") if (value := getattr(given, name)) is not None}
    preprocessing = Preprocessing(layout=layout, **said)
    preprocessing.require_fit(shape)
    flat = values.reshape(len(values), -1)
    return preprocessing.apply(flat, shape, np.empty(flat.shape, np.float32)).reshape(-1, *shape)


def _parted(name: str, x: NDArray[np.float32], y: NDArray[np.int64]) -> Dataset:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(y))
    n_test = int(len(y) * TEST_SHARE)
    if n_test == 0:
        raise DataError(f"{name}: has {len(y)} instances; to train and to test, three or more are needed")
    test, training = order[:n_test], order[n_test:]
    return Dataset(f"{name}, a third of them for the test", x[training], y[training], x[test], y[test])


def _published(config: Config) -> Dataset:
    """Return a user's copy of a data set that has a test part of its own."""
    given = config.input
    folder = Path(given.path or "")
    if given.labels is not None:
        raise ConfigError(f"input.labels={given.labels}: input.path={folder} has labels of its own; leave input.labels out")
    parts = [read_published(given.name, folder, part) for part in ("train", "test")]
    (x, y), (test_x, test_y) = ((_scaled(part.x, given), part.y) for part in parts)
    if x.shape[1:] != test_x.shape[1:]:
        raise DataError(f"{folder}: has instances of shape {x.shape[1:]} to train, but {test_x.shape[1:]} for the test")
    return Dataset(f"{folder}, its own test set", x, y, test_x, test_y)


def _scaled(values: NDArray[Any], given: InputConfig) -> NDArray[np.float32]:
    """Return instances as a network takes them; integers that are no bits need a scale."""
    if values.dtype.kind in "iu" and values.max() > 1 and given.scale is None:
        raise ConfigError(f"input.path={given.path}: holds integers up to {values.max()}; say their scale: input.scale=255")
    return _preprocessed(values, given)


def _given(config: Config) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the instances of a user's file, and their labels."""
    from sparsednn.data.labels import read_labels
    from sparsednn.importers.accuracy import checked_labels

    given = config.input
    if given.name not in ("idx", "npy", "npz"):
        kinds = "|".join(("mnist", "digits", "idx", "npy", "npz", *DATASETS))
        raise ConfigError(f"input={given.name}: experiment=trained_networks needs labelled instances: input={kinds}")
    source = open_instances(given.name, Path(given.path or ""))
    labels = source.labels if given.labels is None else read_labels(Path(given.labels))
    if labels is None:
        raise ConfigError(f"input.path={given.path}: has no labels to train with; give them: input.labels=FILE")
    values = source.take(np.arange(source.n))
    x = _scaled(values, given)
    if not np.isfinite(x).all():
        raise DataError(f"{source.source}: has a number that is not finite in float32")
    return x, checked_labels(labels, len(x), int(np.max(labels, initial=0)) + 1)

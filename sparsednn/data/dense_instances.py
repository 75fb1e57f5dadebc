"""Opens files of dense instances, such as images: idx, .npy, .npz, folders, data sets, and what comes with the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.data import labelled
from sparsednn.data.arrays_in_files import array_of_npy, arrays_of_npz, only_array, read_idx
from sparsednn.data.image_folders import ImageFolder
from sparsednn.data.published import read_published
from sparsednn.errors import DataError

X_NAMES, Y_NAMES = ("x", "images", "data", "x_test"), ("y", "labels", "y_test")
"""Names under which an .npz has instances, and their labels."""


@dataclass(frozen=True, slots=True, eq=False)
class DenseInstances:
    """Dense instances of one shape.

    Attributes
    ----------
    source : str
        What messages call them.
    shape : tuple of int
        Of one instance.
    n : int
        How many there are.
    take : callable
        Returns those of some numbers (int64, from 0) as an array of booleans, integers or floats, shape (len(numbers), *shape).
    labels : array of shape (n,), or None
        The class of each as the file has it, where it has that: not checked yet.
    class_names : tuple of str
        Names of the classes that labels count, if the file has names.
    channels_last : bool
        Whether the file's format says that the last of three axes are an image's channels.
    """

    source: str
    shape: tuple[int, ...]
    n: int
    take: Callable[[NDArray[np.int64]], NDArray[Any]]
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    channels_last: bool = False


def open_instances(kind: str, path: Path | None) -> DenseInstances:
    """Open instances of a kind: "idx", "npy", "npz", "images_folder", "cifar10", "imdb" with a path, "mnist", "digits" without.

    Of data sets that are published in two parts, CIFAR-10, IMDB's reviews, and folders of idx files, these are the test part's.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If the file is missing, damaged, or holds something else; in one line that begins with the path.
    ImportError
        If images are to be decoded and Pillow is not installed.
    """
    if path is None:
        images, labels = labelled.mnist_test() if kind == "mnist" else labelled.digits_test()
        return _of_array(kind, images, labels)
    if is_published(kind, path):
        return _of_array(str(path), *read_published(kind, path, "test"))
    match kind:
        case "idx":
            return _of_array(str(path), read_idx(path))
        case "npy":
            return _of_array(str(path), array_of_npy(path))
        case "npz":
            arrays = arrays_of_npz(path)
            return _of_array(str(path), *only_array(path, arrays, X_NAMES, Y_NAMES))
    folder = ImageFolder(path)
    return DenseInstances(
        str(path), folder.shape, len(folder.paths), folder.take, folder.labels, folder.class_names, channels_last=True
    )  # fmt: skip


def is_published(kind: str, path: Path) -> bool:
    """Whether instances of a kind at a path are a data set in a training and a test part: see `read_published`."""
    return kind in ("cifar10", "imdb") or (kind == "idx" and path.is_dir())


def _of_array(source: str, array: NDArray[Any], labels: NDArray[Any] | None = None) -> DenseInstances:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{source}: holds {array.dtype}; numbers are needed")
    if array.ndim < 2 or not array.size:
        raise DataError(f"{source}: has shape {array.shape}; (instances, ...) is needed, with at least one number for each")
    return DenseInstances(source, array.shape[1:], len(array), array.__getitem__, labels)

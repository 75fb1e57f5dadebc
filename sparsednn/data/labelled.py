"""Loads labelled images and trained networks that come with the package: digits, MNIST, SNICIT's network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.scalars import one_of
from sparsednn.errors import DataError, MissingFileError
from sparsednn.network import Network

DIGITS_NETWORKS = ("mlp_80", "mlp_90", "mlp_95", "cnn_80")
MNIST_TRAINING, MNIST_TEST, MNIST_PIXELS = 60_000, 10_000, 28
SNICIT_LAYERS = 20
_FOLDER = Path(__file__).parent
_AGAIN = "install the package again"


def digits_test() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the 597 handwritten digits that the digits networks were not trained on.

    Returns
    -------
    images : float32, shape (597, 64)
        8 x 8 pixels from 0 to 1.
    labels : int64, shape (597,)

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing from the installation, or damaged.
    """
    arrays = _arrays(_FOLDER / "digits" / "test.npz")
    return arrays["x"].astype(np.float32, copy=False), arrays["y"].astype(np.int64)


def digits_network(name: str) -> Path:
    """Return the path of a network for digits, pruned to that share of zeros: mlp_80, mlp_90, mlp_95 or cnn_80 (ONNX)."""
    return _FOLDER / "digits" / f"{one_of('network', name, DIGITS_NETWORKS)}.onnx"


def mnist_test() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the MNIST test set.

    Returns
    -------
    images : uint8, shape (10000, 28, 28)
    labels : int64, shape (10000,)

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing from the installation, or damaged.
    """
    return _mnist("t10k", MNIST_TEST)


def mnist_training() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the MNIST training set.

    Returns
    -------
    images : uint8, shape (60000, 28, 28)
    labels : int64, shape (60000,)

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing from the installation, or damaged.
    """
    return _mnist("train", MNIST_TRAINING)


def _mnist(part: str, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    folder = _FOLDER / "mnist"
    images = _idx(folder / f"{part}-images-idx3-ubyte.gz", (n, MNIST_PIXELS, MNIST_PIXELS))
    return images, _idx(folder / f"{part}-labels-idx1-ubyte.gz", (n,)).astype(np.int64)


def snicit_network() -> Network:
    """Return SNICIT's network A for MNIST: 784 inputs (pixels / 255), 19 layers of 128 neurons, 10 outputs.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing from the installation, or damaged.

    References
    ----------
    S. Jiang et al., "SNICIT: Accelerating Sparse Neural Network Inference via Compression at Inference Time on GPU", ICPP 2023.
    """
    arrays = _arrays(_FOLDER / "snicit" / "n128_l18.npz")
    weights = [
        sp.csc_array((arrays[f"values{k}"], arrays[f"indices{k}"], arrays[f"indptr{k}"]), shape=tuple(arrays[f"shape{k}"]))
        for k in range(SNICIT_LAYERS)
    ]
    biases = [arrays[f"bias{k}"] for k in range(SNICIT_LAYERS)]
    return Network(weights, bias=biases, activation=["clip(0,1)"] * (SNICIT_LAYERS - 1) + ["identity"])


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file of the package."""
    import zipfile

    _require_there(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); {_AGAIN}") from error


def _idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the bytes of a compressed idx file of the package, which must have a shape."""
    import gzip
    import zlib

    _require_there(path)
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}); {_AGAIN}") from error
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    if not raw.startswith(header) or len(raw) != len(header) + int(np.prod(shape)):
        raise DataError(f"{path}: does not hold bytes of the shape {shape}; {_AGAIN}")
    return np.frombuffer(raw, np.uint8, offset=len(header)).reshape(shape)


def _require_there(path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path}: comes with sparsednn, but is missing; {_AGAIN}")

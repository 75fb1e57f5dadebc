"""Rebuilds the inputs of the Sparse DNN Graph Challenge from the MNIST training images.

The images are laid side by side, resampled by zero-padding their Fourier transform, and thresholded at half of the data
set's maximum. Nonzero counts are exact at all four widths, and the instances of 1024 neurons equal the published ones.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import csr_of
from sparsednn.arguments.scalars import whole_number, whole_numbers
from sparsednn.errors import DataError, MissingFileError, OptionTypeError
from sparsednn.system.cache import cache_folder, read_cached, write_cached
from sparsednn.system.memory import require

N_INSTANCES = 60_000
PIXELS = 28
THRESHOLDS = {
    1024: 184.66024257277448,
    4096: 188.73388796179103,
    16384: 191.02379931534077,
    65536: 192.5622307886579,
}
"""Half of the maximum over the whole data set; checked against the maximum found while building."""

NONZEROS = {1024: 6_374_505, 4096: 25_019_051, 16384: 98_858_913, 65536: 392_191_985}
"""Published nonzero counts of all 60,000 instances."""

THRESHOLD_TOLERANCE = 1e-9
BUILD_THREADS = 2
CHUNK = 2_000
_MNIST = Path(__file__).parent / "mnist" / "train-images-idx3-ubyte.gz"
_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def challenge_inputs(
    neurons: int, instances: int = N_INSTANCES, *, ids: NDArray[np.int64] | None = None, progress: Progress | None = None
) -> sp.csr_array:  # fmt: skip
    """Return the first `instances` inputs of the challenge.

    Built on first use (1024 neurons: seconds; 65536: minutes) and cached in the user's cache folder.

    Parameters
    ----------
    neurons : {1024, 4096, 16384, 65536}
    instances : int
        From 1 to 60,000.
    ids : int64 array, optional
        Only these of the first `instances`, 0-based and ascending.
    progress : callable, optional
        Called with (rows of pixels built, rows of pixels in all) while building.

    Returns
    -------
    csr_array of float32, shape (instances or len(ids), neurons)
        Entries 0 or 1. Pixel (row, column) of an image is feature ``column * sqrt(neurons) + row``.

    Raises
    ------
    ValueError
        For a width that the challenge does not have, or instances outside 1..60000.
    FileNotFoundError
        If the images that come with the package are missing.
    MemoryError
        If there is too little memory.
    """
    neurons, instances = whole_number("neurons", neurons), whole_number("instances", instances)
    if progress is not None and not callable(progress):
        raise OptionTypeError(f"progress={progress!r}: a function of two numbers is needed")
    if neurons not in NONZEROS:
        raise DataError(
            f"neurons={neurons}: challenge inputs exist for {', '.join(map(str, NONZEROS))} neurons; "
            "for another size use input=files, or pass your own matrix to sparsednn.infer"
        )
    if not 1 <= instances <= N_INSTANCES:
        raise DataError(f"instances={instances}: the challenge has 1 to {N_INSTANCES} instances")
    bits = _cached(neurons)
    if bits is None:
        bits = _build(neurons, progress)
        _store(neurons, bits)
    return _to_csr(bits[:instances] if ids is None else bits[:instances][whole_numbers("ids", ids)], neurons)


def cache_path(neurons: int) -> Path:
    """Return where the inputs of a width are cached: one bit a pixel, in a zip file that has a checksum."""
    return cache_folder() / f"challenge-inputs-{neurons}.npz"


def _cached(neurons: int) -> NDArray[np.uint8] | None:
    """Return the cached bits if they are there and right."""
    path = cache_path(neurons)
    bits = read_cached(path, "bits", "building it anew")
    if bits is None:
        return None
    if bits.dtype != np.uint8 or bits.shape != (N_INSTANCES, neurons // 8):
        _LOG.warning("%s: has %s of shape %s, which is not right; building it anew", path, bits.dtype, bits.shape)
        return None
    if (count := _count(bits)) != NONZEROS[neurons]:
        _LOG.warning("%s: has %d nonzeros in place of %d; building it anew", path, count, NONZEROS[neurons])
        return None
    return bits


def _count(bits: NDArray[np.uint8]) -> int:
    return sum(int(np.bitwise_count(bits[i : i + CHUNK]).sum(dtype=np.int64)) for i in range(0, len(bits), CHUNK))


def _store(neurons: int, bits: NDArray[np.uint8]) -> None:
    def save(path: Path) -> None:
        np.savez(path, bits=bits)

    write_cached(cache_path(neurons), save, "these inputs will be built again next time")


def mnist_images() -> NDArray[np.uint8]:
    """Return the 60,000 MNIST training images that come with the package: uint8, shape (60000, 28, 28).

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing from the installation, or damaged.
    """
    import gzip  # inputs are mostly read from the cache: what only builds them is imported here
    import zlib

    try:
        raw = gzip.decompress(_MNIST.read_bytes())
    except FileNotFoundError:
        raise MissingFileError(
            f"{_MNIST}: the MNIST images that come with sparsednn are missing; install the package again"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{_MNIST}: damaged ({error}); install the package again") from error
    header = np.array([0x803, N_INSTANCES, PIXELS, PIXELS], ">u4").tobytes()
    if raw[:16] != header or len(raw) != 16 + N_INSTANCES * PIXELS**2:
        raise DataError(f"{_MNIST}: is not the file of 60,000 MNIST training images; install the package again")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(N_INSTANCES, PIXELS, PIXELS)


def _build(neurons: int, progress: Progress | None) -> NDArray[np.uint8]:
    """Return one bit a feature, shape (60000, neurons / 8), least significant bit first."""
    side = math.isqrt(neurons)
    length = N_INSTANCES * side
    spectra_bytes = PIXELS * N_INSTANCES * PIXELS * 16
    require(
        spectra_bytes + (BUILD_THREADS + 1) * length * 40 + N_INSTANCES * neurons // 8,
        f"building the inputs of {neurons} neurons",
        "free some memory, or copy the cache folder of a larger machine",
    )
    rows = np.empty((side, length // 8), np.uint8)  # one bit a pixel, a row of pixels of all images after the other
    maximum = 0.0
    for done, (row, bits, largest) in enumerate(_resampled_rows(side, THRESHOLDS[neurons]), start=1):
        rows[row] = bits
        maximum = max(maximum, largest)
        if progress is not None:
            progress(done, side)
    if not math.isclose(maximum / 2, THRESHOLDS[neurons], rel_tol=THRESHOLD_TOLERANCE):
        raise RuntimeError(
            f"building the inputs of {neurons} neurons: half of the maximum is {maximum / 2!r} in place of "
            f"{THRESHOLDS[neurons]!r}; the Fourier transform of this scipy is not as exact as it has to be"
        )
    bits = _by_instance(rows, side)
    if (count := _count(bits)) != NONZEROS[neurons]:
        raise RuntimeError(f"building the inputs of {neurons} neurons: {count} nonzeros in place of {NONZEROS[neurons]}")
    return bits


def _resampled_rows(side: int, threshold: float) -> Iterator[tuple[int, NDArray[np.uint8], float]]:
    """Yield (row, its thresholded pixels as bits, its maximum) for each row of pixels of the resampled images.

    Zero-padding the transform along the images' rows is a fixed `side` x 28 matrix; along the columns, where all images
    lie side by side, it is one long transform a row.
    """
    from concurrent.futures import ThreadPoolExecutor

    laid_out = mnist_images().transpose(1, 0, 2).reshape(PIXELS, -1).astype(np.float64)
    spectra = np.empty(laid_out.shape, np.complex128)
    for row in range(PIXELS):
        spectra[row] = scipy.fft.fft(laid_out[row])
    del laid_out
    weights = _row_weights(side)
    n_columns = spectra.shape[1]
    half = n_columns // 2

    def resample(row: int) -> tuple[int, NDArray[np.uint8], float]:
        spectrum = weights[row] @ spectra
        padded = np.zeros(N_INSTANCES * side, np.complex128)
        padded[:half], padded[-half:] = spectrum[:half], spectrum[half:]
        del spectrum
        padded *= N_INSTANCES * side / n_columns
        pixels = np.abs(scipy.fft.ifft(padded, overwrite_x=True))
        return row, np.packbits(pixels > threshold, bitorder="little"), float(pixels.max())

    with ThreadPoolExecutor(BUILD_THREADS) as pool:
        for first in range(0, side, BUILD_THREADS):  # no more rows at once than there is memory for
            yield from pool.map(resample, range(first, min(first + BUILD_THREADS, side)))


def _row_weights(side: int) -> NDArray[np.complex128]:
    """The matrix (side, 28) that resamples 28 values: frequencies -14..13, the Nyquist bin not split."""
    forward = np.fft.fft(np.eye(PIXELS), axis=0)
    padded = np.zeros((side, PIXELS), np.complex128)
    padded[: PIXELS // 2], padded[-(PIXELS // 2) :] = forward[: PIXELS // 2], forward[PIXELS // 2 :]
    return np.asarray(np.fft.ifft(padded, axis=0) * (side / PIXELS))


def _by_instance(rows: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Bring bits [pixel row][instance, pixel column] into [instance][pixel column, pixel row]."""
    bits = np.empty((N_INSTANCES, side * side // 8), np.uint8)
    chunk = max(CHUNK * 1024 // side**2, 8) // 8 * 8
    for first in range(0, N_INSTANCES, chunk):
        last = min(first + chunk, N_INSTANCES)
        packed = rows[:, first * side // 8 : last * side // 8]
        pixels = np.unpackbits(packed, axis=1, bitorder="little").reshape(side, last - first, side)
        features = np.ascontiguousarray(pixels.transpose(1, 2, 0)).reshape(last - first, -1)
        bits[first:last] = np.packbits(features, axis=1, bitorder="little")
    return bits


def _to_csr(bits: NDArray[np.uint8], neurons: int) -> sp.csr_array:
    counts = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # scipy wants both index arrays alike
    nnz = int(indptr[-1])
    require(8 * nnz, f"{len(bits)} instances of {neurons} neurons", "use fewer instances")
    indices = np.empty(nnz, np.int32)
    chunk = max(CHUNK * 1024 // neurons, 1)
    for first in range(0, len(bits), chunk):
        last = min(first + chunk, len(bits))
        at = np.flatnonzero(np.unpackbits(bits[first:last], axis=1, bitorder="little"))
        indices[indptr[first] : indptr[last]] = at & (neurons - 1)
    return csr_of(indptr, indices, np.ones(nnz, np.float32), neurons)

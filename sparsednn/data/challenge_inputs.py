"""Rebuilds the inputs of the Sparse DNN Graph Challenge from the MNIST training images.

The images are laid side by side, resampled by zero-padding their Fourier transform, and thresholded at half of the data
set's maximum. Nonzero counts are exact at all four widths, and the instances of 1024 neurons equal the published ones.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.scalars import whole_number, whole_numbers
from sparsednn.data.cached_rows import map_rows, write_rows
from sparsednn.data.compact_rows import CompactRows
from sparsednn.errors import DataError, MissingFileError, OptionTypeError
from sparsednn.system.cache import cache_folder
from sparsednn.system.memory import require
from sparsednn.system.parallel import in_threads

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
UNPACKED_BITS = 2**16
"""Bits that a thread unpacks at a time: memory of that size is used again, while larger pieces are had from the system anew."""

_MNIST = Path(__file__).parent / "mnist" / "train-images-idx3-ubyte.gz"
_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def challenge_inputs(
    neurons: int, instances: int = N_INSTANCES, *, ids: NDArray[np.int64] | None = None, progress: Progress | None = None
) -> sp.csr_array:  # fmt: skip
    """Return the first `instances` inputs of the challenge.

    Built on first use (1024 neurons: a second; 65536: half a minute) and cached in the user's cache folder.

    Parameters
    ----------
    neurons : {1024, 4096, 16384, 65536}
    instances : int
        From 1 to 60,000.
    ids : int64 array, optional
        Only these of the first `instances`, 0-based and ascending.
    progress : callable, optional
        Called with (steps done, steps in all) while building.

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
    return compact_challenge_inputs(neurons, instances, ids=ids, progress=progress).to_csr()


def compact_challenge_inputs(
    neurons: int, instances: int = N_INSTANCES, *, ids: NDArray[np.int64] | None = None, progress: Progress | None = None
) -> CompactRows:  # fmt: skip
    """Return what `challenge_inputs` does, in a quarter of the bytes, mapped from the cache."""
    neurons, instances = whole_number("neurons", neurons), whole_number("instances", instances)
    if progress is not None and not callable(progress):
        raise OptionTypeError(f"progress={progress!r}: a function of two numbers is needed")
    if neurons not in NONZEROS:
        raise DataError(
            f"neurons={neurons}: challenge inputs exist for {', '.join(map(str, NONZEROS))} neurons; "
            "for another size pass your own matrix to sparsednn.infer (run.py: input=files)"
        )
    if not 1 <= instances <= N_INSTANCES:
        raise DataError(f"instances={instances}: the challenge has 1 to {N_INSTANCES} instances")
    wanted = np.arange(instances) if ids is None else np.arange(instances)[whole_numbers("ids", ids)]
    rows = _cached(neurons, wanted)
    if rows is None:
        rows = _build(neurons, progress)
        write_rows(cache_path(neurons), rows, "these inputs will be built again next time")
    return rows.taken(wanted)


def cache_path(neurons: int) -> Path:
    """Return where the inputs of a width are cached; see `sparsednn.data.cached_rows`."""
    return cache_folder() / f"challenge-inputs-{neurons}.rows"


def _cached(neurons: int, ids: NDArray[np.int64]) -> CompactRows | None:
    """Return all cached rows if they are there and `ids` among them are right."""
    path, otherwise = cache_path(neurons), "building it anew"
    rows = map_rows(path, (N_INSTANCES, neurons), 1.0, ids, otherwise)
    if rows is not None and rows.nnz != NONZEROS[neurons]:
        _LOG.warning("%s: has %d nonzeros in place of %d; %s", path, rows.nnz, NONZEROS[neurons], otherwise)
        return None
    return rows


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


def _build(neurons: int, progress: Progress | None) -> CompactRows:
    """Build all instances of a width."""
    from sparsednn.data.resampling import resampled

    images, threshold = mnist_images(), THRESHOLDS[neurons]
    bits, maximum = resampled(images, math.isqrt(neurons), threshold, progress)
    if not math.isclose(maximum / 2, threshold, rel_tol=THRESHOLD_TOLERANCE):
        raise RuntimeError(
            f"building the inputs of {neurons} neurons: half of the maximum is {maximum / 2!r} in place of "
            f"{threshold!r}; the Fourier transform of this scipy is not as exact as it has to be"
        )
    rows = rows_of_bits(bits)
    if rows.nnz != NONZEROS[neurons]:
        raise RuntimeError(f"building the inputs of {neurons} neurons: {rows.nnz} nonzeros in place of {NONZEROS[neurons]}")
    return rows


def rows_of_bits(bits: NDArray[np.uint8]) -> CompactRows:
    """Return the rows that have an entry of value 1 for each bit that is set.

    bits : uint8, shape (n, n_inputs / 8), least significant bit first; `n_inputs` is a power of two from 64 on.
    """
    n_inputs = 8 * bits.shape[1]
    counts = np.bitwise_count(bits.view(np.uint64)).sum(axis=1, dtype=np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    require(2 * int(indptr[-1]), f"{len(bits)} instances of {n_inputs} neurons", "use fewer instances")
    indices = np.empty(indptr[-1], np.uint16)
    n_rows = max(UNPACKED_BITS // n_inputs, 1)

    def fill(part: range) -> None:
        for first in part:
            last = min(first + n_rows, len(bits))
            at = np.flatnonzero(np.unpackbits(bits[first:last], axis=1, bitorder="little"))
            np.bitwise_and(at, n_inputs - 1, out=indices[indptr[first] : indptr[last]], casting="unsafe")

    starts = range(0, len(bits), n_rows)
    list(in_threads(fill, [starts[at : at + 64] for at in range(0, len(starts), 64)]))
    return CompactRows(indptr, indices, n_inputs)

"""Resamples the MNIST training images to the pixels of the Graph Challenge's inputs.

All images lie side by side, and both axes are resampled by zero-padding their Fourier transform. A pixel is 1 where its
amplitude exceeds a threshold; amplitudes come within 5e-7 of it, so everything is float64.

Along the columns, zero-padding the transform of n values to n * side / 28 is done by *phases*: with p = side / 4, sample
``p * s + r`` of phase r is the inverse transform of length 240,000 of the spectrum times ``exp(2 pi i k r / length)``, in which
frequencies that are a multiple of 240,000 apart have been added up. Both transforms fit into a cache, and every phase goes
through all rows of pixels at once: along the rows, resampling is a fixed side x 28 matrix.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sparsednn.system.memory import require
from sparsednn.system.parallel import in_threads

PIXELS = 28
FOLDS = 7
"""Frequencies of the spectrum that are one in a phase: 28 / 4, since 4 is the common divisor of 28 and `side`."""

BLOCK_BYTES = 2**18
"""Amplitudes that are computed and compared at a time; two such blocks stay in a second-level cache."""

FINE = 1000
"""Frequencies that have one factor together, beside one that depends on their place among them."""

MOST_THREADS = 16
THREAD_BYTES = 2**28

Float64 = NDArray[np.float64]
Complex = NDArray[np.complex128]
Progress = Callable[[int, int], None]


def resampled(
    images: NDArray[np.uint8], side: int, threshold: float, progress: Progress | None
) -> tuple[NDArray[np.uint8], float]:
    """Resample images to ``side * side`` pixels, and compare them with a threshold.

    Parameters
    ----------
    images : uint8 array, shape (n, 28, 28)
        n is a multiple of 500.
    side : {32, 64, 128, 256}
    threshold : float
    progress : callable, optional
        Called with (phases done, phases in all).

    Returns
    -------
    bits : uint8 array, shape (n, side * side / 8)
        Set where a pixel is above the threshold, least significant bit first; pixel (row, column) is bit
        ``column * side + row``.
    maximum : float
        Of all amplitudes.

    Raises
    ------
    MemoryError
        If there is too little memory.
    """
    n_phases, n_bytes = side // 4, len(images) * (side * side // 8 + PIXELS * PIXELS * 8)
    require(
        n_bytes + min(MOST_THREADS, n_phases) * THREAD_BYTES,
        f"building the inputs of {side * side} neurons",
        "free some memory, or copy the cache folder of a larger machine",
    )
    bits = np.empty((len(images), 4, n_phases, side // 8), np.uint8)
    columns = _Columns(images, n_phases)
    rows = _Rows(columns, side, threshold)
    largest = 0.0

    def run(phase: int) -> float:
        return rows.compare(phase, bits)

    with threadpool_limits(1, "blas"):  # each thread multiplies small matrices of its own
        for done, maximum in enumerate(in_threads(run, range(n_phases), MOST_THREADS), start=1):
            largest = max(largest, maximum)
            if progress is not None:
                progress(done, n_phases)
    return bits.reshape(len(images), -1), largest


class _Columns:
    """Resamples all images, side by side, along their columns.

    Two rows of pixels are the real and the imaginary part of one transform. Its Nyquist frequency, which is not split in two
    and so would not stay apart, is kept beside it.

    Attributes
    ----------
    spectra : complex128 array, shape (14, n)
        Of n columns, without the Nyquist frequency.
    nyquist : float64 array, shape (28,)
        Its amplitude in each row of pixels.
    n_samples : int
        Of one phase.
    """

    def __init__(self, images: NDArray[np.uint8], n_phases: int) -> None:
        n = len(images) * PIXELS
        self.n_phases, self.n_samples = n_phases, n // FOLDS
        self.spectra = np.empty((PIXELS // 2, n), np.complex128)
        nyquist = np.empty((PIXELS // 2, 2))

        def transform(pair: int) -> None:
            laid_out = images[:, 2 * pair].reshape(-1) + 1j * images[:, 2 * pair + 1].reshape(-1)
            spectrum = self.spectra[pair]
            spectrum[:] = scipy.fft.fft(laid_out, overwrite_x=True)
            nyquist[pair] = spectrum[n // 2].real / n, spectrum[n // 2].imag / n
            spectrum[n // 2] = 0

        list(in_threads(transform, range(PIXELS // 2), MOST_THREADS))
        self.nyquist = nyquist.reshape(-1)

        self._own = threading.local()

    def phase(self, number: int) -> Float64:
        """Return the samples of a phase, shape (n_samples, 29): 28 rows of pixels, and the Nyquist frequency's sign.

        They are the thread's own until it asks for another phase: memory that is used again need not be had from the system.
        """
        n, length = self.spectra.shape[1], self.n_samples * self.n_phases
        frequencies = np.arange(0, n, FINE)  # each stands for the FINE ones from it on, the negative ones last
        frequencies[len(frequencies) // 2 :] -= n
        coarse = _unit(frequencies * number, length).reshape(FOLDS, -1)
        fine = _unit(np.arange(FINE) * number, length) / FOLDS
        samples: Float64 = self._own.__dict__.setdefault("samples", np.empty((self.n_samples, PIXELS + 1)))
        for pair, spectrum in enumerate(self.spectra):
            folded = np.einsum("kab,ka->ab", spectrum.reshape(*coarse.shape, FINE), coarse) * fine
            both = scipy.fft.ifft(folded.reshape(-1), overwrite_x=True)
            samples[:, 2 * pair], samples[:, 2 * pair + 1] = both.real, both.imag
        samples[::2, PIXELS], samples[1::2, PIXELS] = 1, -1
        return samples


class _Rows:
    """Resamples along the rows, and compares with the threshold, block by block.

    Only the Nyquist frequencies of both axes have an imaginary part, so its matrix has rank 2.
    """

    def __init__(self, columns: _Columns, side: int, threshold: float) -> None:
        self.columns, self.side, self.threshold = columns, side, threshold
        self.weights = row_weights(side)
        self.alternating = (-1.0) ** np.arange(PIXELS)
        self.block_rows = BLOCK_BYTES // (8 * side) // 4 * 4

    def compare(self, phase: int, bits: NDArray[np.uint8]) -> float:
        """Write the bits of a phase, ``bits[image, quarter, phase]``; return the largest amplitude."""
        samples = self.columns.phase(phase)
        nyquist = self.weights @ self.columns.nyquist * _unit(np.array(-PIXELS // 2 * phase), self.side)
        real = np.vstack([self.weights.real.T, nyquist.real])
        imaginary = np.vstack([self.weights[:, 0].imag, nyquist.imag])
        largest = 0.0
        for first in range(0, len(samples), self.block_rows):
            block = samples[first : first + self.block_rows]
            squares = block @ real
            others = np.stack([block[:, :PIXELS] @ self.alternating, block[:, PIXELS]], axis=1) @ imaginary
            squares *= squares
            others *= others
            squares += others
            largest = max(largest, float(squares.max()))
            packed = np.packbits(squares > self.threshold**2, axis=1, bitorder="little")
            bits[first // 4 : (first + len(block)) // 4, :, phase] = packed.reshape(-1, 4, packed.shape[1])
        return math.sqrt(largest)


def row_weights(side: int) -> Complex:
    """Return the matrix (side, 28) that resamples 28 values: frequencies -14..13, the Nyquist bin not split."""
    forward = np.fft.fft(np.eye(PIXELS), axis=0)
    padded = np.zeros((side, PIXELS), np.complex128)
    padded[: PIXELS // 2], padded[-(PIXELS // 2) :] = forward[: PIXELS // 2], forward[PIXELS // 2 :]
    return np.asarray(np.fft.ifft(padded, axis=0) * (side / PIXELS))


def _unit(numerators: NDArray[np.int64], denominator: int) -> Complex:
    """Return ``exp(2 pi i * numerator / denominator)``, the whole turns taken out before anything is rounded."""
    return np.asarray(np.exp(2j * np.pi * (numerators % denominator) / denominator))

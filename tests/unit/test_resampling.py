"""Resampling by phases gives what zero-padding the whole transform gives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from sparsednn.data import challenge_inputs, resampling

N = 500


def amplitudes(images: np.ndarray, side: int) -> np.ndarray:
    """Images side by side, both axes zero-padded in their transform as the definition says; shape (side, n * side)."""
    laid_out = images.transpose(1, 0, 2).reshape(28, -1).astype(np.float64)
    for axis, length in ((1, len(images) * side), (0, side)):
        n = laid_out.shape[axis]
        centred = scipy.fft.fftshift(scipy.fft.fft(laid_out, axis=axis), axes=axis)
        before = length // 2 - n // 2
        padding = [(0, 0), (0, 0)]
        padding[axis] = (before, length - n - before)
        laid_out = scipy.fft.ifft(scipy.fft.ifftshift(np.pad(centred, padding), axes=axis), axis=axis) * length / n
    return np.abs(laid_out)


@pytest.mark.parametrize("side", [32, 64, 128])
def test_pixels_are_those_of_the_whole_transform(side: int) -> None:
    images = challenge_inputs.mnist_images()[:N]
    expected = amplitudes(images, side)
    threshold = expected.max() / 2
    pixels = (expected > threshold).reshape(side, N, side).transpose(1, 2, 0)  # [image][column][row]
    steps: list[tuple[int, int]] = []
    bits, maximum = resampling.resampled(images, side, threshold, lambda *done: steps.append(done))
    assert maximum == pytest.approx(expected.max(), rel=1e-13)
    assert np.array_equal(np.unpackbits(bits, axis=1, bitorder="little").reshape(pixels.shape), pixels)
    assert steps == [(done, side // 4) for done in range(1, side // 4 + 1)]


def test_bits_become_rows_of_the_features_that_are_set(rng: np.random.Generator) -> None:
    pixels = rng.random((300, 4096)) < 0.1
    pixels[7], pixels[8] = False, True
    rows = challenge_inputs.rows_of_bits(np.packbits(pixels, axis=1, bitorder="little"))
    assert np.array_equal(rows.to_csr().toarray(), pixels.astype(np.float32))


@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_resampling_an_axis_is_zero_padding_of_its_transform(side: int, rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, 28).astype(np.float64)
    centred = scipy.fft.fftshift(scipy.fft.fft(values))
    padded = np.pad(centred, (side - 28) // 2)
    expected = scipy.fft.ifft(scipy.fft.ifftshift(padded)) * side / 28
    assert np.allclose(resampling.row_weights(side) @ values, expected, rtol=0, atol=1e-10)

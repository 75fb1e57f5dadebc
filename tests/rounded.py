"""Rounds weights to 16 bits in plain Python, which shares nothing with the package or with NumPy's half precision."""

from __future__ import annotations

import math
import struct

import numpy as np


def bfloat16(value: float) -> float:
    """Return the nearest number with 8 bits of precision and float32's exponents; of two, the one whose last bit is 0."""
    if value == 0:
        return value
    ulp = 2.0 ** (max(math.frexp(value)[1], -125) - 8)
    return round(value / ulp) * ulp  # Python's round takes halves to even; both operations are exact in double precision


def float16(value: float) -> float:
    """Return the nearest number of binary16, as the struct module packs it."""
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


ROUND = {"bfloat16": bfloat16, "float16": float16}


def rounded(matrix: np.ndarray, weights: str) -> np.ndarray:
    """Return a float32 matrix with every entry rounded."""
    flat = [ROUND[weights](float(value)) for value in np.asarray(matrix, np.float32).reshape(-1)]
    return np.array(flat, np.float32).reshape(matrix.shape)

"""Constants of layers in slices that are compiled into kernels (see `backends.numba_cpu.layout.slices`)."""

from __future__ import annotations

COLUMNS = 16
"""Columns of a slice."""

N_INPUTS, N_OUTPUTS, FIRST_SLICE, N_SLICES, ACTIVATIONS_AT, TABLE_WIDTH = range(6)
"""Entries of a row of `Slices.table`."""

"""Names the constants of layers in slices, which are compiled into kernels (see `backends.numba_cpu.layout.slices`)."""

from __future__ import annotations

COLUMNS = 16
"""Columns of a slice."""

N_INPUTS, N_OUTPUTS, FIRST_SLICE, N_SLICES, ACTIVATIONS_AT, FIRST_ENTRY, N_TERMS, N_ZEROS, TABLE_WIDTH = range(9)
"""Entries of a row of `Slices.table`."""

ENTRIES_AT, TERMS, SHIFT, SAME_TERMS, PART_WIDTH = range(5)
"""Entries of a row of `Slices.parts`."""

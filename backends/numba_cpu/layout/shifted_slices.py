"""Packs layers of shifted templates into slices: one of 16 columns is stored once, and computed at many offsets.

A slice of a convolution has the columns of 16 channels at one place of the image; the same entries serve all places, since the
kernel adds the place's shift to the address of the activations. Where channels are fewer, or no multiple of 16, a slice has
several places. Templates go together that are at the same places, counted from the first of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.common.positions import entries_at
from backends.numba_cpu.layout.kernels.slices import COLUMNS
from sparsednn.network import ShiftedLayer

Int64 = NDArray[np.int64]
NONE = -1
"""In the place of an output: the column is empty."""


class SharedSlices(NamedTuple):
    """Slices of some templates at all their places.

    lengths : int64 (n_patterns, n_slices)       terms of each slice that is stored
    pattern : int64 (n_places,)                  which of them a place has, several places at a time
    shift : int64 (n_places,)                    of a place against the first one with its pattern
    outputs : int32 (n_slices, n_places, 16)     output neuron of each column, or NONE
    columns : int64 (n_patterns, n_slices * 16)  template of each column that is stored, or NONE
    bases : int64 (n_patterns, n_slices * 16)    input that its template begins at
    """

    lengths: Int64
    pattern: Int64
    shift: Int64
    outputs: NDArray[np.int32]
    columns: Int64
    bases: Int64

    @property
    def n_entries(self) -> int:
        """Entries that are stored, with padding."""
        return COLUMNS * int(self.lengths.sum())


def shared_slices(layer: ShiftedLayer) -> Iterator[SharedSlices]:
    """Sort the columns of a layer into slices that repeat."""
    order = np.lexsort([layer.offset, layer.template])
    n_templates = len(layer.starts) - 1
    ends = np.searchsorted(layer.template[order], np.arange(n_templates + 1))
    groups: dict[bytes, list[int]] = {}
    offsets = layer.offset[order].astype(np.int64)
    for template in range(n_templates):
        its = offsets[ends[template] : ends[template + 1]]
        if len(its):
            groups.setdefault((its - its[0]).tobytes(), []).append(template)
    degrees = np.diff(layer.starts)
    for templates in groups.values():
        by_degree = np.array(sorted(templates, key=lambda template: (-degrees[template], template)))
        columns = np.stack([np.arange(ends[template], ends[template + 1]) for template in by_degree])
        yield _group(by_degree, degrees, offsets[columns], order[columns])


def _group(templates: Int64, degrees: Int64, offsets: Int64, outputs: Int64) -> SharedSlices:
    """Sort templates that are at the same places; offsets, outputs : int64 (n_templates, n_places)."""
    n, n_single = offsets.shape
    at_once = COLUMNS // math.gcd(n, COLUMNS)  # places, so that columns fill slices
    n_places, n_slices = -(-n_single // at_once), -(-n * at_once // COLUMNS)
    n_columns = n_slices * COLUMNS
    place = np.full(n_places * at_once, NONE, np.int64)
    place[:n_single] = offsets[0] - offsets[0, 0]
    place = place.reshape(n_places, at_once)
    relative = np.where(place >= 0, place - place[:, :1], NONE)
    patterns, first, pattern = np.unique(relative, axis=0, return_index=True, return_inverse=True)
    columns, bases = np.full((2, len(patterns), n_columns), NONE, np.int64)
    there = np.tile(patterns, (1, n)) >= 0  # template by template, and of each place after place
    columns[:, : n * at_once] = np.where(there, np.repeat(templates, at_once), NONE)
    bases[:, : n * at_once] = np.repeat(offsets[:, 0], at_once) + np.tile(place[first], (1, n))
    each = np.full((n_places, n_columns), NONE, np.int32)
    padded = np.full((n, n_places * at_once), NONE, np.int32)
    padded[:, :n_single] = outputs
    each[:, : n * at_once] = padded.reshape(n, n_places, at_once).transpose(1, 0, 2).reshape(n_places, n * at_once)
    lengths = np.where(columns >= 0, degrees[columns], 0).reshape(len(patterns), n_slices, COLUMNS).max(axis=2)
    pattern = pattern.reshape(-1)
    shift = place[:, 0] - place[first, 0][pattern]
    return SharedSlices(lengths, pattern, shift, each.reshape(n_places, n_slices, COLUMNS).swapaxes(0, 1), columns, bases)


class FilledSlices(NamedTuple):
    """The entries of `SharedSlices`, and where they are used.

    ids : int64 (entries,), weights : float32 (entries,)
    parts : int64 (n, 4)       of each slice at each place, as in `backends.numba_cpu.layout.slices.Slices`
    n_zeros : int              rows of zeros that must follow the inputs, for padding at all shifts
    """

    ids: Int64
    weights: NDArray[np.float32]
    parts: Int64
    n_zeros: int


def filled(layer: ShiftedLayer, group: SharedSlices) -> FilledSlices:
    """Write the entries of slices; padding has the id after the last input, an empty column one that another column has."""
    n_patterns, n_slices = group.lengths.shape
    starts = np.cumsum(group.lengths.reshape(-1)) * COLUMNS - group.lengths.reshape(-1) * COLUMNS
    columns, bases = group.columns.reshape(-1, COLUMNS), group.bases.reshape(-1, COLUMNS)
    used, lengths = columns >= 0, group.lengths.reshape(-1)
    ids, weights = np.full(group.n_entries, layer.n_inputs), np.zeros(group.n_entries, np.float32)
    slices, lane = np.nonzero(used)
    template, base = columns[used], bases[used]
    degree = np.diff(layer.starts)[template]
    entries = entries_at(layer.starts[template], layer.starts[template + 1])
    term = np.arange(len(entries)) - np.repeat(np.cumsum(degree) - degree, degree)
    at = np.repeat(starts[slices] + lane, degree) + term * COLUMNS
    ids[at], weights[at] = layer.relative[entries] + np.repeat(base, degree), layer.weights[entries]
    terms, some = ids.reshape(-1, COLUMNS), np.repeat(used.argmax(axis=1), lengths)
    ids = np.where(np.repeat(used, lengths, axis=0), terms, terms[np.arange(len(terms)), some][:, np.newaxis]).reshape(-1)
    stored = group.pattern * n_slices + np.arange(n_slices)[:, np.newaxis]  # (n_slices, n_places)
    shift = np.broadcast_to(group.shift, stored.shape)
    each = (starts[stored], lengths[stored], shift, same_terms(ids, lengths)[stored])
    parts = np.stack(each, axis=2).reshape(-1, len(each))
    total = np.bincount(slices, degree, minlength=n_patterns * n_slices)
    pads = total < lengths * used.sum(axis=1)
    return FilledSlices(ids, weights, parts, 1 + int(np.where(pads[stored], shift, 0).max(initial=0)))


def same_terms(ids: NDArray[np.unsignedinteger] | Int64, lengths: Int64) -> Int64:
    """Count the terms from the first on in which all columns of a slice have one input: ids (entries,), lengths (n_slices,)."""
    terms, ends = ids.reshape(-1, COLUMNS), np.cumsum(lengths)
    differs = np.append(np.flatnonzero((terms != terms[:, :1]).any(axis=1)), len(terms))
    first = differs[np.searchsorted(differs, ends - lengths)]
    same: Int64 = np.minimum(first, ends) - (ends - lengths)
    return same

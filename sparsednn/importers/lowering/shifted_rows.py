"""Owns matrices whose rows are a few templates at many offsets, as those of convolutions: algebra that never unrolls them.

Row i of such a matrix has the entries of template ``template[i]``, moved by ``offset[i]`` columns. A convolution has a template
for each channel, and for each way in which its windows lie on padding. Sums, products and selections of such matrices are such
matrices again: rows are sorted into classes whose results are the same but for an offset, and one of each class is computed.
Where rows have nothing in common, each has a template of its own; then scipy computes on plain sparse matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

CHUNK_ENTRIES = 2**20
"""Unrolled entries that are looked at together."""

REPEATED = 2
"""A matrix with so many rows for each template has structure; with fewer, scipy is faster."""


@dataclass(frozen=True, slots=True, eq=False)
class ShiftedRows:
    """A matrix of float64, shape (n_rows, n_columns).

    Attributes
    ----------
    n_columns : int
    templates : csr_array of float64
        Canonical; its rows are the templates, its columns are those of the matrix less the offset.
    template, offset : int64 arrays, shape (n_rows,)
    """

    n_columns: int
    templates: Any
    template: Int64
    offset: Int64

    @classmethod
    def part_of_identity(cls, first: int, n: int, n_columns: int) -> ShiftedRows:
        """Return `n` rows of the identity from `first` on."""
        return cls(n_columns, _csr([1.0], [0], [0, 1]), np.zeros(n, np.int64), np.arange(first, first + n))

    @classmethod
    def renumbered(cls, positions: Int64, n_columns: int) -> ShiftedRows:
        """Return rows with a one each at a position; none where that is -1."""
        there = positions >= 0
        return cls(n_columns, _csr([1.0], [0], [0, 1, 1]), np.where(there, 0, 1), np.where(there, positions, 0))

    @classmethod
    def of_csr(cls, matrix: Any) -> ShiftedRows:
        """Return a plain matrix, with a template for each row."""
        n_rows, n_columns = matrix.shape
        matrix = sp.csr_array(matrix)
        matrix.sum_duplicates()
        return cls(n_columns, matrix, np.arange(n_rows), np.zeros(n_rows, np.int64))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.template)

    @property
    def nnz(self) -> int:
        """Number of entries, unrolled."""
        return int(np.diff(self.templates.indptr)[self.template].sum())

    @property
    def is_plain(self) -> bool:
        """Whether rows have little in common."""
        return REPEATED * int(self.templates.shape[0]) > self.n_rows

    @property
    def shift(self) -> int | None:
        """How far it moves a vector, if that is all that it does: a part of the identity."""
        units = np.diff(self.templates.indptr) == 1
        if not len(self.template) or not (units.all() and (self.templates.data == 1).all()):
            return None
        columns = self.templates.indices[self.template] + self.offset
        first = int(columns[0])
        return first if (columns == np.arange(first, first + len(columns))).all() else None

    def csr(self) -> Any:
        """Return it unrolled: csr_array of float64."""
        starts, lengths = self.templates.indptr, np.diff(self.templates.indptr)[self.template]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(indptr[-1]) + np.repeat(starts[self.template] - indptr[:-1], lengths)
        columns = self.templates.indices[at] + np.repeat(self.offset, lengths)
        return sp.csr_array((self.templates.data[at], columns, indptr), shape=(self.n_rows, self.n_columns))

    def used(self) -> NDArray[np.bool_]:
        """Return which columns have entries: bool, shape (n_columns,)."""
        marked = np.zeros(self.n_columns, np.bool_)
        if self.is_plain:
            marked[self.csr().indices] = True
        else:
            for rows, columns, _ in self._by_template():
                marked[np.add.outer(self.offset[rows], columns)] = True
        return marked

    def times_vector(self, vector: Float64) -> Float64:
        """Return the product with a vector: float64, shape (n_rows,)."""
        if not vector.any():
            return np.zeros(self.n_rows)
        if self.is_plain:
            product: Float64 = self.csr() @ vector
            return product
        result = np.zeros(self.n_rows)
        for rows, columns, values in self._by_template():
            result[rows] = vector[np.add.outer(self.offset[rows], columns)] @ values
        return result

    def with_data(self, data: NDArray[Any]) -> ShiftedRows:
        """Return it with other numbers, of any type, as entries of the templates."""
        t = self.templates
        return replace(self, templates=sp.csr_array((data, t.indices, t.indptr), shape=t.shape))

    def picked(self, index: Int64) -> ShiftedRows:
        """Return rows: index : int64, shape (n,); a row of -1 is empty."""
        template, offset = self.template[index], self.offset[index]
        if not (index < 0).any():
            return replace(self, template=template, offset=offset)
        t = self.templates
        templates = sp.csr_array((t.data, t.indices, np.append(t.indptr, t.indptr[-1])), shape=(t.shape[0] + 1, t.shape[1]))
        template, offset = np.where(index < 0, t.shape[0], template), np.where(index < 0, 0, offset)
        return ShiftedRows(self.n_columns, templates, template, offset)

    def scaled(self, factors: Float64) -> ShiftedRows:
        """Multiply rows by factors: float64, shape (n_rows,)."""
        each, number = np.unique(factors, return_inverse=True)
        pairs, template = np.unique(self.template * len(each) + number, return_inverse=True)
        templates = self.templates[pairs // len(each)]
        data = templates.data * np.repeat(each[pairs % len(each)], np.diff(templates.indptr))
        return replace(self, templates=templates, template=template).with_data(data)

    def plus(self, other: ShiftedRows, sign: int) -> ShiftedRows:
        """Return ``self + sign * other``, both of one shape."""
        if self.is_plain or other.is_plain:
            return ShiftedRows.of_csr(self.csr() + sign * other.csr())
        none, no_other = self._empty(), other._empty()
        offset = np.where(none, other.offset, self.offset)
        distances, number = np.unique(np.where(none | no_other, 0, other.offset - self.offset), return_inverse=True)
        keys = (self.template * other.templates.shape[0] + other.template) * len(distances) + number
        classes, template = np.unique(keys, return_inverse=True)
        one, two = np.divmod(classes // len(distances), other.templates.shape[0])
        moved = distances[classes % len(distances)]
        pieces = [(self.templates[one], np.zeros(len(one), np.int64), 1), (other.templates[two], moved, sign)]
        return _merged(self.n_columns, pieces, template, offset)

    @classmethod
    def stacked(cls, parts: Sequence[ShiftedRows]) -> ShiftedRows:
        """Return the rows of several matrices, one after the other."""
        if len(parts) == 1:
            return parts[0]
        width = max(part.templates.shape[1] for part in parts)
        each = [_widened(part.templates, width) for part in parts]
        first = np.cumsum([0, *(one.shape[0] for one in each)])
        template = np.concatenate([part.template + at for part, at in zip(parts, first, strict=False)])
        offset = np.concatenate([part.offset for part in parts])
        return cls(parts[0].n_columns, sp.csr_array(sp.vstack(each, format="csr")), template, offset)

    def times(self, other: ShiftedRows) -> ShiftedRows:
        """Return ``self @ other``."""
        shift = other.shift
        if shift is not None:
            return replace(self, n_columns=other.n_columns, offset=self.offset + shift)
        if self.is_plain:
            return ShiftedRows.of_csr(self.csr() @ other.csr())
        template, offset = np.zeros(self.n_rows, np.int64), np.zeros(self.n_rows, np.int64)
        parts, n_classes = [], 0
        for rows, columns, values in self._by_template():
            first, number, moved = _classes(np.add.outer(self.offset[rows], columns), other)
            template[rows], offset[rows] = number + n_classes, moved
            parts.append(_products(self.offset[rows][first], moved[first], columns, values, other))
            n_classes += len(first)
        template[self._empty()] = n_classes
        parts.append(sp.csr_array((1, 1)))
        pieces = [(sp.csr_array(sp.vstack(_alike(parts), format="csr")), np.full(n_classes + 1, -other.n_columns), 1)]
        return _merged(other.n_columns, pieces, template, offset)

    def compact(self) -> ShiftedRows:
        """Drop zeros, begin each template at 0, and keep each template once that a row has."""
        t = self.templates.copy()
        t.eliminate_zeros()
        starts, lengths = t.indptr[:-1].astype(np.int64), np.diff(t.indptr)
        first = np.zeros(t.shape[0], np.int64)
        first[lengths > 0] = t.indices[starts[lengths > 0]]
        relative = t.indices - np.repeat(first, lengths)
        known: dict[bytes, int] = {}
        number, kept = np.zeros(t.shape[0], np.int64), list[int]()
        for one in np.unique(self.template):
            entries = slice(t.indptr[one], t.indptr[one + 1])
            key = relative[entries].tobytes() + t.data[entries].tobytes()
            if key not in known:
                known[key] = len(kept)
                kept.append(int(one))
            number[one] = known[key]
        moved = sp.csr_array((t.data, relative, t.indptr), shape=t.shape)[np.array(kept, np.int64)]
        offset = np.where(lengths[self.template] > 0, self.offset + first[self.template], 0)
        return ShiftedRows(self.n_columns, moved, number[self.template], offset)

    def _empty(self) -> NDArray[np.bool_]:
        """Return which rows have no entries."""
        none: NDArray[np.bool_] = (np.diff(self.templates.indptr) == 0)[self.template]
        return none

    def _by_template(self) -> Any:
        """Yield the rows of each template that has entries, some at a time, with its columns and values."""
        order = np.argsort(self.template, kind="stable")
        ends = np.searchsorted(self.template[order], np.arange(self.templates.shape[0] + 1))
        for number in range(self.templates.shape[0]):
            entries = slice(self.templates.indptr[number], self.templates.indptr[number + 1])
            columns = self.templates.indices[entries].astype(np.int64)
            if not len(columns):
                continue
            step = max(CHUNK_ENTRIES // len(columns), 1)
            for begin in range(ends[number], ends[number + 1], step):
                yield order[begin : min(begin + step, ends[number + 1])], columns, self.templates.data[entries]


def _csr(data: Any, indices: Any, indptr: Any) -> Any:
    """Return a csr_array of templates, as wide as it must be."""
    columns = np.asarray(indices)
    shape = (len(indptr) - 1, int(columns.max(initial=0)) + 1)
    return sp.csr_array((np.asarray(data, np.float64), columns, np.asarray(indptr)), shape=shape)


def _widened(matrix: Any, width: int) -> Any:
    return sp.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))


def _alike(parts: Sequence[Any]) -> list[Any]:
    width = max(part.shape[1] for part in parts)
    return [_widened(part, width) for part in parts]


def _classes(at: Int64, other: ShiftedRows) -> tuple[Int64, Int64, Int64]:
    """Sort rows of a product into classes whose terms are the same rows of `other` but for an offset.

    at : int64 (n, k), the rows of `other` that each row adds up

    Returns
    -------
    first : int64 (n_classes,)     a row of each class
    number : int64 (n,)            the class of each row
    moved : int64 (n,)             the offset of each row
    """
    template, offset = other.template[at], other.offset[at]
    has = np.diff(other.templates.indptr)[template] > 0
    begin = has.argmax(axis=1)
    moved = np.where(has.any(axis=1), offset[np.arange(len(at)), begin], 0)
    pattern = np.concatenate([template, np.where(has, offset - moved[:, np.newaxis], 0)], axis=1)
    mix = np.random.default_rng(0).integers(-(2**62), 2**62, pattern.shape[1])
    with np.errstate(over="ignore"):
        digest = (pattern * mix).sum(axis=1)
    _, first, number = np.unique(digest, return_index=True, return_inverse=True)
    if not (pattern == pattern[first][number]).all():  # two patterns with one digest
        _, first, number = np.unique(pattern, axis=0, return_index=True, return_inverse=True)
    return first, number.reshape(-1), moved


def _products(row_offset: Int64, moved: Int64, columns: Int64, values: Float64, other: ShiftedRows) -> Any:
    """Add up rows of `other` for each class, less its offset; columns may be negative, and are moved by `other.n_columns`."""
    at = np.add.outer(row_offset, columns)
    template = other.template[at].reshape(-1)
    lengths = np.diff(other.templates.indptr)[template]
    ends = np.cumsum(lengths)
    entries = np.arange(ends[-1]) + np.repeat(other.templates.indptr[template] - ends + lengths, lengths)
    shift = (other.offset[at] - moved[:, np.newaxis]).reshape(-1) + other.n_columns
    data = other.templates.data[entries] * np.repeat(np.tile(values, len(at)), lengths)
    found = other.templates.indices[entries] + np.repeat(shift, lengths)
    return _csr(data, found, np.concatenate([[0], ends[len(columns) - 1 :: len(columns)]]))


def _merged(n_columns: int, pieces: Sequence[tuple[Any, Int64, int]], template: Int64, offset: Int64) -> ShiftedRows:
    """Return the sums of templates, each moved and multiplied by a sign; columns begin at 0 again."""
    rows = np.concatenate([np.repeat(np.arange(t.shape[0]), np.diff(t.indptr)) for t, _, _ in pieces])
    columns = np.concatenate([t.indices + np.repeat(moved, np.diff(t.indptr)) for t, moved, _ in pieces])
    data = np.concatenate([sign * t.data for t, _, sign in pieces])
    n = pieces[0][0].shape[0]
    least = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(least, rows, columns)
    least[least == np.iinfo(np.int64).max] = 0
    columns = columns - least[rows]
    merged = sp.csr_array((data, (rows, columns)), shape=(n, int(columns.max(initial=0)) + 1))
    return ShiftedRows(n_columns, merged, template, offset + least[template])

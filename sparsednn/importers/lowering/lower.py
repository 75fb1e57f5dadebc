"""Makes layers of tensors, each of which is an affine function ``M @ state + c`` of the activations of the last layer so far.

Linear operators multiply M and change c, in float64; only an activation makes a layer, in which all is rounded to float32 once.
Neurons of the state before that later operators still need are carried through the layer by rows of their own, whose activation
changes nothing. In a dry run entries are counted, and no matrix is made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsednn.importers.lowering.counts import Counts, StateBlock, added_templates, scaled_templates
from sparsednn.importers.lowering.layers import Affine, carried_rows, joined, keeps_nonnegative, layer_of, picked, stored_once
from sparsednn.importers.lowering.linear_maps import LinearMap
from sparsednn.importers.lowering.shifted_rows import REPEATED, ShiftedRows
from sparsednn.importers.report import LayerReport
from sparsednn.network import Activation, AnyLayer, activation_named

IDENTITY, RELU = activation_named("identity"), activation_named("relu")
Index = Callable[[], NDArray[np.int64]]
"""Makes an index array; it is called only where matrices are made."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A tensor of one instance on its way through the graph; `shape` has an axis for the batch, if the graph has one."""

    serial: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Lowering:
    """The layers so far, and what tensors are of the last one's activations.

    Attributes
    ----------
    layers : list of Layer and ShiftedLayer
        None in a dry run.
    reports : list of LayerReport
    live : sequence of Traced
        Tensors that later nodes need; set before each node.
    node, operator : str
        The node that layers are made for; set likewise.
    largest : int
        What the largest tensor holds: two numbers for each element, or its entries, of each template once.
    """

    def __init__(self, dry: bool) -> None:
        self.layers: list[AnyLayer] = []
        self.reports: list[LayerReport] = []
        self.live: Sequence[Traced] = ()
        self.node = self.operator = ""
        self._dry, self._serials, self._n_state = dry, itertools.count(), 0
        self._block_numbers = itertools.count()
        self.largest = 0
        self._blocks: dict[int, StateBlock] = {}
        self._counts: dict[int, Counts] = {}
        self._affine: dict[int, Affine] = {}
        self._signed = np.zeros(0, np.bool_)

    def input(self, shape: tuple[int, ...]) -> Traced:
        """Begin: the state is the input."""
        self._n_state = math.prod(shape)
        if not self._dry:
            self._signed = np.ones(self._n_state, np.bool_)
        block = next(self._block_numbers)
        self._blocks = {block: StateBlock(self._n_state)}
        affine = None if self._dry else Affine.part_of_state(0, self._n_state, self._n_state)
        return self._new(shape, Counts({block: (self._n_state, 1)}, False), affine)

    def keep(self, tensors: Iterable[Traced]) -> None:
        """Forget all other tensors."""
        serials = {tensor.serial for tensor in tensors}
        self._counts = {serial: counts for serial, counts in self._counts.items() if serial in serials}
        self._affine = {serial: affine for serial, affine in self._affine.items() if serial in serials}

    @property
    def dry(self) -> bool:
        """Whether entries are only counted."""
        return self._dry

    def nonnegative(self, tensor: Traced) -> bool:
        """Return whether no element can be negative."""
        return self._counts[tensor.serial].nonnegative

    def affine(self, tensor: Traced) -> Affine:
        """Return what a tensor is of the state, where matrices are made."""
        return self._affine[tensor.serial]

    def select(
        self, tensor: Traced, shape: tuple[int, ...], index: Index, copies: int = 1, fill: float | None = None
    ) -> Traced:
        """Return elements of a tensor: those of `index`, flat, int64; -1 is `fill`. None is picked more often than `copies`."""
        counts, n = self._counts[tensor.serial], math.prod(shape)
        references = {block: (min(k * copies, n * most), most) for block, (k, most) in counts.references.items()}
        affine = None if self._dry else picked(self._affine[tensor.serial], index(), fill or 0.0)
        positive = counts.nonnegative and (fill or 0.0) >= 0
        return self._new(shape, counts._replace(references=references, nonnegative=positive, whole=False), affine)

    def scale(self, tensor: Traced, factors: ArrayLike) -> Traced:
        """Multiply elements by constants that broadcast to the tensor's shape."""
        counts, k = self._counts[tensor.serial], np.asarray(factors, np.float64)
        affine = None
        if not self._dry:
            matrix, constant = self._affine[tensor.serial]
            each = np.broadcast_to(k, tensor.shape).reshape(-1)
            affine = Affine(matrix.scaled(each), constant * each)
        positive = counts.nonnegative and bool((k >= 0).all())
        scaled = scaled_templates(counts, k, tensor.shape)
        return self._new(tensor.shape, scaled._replace(nonnegative=positive, whole=False), affine)

    def shift(self, tensor: Traced, constants: ArrayLike) -> Traced:
        """Add constants that broadcast to the tensor's shape."""
        counts, c = self._counts[tensor.serial], np.asarray(constants, np.float64)
        affine = None
        if not self._dry:
            matrix, constant = self._affine[tensor.serial]
            affine = Affine(matrix, constant + np.broadcast_to(c, tensor.shape).reshape(-1))
        positive = counts.nonnegative and bool((c >= 0).all())
        return self._new(tensor.shape, counts._replace(nonnegative=positive, whole=False), affine)

    def add(self, one: Traced, other: Traced, sign: int = 1) -> Traced:
        """Return ``one + sign * other``; they have one shape."""
        a, b = self._counts[one.serial], self._counts[other.serial]
        references = dict(a.references)
        for block, (k, most) in b.references.items():
            before = references.get(block, (0, 0))
            references[block] = (before[0] + k, min(before[1] + most, self._blocks[block].size))
        affine = None
        if not self._dry:
            (m, c), (n, d) = self._affine[one.serial], self._affine[other.serial]
            affine = Affine(m.plus(n, sign), c + sign * d)
        positive = a.nonnegative and b.nonnegative and sign > 0
        return self._new(one.shape, Counts(references, positive, False, *added_templates(a, b)), affine)

    def concatenate(self, parts: Sequence[Traced], shape: tuple[int, ...], order: Index) -> Traced:
        """Return the elements of several tensors, one after the other, in the order of an index array."""
        references: dict[int, tuple[int, int]] = {}
        for part in parts:
            for block, (k, most) in self._counts[part.serial].references.items():
                before = references.get(block, (0, 0))
                references[block] = (before[0] + k, max(before[1], most))
        affine = None
        if not self._dry:
            each = [self._affine[part.serial] for part in parts]
            matrix = ShiftedRows.stacked([a.matrix for a in each])
            affine = picked(Affine(matrix, np.concatenate([a.constant for a in each])), order(), 0.0)
        counts = [self._counts[part.serial] for part in parts]
        templates = sum(one.n_templates for one in counts), sum(one.n_stored for one in counts)
        return self._new(shape, Counts(references, all(map(self.nonnegative, parts)), False, *templates), affine)

    def apply(self, tensor: Traced, operator: LinearMap, shape: tuple[int, ...], bias: ArrayLike = 0.0) -> Traced:
        """Return ``operator @ tensor + bias``; `bias` broadcasts to `shape`.

        Two linear operators become one matrix, unless that has more entries than both: then the tensor is made a layer first.
        """
        widest, counts = operator.widest, self._counts[tensor.serial]
        if self._composed(tensor, operator) > operator.entries + counts.entries and counts.row > 1:
            self._make_state(tensor)
        counts, n = self._counts[tensor.serial], operator.n_rows
        references = {
            block: (min(operator.entries * most, n * self._blocks[block].size), min(widest * most, self._blocks[block].size))
            for block, (_, most) in counts.references.items()
        }
        positive = counts.nonnegative and operator.nonnegative and bool((np.asarray(bias) >= 0).all())
        affine = None
        if not self._dry:
            matrix, constant = self._affine[tensor.serial]
            by = operator.rows()
            added = np.broadcast_to(np.asarray(bias, np.float64), shape).reshape(-1)
            affine = Affine(by.times(matrix), by.times_vector(constant) + added)
        templates = operator.n_templates, operator.n_stored * max(counts.row, 1)
        return self._new(shape, Counts(references, positive, False, *templates), affine)

    def activate(
        self, tensors: Sequence[Traced], activations: Activation | Sequence[Activation], carry: Sequence[Traced] = ()
    ) -> list[Traced]:
        """Make a layer whose outputs are tensors after their activations, and what of the state is needed later.

        activations : one for all tensors, or one for each; carry : what is needed beside `live`.
        """
        each = [activations] * len(tensors) if isinstance(activations, Activation) else list(activations)
        needed = [tensor for tensor in [*self.live, *carry] if tensor.serial in self._counts]
        counts = [self._counts[tensor.serial] for tensor in tensors]
        n_outputs, entries = sum(tensor.size for tensor in tensors), sum(one.entries for one in counts)
        n_stored = sum(one.n_stored for one in counts)
        signs = [not keeps_nonnegative(one, self.nonnegative(tensor)) for tensor, one in zip(tensors, each, strict=True)]
        self._blocks = {block: self._blocks[block] for block in self._needed(needed)}
        n_carried = sum(block.size for block in self._blocks.values())
        if self._dry:
            n_state = n_outputs + n_carried
            entries, n_stored = entries + n_carried, n_stored + min(n_carried, 1)
            n_stored = n_stored if stored_once(entries, n_stored) else entries
        else:
            n_carried = self._make_layer(tensors, each, needed, signs)
            n_state, entries, n_stored = self.layers[-1].n_outputs, self.layers[-1].nnz, self.layers[-1].n_stored
        about = (self._n_state, n_state, entries, n_carried, each[0].name)
        self.reports.append(
            LayerReport(
                len(self.reports) + 1, self.node, self.operator, *about, stored=n_stored if n_stored < entries else None
            )
        )
        self._n_state = n_state
        self.keep(needed)
        self._counts = {serial: counts._replace(whole=False) for serial, counts in self._counts.items()}
        whole, made, first = len(tensors) == 1 and n_carried == 0, [], 0
        for tensor, signed in zip(tensors, signs, strict=True):
            block = next(self._block_numbers)
            self._blocks[block] = StateBlock(tensor.size)
            affine = None if self._dry else Affine.part_of_state(first, tensor.size, n_state)
            made.append(self._new(tensor.shape, Counts({block: (tensor.size, 1)}, not signed, whole), affine))
            first += tensor.size
        return made

    def finish(self, tensor: Traced) -> None:
        """Make a tensor the output of the last layer, by a linear layer unless it is that already."""
        if not self._counts[tensor.serial].whole:
            self.live = ()
            self.activate([tensor], IDENTITY)

    def _new(self, shape: tuple[int, ...], counts: Counts, affine: Affine | None) -> Traced:
        tensor = Traced(next(self._serials), shape)
        self._counts[tensor.serial] = counts
        held = counts.n_stored if counts.n_templates * REPEATED <= tensor.size else counts.entries
        self.largest = max(self.largest, 2 * tensor.size, held)
        if affine is not None:
            self._affine[tensor.serial] = affine
        return tensor

    def _composed(self, tensor: Traced, operator: LinearMap) -> int:
        """Return how many entries an operator after a tensor has at most."""
        return sum(
            min(operator.entries * most, operator.n_rows * self._blocks[block].size)
            for block, (_, most) in self._counts[tensor.serial].references.items()
        )

    def _make_state(self, tensor: Traced) -> None:
        """Make a tensor a linear layer of its own; all that it is used for begins there."""
        others = [other for other in self.live if other.serial != tensor.serial]
        self.live, before = others, self.live
        [made] = self.activate([tensor], IDENTITY)
        self.live = before
        self._counts[tensor.serial] = self._counts.pop(made.serial)
        if not self._dry:
            self._affine[tensor.serial] = self._affine.pop(made.serial)

    def _needed(self, tensors: Iterable[Traced]) -> set[int]:
        """Return the blocks of the state that tensors refer to."""
        return {b for t in tensors if t.serial in self._counts for b in self._counts[t.serial].references}

    def _make_layer(
        self, tensors: Sequence[Traced], activations: Sequence[Activation], needed: Sequence[Traced], signs: Sequence[bool]
    ) -> int:
        """Make the layer; return how many neurons it carries."""
        serials = dict.fromkeys(tensor.serial for tensor in needed)
        parts = [self._affine[tensor.serial] for tensor in tensors]
        n_outputs = sum(len(part.constant) for part in parts)
        rows, signed, after = carried_rows([self._affine[serial].matrix for serial in serials], self._signed, n_outputs)
        activation = joined([(one, tensor.size) for one, tensor in zip(activations, tensors, strict=True)], signed)
        self.layers.append(layer_of([*parts, rows], activation, f"node {self.node!r} ({self.operator})"))
        for serial in serials:
            self._affine[serial] = Affine(self._affine[serial].matrix.times(after), self._affine[serial].constant)
        made = [np.full(tensor.size, sign) for tensor, sign in zip(tensors, signs, strict=True)]
        self._signed = np.concatenate([*made, signed])
        return len(rows.constant)

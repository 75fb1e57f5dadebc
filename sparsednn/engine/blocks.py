"""Takes large batches through a compiled network in blocks of instances, whose activations are used and then overwritten."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.batches import dense_batch
from sparsednn.arguments.scalars import whole_number
from sparsednn.errors import OptionError

FLOATS_AT_ONCE = 2**19
"""Numbers of a block, of its inputs or outputs: 2 MB, which stay in a cache that cores share between scaling and the kernel."""

UNIT = 64
"""Instances of a block that each thread has at least: two of the groups that direct calls take together."""

FEW = 16
"""Largest outputs of an instance that are found one after the other; of more, all outputs are sorted."""


def block_rows(widest: int, n_threads: int) -> int:
    """Return how many instances a block has, of a network whose inputs or outputs are so many."""
    unit = UNIT * n_threads
    return max(FLOATS_AT_ONCE // max(widest, 1) // unit, 1) * unit


def largest(activations: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the output with the largest activation, the lowest of equal ones: int64 (n,)."""
    return np.asarray(np.argmax(activations, axis=1), np.int64)


def best(activations: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the `k` outputs with the largest activations, the largest first, of equal ones the lower: int64 (n, k).

    The activations, float32 (n, outputs), are overwritten.
    """
    if k > FEW:
        return np.asarray(np.argsort(-activations, axis=1, kind="stable")[:, :k], np.int64)
    found, instances = np.empty((len(activations), k), np.int64), np.arange(len(activations))
    for number in range(k):
        found[:, number] = largest(activations)
        activations[instances, found[:, number]] = -np.inf
    return found


def checked_count(k: Any, n_outputs: int) -> int:
    """Return how many outputs are asked for, or refuse more than there are."""
    count = whole_number("k", k, 1)
    if count > n_outputs:
        raise OptionError(f"k={count}: there are only {n_outputs} outputs")
    return count


class BlockwiseCalls(ABC):
    """The calls of a compiled network that go block by block."""

    _n_inputs: int
    _n_outputs: int

    @abstractmethod
    def compute(self, batch: NDArray[np.float32], out: NDArray[np.float32], first: int = 0) -> None:
        """Write the activations of checked instances into an array; messages count them from `first` on."""

    @abstractmethod
    def rows_at_once(self, n: int) -> int:
        """Return how many of n instances are to be run at a time by who needs no activations of earlier ones."""

    def in_blocks(
        self, x: Any, prepare: Callable[[Any], NDArray[np.float32]], out: NDArray[np.float32], rows: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the first instance and the activations of each block.

        Parameters
        ----------
        x : array or csr matrix of n instances
        prepare : callable
            Makes float32 (m, inputs) of m instances of `x`.
        out : float32 array, shape (n, outputs) or (rows, outputs)
            Has the activations of all instances in the end, or those of one block after the other.
        rows : int
            Instances of a block.
        """
        n, keeps = x.shape[0], out.shape[0] >= x.shape[0]
        for first in range(0, max(n, 1), rows):
            batch = prepare(x[first : first + rows])
            at = first if keeps else 0
            part = out[at : at + len(batch)]
            self.compute(batch, part, first)
            yield first, part

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the class of each instance, from 0: the output with the largest activation, the lowest of equal ones.

        Activations are there for a block of instances at a time.
        """
        return self._selected(x, largest, ())

    def top(self, x: Any, k: int = 5) -> NDArray[np.int64]:
        """Return the `k` outputs with the largest activations of each instance, the largest first: int64 (instances, k).

        Of equal ones the lower comes first. Activations are there for a block of instances at a time.

        Raises
        ------
        TypeError, ValueError
            As of `run`; or if there are fewer outputs than `k`.
        """
        count = checked_count(k, self._n_outputs)
        return self._selected(x, lambda activations: best(activations, count), (count,))

    def _selected(
        self, x: Any, select: Callable[[NDArray[np.float32]], NDArray[np.int64]], shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Return what is selected of each instance's activations."""
        matrix, single = x, False
        if np.shape(x)[1:] != (self._n_inputs,) or not (type(x) is np.ndarray or sp.issparse(x)):
            matrix, single = dense_batch(x, self._n_inputs)
        elif sp.issparse(x):
            matrix = x.tocsr()
        n = matrix.shape[0]
        rows = self.rows_at_once(n)
        found, out = np.empty((n, *shape), np.int64), np.empty((min(n, rows), self._n_outputs), np.float32)
        for first, activations in self.in_blocks(matrix, self._rows_of, out, rows):
            found[first : first + len(activations)] = select(activations)
        return found[0] if single else found

    def _converted(self, x: NDArray[Any], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run integers, block by block, so that there is no copy of all of them in float32."""
        for _ in self.in_blocks(x, self._rows_of, out, self.rows_at_once(len(x))):
            pass
        return out

    def _rows_of(self, x: Any) -> NDArray[np.float32]:
        return dense_batch(x, self._n_inputs)[0]

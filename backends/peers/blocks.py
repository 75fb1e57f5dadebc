"""Takes blocks of instances through the layers, for backends that call a library layer by layer.

A block is a C-ordered float32 array of shape (neurons + 1, instances); its last row is all ones. At checkpoints dead instances
are dropped, and what is left of blocks waits in a pool until it fills a block again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.backend import GroupResult
from sparsednn.network import AnyLayer

Float32 = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(slots=True)
class Pool:
    """Instances that wait at a checkpoint: their positions in the row group, and their activations."""

    ids: list[Ids] = field(default_factory=list)
    blocks: list[Float32] = field(default_factory=list)
    n_rows: int = 0

    def add(self, ids: Ids, block: Float32) -> None:
        """Add a block, unless it is empty."""
        if len(ids):
            self.ids.append(ids)
            self.blocks.append(block)
            self.n_rows += len(ids)

    def take(self, n: int) -> tuple[Ids, Float32]:
        """Return `n` instances as one block, or all if there are fewer."""
        one = len(self.ids) == 1
        ids = self.ids[0] if one else np.concatenate(self.ids)
        block = self.blocks[0] if one else np.concatenate(self.blocks, axis=1)
        self.ids, self.blocks, self.n_rows = [], [], 0
        if len(ids) <= n:
            return ids, block
        self.add(ids[n:], block[:, n:].copy())
        return ids[:n], block[:, :n].copy()


class BlockGroup:
    """A row group: instances not begun yet, instances in pools, and the results of the others.

    Parameters
    ----------
    inputs : csr_array
    rows : int64 array
        Which rows of `inputs`.
    n_stages, n_outputs : int
        Stages that instances go through, and neurons of the last layer.
    output : bool
        Keep the last activations.
    """

    def __init__(self, inputs: sp.csr_array, rows: Ids, *, n_stages: int, n_outputs: int, output: bool) -> None:
        self.n_rows = len(rows)
        self.n_finished = 0
        self.multiply_adds = 0
        self._inputs, self._rows, self._n_begun = inputs, rows, 0
        self._pools = [Pool() for _ in range(n_stages)]
        self._sums = np.zeros(len(rows))
        self._shape = (len(rows), n_outputs)
        self._finished: list[tuple[Ids, sp.csr_array]] | None = [] if output else None

    def next_stage(self, block_rows: int) -> int | None:
        """Return the stage that is to be run next: the last with a full block, then new instances, then what is left."""
        full = [stage for stage, pool in enumerate(self._pools) if pool.n_rows >= block_rows]
        if full:
            return full[-1]
        if self._n_begun < self.n_rows:
            return 0
        return next((stage for stage, pool in enumerate(self._pools) if pool.n_rows), None)

    def take(self, stage: int, block_rows: int) -> tuple[Ids, Float32]:
        """Return the positions and activations of the next block of a stage."""
        if stage > 0:
            return self._pools[stage].take(block_rows)
        ids = np.arange(self._n_begun, min(self._n_begun + block_rows, self.n_rows))
        self._n_begun += len(ids)
        block = np.empty((self._inputs.shape[1] + 1, len(ids)), np.float32)
        self._inputs[self._rows[ids]].T.toarray(out=block[:-1])
        block[-1] = 1
        return ids, block

    def put(self, stage: int, ids: Ids, block: Float32) -> None:
        """Let a block wait for a stage."""
        self._pools[stage].add(ids, block)

    def finish(self, ids: Ids, block: Float32) -> None:
        """Keep what is asked for of the last activations."""
        self._sums[ids] = block[:-1].sum(axis=0, dtype=np.float64)
        if self._finished is not None:
            self._finished.append((ids, sp.csr_array(block[:-1].T)))

    def result(self) -> GroupResult:
        """Return sums, counts and output; instances that were dropped are all zero."""
        output = None
        if self._finished is not None:
            output = sp.csr_array(self._shape, dtype=np.float32)
        if self._finished:
            found = sp.vstack([part for _, part in self._finished]).tocoo()
            rows = np.concatenate([ids for ids, _ in self._finished])[found.row]
            output = sp.coo_array((found.data, (rows, found.col)), shape=self._shape).tocsr()
        return GroupResult(self._sums, self.multiply_adds, output)


def with_bias(layer: AnyLayer, bias: Float32) -> sp.csr_array:
    """Return the transpose of a layer's weights with its bias as the last column, and a last row without entries.

    float32, shape (n_outputs + 1, n_inputs + 1). A bias of zero is an entry too, so that no library meets a matrix without any.
    """
    layer, n_outputs = layer.expanded(), layer.n_outputs
    indptr = np.empty(n_outputs + 2, np.int64)
    indptr[:-1] = layer.indptr + np.arange(n_outputs + 1)
    indptr[-1] = indptr[-2]
    ends = layer.indptr[1:]
    indices = np.insert(layer.indices, ends, np.int32(layer.n_inputs))
    values = np.insert(layer.values, ends, bias)
    return sp.csr_array((values, indices, indptr), shape=(n_outputs + 1, layer.n_inputs + 1))

"""Splits a network into layer ranges, and rebalances the remaining instances over the processes between two ranges."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from sparsednn.arguments.arrays import csr_of
from sparsednn.comm import Communicator
from sparsednn.execution.row_groups import FinishedGroup
from sparsednn.network import Network
from sparsednn.rows.distribution import Share, initial_rows, redistribute


class LayerRange(NamedTuple):
    """Some of the layers, in a kernel's layout.

    Attributes
    ----------
    n_layers : int
    plan : the backend's own
    zeros_stay : bool
        An instance that is all zero after these layers is so after the last one.
    """

    n_layers: int
    plan: Any
    zeros_stay: bool


def rebalanced(comm: Communicator, share: Share, finished: list[FinishedGroup], *, zeros_stay: bool) -> Share:
    """Give each process equally many of the instances that are left, with the activations that they have now. Collective.

    The ids of what is left are numbered anew inside, and are the old ones again in the result.
    """
    parts = [(group.ids, result.output) for group, result in finished]
    width = parts[0][1].shape[1]  # type: ignore[union-attr]
    ids = np.concatenate([ids for ids, _ in parts])
    rows = sp.csr_array(sp.vstack([output for _, output in parts], format="csr", dtype=np.float32))
    kept = np.flatnonzero(np.diff(rows.indptr) > 0) if zeros_stay else np.arange(len(ids))
    kept = kept[np.argsort(ids[kept])]
    ids, left = ids[kept], sp.csr_array(rows[kept])
    left.sort_indices()
    left = csr_of(left.indptr, left.indices, left.data, width)
    all_ids = np.sort(np.concatenate(comm.all_gather(ids)))
    numbers = np.searchsorted(all_ids, ids).astype(np.int64)
    n = len(all_ids)
    here = Share(left, numbers, np.arange(len(ids), dtype=np.int64), n)
    there = redistribute(comm, here, initial_rows(n, comm.size, hashed=False, buckets=1))
    return Share(there.rows, all_ids[there.ids], there.order, share.n_instances)


def layer_ranges_of(network: Network, rebalance_after: int | None, prepare: Callable[[Network], Any]) -> list[LayerRange]:
    """Prepare the network in one piece, or in two where the rows are balanced in between."""
    n_layers = len(network.layers)
    if rebalance_after is None or rebalance_after >= n_layers:
        return [LayerRange(n_layers, prepare(network), zeros_stay=True)]
    stay = bool(network.zero_rows_stay_zero()[rebalance_after])
    halves = (network.layers[:rebalance_after], network.layers[rebalance_after:])
    return [LayerRange(len(half), prepare(Network.from_layers(half, network.bias_on)), stay) for half in halves]

"""Estimates how many bytes a simulated process moves from memory, with a least-recently-used cache.

Of each layer of each row group, the workers touch the layer's connections, the activations before it and those after it. What
was touched so lately that no more than the last-level cache holds has been touched since is taken from there; all else comes
from memory, whole. Data parallelism has many row groups at different layers, and so many layers in use at a time; model
parallelism has one. What single cores' caches keep, associativity, prefetching and written lines on their way back are left
out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sparsednn.results.spans import Span
from sparsednn.simulator.work import Floats, GroupCosts, GroupWork

NONZERO_BYTES = 8
"""Memory of a nonzero of layers and activations in the published formats: a row id of 4 bytes and a value of 4 bytes."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The bytes that the workers of one process touch, and those of them that come from memory.

    Attributes
    ----------
    process : int
    llc_bytes : float
        Of the last-level cache that they share.
    touched_bytes : int
        By all members of teams: each reads all activations before a layer, and its share of the rest.
    memory_bytes : int
        Of these, what is not in the cache.
    """

    process: int
    llc_bytes: float
    touched_bytes: int
    memory_bytes: int

    @property
    def from_cache(self) -> float:
        """Share of what is touched that the last-level cache has, from 0 to 1."""
        return 1 - self.memory_bytes / self.touched_bytes if self.touched_bytes else 1.0


def estimate(
    process: int, spans: Sequence[Span], works: Sequence[GroupWork], costs: Sequence[GroupCosts], llc_bytes: float
) -> Traffic:
    """Estimate the traffic of one process.

    Parameters
    ----------
    process : int
    spans : sequence of Span
        Of all its workers; those of kind ``data`` and ``team`` say which layers of which row group were run when.
    works, costs : sequences of GroupWork and GroupCosts
        Of its row groups, by their numbers.
    llc_bytes : float
    """
    cache = _Cache(llc_bytes)
    touched = 0
    for group, layer, n_members in _in_order(spans, costs):
        work = works[group]
        before, after = int(work.nnz_in[layer]), int(work.nnz_out[layer])
        if not before and not after:
            continue  # no row is alive, and none is revived
        sizes = [NONZERO_BYTES * count for count in (int(work.connections[layer]), before, after)]
        touched += sizes[0] + n_members * sizes[1] + sizes[2]
        cache.touch(("layer", layer), sizes[0])
        cache.touch((group, layer % 2), sizes[1])  # two buffers that swap their roles at every layer
        cache.touch((group, (layer + 1) % 2), sizes[2])
    return Traffic(process, llc_bytes, touched, cache.missed_bytes)


def _in_order(spans: Sequence[Span], costs: Sequence[GroupCosts]) -> Iterator[tuple[int, int, int]]:
    """Yield (row group, layer, members of its team), by the time at which the layer begins."""
    members: dict[tuple[int, int, int], list[Span]] = {}
    for span in spans:
        if span.kind in ("data", "team") and span.last_layer > span.first_layer:
            members.setdefault((span.row_group, span.first_layer, span.last_layer), []).append(span)
    groups, layers, sizes, starts = [], [], [], []
    for (group, first, last), same in members.items():
        start_s, stop_s = max(span.start_s for span in same), max(span.stop_s for span in same)
        groups.append(np.full(last - first, group))
        layers.append(np.arange(first, last))
        sizes.append(np.full(last - first, len(same)))
        starts.append(start_s + (stop_s - start_s) * _shares_before(costs[group].alone_s[first:last]))
    if not groups:
        return
    group_of, layer_of, size_of = (np.concatenate(parts) for parts in (groups, layers, sizes))
    for at in np.lexsort((group_of, layer_of, np.concatenate(starts))):
        yield int(group_of[at]), int(layer_of[at]), int(size_of[at])


def _shares_before(seconds: Floats) -> Floats:
    """Which share of the time of some layers goes by before each of them."""
    total = float(seconds.sum())
    shares: Floats = (np.cumsum(seconds) - seconds) / total if total > 0 else np.arange(len(seconds)) / len(seconds)
    return shares


class _Cache:
    """A cache of the things touched last, as many as fit; it holds a thing as a whole or not at all."""

    def __init__(self, n_bytes: float) -> None:
        self.missed_bytes = 0
        self._room = n_bytes
        self._held: OrderedDict[object, int] = OrderedDict()

    def touch(self, thing: object, n_bytes: int) -> None:
        """Use a thing, which has `n_bytes` now."""
        held = self._held.pop(thing, 0)
        self._room += held
        self.missed_bytes += max(n_bytes - held, 0)
        self._held[thing] = n_bytes
        self._room -= n_bytes
        while self._room < 0:
            _, freed = self._held.popitem(last=False)
            self._room += freed

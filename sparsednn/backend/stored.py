"""Declares what a backend does whose packed networks can be kept in files."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparsednn.backend.optional import DirectBackend, DirectNetwork
from sparsednn.backend.protocol import KernelOptions


class StoredLayout(NamedTuple):
    """A packed network as what files hold.

    Attributes
    ----------
    arrays : mapping of str to arrays
    starts : mapping of str to int64 arrays, shape (n_layers,)
        Of those flat arrays that have a part for each layer: the entry where it starts; -1: that layer has none.
    values : mapping of str to numbers or texts
        Everything else.
    """

    arrays: Mapping[str, NDArray[Any]]
    starts: Mapping[str, NDArray[np.int64]]
    values: Mapping[str, Any]


@runtime_checkable
class StoringBackend(DirectBackend, Protocol):
    """A backend that can take its packed networks apart into arrays, and put them together again without packing anything."""

    layout_version: int
    """Raised with each change of what is packed, in any layout."""

    layout_options: Collection[str]
    """Fields of `KernelOptions` that decide, beside the network, what is packed in a plan. Processors and threads do not."""

    def store_plan(self, plan: Any) -> StoredLayout:
        """Return what a plan is made of, without a copy. Raises ValueError for one that reads its layers from files."""

    def restore_plan(self, stored: StoredLayout, options: KernelOptions, n_workers: int) -> Any:
        """Return the plan that was made of the same options, with the stored arrays, which nothing is to write to.

        `options` has the kernel's full name.
        """

    def store_direct(self, direct: Any) -> StoredLayout:
        """Return what a network for direct calls is made of, without a copy."""

    def restore_direct(self, stored: StoredLayout, n_threads: int) -> DirectNetwork:
        """Return the network ready for direct calls, with the stored arrays, which nothing is to write to."""

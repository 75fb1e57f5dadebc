"""Multiplies with PyTorch on the CPU: sparse CSR layers times dense blocks.

PyTorch hands the product to the MKL that it brings, and has threaded kernels of its own for the activation.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.peers.base import LayerwisePeer, peer_package
from backends.peers.blocks import Float32
from sparsednn.network import Activation


class TorchBackend(LayerwisePeer):
    """``torch.mm(layer, block)`` on tensors that share the blocks' memory."""

    name = "torch"
    block_rows = 256
    entry_bytes = 8

    def __init__(self) -> None:
        self._torch = peer_package("torch")

    def weights(self, matrix: sp.csr_array) -> Any:
        """Return a sparse CSR tensor with int32 indices, those of MKL."""
        arrays = [self._torch.from_numpy(array) for array in (matrix.indptr.astype(np.int32), matrix.indices, matrix.data)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
            return self._torch.sparse_csr_tensor(*arrays, size=matrix.shape, check_invariants=False)

    def multiply(self, weights: Any, block: Float32, out: Float32) -> tuple[Float32, Float32]:
        """Multiply into `out`."""
        torch = self._torch
        with torch.inference_mode():
            torch.mm(weights, torch.from_numpy(block), out=torch.from_numpy(out))
        return block, out

    def set_threads(self, n_threads: int) -> int:
        """Set the threads of PyTorch's operations."""
        before = int(self._torch.get_num_threads())
        self._torch.set_num_threads(n_threads)
        return before

    def clamp(self, block: Float32, activation: Activation) -> None:
        """Clamp with PyTorch's threads."""
        self._torch.from_numpy(block).clamp_(activation.low, activation.high)

    def alive(self, block: Float32, activation: Activation) -> NDArray[np.bool_]:
        """Look for the largest of each column with PyTorch's threads, where no entry is negative."""
        if activation.low < 0:
            return super().alive(block, activation)
        found: NDArray[np.bool_] = (self._torch.from_numpy(block).amax(0) != 0).numpy()
        return found

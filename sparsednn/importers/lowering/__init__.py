"""Lowers tensors to sparse layers: linear operators multiply matrices, activations make layers. Knows no file format."""

from __future__ import annotations

from sparsednn.importers.lowering.linear_maps import ConvolutionMap, LinearMap, MatrixMap, MeanMap, PoolMap
from sparsednn.importers.lowering.lower import IDENTITY, RELU, Lowering, Traced
from sparsednn.importers.lowering.windows import WindowAxis, window_index

__all__ = [
    "IDENTITY",
    "RELU",
    "ConvolutionMap",
    "LinearMap",
    "Lowering",
    "MatrixMap",
    "MeanMap",
    "PoolMap",
    "Traced",
    "WindowAxis",
    "window_index",
]

"""Runs a graph with onnx's own reference, one instance at a time, to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.importers.onnx_graph.graph import OnnxGraph
from sparsednn.importers.onnx_graph.tensors import one_line


def reference_values(
    source: str | Path | bytes, graph: OnnxGraph, batch: NDArray[np.float32], feed_shape: tuple[int, ...]
) -> dict[str, NDArray[Any]]:
    """Return all tensors of a graph by name, each of shape (n, elements of an instance).

    Parameters
    ----------
    source : as it was read; graph : what `read_graph` has made of it
    batch : float32, shape (n, inputs)
    feed_shape : tuple of int
        Shape in which the graph takes one instance.

    Raises
    ------
    ValueError
        If onnx.reference cannot run it.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    model = onnx.ModelProto.FromString(data)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:  # what was read and checked already
            tensor.CopyFrom(onnx.numpy_helper.from_array(graph.constants[tensor.name], tensor.name))
    wanted = next(value for value in model.graph.input if value.name == graph.input_name).type.tensor_type.elem_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(wanted)

    def run() -> list[dict[str, Any]]:
        evaluator = ReferenceEvaluator(model)
        feeds = [{graph.input_name: one.reshape(feed_shape).astype(dtype)} for one in batch]
        with np.errstate(all="ignore"):
            return [dict(evaluator.run(None, feed, intermediate=True)) for feed in feeds]

    found: list[dict[str, Any]] = one_line(f"{graph.name}: onnx.reference cannot run it, to compare with", run)
    names = {name for node in graph.nodes for name in node.outputs if name} & set(found[0])
    return {name: np.stack([np.asarray(values[name]).reshape(-1) for values in found]) for name in names}

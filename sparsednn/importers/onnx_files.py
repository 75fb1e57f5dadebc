"""Imports ONNX files: a graph becomes plain sparse layers, rounded once, or is refused in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from sparsednn.errors import DataError
from sparsednn.importers.description import Provenance
from sparsednn.importers.model import Model
from sparsednn.importers.onnx_graph.graph import arranged, read_graph, sizes
from sparsednn.importers.onnx_graph.walk import walk
from sparsednn.importers.report import ImportReport
from sparsednn.network import Network
from sparsednn.system.memory import require

WORKING_BYTES = 64
"""Memory of an entry of the layer that is being made: row, column and value in double precision, and a copy in order."""


@overload
def from_onnx(
    path: str | Path | bytes | bytearray, input_shape: Sequence[int] | None = None, *, explain: Literal[False] = False
) -> Model: ...


@overload
def from_onnx(
    path: str | Path | bytes | bytearray, input_shape: Sequence[int] | None = None, *, explain: Literal[True]
) -> ImportReport: ...


def from_onnx(
    path: str | Path | bytes | bytearray, input_shape: Sequence[int] | None = None, *, explain: bool = False
) -> Model | ImportReport:
    """Import a feed-forward network from an ONNX file.

    Every tensor of the graph is an affine function of the activations of the layer before: linear operators are multiplied in
    float64 and rounded to float32 once, activations make layers. Values that skip layers are carried through them. Large
    convolutions are stored once (`sparsednn.network.ShiftedLayer`).

    Parameters
    ----------
    path : path of a file, or its bytes
        Weights in other files are read from the file's own folder only, and not at all with bytes.
    input_shape : sequence of int, optional
        Shape of one instance, where the file does not fix it. The first axis of the file's input is the batch, unless as many
        axes are given here as the file has.
    explain : bool
        Only say what would be made: layers, entries and bytes, at most, and about how many of these are stored where columns
        repeat, as in convolutions; without making any of them.

    Returns
    -------
    Model, or ImportReport

    Raises
    ------
    ImportError
        If the package onnx is not installed (extra ``onnx``).
    FileNotFoundError, OSError
        If there is no such file, or it cannot be read.
    ValueError, TypeError
        If the file is malformed, or an operator cannot be had; the message names the node, the operator, and what would do.
    MemoryError
        If the layers do not fit into memory.
    """
    graph = arranged(read_graph(path))
    planned = walk(graph, input_shape, dry=True)
    if explain:
        return planned.report
    report = planned.report
    largest = max((layer.n_stored for layer in report.layers), default=0)
    once = "" if report.n_stored == report.entries else f", about {report.n_stored:,} of them stored,"
    require(
        report.stored_bytes + WORKING_BYTES * max(largest, planned.lowering.largest),
        f"{graph.name}: lowering it to {len(report.layers)} layers of {report.entries:,} entries{once}",
        "from_onnx(..., explain=True) says which layers are large",
    )
    walked = walk(graph, input_shape, dry=False)
    if not walked.lowering.layers:
        raise DataError(f"{graph.name}: has no layers")
    weights, nonzero = sizes(graph.constants.values())
    source = None if isinstance(path, str | Path) else bytes(path)
    return Model(
        network=Network.from_layers(walked.lowering.layers, bias_on="all"),
        input_shape=walked.input_shape,
        output_shape=walked.output_shape,
        input_name=graph.input_name,
        output_name=graph.output_name,
        postprocess=walked.ending.postprocess,
        provenance=Provenance(None if source else str(path), graph.sha256, weights, nonzero),
        report=walked.report,
        source=source,
    )

"""Imports saved programs of PyTorch: their operators become the nodes of an ONNX graph, and that is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsednn.errors import DataError, SparseDnnError
from sparsednn.importers.model import Model
from sparsednn.importers.onnx_files import from_onnx
from sparsednn.importers.onnx_graph.build import onnx_bytes
from sparsednn.importers.onnx_graph.tensors import shown
from sparsednn.importers.torch_files.archive import ProgramArchive
from sparsednn.importers.torch_files.calls import TorchCall, TorchGraph
from sparsednn.importers.torch_files.operators import OPERATORS

LARGEST_AXIS = 2**31 - 1
ATEN = "torch.ops.aten."
PARAMETERS = {
    "parameter": ("weights", "parameter_name"), "buffer": ("weights", "buffer_name"),
    "tensor_constant": ("constants", "tensor_constant_name"),
}  # fmt: skip
"""Kinds of inputs of a program that are tensors of its file: in which folder, and which entry has the name."""


def from_program(path: Path) -> Model:
    """Import a feed-forward program that ``torch.export.save`` has written, without PyTorch.

    Operators are known by their names, tensors are plain bytes: nothing is unpickled, and no code that a file may hold is run.

    Parameters
    ----------
    path : Path
        Of a .pt2 file, as PyTorch has written it since 2.9.

    Returns
    -------
    Model
        Its `source` is the ONNX graph, so that `Model.check` compares with onnx.reference.

    Raises
    ------
    ImportError
        If onnx is not installed (extra ``onnx``).
    FileNotFoundError, ValueError, MemoryError
        If the file is no such program, is malformed, or an operator cannot be had; the message names the node.
    """
    try:
        archive = ProgramArchive(path)
        graph = TorchGraph(archive.name, _all_sizes(archive.graph))
        shape = _take_inputs(archive, graph)
        for node in archive.graph["nodes"]:
            _add(graph, node)
        output = _output(archive, graph)
    except SparseDnnError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:  # whatever JSON may hold
        reason = str(error).partition("\n")[0][:100]
        raise DataError(f"{path}: its program is damaged: {type(error).__name__}: {reason}") from error
    imported = from_onnx(onnx_bytes(graph.nodes, graph.constants, shape, output))
    return replace(imported, provenance=replace(imported.provenance, file=archive.name))


def _all_sizes(graph: Mapping[str, Any]) -> dict[str, list[int | None]]:
    """Return the sizes of all tensors, None where one is symbolic."""
    return {
        name: [one["as_int"] if type(one.get("as_int")) is int else None for one in meta["sizes"]]
        for name, meta in graph["tensor_values"].items()
    }


def _take_inputs(archive: ProgramArchive, graph: TorchGraph) -> tuple[int, ...]:
    """Make constants of the parameters; return the shape of one instance of the only other input."""
    inputs = []
    for spec in archive.signature["input_specs"]:
        [(kind, about)] = spec.items()
        if kind in PARAMETERS:
            folder, key = PARAMETERS[kind]
            folder = "constants" if about.get("persistent") is False else folder  # buffers that no state has
            name = about["arg"]["name"]
            graph.names[name] = f"{name}:{len(graph.constants)}"
            graph.constants[graph.names[name]] = archive.tensor(folder, about[key])
        elif kind == "user_input" and "as_tensor" in about["arg"]:
            inputs.append(about["arg"]["as_tensor"]["name"])
        else:
            raise DataError(f"{archive.name}: has an input of the kind {shown(kind)}; a program of one tensor is needed")
    if len(inputs) != 1:
        raise DataError(f"{archive.name}: has {len(inputs)} inputs; a program of one is needed")
    sizes = graph.sizes[inputs[0]][1:]
    if not sizes or any(size is None or not 1 <= size <= LARGEST_AXIS for size in sizes):
        raise DataError(
            f"{archive.name}: its input has the sizes {graph.sizes[inputs[0]]} (None: any); all but the first, that of the "
            "batch, must be fixed"
        )
    graph.names[inputs[0]] = "input"
    graph.varying.add("input")
    return tuple(size for size in sizes if size is not None)


def _add(graph: TorchGraph, node: Mapping[str, Any]) -> None:
    """Add what a node becomes; nodes that make no tensor only check sizes."""
    outputs = [one["as_tensor"]["name"] for one in node["outputs"] if "as_tensor" in one]
    outputs += [inner["name"] for one in node["outputs"] for inner in one.get("as_tensors", [])]
    if not outputs:
        return
    target, name = str(node["target"]), str(node.get("name") or outputs[0])
    operator = target.removeprefix(ATEN).partition(".")[0]
    call = TorchCall(graph, name, operator, {one["name"]: one["arg"] for one in node["inputs"]}, outputs[0])
    make = OPERATORS.get(operator) or OPERATORS.get(operator.removesuffix("_"))
    if not target.startswith(ATEN) or make is None:
        known = ", ".join(sorted(OPERATORS))
        raise DataError(
            f"{graph.file}: node {shown(name)}: there is nothing for {shown(target)}; those that can be had are {known}"
        )
    graph.names[outputs[0]] = make(call)


def _output(archive: ProgramArchive, graph: TorchGraph) -> str:
    """Return the name of the only output, of which a node must be the last."""
    specs = archive.signature["output_specs"]
    if len(specs) != 1 or "user_output" not in specs[0]:
        raise DataError(
            f"{archive.name}: has {len(specs)} outputs, or changes its parameters; a program of one output is needed"
        )
    name = specs[0]["user_output"]["arg"]["as_tensor"]["name"]
    if graph.names.get(name, "input") not in graph.varying - {"input"}:
        raise DataError(f"{archive.name}: no node makes the output, {shown(name)}, of the input")
    return graph.names[name]

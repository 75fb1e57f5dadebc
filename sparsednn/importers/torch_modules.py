"""Imports modules of PyTorch, traced to an ONNX graph in memory, and programs that PyTorch has saved."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparsednn.arguments.scalars import whole_number
from sparsednn.errors import DataError, MissingPackageError, OptionTypeError
from sparsednn.importers.model import Model
from sparsednn.importers.onnx_files import from_onnx
from sparsednn.importers.torch_files import from_program

OPSET = 17


def from_torch(module: Any, input_shape: Sequence[int] | None = None) -> Model:
    """Import a feed-forward module of PyTorch, as it is in evaluation mode, or a program that torch.export has saved.

    The module is traced once; weights are what its forward pass uses, so that masks of ``torch.nn.utils.prune`` which were not
    removed are applied. It is left as it was. A program is read without PyTorch: nothing in its file is ever unpickled or run.

    Parameters
    ----------
    module : torch.nn.Module, or the path of a .pt2 file
    input_shape : sequence of int
        Shape of one instance, without the batch; needed for modules, and what a file says itself.

    Returns
    -------
    Model
        Its `source` is the graph, so that `Model.check` compares with onnx.reference.

    Raises
    ------
    ImportError
        If PyTorch or onnx is not installed (extra ``torch``); for a file, onnx is enough.
    TypeError
        If it is no module and no path.
    FileNotFoundError
        If there is no such file.
    ValueError
        If PyTorch cannot export it, or as `from_onnx` does. Other files of PyTorch (.pt) are refused: those are pickles, and
        reading one can run any program.
    """
    if isinstance(module, str | Path):
        if input_shape is not None:
            raise OptionTypeError(f"input_shape={input_shape!r}: the program in {module} has its own; leave it out")
        return from_program(Path(module))
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise MissingPackageError(f"from_torch needs PyTorch ({error}): pip install 'sparsednn[torch]'") from error
    if not isinstance(module, torch.nn.Module):
        raise OptionTypeError(
            f"module: a torch.nn.Module is needed, not {type(module).__name__}; of a file, build the module and give it its "
            "weights: module.load_state_dict(torch.load(path, weights_only=True))"
        )
    shape = tuple(whole_number("input_shape", size, least=1) for size in _sequence(input_shape))
    return from_onnx(_exported(torch, module, shape))


def _sequence(input_shape: Any) -> Sequence[Any]:
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str) or not input_shape:
        raise OptionTypeError(f"input_shape={input_shape!r}: the shape of one instance is needed, as (1, 28, 28)")
    return input_shape


def _exported(torch: Any, module: Any, shape: tuple[int, ...]) -> bytes:
    """Return a module as the bytes of an ONNX file whose batch is free."""
    weights = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    example = torch.zeros((1, *shape), dtype=weights.dtype, device=weights.device)
    buffer = io.BytesIO()
    try:
        with _evaluating(module), warnings.catch_warnings(), torch.no_grad():
            # the exporter by tracing needs no other package; torch.onnx says that a later version will not have it
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            axes = {"input": {0: "batch"}}
            names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
            torch.onnx.export(module, (example,), buffer, opset_version=OPSET, dynamo=False, **names)
    except MemoryError:
        raise
    except Exception as error:  # tracing runs the module, which may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(f"PyTorch cannot export the module for an input of shape (1, {_said(shape)}): {reason}") from error
    return buffer.getvalue()


def _said(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own afterwards."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training

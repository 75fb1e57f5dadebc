"""Owns the model: a network as a file has it, with all that turns images into answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sparsednn.engine import compile
from sparsednn.importers.check import ModelCheck, compare
from sparsednn.importers.compiled import CompiledModel
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.preprocessing import Preprocessing
from sparsednn.importers.saved import load_fields, save_model


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(ModelDescription):
    """A network with the shapes, names, preprocessing and post-processing of its file.

    Importers make it (`sparsednn.from_onnx`); ``Model(network=network)`` makes one of any network.

    Attributes
    ----------
    network : Network
    input_shape, output_shape : tuple of int
        Of one instance, without an axis for the batch. By default flat.
    input_name, output_name : str
    preprocessing : Preprocessing, or None
        None: nobody has said anything, and nothing is done; integers above 1 then lead to a warning.
    postprocess : {"none", "softmax", "sigmoid", "logsoftmax", "argmax"}
        Operation of the graph after the network's last layer.
    class_names : tuple of str
        A name for each class, or none.
    provenance : Provenance
    report : ImportReport
        Which node of the graph became which layers.
    source : bytes, or None
        The file, where it was given by its bytes, for `check`; it is not saved.

    Raises
    ------
    TypeError, ValueError
        If parts do not go together, as a shape with another number of elements than the network has inputs.
    """

    def compile(self, **options: Any) -> CompiledModel:
        """Prepare the model once for many calls; options and errors as of `sparsednn.compile`."""
        return CompiledModel(self, compile(self.network, **options), options)

    def save(self, path: str | Path) -> None:
        """Write the model to one file (safetensors, with a JSON header), which `sparsednn.load_model` reads to the bit.

        Raises
        ------
        OSError, TypeError
            If the file cannot be written, or is a folder.
        """
        save_model(self, path)

    def check(self, x: Any, tolerance: float = 5e-5) -> ModelCheck:
        """Run onnx.reference beside the imported layers, and compare what they make of each node.

        An accuracy does not find a bias or an activation that is wrong; this does.

        Parameters
        ----------
        x : as of a call of the compiled model
            A few instances are enough; onnx.reference takes its time.
        tolerance : float
            Largest difference that counts as none, relative to the largest number that the node makes. Layers round in another
            order than the reference: about 1e-6 after a few layers, up to 5e-5 after twenty.

        Returns
        -------
        ModelCheck
            With the first node that differs, and by how much.

        Raises
        ------
        ValueError, TypeError
            If the model is not of an ONNX file, the file has changed, or onnx.reference itself cannot run it; as a call does.
        FileNotFoundError, ImportError
            If the file, or the package onnx, is not there any more.
        """
        return compare(self, x, tolerance)

    def with_preprocessing(self, **preprocessing: Any) -> Self:
        """Return the model with another preprocessing; arguments as of `Preprocessing`, none for: take inputs as they are."""
        return replace(self, preprocessing=Preprocessing(**preprocessing))


def load_model(path: str | Path) -> Model:
    """Load a model that `Model.save` has written: the same bits, names, shapes and processing.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, MemoryError
        If there is no such file, it is a folder, damaged, or no saved model; in one line that begins with the path.
    """
    return Model(**load_fields(path))

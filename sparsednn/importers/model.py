"""Owns the model: a network as a file has it, with all that turns images into answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from sparsednn.engine import compile
from sparsednn.importers.compiled import CompiledModel
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.preprocessing import Preprocessing


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
        What the graph does after the network's last layer.
    class_names : tuple of str
        A name for each class, or none.
    provenance : Provenance
    report : ImportReport
        Which node of the graph became which layers.

    Raises
    ------
    TypeError, ValueError
        If parts do not go together, as a shape with another number of elements than the network has inputs.
    """

    def compile(self, **options: Any) -> CompiledModel:
        """Prepare the model once for many calls; options and errors as of `sparsednn.compile`."""
        return CompiledModel(self, compile(self.network, **options))

    def with_preprocessing(self, **preprocessing: Any) -> Self:
        """Return the model with another preprocessing; arguments as of `Preprocessing`, none for: take inputs as they are."""
        return replace(self, preprocessing=Preprocessing(**preprocessing))

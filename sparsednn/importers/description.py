"""Describes a model: a network with the shapes, names, preprocessing and post-processing that make it one of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsednn.arguments.scalars import instance_of, one_of, whole_number
from sparsednn.errors import OptionError
from sparsednn.importers.postprocessing import POSTPROCESSES, Postprocess, n_classes
from sparsednn.importers.preprocessing import Preprocessing, require_preprocessing
from sparsednn.importers.report import ImportReport
from sparsednn.network import Network


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model comes from.

    Attributes
    ----------
    file : str, or None
        The path as it was given.
    sha256 : str, or None
        Of the file and the files of weights that it names, 64 hexadecimal digits.
    weights, nonzero_weights : int, or None
        Numbers in the file's weights of more than one dimension, before convolutions are unrolled.
    """

    file: str | None = None
    sha256: str | None = None
    weights: int | None = None
    nonzero_weights: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelDescription:
    """The parts of a model; see `Model`."""

    network: Network
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    input_name: str = "input"
    output_name: str = "output"
    preprocessing: Preprocessing | None = None
    postprocess: Postprocess = "none"
    class_names: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    report: ImportReport = field(default_factory=ImportReport)
    source: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check that all goes together."""
        instance_of("network", self.network, Network, "a Network is needed")
        one_of("postprocess", self.postprocess, POSTPROCESSES)
        require_preprocessing(self.preprocessing)
        n_inputs, n_outputs = self.network.n_inputs, self.network.n_outputs
        object.__setattr__(self, "input_shape", _shape("input_shape", self.input_shape, n_inputs))
        outputs = 1 if self.postprocess == "argmax" else n_outputs
        usual = () if self.output_shape is None and self.postprocess == "argmax" else self.output_shape
        object.__setattr__(self, "output_shape", _shape("output_shape", usual, outputs))
        if self.preprocessing is not None:
            self.preprocessing.require_fit(self.in_shape)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        classes = n_classes(n_outputs, self.postprocess)
        if self.class_names and len(self.class_names) != classes:
            raise OptionError(f"class_names: {len(self.class_names)} given for {classes} classes; give one for each, or none")

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one instance as the network takes it."""
        return self.input_shape or ()

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape of what the graph puts out for one instance."""
        return self.output_shape or ()

    @property
    def sparsity(self) -> tuple[float, ...]:
        """Share of the connections that each layer lacks."""
        return tuple(1 - layer.nnz / max(layer.n_inputs * layer.n_outputs, 1) for layer in self.network.layers)


def _shape(name: str, shape: Any, size: int) -> tuple[int, ...]:
    """Return a shape of `size` elements as plain numbers; by default of one axis."""
    if shape is None:
        return (size,)
    instance_of(name, shape, Sequence, "a tuple of whole numbers is needed")
    numbers = tuple(whole_number(name, axis, least=1) for axis in shape)
    if math.prod(numbers) != size:
        raise OptionError(f"{name}={numbers}: has {math.prod(numbers)} elements, but the network has {size}")
    return numbers

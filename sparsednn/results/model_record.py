"""Declares what the record of an inference says of a model, and of its right answers."""

from __future__ import annotations

from dataclasses import field

from sparsednn.system.json_fields import JsonPart, doc, json_part


@json_part
class ModelRecord(JsonPart):
    """The model that a network was taken from, and what was done to its inputs."""

    file: str | None = field(metadata=doc("path of its file as it was given"))
    sha256: str | None = field(metadata=doc("SHA-256 of the file, and of the files of weights that it names"))
    input_shape: list[int] = field(metadata=doc("shape of one instance"))
    postprocess: str = field(metadata=doc("what follows the last layer: none, softmax, sigmoid, logsoftmax or argmax"))
    weights: int | None = field(metadata=doc("numbers in its weights, before convolutions are unrolled"))
    nonzero_weights: int | None = field(metadata=doc("those that are not zero"))
    sparsity: list[float] = field(metadata=doc("share of the connections that each layer lacks"))


@json_part
class PreprocessingRecord(JsonPart):
    """The preparation of dense inputs: (x / scale - mean) / std."""

    scale: float = field(metadata=doc("values were divided by it"))
    mean: list[float] = field(metadata=doc("was subtracted then, one number or one for each channel"))
    std: list[float] = field(metadata=doc("divided then, one number or one for each channel"))
    layout: str = field(metadata=doc("order of the axes that images came with: as_is, hwc or chw"))


@json_part
class AccuracyRecord(JsonPart):
    """How many predicted classes are the labels."""

    source: str = field(metadata=doc("where the labels are from: given or package"))
    correct: int = field(metadata=doc("instances whose predicted class is their label"))
    of: int = field(metadata=doc("instances with a label: all"))
    share: float = field(metadata=doc("correct / of"))
    interval95: list[float] = field(metadata=doc("the 95 % interval of the share, by Wilson's formula"))
    top5: float | None = field(
        metadata=doc("share of instances whose label is among the five largest outputs; null: fewer outputs")
    )
    confusion: list[list[int]] = field(metadata=doc("instances of each label (outer list) by the class that was predicted"))
    class_names: list[str] = field(metadata=doc("names of the classes, or none"))

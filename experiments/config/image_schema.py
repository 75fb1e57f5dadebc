"""Declares the options of inputs that are dense, such as images, of their labels, and of the files that answers go into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparsednn.options.fields import Options, choice, number, numbers, only_for, switch, text

MODELS = ("onnx", "torch", "keras", "saved")
"""Networks whose file says how many neurons and layers they have, and what their inputs and outputs mean."""

SHIPPED = ("mnist", "digits")
"""Inputs that come with the package, with their labels."""

DATASETS = ("cifar10", "imdb")
"""Inputs from folders of data sets as they are published, in a training and a test part with labels."""

IMAGE_FILES = ("idx", "npy", "npz", "images_folder", *DATASETS)
"""Inputs from files that hold dense instances, such as images."""

FROM_FILES = f"input=files|{'|'.join(IMAGE_FILES)}"
DENSE = f"input={'|'.join((*IMAGE_FILES, *SHIPPED))}"


@dataclass
class ImageOptions(Options):
    """The labels of instances, and what is done to those that are dense."""

    labels: str | None = only_for(
        FROM_FILES,
        text(
            None,
            "The class of each instance, from 0. To count right answers: idx, .npy, .npz, or a text with one a line",
            values="FILE",
        ),
    )
    logits: str | None = text(
        None, "The last activations that the network must have. In .npy or .npz, (instances, outputs); others fail the run",
        values="FILE",
    )  # fmt: skip
    tolerance: float = number(5e-5, "Of input.logits: a difference that is none, by the largest of them", least=0)
    scale: float | None = only_for(
        DENSE,
        number(
            None, "Values are divided by it. 255 makes pixels 0 to 1; null: as the model's file says, or not at all", above=0
        ),
    )
    mean: Any = only_for(
        DENSE, numbers("Is subtracted then. One for all, or one for each channel; null: as the model's file says")
    )
    std: Any = only_for(
        DENSE, numbers("Divides then. One for all, or one for each channel; null: as the model's file says", above=0)
    )
    layout: str | None = only_for(
        DENSE,
        choice(
            None,
            ("as_is", "hwc", "chw"),
            "Order of the axes of images. As the network takes them, (height, width, channels), or (channels, height, "
            "width); null: as the model's file says",
        ),
    )


@dataclass
class OutputConfig(Options):
    """The files that are written beside the record."""

    predictions: bool = switch(
        False, "Write predictions.csv: of each instance the class, and the label. It has the five largest outputs, too"
    )
    categories: bool = switch(False, "Write the ids of the categories as neuron{neurons}-l{layers}-categories.tsv")

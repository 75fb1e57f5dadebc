"""Declares the options of where a run's network and instances come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.config.image_schema import FROM_FILES, IMAGE_FILES, MODELS, SHIPPED, ImageOptions
from sparsednn.arguments.arrays import LARGEST
from sparsednn.data.layouts.predictions import CLASSIFIERS
from sparsednn.data.radixnet import CHALLENGE_SEED
from sparsednn.options.fields import choice, count, number, only_for, several, switch, text, texts
from sparsednn.options.groups import NetworkOptions

SEEDS = 2**32 - 1
LAYOUTS = ("challenge", "distsparsednn", "snicit")
"""How folders of networks are laid out."""


@dataclass
class NetworkConfig(NetworkOptions):
    """The source of the network."""

    name: str = choice("radixnet", ("radixnet", "files", *MODELS), "Generated, or read from files")
    cache: bool | None = switch(
        None,
        "Keep the packed network for later runs, and take it from there. It is in the cache folder (networks/network-...), "
        "where those that were not used for longest go first; null: generated networks are kept, files of your own are not",
    )
    cache_gb: float = number(10.0, "Size of all cached networks, in GB", above=0)
    path: str | None = only_for(
        f"network=files|{'|'.join(MODELS)}",
        text(
            None,
            "The model's file, or the folder with layers. Those are n{neurons}-l{number}.tsv, .bin, .npz or .mtx, or gzipped",
            values="FILE",
        ),
    )
    input_shape: list[int] | None = only_for(
        "network=onnx", several(None, "Shape of one instance, where the file leaves it open", kind=int, values="[1,28,28]")
    )
    layout: str = only_for(
        "network=files", choice("challenge", LAYOUTS, "How the folder is laid out: as the challenge's, or another program's")
    )
    widths: list[Any] | None = only_for(
        "network=files",
        several(
            None,
            "Neurons of the input and of each layer; null: neurons, or as the files say. N*K is K layers of N neurons",
            kind=(int, str),
            values="[784,1024*59,10]",
        ),
    )
    index_base: int = only_for(
        "network=files",
        count(1, "The first id in text and binary layers, 0 or 1. Other layouts than the challenge's have their own", least=0,
              most=1, values="0|1"),
    )  # fmt: skip
    radices: list[int] | None = only_for(
        "network=radixnet",
        several(None, "A mixed-radix network of your own; null: all 2, as many as the size takes", kind=int, values="[2,3]"),
    )
    dense_width: int = only_for("network=radixnet", count(16, "How often the pattern of the radices is repeated"))
    seed: int = count(CHALLENGE_SEED, "Of its permutations; that of seed, unless given", least=0, most=SEEDS)
    weight: float = only_for("network=radixnet", number(0.0625, "The weight of every connection", largest=LARGEST))
    bias: float | None = only_for(
        "network=radixnet|files",
        number(
            None,
            "Of every neuron; null: those in files, or the published one. Files n{neurons}-b{number} have one for each neuron",
            largest=LARGEST,
        ),
    )
    bias_on: str | None = only_for(
        "network=files",
        choice(
            None,
            ("nonzero", "all"),
            "Add the bias to sums that are not zero, or to all. null: to all if files have biases; with layout=distsparsednn "
            "to sums that are not zero",
        ),
    )
    activation: Any = only_for(
        "network=files",
        texts(
            "Of all layers, or one for each; null: clipped_relu, or the layout's own. Names: clipped_relu, relu, identity, "
            "relu6, hardtanh, leaky_relu, sigmoid, tanh, gelu, 'clip(low,high)', 'leaky_relu(slope)'; NAME*K is for K layers",
            values="NAME|[NAME,...]",
        ),
    )
    classifier: str | None = only_for(
        "network=files",
        choice(
            None,
            CLASSIFIERS,
            "How outputs become classes; null: sigmoid of one, else softmax. Only with layout=distsparsednn",
        ),
    )
    maximum: float = only_for("network=files", number(32.0, "Of clipped_relu", largest=LARGEST))


@dataclass
class InputConfig(ImageOptions):
    """The source of the instances."""

    name: str = choice(
        "challenge", ("challenge", "files", *IMAGE_FILES, *SHIPPED),
        "Rebuilt from the MNIST images that come with the package, read from files, or images of the package with labels",
    )  # fmt: skip
    path: str | None = only_for(
        FROM_FILES,
        text(
            None,
            "The file, or the folder. With input=files that has sparse-images-{neurons}.tsv, .bin, .npz or .mtx",
            values="FILE",
        ),
    )
    index_base: int = only_for(
        "input=files",
        count(1, "The first id of instances and features in text and binary files", least=0, most=1, values="0|1"),
    )
    truth: str | None = text(
        None, "True categories to check the result against. A file, or a folder with neuron{neurons}-l{layers}-categories.tsv; "
        "with network.layout=distsparsednn the class of each instance (predictions)",
        values="FILE",
    )  # fmt: skip

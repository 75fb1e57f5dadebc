"""Reads networks, instances and predictions from files, each in the layout that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import scipy.sparse as sp

from experiments.config.file_rules import (
    DISTSPARSEDNN,
    SNICIT,
    activation_of,
    asked_layers,
    checks_predictions,
    has_layout,
    widths_of,
)
from experiments.config.resolve import Config
from sparsednn.data import files
from sparsednn.data.layouts import distsparsednn, snicit
from sparsednn.data.layouts.predictions import Predictions, classifier_of
from sparsednn.data.radixnet import challenge_bias
from sparsednn.errors import DataError, OptionError
from sparsednn.network import BiasOn, Network, clipped_relu

Progress = Callable[[int, int], None]


def read_network(config: Config, progress: Progress | None = None) -> Network:
    """Read the network; errors as of the layout's reader."""
    net, folder = config.network, Path(str(config.network.path))
    widths, activation = widths_of(config), activation_of(config)
    bias_on: BiasOn | None = None if net.bias_on is None else "all" if net.bias_on == "all" else "nonzero"
    if has_layout(config, DISTSPARSEDNN):
        return distsparsednn.read_network(
            folder, widths=widths, layers=asked_layers(config), activation=activation, bias_on=bias_on or "nonzero",
            progress=progress,
        )  # fmt: skip
    if has_layout(config, SNICIT):
        return snicit.read_network(
            folder,
            widths=widths,
            layers=asked_layers(config),
            activation=activation,
            bias_on=bias_on or "all",
            progress=progress,
        )
    bias = _bias(config)
    if bias is None and activation is None:
        raise OptionError(
            "network.activation=null: with files of biases it is no network of the challenge, and nothing tells its "
            "activations; say them, as in network.activation=[relu*2,identity]"
        )
    with _called("network"):
        return files.read_network(
            folder,
            *config.size,
            bias=bias,
            activation=clipped_relu(net.maximum) if activation is None else activation,
            bias_on=bias_on,
            widths=widths,
            index_base=net.index_base,
            progress=progress,
        )


def read_instances(config: Config, n_inputs: int) -> sp.csr_array:
    """Read the instances of all processes; errors as of the layout's reader."""
    path = Path(str(config.input.path))
    if has_layout(config, DISTSPARSEDNN):
        n = len(_classes(config, None)[0]) if checks_predictions(config) else 0
        return distsparsednn.read_inputs(path, n_inputs, instances=config.instances, n_at_least=n)
    with _called("input"):
        return files.read_inputs(path, n_inputs, config.instances, config.input.index_base)


def read_predictions(config: Config, n_outputs: int, n_instances: int) -> Predictions | None:
    """Return the class that each instance must have, if the truth is that.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or malformed, or has fewer instances than are run.
    """
    if not checks_predictions(config):
        return None
    classifier = classifier_of(n_outputs, config.network.classifier)
    classes, source = _classes(config, distsparsednn.n_classes_of(n_outputs, classifier))
    if len(classes) < n_instances:
        raise DataError(f"{source}: has {len(classes)} instances, but {n_instances} are run; is the file whole?")
    return Predictions(classes[:n_instances], classifier, str(source))


def network_files(config: Config) -> Iterator[Path]:
    """Yield all files of the network's layers; errors as of the layout's reader."""
    net, folder = config.network, Path(str(config.network.path))
    widths = widths_of(config)
    layers = asked_layers(config) if widths is None else len(widths) - 1
    if has_layout(config, DISTSPARSEDNN):
        yield from distsparsednn.layer_files(folder, layers)
    elif has_layout(config, SNICIT):
        yield from snicit.layer_files(folder, layers)
    else:
        yield from files.layer_files(folder, *config.size)
        if net.bias is None and files.has_biases(folder, *config.size):
            yield from files.bias_files(folder, *config.size)


def _classes(config: Config, n_classes: int | None):  # type: ignore[no-untyped-def]
    return distsparsednn.read_predictions(Path(str(config.input.truth)), n_classes)


def _bias(config: Config) -> float | None:
    """Return the bias of all neurons; None if each layer has a file of biases."""
    given, folder = config.network.bias, Path(str(config.network.path))
    if not files.has_biases(folder, *config.size):
        return challenge_bias(config.size[0]) if given is None else given
    if given is not None:
        raise OptionError(
            f"network.bias={given}: {folder} has files of biases (n{config.neurons}-b1, ...); leave it out, or take them away"
        )
    return None


@contextmanager
def _called(group: str) -> Iterator[None]:
    """Call options by their keys in what readers refuse."""
    try:
        yield
    except DataError as error:
        message = str(error)
        for name in ("index_base", "widths"):
            message = message.replace(f" {name}=", f" {group}.{name}=")
        raise DataError(message) from error

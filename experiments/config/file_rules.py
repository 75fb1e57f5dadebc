"""Checks the keys of networks and instances that files have, and says what lists of widths and activations stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from experiments.config.schema import Config
from sparsednn.errors import OptionError
from sparsednn.network import Activation, activation_named, clipped_relu
from sparsednn.options.fields import declarations, default_of

CHALLENGE, DISTSPARSEDNN, SNICIT = "challenge", "distsparsednn", "snicit"
"""Values of network.layout."""

_REPEATED = re.compile(r"(.+)\*([1-9][0-9]{0,8})")
_LARGEST_WIDTH = 2**31 - 1


def refused_files(config: Config) -> str | None:
    """Return in one line why keys do not go together, or None if they do."""
    if config.network.name != "files":
        return None
    try:
        widths, activations = widths_of(config), activation_of(config)
        _check_size(config, widths)
        _check_layout(config)
    except OptionError as error:
        return str(error)
    layers = config.layers if widths is None else len(widths) - 1
    known = widths is not None or config.network.layout == CHALLENGE
    if isinstance(activations, list) and known and len(activations) != layers:
        return f"network.activation: {len(activations)} given for {layers} layers; give one for all, or one a layer"
    return None


def widths_of(config: Config) -> list[int] | None:
    """Return the neurons of the input and of each layer, if they are given.

    Raises
    ------
    OptionError
        If an item is no width, or there are fewer than two.
    """
    given = config.network.widths
    if given is None:
        return None
    widths = []
    for item in _unrolled(given):
        if not str(item).isascii() or not str(item).isdigit() or not 1 <= int(item) <= _LARGEST_WIDTH:
            raise OptionError(f"network.widths: {item} is no number of neurons from 1 to {_LARGEST_WIDTH}, nor N*K")
        widths.append(int(item))
    if len(widths) < 2:
        raise OptionError(f"network.widths={given}: give the inputs, and the neurons of each layer, as in [784,1024*59,10]")
    return widths


def activation_of(config: Config) -> Activation | list[Activation] | None:
    """Return the activation of all layers, or of each; None if nobody has said it.

    Raises
    ------
    OptionError
        If a name is none of an activation.
    """
    given = config.network.activation
    if given is None:
        return None
    named = [_named(str(item), config.network.maximum) for item in _unrolled([given] if isinstance(given, str) else given)]
    return named[0] if isinstance(given, str) and len(named) == 1 else named


def asked_layers(config: Config) -> int | None:
    """Return how many layers a folder that tells itself must have; None if nobody has said it."""
    return None if config.layers == _default("layers") else config.layers


def checks_predictions(config: Config) -> bool:
    """Whether the truth is the class of each instance, in place of categories."""
    return config.input.truth is not None and has_layout(config, DISTSPARSEDNN) and config.input.name == "files"


def has_layout(config: Config, *layouts: str) -> bool:
    """Whether the network is one from files that are laid out in one of these ways."""
    return config.network.name == "files" and config.network.layout in layouts


def _named(name: str, maximum: float) -> Activation:
    return clipped_relu(maximum) if name == "clipped_relu" else activation_named(name, "network.activation")


def _unrolled(items: Sequence[Any]) -> list[Any]:
    """Return a list in which ``X*K`` is K times X."""
    unrolled = list[Any]()
    for item in items:
        repeated = _REPEATED.fullmatch(str(item))
        unrolled += [repeated[1]] * int(repeated[2]) if repeated else [item]
    return unrolled


def _check_size(config: Config, widths: list[int] | None) -> None:
    """Refuse neurons and layers that contradict the widths, or that the files tell."""
    for name, wide, what in (("neurons", 0, "inputs"), ("layers", -1, "layers")):
        value = getattr(config, name)
        if value == _default(name):
            continue
        if widths is not None and value != (found := widths[0] if wide == 0 else len(widths) - 1):
            raise OptionError(f"{name}={value}: network.widths says that there are {found} {what}; leave {name} out")
        if widths is None and name == "neurons" and config.network.layout != CHALLENGE:
            raise OptionError(
                f"neurons={value}: with network.layout={config.network.layout} the files say how wide layers are; leave it "
                "out, or say network.widths=[784,1024*59,10]"
            )


def _check_layout(config: Config) -> None:
    """Refuse what a layout says itself."""
    network = config.network
    layout = f"network.layout={network.layout}"
    if network.classifier is not None and network.layout != DISTSPARSEDNN:
        raise OptionError(
            f"network.classifier={network.classifier}: is only for network.layout={DISTSPARSEDNN}, not for {layout}"
        )
    if network.layout == CHALLENGE:
        return
    if network.bias is not None:
        raise OptionError(f"network.bias={network.bias}: with {layout} each layer has a file of biases; leave it out")
    if network.index_base != _default("index_base", type(network)):
        raise OptionError(f"network.index_base={network.index_base}: {layout} says where ids begin; leave it out")
    if network.layout == DISTSPARSEDNN and config.input.index_base != _default("index_base", type(config.input)):
        raise OptionError(f"input.index_base={config.input.index_base}: {layout} says where ids begin; leave it out")


def _default(name: str, options: type = Config) -> Any:
    return default_of(declarations(options)[name])

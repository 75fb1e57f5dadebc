"""Checks whether keys go together with a network that a model's file has, and with images that have labels: pure."""

from __future__ import annotations

from experiments.config.image_schema import IMAGE_FILES, MODELS, SHIPPED
from experiments.config.schema import SIMULATED, Config


def is_model(config: Config) -> bool:
    """Whether the network is one whose file says all of it."""
    return config.network.name in MODELS


def has_images(config: Config) -> bool:
    """Whether the instances are dense, as images are."""
    return config.input.name in (*IMAGE_FILES, *SHIPPED)


def refused_model(config: Config) -> str | None:
    """Return in one line why keys do not go together, or None if they do."""
    return _refused_size(config) or _refused_output(config)


def _refused_size(config: Config) -> str | None:
    """A model's file has the sizes, and nothing else has them."""
    taken = f"network={config.network.name}"
    for name in ("neurons", "layers"):
        value = getattr(config, name)
        if is_model(config) and value is not None:
            return f"{name}={value}: {taken} has its own, which its file says; leave {name} out"
        if not is_model(config) and value is None:
            return f"{name}=null: only a model's file says it (network={'|'.join(MODELS)}); {taken} needs {name}=N"
    if is_model(config) and not config.network.path:
        return f"{taken}: say where the model is: network.path=FILE"
    return None


def _refused_output(config: Config) -> str | None:
    labelled = config.input.labels is not None or config.input.name in SHIPPED
    if config.input.truth is not None and labelled:
        source = f"input={config.input.name} comes with" if config.input.labels is None else "input.labels has the"
        return f"input.truth={config.input.truth}: are true categories, but {source} labels; leave one of them out"
    if config.input.truth is not None and config.input.logits is not None:
        return f"input.truth={config.input.truth}: input.logits has the truth already; leave one of them out"
    for key, wants in (("output.predictions=true", config.output.predictions), ("input.logits", config.input.logits)):
        if config.executor == SIMULATED and wants:
            return f"{key}: executor=simulated computes no outputs; leave it out"
    return None

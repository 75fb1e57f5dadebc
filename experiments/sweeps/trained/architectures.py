"""Builds the networks that are trained: modules of PyTorch for instances of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]
Builder = Callable[[Any, Shape, int], Any]
IMAGE_AXES = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How Adam changes the weights of a network.

    Attributes
    ----------
    learning_rate : float
    warm_up : int
        Steps over which the learning rate rises to that, at the beginning and after each pruning.
    longest : float, optional
        Gradients of a greater norm, over all parameters, are shortened to that.
    keeps_norms : bool
        After a pruning, what is left of each layer's weights is scaled to the norm that they had before: without that, what
        passes through many layers fades away.
    """

    learning_rate: float = 1e-3
    warm_up: int = 0
    longest: float | None = None
    keeps_norms: bool = False

    @property
    def said(self) -> str:
        """It in words."""
        parts = [f"learning rate {self.learning_rate:g}"]
        parts += [f"warm-up of {self.warm_up} steps"] if self.warm_up else []
        parts += [f"gradients of norm {self.longest:g} at most"] if self.longest is not None else []
        return ", ".join([*parts, *(["norms kept when layers are pruned"] if self.keeps_norms else [])])


PLAIN = Recipe()
DEEP = Recipe(learning_rate=1e-4, warm_up=20, longest=1.0, keeps_norms=True)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and how it is trained.

    Attributes
    ----------
    build : callable
        Returns the module, given PyTorch, the shape of an instance and the number of classes.
    said : str
        Its layers in words.
    instances : int
        The most instances that it is trained on.
    epochs, fine_tuning : int
        Passes over them before the first pruning, and after each.
    smallest : int
        The fewest pixels, on either side, of images that it can take; 0: it takes instances of any shape.
    recipe : Recipe
    """

    build: Builder
    said: str
    instances: int
    epochs: int
    fine_tuning: int
    smallest: int = 0
    recipe: Recipe = PLAIN

    def takes(self, shape: Shape) -> bool:
        """Whether instances of a shape can be its input."""
        return not self.smallest or (len(shape) == IMAGE_AXES and min(shape[1:]) >= self.smallest)


def mlp(*hidden: int) -> Builder:
    """Return the builder of dense layers of so many neurons, with relu between them."""

    def build(torch: Any, shape: Shape, n_classes: int) -> Any:
        nn, widths = torch.nn, (math.prod(shape), *hidden, n_classes)
        layers = [part for n, m in pairwise(widths) for part in (nn.Linear(n, m), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers[:-1])

    return build


def looks_linear(build: Builder) -> Builder:
    """Return the builder of the same dense layers, of even widths, whose first weights make a linear map of all of them.

    Neurons come in pairs of opposite signs, of which relu lets one pass, and the maps between pairs are orthogonal: gradients
    reach the first of 60 layers as long as they left the last, and instances stay apart. Biases are 0.

    References
    ----------
    D. Balduzzi et al., "The shattered gradients problem: If resnets are the answer, then what is the question?", ICML 2017.
    """

    def built(torch: Any, shape: Shape, n_classes: int) -> Any:
        module = build(torch, shape, n_classes)
        first, *inner, last = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
        signs, one = torch.tensor([[1.0], [-1.0]]), torch.ones(1, 1)
        with torch.no_grad():
            for layer, pairs in ((first, signs), *((layer, signs @ signs.T) for layer in inner), (last, one @ signs.T)):
                (n, m), (rows, columns) = layer.weight.shape, pairs.shape
                layer.weight.copy_(torch.kron(pairs, torch.nn.init.orthogonal_(torch.empty(n // rows, m // columns))))
                layer.bias.zero_()
        return module

    return built


def lenet5(pool: str) -> Builder:
    """Return the builder of LeNet-5 with relu and average or max pools.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86, 1998.
    """

    def build(torch: Any, shape: Shape, n_classes: int) -> Any:
        nn = torch.nn
        pooled = nn.AvgPool2d if pool == "average" else nn.MaxPool2d
        flat = 16 * math.prod((size // 2 - 4) // 2 for size in shape[1:])
        return nn.Sequential(
            nn.Conv2d(shape[0], 6, 5, padding=2), nn.ReLU(), pooled(2), nn.Conv2d(6, 16, 5), nn.ReLU(), pooled(2), nn.Flatten(),
            nn.Linear(flat, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, n_classes),
        )  # fmt: skip

    return build


def vgg(torch: Any, shape: Shape, n_classes: int) -> Any:
    """Return convolutions of 3 x 3 in the manner of VGG: 16, 16, pool, 32, 32, pool, 64, mean, and a layer of classes.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """
    nn = torch.nn
    layers, channels = [], shape[0]
    for size in (16, 16, None, 32, 32, None, 64):
        layers += [nn.AvgPool2d(2)] if size is None else [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
        channels = size or channels
    return nn.Sequential(*layers, *_classifier(nn, channels, n_classes))


def resnet(torch: Any, shape: Shape, n_classes: int) -> Any:
    """Return a small residual network: a stem of 16 channels, blocks 16-16, 16-32 and 32-64 with stride 2, batch norms.

    References
    ----------
    K. He et al., "Deep residual learning for image recognition", CVPR 2016.
    """
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, n: int, m: int, stride: int) -> None:
            super().__init__()
            first, second = _normalised(nn, n, m, 3, stride), _normalised(nn, m, m, 3, 1)
            self.body = nn.Sequential(*first, nn.ReLU(), *second)
            self.skip = nn.Sequential(*_normalised(nn, n, m, 1, stride)) if stride > 1 else nn.Identity()
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.skip(x))

    stem = (*_normalised(nn, shape[0], 16, 3, 1), nn.ReLU())
    return nn.Sequential(*stem, Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2), *_classifier(nn, 64, n_classes))


def _normalised(nn: Any, n: int, m: int, size: int, stride: int) -> Sequence[Any]:
    return nn.Conv2d(n, m, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(m)


def _classifier(nn: Any, channels: int, n_classes: int) -> Sequence[Any]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes)


ARCHITECTURES = {
    "mlp300": Architecture(mlp(300, 100), "dense 300, 100", 60_000, 3, 1),
    "mlp1024": Architecture(mlp(1024, 1024, 1024), "dense 1024, 1024, 1024", 60_000, 1, 1),
    "lenet5": Architecture(lenet5("average"), "conv 6, 16 of 5x5, average pools, dense 120, 84", 30_000, 2, 1, 12),
    "lenet5 max": Architecture(lenet5("max"), "conv 6, 16 of 5x5, max pools, dense 120, 84", 30_000, 2, 1, 12),
    "vgg": Architecture(vgg, "conv 16, 16, pool, 32, 32, pool, 64 of 3x3, mean", 20_000, 6, 2, 4),
    "resnet": Architecture(resnet, "conv 16, residual blocks 16, 32, 64, batch norms, mean", 12_000, 3, 1, 4),
    "deep1024": Architecture(
        looks_linear(mlp(*[1024] * 59)), "dense 59 x 1024, looks-linear first weights", 20_000, 1, 1, recipe=DEEP
    ),
}  # fmt: skip
TOY = {"toy mlp": Architecture(mlp(32, 16), "dense 32, 16", 60_000, 100, 30)}

"""Trains, prunes and fine-tunes modules of PyTorch with fixed seeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.sweeps.trained.architectures import Architecture
from experiments.sweeps.trained.datasets import Dataset

BATCH = 128
DENSE, MAGNITUDE, TWO_STEPS = "none", "magnitude", "two steps"
STEP_SPARSITY, STEP_NEURONS = 0.75, 0.25
"""The two steps: share of the weights that go first, by magnitude, and of the neurons of each hidden layer that go then."""

Masks = Mapping[str, Any]
"""By name of a parameter, a tensor of zeros and ones of its shape."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A trained network at one sparsity.

    Attributes
    ----------
    module : torch.nn.Module
        In evaluation mode; it is trained on when the next variant is made, so use it before.
    pruning : {"none", "magnitude", "two steps"}
    weights, nonzero_weights : int
        Of matrices and convolutions, before these are unrolled; biases and norms are not counted.
    epochs : int
        All passes over the training instances so far.
    seconds : float
        Of training and pruning since the variant before.
    """

    module: Any
    pruning: str
    weights: int
    nonzero_weights: int
    epochs: int
    seconds: float

    @property
    def sparsity(self) -> float:
        """Share of the weights that are zero, to four digits."""
        return round(1 - self.nonzero_weights / self.weights, 4)


@dataclass(slots=True)
class Trainer:
    """Trains the networks of one kind, each variant from the one before.

    Parameters
    ----------
    torch : module
    architecture : Architecture
    data : Dataset
    seed : int
        Of first weights and of the order of the instances.
    n_instances : int, optional
        The first so many instances are trained on; by default as many as the architecture says.
    """

    torch: Any
    architecture: Architecture
    data: Dataset
    seed: int
    n_instances: int | None = None

    @property
    def n(self) -> int:
        """How many instances are trained on."""
        return min(self.n_instances or self.architecture.instances, len(self.data.y))

    def variants(self, sparsities: Sequence[float], dense: bool = True, two_steps: bool = True) -> Iterator[Variant]:
        """Yield the dense network, those of rising sparsity by magnitude over all layers, and the one of two steps.

        The first and the last only where asked for; all begin from the first.
        Each is fine-tuned after it was pruned. The two steps begin from the dense network: of all weights the smallest 75 % go;
        then, in each hidden layer, the 25 % of the neurons or channels whose weights have the smallest sum of magnitudes.
        """
        torch, long, short = self.torch, self.architecture.epochs, self.architecture.fine_tuning
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            module = self.architecture.build(torch, self.data.shape, self.data.n_classes)
        began, epochs = perf_counter(), long
        self._train(module, long, {})
        unpruned = copy.deepcopy(module)
        if dense:
            yield self._variant(module, DENSE, epochs, began)
            began = perf_counter()
        for sparsity in sparsities:
            epochs += short
            self._train(module, short, magnitude_masks(torch, module, sparsity))
            yield self._variant(module, MAGNITUDE, epochs, began)
            began = perf_counter()
        if not two_steps:
            return
        masks = magnitude_masks(torch, unpruned, STEP_SPARSITY)
        self._train(unpruned, short, masks)
        self._train(unpruned, short, neuron_masks(torch, unpruned, STEP_NEURONS, masks))
        yield self._variant(unpruned, TWO_STEPS, long + 2 * short, began)

    def _train(self, module: Any, epochs: int, masks: Masks) -> None:
        """Train with Adam and cross entropy; what a mask has as zero is zero before, meanwhile and afterwards."""
        torch, recipe, step = self.torch, self.architecture.recipe, 0
        order = torch.Generator().manual_seed(self.seed)
        x, y = torch.from_numpy(self.data.x[: self.n]), torch.from_numpy(self.data.y[: self.n])
        optimizer = torch.optim.Adam(module.parameters(), lr=recipe.learning_rate)
        masked = [(parameter, masks[name]) for name, parameter in module.named_parameters() if name in masks]
        _prune(torch, masked, recipe.keeps_norms)
        module.train()
        for _ in range(epochs):
            for some in torch.randperm(self.n, generator=order).split(BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(x[some]), y[some]).backward()
                if recipe.longest is not None:
                    torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.longest)
                step += 1
                if step <= recipe.warm_up:
                    optimizer.param_groups[0]["lr"] = recipe.learning_rate * step / recipe.warm_up
                optimizer.step()
                _apply(torch, masked)
        module.eval()

    def _variant(self, module: Any, pruning: str, epochs: int, began: float) -> Variant:
        weights = [parameter.detach() for _, parameter in weights_of(module)]
        n, nonzero = sum(one.numel() for one in weights), sum(int(one.count_nonzero()) for one in weights)
        return Variant(module, pruning, n, nonzero, epochs, perf_counter() - began)


def weights_of(module: Any) -> list[tuple[str, Any]]:
    """Return the matrices and convolutions of a module by name: parameters of more than one dimension."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.dim() > 1]


def magnitude_masks(torch: Any, module: Any, sparsity: float) -> dict[str, Any]:
    """Return masks without the smallest weights of all layers together: a share of `sparsity`, to the weight."""
    weights = weights_of(module)
    every = torch.cat([parameter.detach().abs().flatten() for _, parameter in weights])
    kept = torch.ones_like(every)
    kept[every.argsort(stable=True)[: round(sparsity * len(every))]] = 0
    parts = kept.split([parameter.numel() for _, parameter in weights])
    return {name: part.view_as(parameter) for (name, parameter), part in zip(weights, parts, strict=True)}


def neuron_masks(torch: Any, module: Any, share: float, masks: Masks) -> dict[str, Any]:
    """Return masks without the weakest neurons of each hidden layer, or channels of a convolution.

    The weights of a neuron that goes, its bias and what a batch norm behind it makes of it become zero: it is always zero.
    """
    found = dict(masks)
    *hidden, _ = [name for name, _ in weights_of(module)]
    behind = _norms_behind(torch, module)
    for name in hidden:
        weight = module.get_parameter(name).detach()
        strength = weight.flatten(1).abs().sum(dim=1)
        kept = torch.ones_like(strength)
        kept[strength.argsort(stable=True)[: int(share * len(strength))]] = 0
        found[name] = found[name] * kept.view(-1, *(1,) * (weight.dim() - 1))
        layer = name.removesuffix(".weight")
        for part in (layer, *behind.get(layer, ())):
            vectors = [
                of for of, parameter in module.get_submodule(part).named_parameters(recurse=False) if parameter.dim() == 1
            ]
            found |= {f"{part}.{of}": kept for of in vectors}
    return found


def _norms_behind(torch: Any, module: Any) -> dict[str, list[str]]:
    """Return the batch norm that stands right behind each layer, by their names."""
    layers = [(name, part) for name, part in module.named_modules() if not list(part.children())]
    return {name: [behind] for (name, _), (behind, part) in pairwise(layers) if isinstance(part, torch.nn.BatchNorm2d)}


def _prune(torch: Any, masked: Sequence[tuple[Any, Any]], keeps_norms: bool) -> None:
    """Take out what masks have as zero; scale what is left of weights to the norm that they had, if asked to."""
    norms = [parameter.detach().norm() for parameter, _ in masked]
    _apply(torch, masked)
    with torch.no_grad():
        for (parameter, _), norm in zip(masked, norms, strict=True):
            if keeps_norms and parameter.dim() > 1 and (left := parameter.norm()) > 0:
                parameter.mul_(norm / left)


def _apply(torch: Any, masked: Sequence[tuple[Any, Any]]) -> None:
    with torch.no_grad():
        for parameter, mask in masked:
            parameter.mul_(mask)


def outputs_of(torch: Any, module: Any, x: NDArray[np.float32], at_once: int = 1000) -> NDArray[np.float32]:
    """Return what PyTorch makes of instances: float32 (n, classes), some at a time."""
    with torch.inference_mode():
        parts = [module(torch.from_numpy(x[first : first + at_once])).numpy() for first in range(0, len(x), at_once)]
    return np.concatenate(parts)

"""Measures trained networks: accuracy and time of inference against sparsity, ours beside other libraries.

Networks are trained with PyTorch, pruned, fine-tuned, imported by `sparsednn.from_torch` and compiled. Their logits are held
against PyTorch's, then all contestants answer the test images in turn: see `experiments.sweeps.direct_calls`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import sparsednn
from backends.peers.base import peer_package
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import ExperimentConfig
from experiments.sweeps.direct_calls import TIMED_S, TOY_TIMED_S, TOY_WARM_S, WARM_S
from experiments.sweeps.direct_peers import Call, Float32, is_installed, onnxruntime_session
from experiments.sweeps.trained.architectures import ARCHITECTURES, PLAIN, TOY
from experiments.sweeps.trained.datasets import Dataset, load
from experiments.sweeps.trained.training import BATCH, DENSE, MAGNITUDE, Trainer, Variant, outputs_of
from experiments.sweeps.turns import InTurn, difference
from sparsednn.engine import default_threads

SPARSITIES, TOY_SPARSITIES = (0.8, 0.9, 0.95, 0.99), (0.8,)
BATCHES, TOY_BATCHES = (1, 64, 10_000), (1, 40)
LOGITS_TOLERANCE = 5e-5
"""The largest difference from PyTorch's logits, as a share of the largest."""

LEAST_LEARNT = 0.1
"""The least of the way from always naming the most frequent class to being always right: no other network is measured."""

LONGEST_S = 10.0
"""A contestant whose first call takes longer is left out: 10,000 instances take some libraries seconds."""

EXTRA = "pip install -e '.[torch]'"


def require_usable() -> None:
    """Raise ConfigError where PyTorch, or onnx which its export needs, is not installed."""
    for package in ("torch", "onnx"):
        if not is_installed(package):
            raise ConfigError(
                f"experiment=trained_networks: {package} is not installed, with which networks are trained and exported; "
                f"install it with: {EXTRA}"
            )


def choices(toy: bool) -> dict[str, list[Any]]:
    """Return the networks and the sparsities; 0 stands for the networks as they are before they are pruned."""
    return {"networks": list(TOY if toy else ARCHITECTURES), "sparsities": [0.0, *(TOY_SPARSITIES if toy else SPARSITIES)]}


def benchmark(config: Config, experiment: ExperimentConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Train and measure: ``threads``, ``repeats`` as rounds, ``input`` to train on, ``instances`` of it, ``seed``.

    Where sparsities are chosen, no other variants are made than these; all but the dense networks are pruned by magnitude then.

    Returns
    -------
    dict
        ``data`` and ``training``: what was trained on and how; ``networks``: of each variant its layers, sparsity, right
        answers of both, largest difference of logits, ``recipe``; ``settings``: times as of
        `experiments.sweeps.direct_calls.measure`; ``left_out`` and ``failed`` in words.
    """
    torch, threads = peer_package("torch"), config.threads or default_threads()
    torch.set_num_threads(threads)
    data, found = load(config), _Figures(config, experiment.toy, threads, torch)
    named, sparsities = (TOY, TOY_SPARSITIES) if experiment.toy else (ARCHITECTURES, SPARSITIES)
    names, chosen = experiment.networks or list(named), sorted(experiment.sparsities)
    each = len(chosen) or len(sparsities) + 2
    for number, name in enumerate(names):
        if not named[name].takes(data.shape):
            found.left_out.append(f"{name} is left out: it does not take instances of shape {data.shape}")
            continue
        trainer = Trainer(torch, named[name], data, config.seed, config.instances)
        pruned = [sparsity for sparsity in chosen or sparsities if sparsity]
        for done, variant in enumerate(trainer.variants(pruned, not chosen or 0 in chosen, not chosen), 1):
            found.add(name, trainer, variant)
            progress(number * each + done, len(names) * each)
    if not found.networks:
        found.failed.append("there is no network that takes these instances and has learnt from them")
    how = {"optimizer": "Adam", "learning_rate": PLAIN.learning_rate, "batch": BATCH}
    how |= {"seed": config.seed, "torch": torch.__version__}
    return {"rounds": config.repeats, "data": data.record(), "training": how, **found.parts()}


class _Figures:
    """Collects what is measured of each variant."""

    def __init__(self, config: Config, toy: bool, threads: int, torch: Any) -> None:
        self._torch, self._threads, self._rounds = torch, threads, config.repeats
        self._times = (TOY_WARM_S, TOY_TIMED_S) if toy else (WARM_S, TIMED_S)
        self._batches = TOY_BATCHES if toy else BATCHES
        self.networks: list[dict[str, Any]] = []
        self.settings: list[dict[str, Any]] = []
        self.failed: list[str] = []
        self.left_out = [
            f"{name} is left out: {package} is not installed{hint}"
            for name, package, hint in (("onnxruntime", "onnxruntime", " (extra peers)"), ("deepsparse", "deepsparse", ""))
            if not is_installed(package)
        ]

    def parts(self) -> dict[str, Any]:
        """Return all of it under its names."""
        return {"networks": self.networks, "settings": self.settings, "left_out": self.left_out, "failed": self.failed}

    def add(self, name: str, trainer: Trainer, variant: Variant) -> None:
        """Import a variant, check it, and measure it with all batches."""
        family = name if variant.pruning in (DENSE, MAGNITUDE) else f"{name}, {variant.pruning}"
        at = f"{family}, {100 * variant.sparsity:g} %"
        model = sparsednn.from_torch(variant.module, trainer.data.shape)
        with model.compile(threads=self._threads) as compiled:
            about = self._checked(at, compiled, variant, trainer.data)
            if not has_learnt(about["correct_torch"], trainer.data):
                right = 100 * about["correct_torch"] / about["of"]
                self.left_out.append(f"{at} is left out: it has learnt nothing, and is right about {right:.1f} %")
                return
            architecture = trainer.architecture
            trained = {"architecture": architecture.said, "instances": trainer.n, "epochs": variant.epochs}
            trained["recipe"] = architecture.recipe.said
            counts = {"weights": variant.weights, "nonzero_weights": variant.nonzero_weights}
            what = {"family": family, "network": name, "pruning": variant.pruning, "sparsity": variant.sparsity}
            seconds = {"training_s": variant.seconds}
            layers = {"layers": len(model.network.layers), "connections": model.network.nnz}
            self.networks.append(what | trained | seconds | counts | layers | about)
            for batch in self._batches:
                x = np.resize(trainer.data.test_x, (batch, *trainer.data.shape))  # again from the first, if there are fewer
                setting = {"family": family, "sparsity": variant.sparsity, "batch": batch, "connections": model.network.nnz}
                self.settings.append(setting | {"seconds": self._seconds(at, compiled, model, variant.module, x)})

    def _checked(self, at: str, compiled: Any, variant: Variant, data: Dataset) -> dict[str, Any]:
        """Return accuracies of both, and how far apart logits are; too far is a failure."""
        expected, ours = outputs_of(self._torch, variant.module, data.test_x), compiled.logits(data.test_x)
        apart = difference(ours, expected)
        if apart > LOGITS_TOLERANCE:
            self.failed.append(f"{at}: logits differ from PyTorch's by {apart:.1e} of the largest")
        correct = {name: int((found.argmax(1) == data.test_y).sum()) for name, found in (("ours", ours), ("torch", expected))}
        return {"correct": correct["ours"], "correct_torch": correct["torch"], "of": len(data.test_y), "difference": apart}

    def _seconds(self, at: str, compiled: Any, model: sparsednn.Model, module: Any, x: Float32) -> dict[str, Any]:
        in_turn = InTurn(x, compiled, f"{at}, {len(x)} instances", LONGEST_S)
        with ExitStack() as stack:
            for name, call in self._peers(model, module, len(x), stack):
                in_turn.add(name, call)
            times = in_turn.times(self._rounds, *self._times)
        self.failed += [f"{in_turn.at}: {line}" for line in in_turn.failed]
        self.left_out += in_turn.left_out
        return times

    def _peers(self, model: sparsednn.Model, module: Any, batch: int, stack: ExitStack) -> Iterator[tuple[str, Call]]:
        torch, graph = self._torch, model.source or b""

        def call(x: Float32) -> Any:
            with torch.inference_mode():
                return module(torch.from_numpy(x)).numpy()

        yield "torch dense", call
        if is_installed("onnxruntime"):
            yield "onnxruntime dense", onnxruntime_session(graph, model.input_name, self._threads)
        if is_installed("deepsparse"):
            yield "deepsparse", deepsparse_engine(graph, batch, self._threads, stack)


def has_learnt(correct: int, data: Dataset) -> bool:
    """Whether so many right answers of the test are more than naming one class and luck make."""
    n, most = len(data.test_y), int(np.bincount(data.test_y).max())
    return correct > most + LEAST_LEARNT * (n - most)


def onnx_mapping() -> ModuleType:
    """Return `onnx.mapping` as it was before onnx 1.18: types of tensors, and NumPy's for them."""
    helper, module = peer_package("onnx.helper"), ModuleType("onnx.mapping")
    known = {tensor_type: helper.tensor_dtype_to_np_dtype(tensor_type) for tensor_type in helper.get_all_tensor_dtypes()}
    vars(module).update(
        TENSOR_TYPE_TO_NP_TYPE=known, NP_TYPE_TO_TENSOR_TYPE={b: a for a, b in known.items()}, TENSOR_TYPE_MAP={}
    )
    return module


def deepsparse_engine(graph: bytes, batch: int, threads: int, stack: ExitStack) -> Call:
    """Return calls of DeepSparse's engine, which is compiled for the batch and reads the graph from a file.

    DeepSparse 1.8, the last one with an engine, asks for a module that onnx has no more since 1.18.
    """
    os.environ.setdefault("NM_DISABLE_ANALYTICS", "1")
    sys.modules.setdefault("onnx.mapping", onnx_mapping())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (folder / "network.onnx").write_bytes(graph)
    engine = peer_package("deepsparse").compile_model(str(folder / "network.onnx"), batch_size=batch, num_cores=threads)

    def call(x: Float32) -> Any:
        (found,) = engine.run([x])  # made for NumPy 1: in NumPy 2 it reads a size of items of 0, and from that strides of 0
        return as_strided(found, found.shape, (4 * found.shape[1], 4)) if found.strides == (0, 0) else found

    return call

"""Networks of 60 layers of relu learn with the first weights and the recipe that deep1024 has, and keep to both.

It takes ten seconds where PyTorch is installed, for it trains networks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import sparsednn
from experiments.config.resolve import Config
from experiments.config.schema import ExperimentConfig
from experiments.config.source_schema import InputConfig
from experiments.sweeps.trained import benchmark, datasets
from experiments.sweeps.trained.architectures import ARCHITECTURES, DEEP, TOY, Architecture, looks_linear, mlp
from experiments.sweeps.trained.training import Trainer, magnitude_masks, outputs_of
from tests.experiments.toys import COMPILED_ONLY

NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnx") is None,
    reason="PyTorch or onnx (extra torch) is not installed",
)
WIDTHS = (32,) * 60
FEW = Architecture(looks_linear(mlp(*WIDTHS)), "dense 60 x 32", 398, 25, 25, recipe=replace(DEEP, learning_rate=1e-3))


def digits() -> datasets.Dataset:
    return datasets.load(Config(input=InputConfig(name="digits")))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Have PyTorch wait for no other thread: layers are small, and cores may be shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def right(variant: Any, data: datasets.Dataset) -> float:
    import torch

    return float((outputs_of(torch, variant.module, data.test_x).argmax(1) == data.test_y).mean())


@NEEDS_TORCH
@pytest.mark.usefixtures("one_thread")
def test_sixty_layers_learn_and_are_imported() -> None:
    import torch

    data = digits()
    plain = replace(FEW, build=mlp(*WIDTHS))
    assert right(next(Trainer(torch, plain, data, 1).variants([])), data) < 0.2, "PyTorch's own first weights stay at chance"
    dense, pruned = Trainer(torch, FEW, data, 1).variants([0.5], two_steps=False)
    assert right(dense, data) > 0.6
    assert right(pruned, data) > 0.6
    model = sparsednn.from_torch(pruned.module, data.shape)
    assert len(model.network.layers) == 61
    flat = data.test_x.reshape(len(data.test_x), -1)
    found = sparsednn.infer(model.network, flat, backend="scipy_reference", output=True).output
    assert found is not None
    expected = outputs_of(torch, pruned.module, data.test_x)
    assert np.abs(found.toarray() - expected).max() < 5e-5 * np.abs(expected).max()


@NEEDS_TORCH
def test_first_weights_make_an_orthogonal_map_of_all_layers() -> None:
    import torch

    torch.manual_seed(1)
    module = looks_linear(mlp(64, 64, 64))(torch, (20,), 10)
    x = np.random.default_rng(1).normal(size=(40, 20)).astype(np.float32)
    outputs = outputs_of(torch, module, x)
    linear, *_ = np.linalg.lstsq(x, outputs, rcond=None)
    assert np.abs(x @ linear - outputs).max() < 1e-5, "relu bends nothing"
    weights = [part.weight.detach().numpy() for part in module if isinstance(part, torch.nn.Linear)]
    for weight in weights[1:-1]:
        half = weight[:32, :32].astype(np.float64)
        assert np.abs(half @ half.T - np.eye(32)).max() < 1e-5
        assert np.array_equal(weight, np.block([[weight[:32, :32], weight[:32, 32:]]] * 2) * np.repeat([[1], [-1]], 32, axis=0))
    assert np.ptp(weights[0].sum(0)) < 1e-4


@NEEDS_TORCH
def test_the_recipe_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    seen, step = [], torch.optim.Adam.step

    def spied(self: Any, *args: Any) -> Any:
        (group,) = self.param_groups
        norm = torch.cat([parameter.grad.flatten() for parameter in group["params"]]).norm()
        seen.append((group["lr"], float(norm)))
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", spied)
    recipe = replace(DEEP, warm_up=4, longest=0.01)
    toy = replace(TOY["toy mlp"], epochs=3, fine_tuning=1, recipe=recipe)
    trainer = Trainer(torch, toy, digits(), 1, 256)
    dense, pruned = trainer.variants([0.8], two_steps=False)
    del dense
    assert [rate for rate, _ in seen] == pytest.approx([2.5e-5, 5e-5, 7.5e-5, 1e-4, 1e-4, 1e-4, 2.5e-5, 5e-5])
    assert max(norm for _, norm in seen) == pytest.approx(0.01, rel=1e-3)
    assert pruned.sparsity == 0.8


@NEEDS_TORCH
def test_layers_keep_their_norms_when_they_are_pruned() -> None:
    import torch

    none = replace(TOY["toy mlp"], epochs=0, fine_tuning=0, recipe=DEEP)
    data = digits()
    (dense,) = Trainer(torch, none, data, 1).variants([], two_steps=False)
    masks = magnitude_masks(torch, dense.module, 0.9)
    (pruned,) = Trainer(torch, none, data, 1).variants([0.9], dense=False, two_steps=False)
    for name, mask in masks.items():
        before, after = (one.module.get_parameter(name).detach().numpy() for one in (dense, pruned))
        kept = before * mask.numpy()
        assert np.allclose(after, kept * (np.linalg.norm(before) / np.linalg.norm(kept)), rtol=1e-5)


@COMPILED_ONLY
@NEEDS_TORCH
def test_networks_at_chance_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark.TOY, "toy mlp", replace(TOY["toy mlp"], epochs=0, fine_tuning=0))
    config = Config(threads=1, repeats=1, input=InputConfig(name="digits"))
    figures = benchmark.benchmark(config, ExperimentConfig(toy=True), lambda done, total: None)
    assert (figures["networks"], figures["settings"]) == ([], [])
    left_out = [line for line in figures["left_out"] if line.startswith("toy mlp")]
    assert len(left_out) == 3
    assert left_out[0].startswith("toy mlp, 0 % is left out: it has learnt nothing, and is right about ")
    assert figures["failed"] == ["there is no network that takes these instances and has learnt from them"]


def test_chance_is_what_naming_one_class_makes() -> None:
    x = np.zeros((10, 1), np.float32)
    for labels, least in ((np.arange(10), 2), ([0] * 5 + [1] * 5, 6), ([0] * 10, 11)):
        data = datasets.Dataset("some", x, np.zeros(10, np.int64), x, np.asarray(labels))
        assert [benchmark.has_learnt(correct, data) for correct in (least - 1, least)] == [False, True]


def test_the_deep_network_is_one_of_those_that_can_be_chosen() -> None:
    assert "deep1024" in benchmark.choices(False)["networks"]
    assert "deep1024" not in benchmark.choices(True)["networks"]
    assert ARCHITECTURES["deep1024"].takes((5000,))

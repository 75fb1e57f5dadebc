"""The benchmark of trained networks trains what it says, checks what it measures, and is left out where PyTorch is missing.

It takes tens of seconds where PyTorch is installed, for it trains networks.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import sparsednn
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import ExperimentConfig
from experiments.config.source_schema import InputConfig
from experiments.figures.trained_networks import draw, networks_of
from experiments.launch.without_running import Elsewhere
from experiments.records.read import read_points
from experiments.sweeps import benchmarks, suite
from experiments.sweeps.experiment import RunContext
from experiments.sweeps.trained import benchmark, datasets
from experiments.sweeps.trained.architectures import ARCHITECTURES, TOY
from experiments.sweeps.trained.training import Trainer, magnitude_masks, neuron_masks, outputs_of
from sparsednn.data import labelled
from sparsednn.errors import DataError, OptionError
from tests.experiments.made_up import made_up, write_all
from tests.experiments.toys import COMPILED_ONLY, record, run

NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnx") is None,
    reason="PyTorch or onnx (extra torch) is not installed",
)
SHAPE = (1, 12, 12)
LARGE = ("mlp1024", "deep1024")


@COMPILED_ONLY
@NEEDS_TORCH
@pytest.mark.timeout(900)  # PyTorch is slow where cores are shared
def test_networks_are_trained_measured_and_drawn(tmp_path: Path) -> None:
    done = run("experiment=trained_networks", "experiment.toy=true", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    found = record(tmp_path / "0")["trained_networks"]
    assert found["failed"] == []
    assert found["data"] == {"name": "digits, a third of them for the test", "shape": [1, 8, 8], "training": 398, "test": 199}
    assert [one["family"] for one in found["networks"]] == ["toy mlp", "toy mlp", "toy mlp, two steps"]
    dense, pruned, twice = found["networks"]
    assert dense["nonzero_weights"] == dense["connections"] == 64 * 32 + 32 * 16 + 16 * 10
    assert pruned["nonzero_weights"] == round(0.2 * dense["weights"])
    assert twice["nonzero_weights"] <= 0.25 * dense["weights"]
    for one in found["networks"]:
        assert one["correct"] == one["correct_torch"] > 0.8 * one["of"]
        assert one["difference"] < 1e-6
    for setting in found["settings"]:
        assert {"sparsednn", "torch dense"} <= set(setting["seconds"])
        assert all(len(times["p50"]) == 2 for times in setting["seconds"].values())
    drawn = pd.read_csv(tmp_path / "trained_networks.csv")
    assert set(drawn["accuracy"]) == {one["correct"] / one["of"] for one in found["networks"]}
    assert (tmp_path / "trained_networks.png").read_bytes().startswith(b"\x89PNG")


def test_deepsparse_finds_the_types_of_tensors_that_onnx_had() -> None:
    import onnx

    mapping = benchmark.onnx_mapping()
    assert mapping.TENSOR_TYPE_TO_NP_TYPE[onnx.TensorProto.FLOAT] == np.float32
    assert mapping.NP_TYPE_TO_TENSOR_TYPE[np.dtype(np.int64)] == onnx.TensorProto.INT64


@NEEDS_TORCH
def test_variants_are_only_those_that_were_asked_for() -> None:
    import torch

    def made(*asked: Any) -> list[tuple[str, float]]:
        data = datasets.load(Config(input=InputConfig(name="digits")))
        return [(one.pruning, round(one.sparsity, 2)) for one in Trainer(torch, TOY["toy mlp"], data, 1, 64).variants(*asked)]

    assert made([0.9], False, False) == [("magnitude", 0.9)]
    assert made([], True, False) == [("none", 0.0)]
    assert [pruning for pruning, _ in made([0.9])] == ["none", "magnitude", "two steps"]


def test_what_is_chosen_is_one_of_the_networks_and_sparsities() -> None:
    for text, said in (
        ("networks=[mlp30]", "experiment.networks=mlp30: did you mean mlp?"),
        ("sparsities=[0.85]", "experiment.sparsities=0.85: "),
    ):
        done = run("experiment=crossover", f"experiment.{text}")
        assert done.returncode == 1
        assert said in done.stderr
    done = run("experiment=crossover", "experiment.networks=[challenge]", "experiment.sparsities=[0.9]")
    assert done.returncode == 1
    assert "experiment.networks=['challenge'] has none of these" in done.stderr
    for name in ("ablation", "roofline"):
        done = run(f"experiment={name}", "experiment.networks=[mlp]")
        assert done.returncode == 1
        assert "experiment.networks=['mlp']: " in done.stderr


@NEEDS_TORCH
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in LARGE])
def test_each_network_can_be_pruned_both_ways_and_imported(name: str) -> None:
    import torch

    torch.manual_seed(3)
    module = ARCHITECTURES[name].build(torch, SHAPE, 4)
    x = np.random.default_rng(1).random((5, *SHAPE), np.float32)
    module.train()(torch.from_numpy(x))  # batch norms see something
    masks = neuron_masks(torch, module, 0.25, magnitude_masks(torch, module, 0.75))
    for parameter_name, parameter in module.named_parameters():
        if parameter_name in masks:
            parameter.data *= masks[parameter_name]
    module.eval()
    model = sparsednn.from_torch(module, SHAPE)
    output = sparsednn.infer(model.network, x.reshape(5, -1), backend="scipy_reference", output=True).output
    assert output is not None
    expected = outputs_of(torch, module, x)
    assert np.ptp(expected) > 0
    assert np.abs(output.toarray() - expected).max() < 1e-5 * max(np.abs(expected).max(), 1)


@NEEDS_TORCH
def test_the_smallest_weights_go_over_all_layers() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    masks = magnitude_masks(torch, module, 0.7)
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters() if "weight" in name}
    limit = np.sort(np.abs(np.concatenate([one.ravel() for one in weights.values()])))[round(0.7 * 36)]
    assert set(masks) == set(weights)
    for name, weight in weights.items():
        assert np.array_equal(masks[name].numpy(), np.abs(weight) >= limit)


@NEEDS_TORCH
def test_the_weakest_neurons_are_always_zero_and_classes_stay() -> None:
    import torch

    torch.manual_seed(1)
    nn = torch.nn
    module = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 3))
    module[1].bias.data += 1
    strength = module[0].weight.detach().abs().sum((1, 2, 3)).numpy()
    masks = neuron_masks(torch, module, 0.25, magnitude_masks(torch, module, 0.0))
    for name, parameter in module.named_parameters():
        if name in masks:
            parameter.data *= masks[name]
    channels = module[:3].eval()(torch.rand(2, *SHAPE)).detach().numpy().max(axis=(0, 2, 3))
    assert set(np.flatnonzero(channels == 0)) == set(np.argsort(strength)[:2])
    assert masks["4.weight"].min() == 1


@NEEDS_TORCH
def test_the_same_seed_trains_the_same_network() -> None:
    import torch

    data = datasets.load(Config(input=InputConfig(name="digits")))

    def weights(seed: int) -> list[bytes]:
        trainer = Trainer(torch, TOY["toy mlp"], data, seed, 100)
        return [next(trainer.variants([])).module[1].weight.detach().numpy().tobytes()]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@COMPILED_ONLY
@NEEDS_TORCH
def test_logits_that_are_not_those_of_pytorch_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "outputs_of", lambda torch, module, x: outputs_of(torch, module, x) + np.float32(0.01))
    config = Config(threads=1, repeats=1, instances=100, input=InputConfig(name="digits"))
    figures = benchmark.benchmark(config, ExperimentConfig(toy=True), lambda done, total: None)
    assert len(figures["failed"]) == 3
    assert figures["failed"][0].startswith("toy mlp, 0 %: logits differ from PyTorch's by ")


def test_without_pytorch_it_is_refused_and_smoke_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "is_installed", lambda package: package != "torch")
    with pytest.raises(ConfigError, match=r"torch is not installed, .*: pip install -e '\.\[torch\]'"):
        benchmark.require_usable()
    monkeypatch.setattr(benchmarks, "find_spec", lambda package: None)
    said = io.StringIO()
    console = Console(file=said, width=200)
    context = RunContext(console, print, Elsewhere(console))
    members = [ExperimentConfig(name=name, benchmark=name) for name in ("trained_networks", "roofline")]
    members.append(ExperimentConfig(name="peers"))
    assert [member.name for member in suite._that_can_be_run(members, "smoke", context)] == ["roofline", "peers"]
    assert said.getvalue() == "experiment smoke: left out: trained_networks: not installed: torch, onnx\n"


def config_of(path: Path, **given: Any) -> Config:
    return Config(input=InputConfig(name="npz", path=str(path), **given))


def test_instances_are_parted_once_and_for_all(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    images = np.arange(9 * 4 * 5 * 3, dtype=np.uint16).reshape(9, 4, 5, 3)
    np.savez(path, x=images, y=np.arange(9) % 3)
    data = datasets.load(config_of(path, scale=2.0, layout="hwc"))
    assert (data.shape, data.n_classes, len(data.x), len(data.test_x)) == ((3, 4, 5), 3, 6, 3)
    every = np.concatenate([data.x, data.test_x])
    order = np.argsort(every[:, 0, 0, 0])
    assert np.array_equal(every[order], images.transpose(0, 3, 1, 2) / 2), "each of them once"
    assert np.array_equal(np.concatenate([data.y, data.test_y])[order], np.arange(9) % 3)
    again = datasets.load(config_of(path, scale=2.0, layout="hwc"))
    assert np.array_equal(again.test_x, data.test_x)
    means, deviations = np.float32([1, 2, 3])[:, None, None], np.float32([2, 4, 8])[:, None, None]
    standard = datasets.load(config_of(path, scale=2.0, mean=[1, 2, 3], std=[2.0, 4.0, 8.0], layout="hwc"))
    assert np.array_equal(standard.test_x, (data.test_x - means) / deviations)
    with pytest.raises(OptionError, match="mean has 2 numbers"):
        datasets.load(config_of(path, scale=2.0, mean=[1, 2], layout="hwc"))


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 3, 5), np.float32)
    np.savez(tmp_path / "own.npz", x=images, y=np.arange(6) % 2)
    data = datasets.load(config_of(tmp_path / "own.npz", mean=0.5, layout="hwc"))
    assert data.shape == (1, 3, 5)
    assert np.array_equal(np.sort(np.concatenate([data.x, data.test_x]), None), np.sort(images - np.float32(0.5), None))


def test_mnist_has_a_test_set_of_its_own() -> None:
    data = datasets.load(Config(input=InputConfig(name="mnist")))
    images, labels = labelled.mnist_test()
    assert (data.x.shape, data.y.shape) == ((60_000, 1, 28, 28), (60_000,))
    assert np.array_equal(np.rint(data.test_x[:, 0] * 255), images)
    assert np.array_equal(data.test_y, labels)
    assert np.bincount(data.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], "as published"


@pytest.mark.parametrize(
    ("arrays", "given", "message"),
    [
        pytest.param({"x": np.full((9, 4), 7)}, {}, "has no labels to train with; give them: input.labels=FILE", id="labels"),
        pytest.param({"x": np.full((9, 4), 7), "y": np.zeros(9, int)}, {}, "integers up to 7; .* input.scale=255", id="scale"),
        pytest.param({"x": np.full((9, 4), np.nan), "y": np.zeros(9, int)}, {}, "not finite", id="not a number"),
        pytest.param({"x": np.zeros((9, 4)), "y": np.zeros(8, int)}, {}, "there are 9 instances", id="fewer labels"),
        pytest.param({"x": np.zeros((2, 4)), "y": np.zeros(2, int)}, {}, "three or more are needed", id="two"),
    ],
)
def test_instances_that_cannot_be_trained_on_are_refused(
    arrays: dict[str, Any], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises((ConfigError, DataError), match=message):
        datasets.load(config_of(tmp_path / "own.npz", **given))


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="input=challenge: experiment=trained_networks needs labelled instances: input=mnist"):
        datasets.load(Config())


def made_up_figures(correct: int = 90) -> dict[str, Any]:
    network = {"network": "mlp", "weights": 100, "connections": 90, "layers": 2, "instances": 8, "epochs": 3}
    network |= {"correct": correct, "correct_torch": correct, "of": 100, "difference": 1e-7}
    kinds = {("mlp", 0.0): "none", ("mlp", 0.9): "magnitude", ("mlp, two steps", 0.8): "two steps"}
    networks = [
        network | {"family": family, "pruning": by, "sparsity": sparsity, "nonzero_weights": round(100 - 100 * sparsity)}
        for (family, sparsity), by in kinds.items()
    ]
    seconds = {"sparsednn": {"p50": [1.0, 1.0]}, "torch dense": {"p50": [3.0, 3.0]}}
    settings = [
        {"family": family, "sparsity": sparsity, "batch": batch, "connections": 9, "seconds": seconds}
        for family, sparsity in kinds
        for batch in (1, 64)
    ]
    data = {"name": "some", "shape": [4], "training": 8, "test": 100}
    training = {"optimizer": "Adam", "learning_rate": 0.001, "batch": 4, "seed": 1, "torch": "2"}
    return {"data": data, "training": training, "networks": networks, "settings": settings, "left_out": ["x is left out"]}


def test_the_figure_shows_what_records_say(tmp_path: Path) -> None:
    records = [
        made_up("benchmark", "trained_networks", figure="trained_networks", trained_networks=made_up_figures())
        for _ in range(2)
    ]
    drawing = draw(read_points("trained_networks", [write_all(tmp_path, records)]))
    accuracy, *times = drawing.figure.axes
    assert [axes.get_ylabel() for axes in drawing.figure.axes] == ["accuracy (%)", "1 instances (us)", "64 instances (us)"]
    assert [float(x) for x in accuracy.get_lines()[0].get_xdata()] == pytest.approx([100, 10])
    for axes in times:
        assert [float(y) for line in axes.get_lines() for y in line.get_ydata()] == [1e6] * 3 + [3e6] * 3
    assert drawing.data["accuracy"].tolist() == [0.9] * 12
    assert set(drawing.data["ratio"].dropna()) == {3.0}


def test_records_of_other_networks_are_not_joined(tmp_path: Path) -> None:
    records = [
        made_up("benchmark", "trained_networks", figure="trained_networks", trained_networks=made_up_figures(correct))
        for correct in (90, 91)
    ]
    with pytest.raises(ConfigError, match="its records are of networks that were trained differently"):
        networks_of(read_points("trained_networks", [write_all(tmp_path, records)]))

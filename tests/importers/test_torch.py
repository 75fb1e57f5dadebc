"""Modules of PyTorch give the logits that PyTorch gives: masks left in, batch norms, residuals."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled
from sparsednn.errors import SparseDnnError
from sparsednn.importers.onnx_graph.graph import read_graph

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: the extra torch")


@pytest.fixture(scope="module")
def torch() -> Any:
    return importlib.import_module("torch")


def assert_same_logits(torch: Any, module: Any, shape: tuple[int, ...], n: int = 5) -> sparsednn.Model:
    """In evaluation mode; within 1e-6 of the largest logit."""
    x = torch.randn((n, *shape), generator=torch.Generator().manual_seed(4))
    model = sparsednn.from_torch(module, shape)
    module.eval()
    with torch.no_grad():
        expected = module(x).numpy()
    with model.compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled.logits(x), expected, atol=1e-6 * float(np.abs(expected).max()), rtol=0)
    return model


def digits_module(torch: Any, name: str) -> Any:
    """The layers that the ONNX file was exported from, with its weights."""
    constants = read_graph(labelled.digits_network(name)).constants
    nn = torch.nn
    if name == "cnn_80":
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1),
                  nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)]  # fmt: skip
        layers[1] = nn.Identity()  # folded into the convolution when it was exported
    else:
        layers = [nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                  nn.Linear(64, 10)]  # fmt: skip
    module = nn.Sequential(*layers)
    given = [torch.tensor(array) for array in constants.values() if array.dtype == np.float32]
    for parameter in module.parameters():
        match = next(array for array in given if array.shape == parameter.shape)
        given = [array for array in given if array is not match]
        parameter.data.copy_(match)
    return module


@needs_torch
@pytest.mark.parametrize(("name", "correct"), [("mlp_80", 557), ("mlp_90", 550), ("mlp_95", 545), ("cnn_80", 550)])
def test_digits_networks_read_as_many_digits(torch: Any, name: str, correct: int) -> None:
    images, labels = labelled.digits_test()
    module = digits_module(torch, name)
    model = assert_same_logits(torch, module, (1, 8, 8))
    with model.compile(threads=1) as compiled:
        assert compiled.accuracy(images, labels).correct == correct


def pruned(torch: Any, module: Any, share: float) -> Any:
    """Prune all layers with weights, and leave the masks in."""
    for part in module.modules():
        if isinstance(part, torch.nn.Linear | torch.nn.Conv2d):
            torch.nn.utils.prune.l1_unstructured(part, "weight", share)
    return module


@needs_torch
def test_masks_that_were_not_removed_are_applied(torch: Any) -> None:
    importlib.import_module("torch.nn.utils.prune")
    torch.manual_seed(1)
    nn = torch.nn
    module = pruned(torch, nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 4)), 0.8)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = assert_same_logits(torch, module, (20,))
    assert model.network.nnz == 120 + 24
    assert model.provenance.nonzero_weights == 144
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert model.check(np.ones((2, 20), np.float32))


@needs_torch
def test_a_residual_network_in_training_mode_is_imported_as_it_evaluates(torch: Any) -> None:
    nn, functional = torch.nn, torch.nn.functional

    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
            self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
            self.down, self.end = nn.Conv2d(6, 8, 1, stride=2), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            x = functional.relu6(self.norm(self.stem(x)))
            y = torch.relu(self.first(x)) + x
            z = functional.leaky_relu(self.second(y) + self.down(x), 0.1)
            z = functional.dropout(functional.adaptive_avg_pool2d(z, 1), 0.5, self.training)
            return self.end(z.view(z.size(0), -1))

    torch.manual_seed(2)
    module = Residual()
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    module.norm.eval()
    modes = [part.training for part in module.modules()]
    sparsednn.from_torch(module, (3, 7, 7))
    assert [part.training for part in module.modules()] == modes
    assert_same_logits(torch, module, (3, 7, 7))


@needs_torch
def test_a_softmax_at_the_end_is_the_model_s(torch: Any) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
    model = sparsednn.from_torch(module, (4,))
    assert (model.postprocess, model.output_shape, model.input_name) == ("softmax", (3,), "input")
    with model.compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled(np.ones((2, 4), np.float32)).sum(axis=1), 1, rtol=1e-6)


@needs_torch
def test_what_cannot_be_imported_is_refused_in_a_line(torch: Any) -> None:
    nn = torch.nn

    class Mixing(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x - x.mean(0, keepdim=True)

    cases: list[tuple[Any, Any, str]] = [
        (nn.Linear(4, 3), (5,), r"PyTorch cannot export the module for an input of shape \(1, 5\)"),
        (nn.Sequential(nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, 2)), (4,), "Softplus.*no layer for this operator"),
        (Mixing(), (4,), "along the batch"),
        ({"weight": 1}, (4,), r"not dict; .*torch\.load\(path, weights_only=True\)"),
        ("model.pt", (4,), "the program in model.pt has its own; leave it out"),
        (nn.Linear(4, 3), 4, "input_shape=4: the shape of one instance is needed"),
        (nn.Linear(4, 3), (4, 0), "input_shape=0: must be at least 1"),
    ]
    for module, shape, message in cases:
        with pytest.raises(SparseDnnError, match=message) as caught:
            sparsednn.from_torch(module, shape)
        assert "\n" not in str(caught.value)


@needs_torch
def test_tensors_are_weights_and_batches(torch: Any) -> None:
    """Weights with gradients, and of the precision that training had; batches on the CPU."""
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)).double()
    weights, biases = [module[0].weight, module[2].weight], [module[0].bias, module[2].bias]
    network = sparsednn.Network.from_dense(weights, biases, layout="out_in")
    x = torch.randn(3, 6)
    with sparsednn.Model(network=network).compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled(x), module(x.double()).detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="layer 1: Tensor cannot be read where it is"):
        sparsednn.Network.from_dense([module[0].weight.bfloat16()], layout="out_in")


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"from_torch needs PyTorch .*sparsednn\[torch\]"):
        sparsednn.from_torch(None, (1,))

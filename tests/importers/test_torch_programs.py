"""Programs that torch.export has saved: read without PyTorch, with its answers; nothing in a file is unpickled or run."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled
from sparsednn.errors import SparseDnnError
from tests.archives import compressed_by_unknown_means
from tests.importers.torch_programs import FILES, residual, saved

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch: the extra torch")


@pytest.fixture(scope="module")
def torch() -> Any:
    return importlib.import_module("torch")


def test_digits_are_read_as_the_module_reads_them_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    images, labels = labelled.digits_test()
    model = sparsednn.from_torch(FILES / "cnn_80.pt2")
    assert (model.input_shape, model.output_shape) == ((1, 8, 8), (10,))
    assert model.provenance.file == str(FILES / "cnn_80.pt2")
    with model.compile(threads=1) as compiled:
        found = compiled.accuracy(images, labels)
    assert (found.correct, found.of) == (550, 597)
    assert model.check(images[:2])


def test_a_residual_network_with_a_mask_left_in_gives_the_probabilities_that_pytorch_gave() -> None:
    expected = np.load(FILES / "residual.npz")
    model = sparsednn.from_torch(str(FILES / "residual.pt2"))
    assert model.postprocess == "softmax"
    with model.compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled(expected["x"]), expected["y"], atol=1e-6)


def changed(path: Path, change: Callable[[dict[str, Any]], Any], member: str = "models/model.json") -> Path:
    """A copy of a program with another JSON in it; None: without that."""
    with zipfile.ZipFile(FILES / "residual.pt2") as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(member):
                value = json.loads(content)
                value = change(value) or value
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
            copy.writestr(name, content)
    return path


def graph(program: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = program["graph_module"]["graph"]
    return found


def node(program: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in graph(program)["nodes"] if one["name"] == name)


def size(program: dict[str, Any], tensor: str, axis: int, value: Any) -> None:
    graph(program)["tensor_values"][tensor]["sizes"][axis] = value


def argument(program: dict[str, Any], of: str, name: str, value: Any) -> None:
    arguments = node(program, of)["inputs"]
    arguments[:] = [one for one in arguments if one["name"] != name] + [{"name": name, "arg": value, "kind": 1}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda p: p["schema_version"].update(major=9), "has version 9 of the format, 8 is known", id="version"),
        pytest.param(lambda p: node(p, "relu6").update(target="torch.ops.aten.sin.default"),
                     "node 'relu6': there is nothing for 'torch.ops.aten.sin.default'; those that", id="operator"),
        pytest.param(lambda p: node(p, "relu6").update(target="torch.hub.load"), "there is nothing for 'torch.hub.load'",
                     id="no operator"),
        pytest.param(lambda p: node(p, "relu6").update(target="os.system"), "there is nothing for 'os.system'", id="a program"),
        pytest.param(lambda p: argument(p, "relu6", "self", {"as_tensor": {"name": "softmax"}}),
                     r"node 'relu6' \(relu6\): takes 'softmax', which no node before it makes", id="a circle"),
        pytest.param(lambda p: argument(p, "batch_norm", "training", {"as_bool": True}), "is in training mode: export the",
                     id="training mode"),
        pytest.param(lambda p: argument(p, "max_pool2d", "ceil_mode", {"as_bool": True}), "has ceil_mode=True", id="ceil mode"),
        pytest.param(lambda p: argument(p, "leaky_relu", "negative_slope", {"as_float": "Infinity"}), "is no finite number",
                     id="an infinite slope"),
        pytest.param(lambda p: argument(p, "conv2d", "stride", {"as_ints": [1.5, 1]}), "stride is no list of whole numbers",
                     id="half a stride"),
        pytest.param(lambda p: argument(p, "conv2d", "stride", {"as_ints": [10**12, 1]}), "node 'conv2d'", id="far"),
        pytest.param(lambda p: graph(p).__delitem__("nodes"), "its program is damaged: KeyError: 'nodes'", id="no nodes"),
        pytest.param(lambda p: graph(p).update(nodes=[]), "no node makes the output, 'softmax', of the input", id="nothing"),
        pytest.param(lambda p: p["graph_module"]["signature"]["input_specs"].__delitem__(-1), "has 0 inputs", id="no input"),
        pytest.param(lambda p: p["graph_module"]["signature"]["input_specs"].append({"custom_obj": {}}),
                     "has an input of the kind 'custom_obj'", id="an object"),
        pytest.param(lambda p: p["graph_module"]["signature"]["output_specs"].append({"buffer_mutation": {}}),
                     "has 2 outputs, or changes its parameters", id="a mutation"),
        pytest.param(lambda p: size(p, "x", 2, {"as_expr": {"expr_str": "__import__('os')"}}),
                     r"its input has the sizes \[1, 1, None, 8\] \(None: any\); all but the first", id="an expression"),
        pytest.param(lambda p: size(p, "x", 2, {"as_int": 10**15}), "its input has the sizes", id="a size beyond all"),
        pytest.param(lambda p: size(p, "flatten", 1, {"as_int": 7}), "cannot give the shape", id="a shape that lies"),
        pytest.param(lambda p: b"[1, 2]", "models/model.json is no mapping", id="a list"),
        pytest.param(lambda p: b"{", "models/model.json is no JSON", id="no JSON"),
        pytest.param(lambda p: b"[" * 100_000, "models/model.json is no JSON", id="a deep hole"),
    ],
)  # fmt: skip
def test_programs_that_are_wrong_are_one_line(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.from_torch(changed(tmp_path / "p.pt2", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: t.update(use_pickle=True), "tensor 'last.bias': is pickled, sparse or of an", id="pickle"),
        pytest.param(lambda t: t["tensor_meta"].update(dtype=11), "is pickled, sparse or of an unknown type", id="complex"),
        pytest.param(lambda t: t["tensor_meta"].update(storage_offset={"as_int": 3}), "the shape .10., but holds 10 numbers",
                     id="outside what is stored"),
        pytest.param(lambda t: t["tensor_meta"].update(sizes=[{"as_int": 10**12}], strides=[{"as_int": 0}]), "needs .* GB, but",
                     id="one number for many"),
        pytest.param(lambda t: t["tensor_meta"].update(strides=[{"as_int": -1}]), "-1.* is no size", id="backwards"),
        pytest.param(lambda t: t.update(path_name="../../../secret"), "has no 'data/weights/../../../secret'", id="elsewhere"),
    ],
)  # fmt: skip
def test_tensors_that_are_wrong_are_one_line(change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path) -> None:
    def of_bias(config: dict[str, Any]) -> None:
        change(config["config"]["last.bias"])

    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.from_torch(changed(tmp_path / "p.pt2", of_bias, "model_weights_config.json"))
    assert "\n" not in str(caught.value)


class Bomb:
    """Unpickling it fails the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("something was unpickled",)


def test_programs_of_an_unknown_compression_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(compressed_by_unknown_means((FILES / "residual.pt2").read_bytes()))
    with pytest.raises(SparseDnnError, match=r"x\.pt2: models/model\.json cannot be read: .*compression"):
        sparsednn.from_torch(path)


def test_pickles_and_other_files_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    with zipfile.ZipFile(tmp_path / "state.pt", "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps(Bomb()))
    (tmp_path / "cut.pt2").write_bytes((FILES / "residual.pt2").read_bytes()[:3000])
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w"):
        pass
    (tmp_path / "folder").mkdir()
    for name, message in (
        ("plain.pt", "no program of torch.export, which are .pt2 files"),
        (
            "state.pt",
            "holds a pickle, which could run any program; save the program with PyTorch 2.9 or later, as torch.export.save",
        ),
        ("cut.pt2", "no program of torch.export"),
        ("empty.pt2", "holds 0 programs"),
        ("none.pt2", "no such file"),
        ("folder", "is a folder"),
    ):
        with pytest.raises(SparseDnnError) as caught:
            sparsednn.from_torch(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {message}")
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="the program in .* has its own; leave it out"):
        sparsednn.from_torch(FILES / "cnn_80.pt2", (1, 8, 8))


def operators(torch: Any) -> dict[str, Callable[[Any], Any]]:
    f = torch.nn.functional
    return {
        "clamp": lambda x: x.clamp(-0.5, 0.7), "clamp at one end": lambda x: x.clamp(min=-0.2), "abs": torch.abs,
        "hardtanh": lambda x: f.hardtanh(x, -1, 2), "in place": lambda x: x.relu_() + 1, "hardsigmoid": f.hardsigmoid,
        "arithmetic": lambda x: (2 * x - 1) / 3 - (1 - x), "alpha": lambda x: torch.add(x, f.relu(x), alpha=3),
        "cat": lambda x: torch.cat([x, -f.relu(x)], 1), "tanh": torch.tanh, "gelu": f.gelu, "sigmoid": torch.sigmoid,
        "log softmax": lambda x: f.log_softmax(x, -1), "slice": lambda x: x[:, 2:11:3],
        "permute": lambda x: f.relu(x.view(-1, 3, 4).permute(0, 2, 1)).reshape(x.shape[0], 12),
        "transpose": lambda x: f.relu(x.view(x.size(0), 3, 4).transpose(1, 2)).flatten(1),
        "squeeze": lambda x: x.unsqueeze(1).squeeze(1) * 2,
        "mean": lambda x: x.view(-1, 3, 4).mean((1, 2), keepdim=True).flatten(1),
        "pad": lambda x: f.pad(x.view(-1, 1, 3, 4), (1, 2, 0, 1), value=0.5).flatten(1),
        "max pool": lambda x: f.max_pool1d(x.view(-1, 1, 12), 3, 2, 1).flatten(1),
        "mean pool": lambda x: f.avg_pool1d(x.view(-1, 1, 12), 3, 2, 1, count_include_pad=False).flatten(1),
        "even pool": lambda x: f.adaptive_avg_pool1d(x.view(-1, 1, 12), 4).flatten(1),
        "double": lambda x: x.to(torch.float64).to(torch.float32),
    }  # fmt: skip


@needs_torch
def test_every_operator_gives_what_pytorch_gives(torch: Any, tmp_path: Path) -> None:
    """On its own, behind a layer; as it was traced, or as PyTorch takes it apart."""

    class Behind(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, function: Callable[[Any], Any]) -> None:
            super().__init__()
            self.function, self.layer = function, torch.nn.Linear(12, 12)

        def forward(self, x: Any) -> Any:
            return self.function(self.layer(x.flatten(1)))

    torch.manual_seed(3)
    x = torch.randn(4, 3, 4)
    for number, (name, function) in enumerate(operators(torch).items()):
        module, any_batch = Behind(function), number % 2 == 0
        example = x[:3] if any_batch else x[:1]
        path = saved(torch, module, example, tmp_path / "p.pt2", any_batch=any_batch, decomposed=not any_batch)
        with torch.no_grad(), sparsednn.from_torch(path).compile(threads=1) as compiled:
            expected = module(x).numpy()
            found = compiled(x.numpy())
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max(), rtol=0, err_msg=name)


@needs_torch
def test_programs_of_this_pytorch_are_read(torch: Any, tmp_path: Path) -> None:
    module, x = residual(torch), torch.randn(6, 1, 8, 8)
    for decomposed in (False, True):
        path = saved(torch, module, x[:2], tmp_path / "p.pt2", decomposed=decomposed)
        with torch.no_grad(), sparsednn.from_torch(path).compile(threads=1) as compiled:
            np.testing.assert_allclose(compiled(x.numpy()), module(x).numpy(), atol=1e-6)


@needs_torch
def test_what_pytorch_saves_otherwise_is_refused(torch: Any, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    for name in ("state.pt", "script.pt"):
        with pytest.raises(ValueError, match=f"{name}: holds a pickle, which could run any program"):
            sparsednn.from_torch(tmp_path / name)
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), buffer)
    (tmp_path / "module.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="holds a pickle"):
        sparsednn.from_torch(str(tmp_path / "module.pt2"))

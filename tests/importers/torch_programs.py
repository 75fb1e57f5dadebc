"""Programs that tests read: ``python -m tests.importers.torch_programs`` (with PyTorch) makes their files anew."""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

FILES = Path(__file__).with_name("files")


def saved(torch: Any, module: Any, example: Any, path: Path, *, any_batch: bool = True, decomposed: bool = False) -> Path:
    """Save a module as PyTorch does, for batches of any size or of the example's."""
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if any_batch else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), (example,), **shapes)
        torch.export.save(program.run_decompositions() if decomposed else program, path)
    return path


def residual(torch: Any) -> Any:
    """Most operators of images: groups, strides, batch norm, a residual sum, pools, and a mask that pruning has left in."""
    nn = torch.nn

    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.grouped = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2, bias=False)
            self.short, self.last = nn.Conv2d(4, 8, 1, stride=2), nn.Linear(8, 10)
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)
            importlib.import_module("torch.nn.utils.prune").l1_unstructured(self.last, "weight", 0.5)

        def forward(self, x: Any) -> Any:
            f = nn.functional
            x = f.max_pool2d(f.relu6(self.norm(self.first(x))), 2)
            x = f.leaky_relu(self.grouped(x) + self.short(x), 0.1)
            x = f.adaptive_avg_pool2d(f.avg_pool2d(x, 2, stride=1), 1)
            return f.softmax(self.last(f.dropout(torch.flatten(x, 1), training=self.training)), dim=1)

    return Residual()


def stripped(path: Path) -> None:
    """Take out what only PyTorch reads: where the program was traced, with paths, and its example, a pickle."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if "/sample_inputs/" not in name}
    [model] = [name for name in members if name.endswith("models/model.json")]
    program = json.loads(members[model])
    for node in program["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    members[model] = json.dumps(program, separators=(",", ":")).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def main() -> None:
    """Make the files."""
    from tests.importers.test_torch import digits_module

    torch: Any = importlib.import_module("torch")
    torch.manual_seed(7)
    FILES.mkdir(exist_ok=True)
    stripped(saved(torch, digits_module(torch, "cnn_80"), torch.zeros(2, 1, 8, 8), FILES / "cnn_80.pt2"))
    module, x = residual(torch), torch.randn(5, 1, 8, 8)
    stripped(saved(torch, module, x[:1], FILES / "residual.pt2", any_batch=False))
    with torch.no_grad():
        np.savez_compressed(FILES / "residual.npz", x=x.numpy(), y=module(x).numpy())


if __name__ == "__main__":
    main()

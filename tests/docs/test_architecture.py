"""A row group goes the way that the page on the architecture tells: through the modules of its table, and no others."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import JIT_DISABLED
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_MODULES = 8
KERNELS = {"dense": "blocks.run_blocks", "csc": "layers.run_columns", "csr": "layers.run_rows"}
"""The kernel of each format that takes a row group through the layers: module and function."""

WALK = """
import importlib, json, sys
from pathlib import Path
import run
from experiments.config.resolve import register
from sparsednn.execution.threads import ThreadExecutor

root, walked = str(Path(run.__file__).resolve().parent) + "/", []

def walk(modules):
    frame = sys._getframe(2)
    outwards = []
    while frame is not None:
        outwards.append(frame.f_code.co_filename.removeprefix(root))
        frame = frame.f_back
    for module in [*reversed(outwards), *modules]:
        if module.startswith(("run.py", "sparsednn/", "backends/", "experiments/")) and module not in walked:
            walked.append(module)

def seen(place, name, *modules):
    original = getattr(place, name)
    def wrapper(*arguments, **options):
        if not modules:
            walked.clear()  # kernels have been warmed up
        walk(modules)
        return original(*arguments, **options)
    setattr(place, name, wrapper)

seen(ThreadExecutor, "run")
module, name = "{kernel}".rsplit(".", 1)
module = importlib.import_module(module)
seen(module, name, module.__file__.removeprefix(root))
register()
status = run.SESSION.main(run.point, sys.argv[1:])
Path("{told}").write_text(json.dumps(walked))
sys.exit(status)
"""


def modules_of_the_page(activations: str) -> list[str]:
    found = re.findall(r"^\| \d `([\w./]+)` \|", PAGE, re.MULTILINE)
    return [path.replace("FORMAT", activations) for path in found]


@pytest.mark.skipif(JIT_DISABLED, reason="takes the same way, and long")
@pytest.mark.parametrize(("kernel", "activations"), [("rowwise_first", "dense"), ("csc", "csc"), ("csr", "csr")])
def test_a_row_group_goes_the_way_of_the_page(kernel: str, activations: str, tmp_path: Path) -> None:
    told = tmp_path / "walked.json"
    code = WALK.replace("{kernel}", f"backends.numba_cpu.{activations}.kernels.{KERNELS[activations]}")
    small = [f"kernel={kernel}", "layers=6", "instances=30", "threads=1", f"hydra.run.dir={tmp_path / 'out'}"]
    done = warm.run([sys.executable, "-c", code.replace("{told}", str(told)), *small])
    assert done.returncode == 0, done.stdout + done.stderr
    walked = json.loads(told.read_text())
    expected = modules_of_the_page(activations)
    assert 0 < len(expected) <= MOST_MODULES
    before, way = walked[: walked.index(expected[0])], walked[walked.index(expected[0]) :]
    assert way[:-1] == expected[:-1]
    assert way[-1] == f"{expected[-1]}{KERNELS[activations].partition('.')[0]}.py"
    assert set(before) == {"run.py", "experiments/session.py", "experiments/launch/point.py"}, "they see no rows"

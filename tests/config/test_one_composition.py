"""Hydra composes once where nothing could set its mode, and asks its configuration for it where something could."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra

from experiments.config.one_composition import compose_once
from tests import warm

COUNT = """
import runpy, sys
from hydra._internal.hydra import Hydra
composed, compose = [], Hydra.compose_config
Hydra.compose_config = lambda *given, **more: composed.append(1) or compose(*given, **more)
sys.argv = ["run.py", *{arguments}]
try:
    runpy.run_path("run.py", run_name="__main__")
except SystemExit as end:
    print("status", end.code, "compositions", len(composed))
"""
TOY = [
    "neurons=12",
    "layers=2",
    "network.radices=[2,3]",
    "network.dense_width=2",
    "network.bias=-0.1",
    "backend=scipy_reference",
]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param([], 1, id="a run"),
        pytest.param(["hydra.mode=RUN"], 2, id="a mode"),
        pytest.param(["hydra.mode=MULTIRUN", "threads=1,2"], 2, id="a mode that sweeps"),
    ],
)
def test_compositions_of_a_call(more: list[str], expected: int, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.tsv"
    inputs.write_text("1\t3\t1.0\n2\t12\t0.5\n")
    place = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep", "input=files", f"input.path={inputs}"]
    done = warm.run([sys.executable, "-c", COUNT.format(arguments=[*TOY, *place, *more])])
    assert f"status 0 compositions {expected}" in done.stdout, done.stdout + done.stderr
    assert len(list(tmp_path.rglob("result.json"))) == (2 if "threads=1,2" in more else 1)


@pytest.mark.parametrize(
    "argument",
    ["-m", "--config-name=x", "hydra.mode=RUN", "+hydra.mode=RUN", "++hydra.mode=RUN", "hydra/launcher=joblib", "hydra={}"],
)
def test_what_could_set_a_mode_is_left_to_hydra(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Hydra.get_mode
    monkeypatch.setattr(Hydra, "get_mode", usual)  # puts it back
    compose_once(["threads=2", "hydra.run.dir=x"])
    assert Hydra.get_mode is not usual
    compose_once(["threads=2", argument])
    assert Hydra.get_mode is usual

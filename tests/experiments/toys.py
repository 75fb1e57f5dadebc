"""Experiments at toy size, as a user starts them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments.config.resolve import chosen_experiment, register
from experiments.config.schema import ExperimentConfig
from experiments.sweeps.direct_peers import is_installed
from experiments.sweeps.points import PlannedPoint, plan
from sparsednn.engine import default_threads
from tests import warm
from tests.conftest import JIT_DISABLED

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FOUND = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
NOT_RUN_HERE = {"none", "smoke", "report", "gpu_check", "process_pairs", "random_networks", "validate_simulator"}
"""Files that are no experiments of their own, or that have tests of their own: they need a GPU, processes, other libraries."""
TORCH_ONLY = set[str]() if importlib.util.find_spec("torch") else {"trained_networks"}
FEW_CORES = {"stragglers"} if default_threads() < 2 else set[str]()
"""Experiments that need more cores than there are."""
EXPERIMENTS = sorted(FOUND - NOT_RUN_HERE - TORCH_ONLY - FEW_CORES)
NEEDS = {"backend=mkl": "mkl", "backend=graphblas": "python-graphblas", "backend=torch": "torch", "processes=2": "mpi4py"}
"""Packages that optional points need, by an override of theirs, as pip calls them: MKL's has no module to look for."""

SMALL = ["instances=100"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "run.py", *arguments])


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, *arguments])


@cache
def at_toy_size(name: str) -> ExperimentConfig:
    """Return an experiment as Hydra composes it, for all tests to look at and none to change."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        experiment = chosen_experiment(compose("config", overrides=[f"experiment={name}", "experiment.toy=true"]))
    assert experiment is not None
    return experiment


SWEEPS = [name for name in EXPERIMENTS if "\nsweeps:" in (CONF / "experiment" / f"{name}.yaml").read_text()]
"""Experiments that are no benchmarks; by the text of their files, since whoever only collects tests need not wait for Hydra."""

COMPILED_ONLY = pytest.mark.skipif(JIT_DISABLED, reason="benchmarks measure compiled code")
RUNNABLE = [pytest.param(name, marks=() if name in SWEEPS else COMPILED_ONLY) for name in EXPERIMENTS]


def sweeps(text: str) -> str:
    return f"experiment.sweeps=[{text}]"


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@cache
def planned(name: str) -> list[PlannedPoint]:
    """The points of an experiment at toy size that can be run with what is installed here."""
    points = plan(at_toy_size(name), [], default_threads())
    missing = {override for override, package in NEEDS.items() if not is_installed(package)}
    return [point for point in points if not (point.optional and missing & set(point.overrides))]


def chromium() -> str | None:
    """Return the path of an installed Chromium, which looks at the report."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

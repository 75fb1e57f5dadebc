"""The check that is run once on a GPU: here on devices that are none, with all that may go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from backends.cupy_gpu.backend import CupyBackend
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import ExperimentConfig
from experiments.figures import redraw
from experiments.gpu_check import check as gpu_check
from experiments.gpu_check import probes as gpu_probes
from experiments.launch.point import run_point
from experiments.records.display import Display
from experiments.run.measure import Measured
from experiments.sweeps import benchmarks
from sparsednn.results.record import RunRecord
from tests.conftest import JIT_DISABLED
from tests.experiments.made_up import point_of_experiment
from tests.gpu import host_kernels
from tests.gpu.host_device import HostDevice

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    host_kernels.COMPILER is None or JIT_DISABLED, reason="no C++ compiler for the GPU kernels, or no JIT"
)
EXPERIMENT = ExperimentConfig(name="gpu_check", figure="gpu_check", benchmark="gpu_check", toy=True)
PASSED = {"passed": 7, "failed": 0, "skipped": 1, "seconds": 1.0, "failures": []}


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices, and a suite that passes."""

    def load(name: str) -> CupyBackend:
        assert name == "cupy"
        return CupyBackend([HostDevice(0), HostDevice(1)])

    for module in (
        "experiments.gpu_check.check",
        "experiments.gpu_check.probes",
        "experiments.run.measure",
        "experiments.run.memory_estimate",
        "experiments.run.network_cache",
    ):
        monkeypatch.setattr(f"{module}.load_backend", load)
    monkeypatch.setattr("sparsednn.engine.request.load_backend", load)
    monkeypatch.setattr(gpu_check, "conform", lambda paths: PASSED)


def check(folder: Path, **options: Any) -> dict[str, Any]:
    """The record of the benchmark's point."""
    config = Config(instances=600, repeats=1, **options)

    def work(config: Config, display: Display, folder: Path) -> Measured:
        return benchmarks.measure(EXPERIMENT, config, display, folder)

    about = point_of_experiment(name="gpu_check", figure="gpu_check", toy=True, sweep="benchmark", point="gpu_check")
    run_point(lambda: config, folder, [], Console(quiet=True), about, work)
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_the_whole_check_at_toy_size(on_host: None, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    record = check(tmp_path / "0")
    assert record["status"] == "complete", record.get("error")
    found = record["gpu_check"]
    assert [(row["neurons"], row["layers"], row["columns"], row["status"]) for row in found["networks"]] == [
        (1024, 120, "merge", "right"), (1024, 120, "none", "right")
    ]  # fmt: skip
    assert {row["kernel"] for row in found["kernels"]} == {"fused", "cusparse_spmm", "cusparse_spgemm"}
    assert len(found["kernels"]) == 6 + 4 + 4
    assert {row["status"] for row in found["kernels"]} == {"right"}
    streamed = found["streaming"][0]
    assert streamed["status"] == "right"
    assert streamed["layers_copied"] > 0
    assert streamed["copied_bytes"] > 0
    assert {row["columns"] for row in found["layers"]} == {"merge", "none"}
    assert all(row["multiply_adds"] > 0 and len(row["seconds"]) == 1 for row in found["layers"])
    assert found["copies"]["bytes"] == gpu_probes.TOY_COPY_BYTES
    report = (tmp_path / "0" / "gpu_report.md").read_text()
    assert "**All right**" in report
    for title in (
        "Devices",
        "Conformance",
        "networks of the challenge",
        "Kernels and schedulers",
        "streamed",
        "One layer",
        "Copies",
    ):
        assert title in report
    paths, _ = redraw("gpu_check", [tmp_path], tmp_path)
    assert all(path.stat().st_size for path in paths)
    assert len(pd.read_csv(tmp_path / "gpu_check.csv")) == 2


def test_what_fails_is_in_the_report_and_fails_the_point(
    on_host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, n_runs = gpu_check.measure, iter(range(100))

    def sometimes(config: Config, display: Display, folder: Path) -> Measured:
        number = next(n_runs)
        if number == 0:
            raise MemoryError("backend=cupy: device 0 has 1.0 MB free")
        if number == 1:
            raise RuntimeError("surprise | with a bar")
        measured = measure(config, display, folder)
        if number == 2:
            assert isinstance(measured.body, RunRecord)
            measured.body.truth.match = False
        return measured

    monkeypatch.setattr(gpu_check, "measure", sometimes)
    bad = {**PASSED, "failed": 1, "failures": ["tests.conformance::test_bits: assert False"]}
    monkeypatch.setattr(gpu_check, "conform", lambda paths: bad)
    record = check(tmp_path)
    assert record["status"] == "failed"
    assert record["error"] == (
        "1 conformance tests failed; networks: neurons=1024 layers=120 columns=none: RuntimeError('surprise | with a bar'); "
        "kernels: kernel=fused scheduler=data: the categories are wrong"
    )
    statuses = [row["status"] for section in ("networks", "kernels") for row in record["gpu_check"][section]]
    assert statuses[:4] == ["does not fit", "failed", "wrong", "right"], "the others go on"
    report = (tmp_path / "gpu_report.md").read_text()
    assert "**3 failures**" in report
    assert "- `tests.conformance::test_bits: assert False`" in report
    assert "device 0 has 1.0 MB free" in report
    assert "surprise / with a bar" in report


def test_pytests_own_report_is_counted() -> None:
    cases = (
        '<testcase classname="a" name="good" time="1.5"/>',
        '<testcase classname="a" name="bad" time="1"><failure message="assert 1 == 2&#10; more">long</failure></testcase>',
        '<testcase classname="b" name="broken" time="0"><error message="no"/></testcase>',
        '<testcase classname="b" name="skipped" time="0"><skipped/></testcase>',
    )
    text = f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
    found = gpu_check.counted(ET.fromstring(text))
    assert (found["passed"], found["failed"], found["skipped"], found["seconds"]) == (1, 2, 1, 2.5)
    assert found["failures"] == ["a::bad: assert 1 == 2 more", "b::broken: no"]


def test_the_suite_runs_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU its tests are skipped, which is no success; and a suite that cannot be run is a failure."""
    found = gpu_check.conform(gpu_check.TOY_SUITE)
    figures: dict[str, Any] = {"conformance": found, "networks": [], "kernels": [], "streaming": []}
    if found["passed"] == 0:
        assert found["skipped"] > 0
        assert gpu_check.failures(figures) == ["no conformance test ran on the GPU"]
    broken = gpu_check.conform(("tests/nowhere",))
    assert broken["failed"] == 1
    assert "tests/nowhere" in broken["failures"][0]


def test_it_needs_a_clone_and_the_tools(on_host: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu_check.require_usable()
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"run it in a clone of the repository, with pip install -e '\.\[dev,gpu\]'"):
        gpu_check.require_usable()


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "experiment=gpu_check", f"hydra.run.dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: backend=cupy needs a package that cannot be imported: No module named 'cupy'")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("result.json"))

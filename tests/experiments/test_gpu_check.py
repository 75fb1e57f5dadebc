"""The check that is run once on a GPU: here on devices that are none, with all that may go wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import tracemalloc
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
from experiments.gpu_check import own_process, parts, points, probes, suite, transfers
from experiments.launch.point import run_point
from experiments.records.display import Display
from experiments.run.measure import Measured
from experiments.sweeps import benchmarks
from sparsednn.backend import Backend, KernelOptions, load_backend
from sparsednn.data.radixnet import radixnet
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


def suite_passed(paths: tuple[str, ...]) -> dict[str, Any]:
    return PASSED


def suite_failed(paths: tuple[str, ...]) -> dict[str, Any]:
    return {**PASSED, "failed": 1, "failures": ["tests.conformance::test_bits: assert False"]}


def only(*sections: str) -> Any:
    """The parts of some sections."""
    return lambda config, toy: [part for part in parts.parts(config, toy) if part.section in sections]


def killed(*arguments: Any) -> None:
    """As by a system that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices, and a suite that passes."""

    def load(name: str) -> Backend:
        return CupyBackend([HostDevice(0), HostDevice(1)]) if name == "cupy" else load_backend(name)

    for module in (
        *(
            f"experiments.gpu_check.{name}"
            for name in ("check", "cold", "difference", "facts", "points", "probes", "transfers")
        ),
        "experiments.run.measure",
        "experiments.run.memory_estimate",
        "experiments.run.network_cache",
    ):
        monkeypatch.setattr(f"{module}.load_backend", load)
    monkeypatch.setattr("sparsednn.engine.request.load_backend", load)
    monkeypatch.setattr(suite, "conform", suite_passed)
    monkeypatch.setattr(own_process, "CONTEXT", multiprocessing.get_context("fork"))  # where all this is as it is here


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
    assert found["copies"]["bytes"] == transfers.TOY_BYTES
    assert found["copies"]["pinned"] is True
    assert len(found["copies"]["seconds"]) == len(found["copies"]["pageable_seconds"]) == 1
    assert found["launches"]["launches"] == probes.TOY_LAUNCHES
    assert found["launches"]["seconds_per_launch"] > 0
    assert [(row["columns"], row["same"]) for row in found["bits"]] == [("merge", True), ("none", True)]
    assert [row["status"] for row in found["cpu"]] == ["right", "right"]
    assert {row["kernel"] for row in found["attributes"]} == {*host_kernels.library()[1]}
    assert {(row["from"], row["to"]) for row in found["peers"]} == {(0, 1), (1, 0)}
    assert [row["peak_bytes_per_s"] for row in found["bandwidth"]] == [16e9, 16e9]
    assert found["cold"]["compile_s"] >= 0
    assert {*found["seconds"]} == {*parts.FIRST, *parts.LISTS}
    report = (tmp_path / "0" / "gpu_report.md").read_text()
    assert "**All right**" in report
    for title in (
        "Devices",
        "Conformance",
        "networks of the challenge",
        "Kernels and schedulers",
        "streamed",
        "One layer",
        "Launches of a layer",
        "| pinned | 65,536 |",
        "| pageable | 65,536 |",
        "## Kernels as loaded",
        "## Copies between devices",
        "## The CPU beside it",
        "compute-sanitizer --tool memcheck python run.py backend=cupy",
    ):
        assert title in report
    paths, _ = redraw("gpu_check", [tmp_path], tmp_path)
    assert all(path.stat().st_size for path in paths)
    assert len(pd.read_csv(tmp_path / "gpu_check.csv")) == 2


def test_what_fails_is_in_the_report_and_fails_the_point(
    on_host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = points.measure

    def sometimes(config: Config, display: Display, folder: Path) -> Measured:
        if config.optimize.columns == "none" and config.network.residency == "memory":
            raise RuntimeError("surprise | with a bar")
        if config.scheduler.name == "model":
            raise MemoryError("backend=cupy: device 0 has 1.0 MB free")
        if config.scheduler.name == "manager_worker" and config.kernel == "fused":
            killed()
        measured = measure(config, display, folder)
        if config.scheduler.name == "work_stealing" and config.kernel == "fused":
            assert isinstance(measured.body, RunRecord)
            measured.body.truth.match = False
        return measured

    monkeypatch.setattr(points, "measure", sometimes)
    monkeypatch.setattr(suite, "conform", suite_failed)
    monkeypatch.setattr(probes, "layers", killed)
    monkeypatch.setattr(gpu_check, "parts", only("conformance", "networks", "kernels", "layers", "copies"))
    record = check(tmp_path)
    assert record["status"] == "failed"
    ended = "its process has ended without an answer: killed (SIGKILL), as a system does that runs out of memory"
    assert record["error"] == (
        f"layers: {ended}; 1 conformance tests failed; "
        "networks: neurons=1024 layers=120 columns=none: RuntimeError('surprise | with a bar'); "
        f"kernels: kernel=fused scheduler=manager_worker: {ended}; "
        "kernels: kernel=fused scheduler=work_stealing: the categories are wrong; the first 60 instances do not show where; "
        "see: python -m experiments.gpu_check.difference --instances 60 --scheduler work_stealing"
    )
    statuses = [row["status"] for section in ("networks", "kernels") for row in record["gpu_check"][section]]
    assert statuses[:7] == ["right", "failed", "right", "does not fit", "right", "failed", "wrong"], "the others go on"
    assert set(statuses[7:]) == {"right"}
    assert record["gpu_check"]["copies"]["bytes"] > 0
    report = (tmp_path / "gpu_report.md").read_text()
    assert "**5 failures**" in report
    assert "- `tests.conformance::test_bits: assert False`" in report
    assert "device 0 has 1.0 MB free" in report
    assert "surprise / with a bar" in report


def test_the_report_is_written_after_each_part(on_host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops the check, or loses power, has what was found until then."""
    find, n_points = gpu_check._find, iter(range(100))

    def stopped(*arguments: Any) -> None:
        if next(n_points) == 5:
            raise KeyboardInterrupt
        find(*arguments)

    monkeypatch.setattr(gpu_check, "parts", only("devices", "conformance", "networks", "kernels"))
    monkeypatch.setattr(gpu_check, "_find", stopped)
    with pytest.raises(KeyboardInterrupt):
        benchmarks.measure(EXPERIMENT, Config(instances=600, repeats=1), Display(Console(quiet=True)), tmp_path)
    report = (tmp_path / "gpu_report.md").read_text()
    assert "**Unfinished**: 13 parts were still to come, 0 failures so far" in report
    assert report.count("| right |") == 3
    assert "Devices" in report
    assert "| 7 | 0 | 1 | 1 |" in report, "conformance"


def test_parts_run_in_a_process_of_their_own() -> None:
    """One that is not forked, in which CUDA can be used; another one goes on after it has died, or was told to end."""
    own = own_process.OwnProcess()
    try:
        first = own.run(os.getpid)
        assert first != os.getpid()
        assert own.run(os.getpid) == first
        with pytest.raises(ZeroDivisionError):
            own.run(divmod, 1, 0)
        with pytest.raises(own_process.ProcessEndedError, match="has ended without an answer: exit status 3"):
            own.run(os._exit, 3)
        assert own.run(os.getpid) not in (first, os.getpid())
        with pytest.raises(own_process.ProcessEndedError, match=r"has not answered for 0.5 s, and was ended; it was in \w+"):
            own.run(subprocess.run, ["sleep", "3600"], limit_s=0.5)
    finally:
        own.end()


def test_single_layers_take_no_more_memory_of_the_host_than_of_the_device() -> None:
    """Here the device's memory is the host's, and all that may be there besides is small."""
    network = radixnet(1024, layers=6)
    backend = CupyBackend([HostDevice()])
    plan = backend.prepare(network, KernelOptions("fused", rows="none", columns="none"), 1)
    tracemalloc.start()
    try:
        found = probes._layer(backend, plan, 4096, True, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["multiply_adds"] == 32 * 1024 * 4096
    assert peak < 1.5 * (2 * 4 * 1024 * 4096)


def test_pytests_own_report_is_counted() -> None:
    cases = (
        '<testcase classname="a" name="good" time="1.5"/>',
        '<testcase classname="a" name="bad" time="1"><failure message="assert 1 == 2&#10; more">long</failure></testcase>',
        '<testcase classname="b" name="broken" time="0"><error message="no"/></testcase>',
        '<testcase classname="b" name="skipped" time="0"><skipped/></testcase>',
    )
    text = f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
    found = suite.counted(ET.fromstring(text))
    assert (found["passed"], found["failed"], found["skipped"], found["seconds"]) == (1, 2, 1, 2.5)
    assert found["failures"] == [
        "assert 1 == 2 more; again: python -m pytest -n 0 -m gpu 'a.py::bad'",
        "no; again: python -m pytest -n 0 -m gpu 'b.py::broken'",
    ]


def test_the_suite_runs_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU its tests are skipped, which is no success; and a suite that cannot be run is a failure."""
    found = suite.conform(suite.TOY_SUITE)
    figures = gpu_check.nothing_yet() | {"conformance": found}
    if found["passed"] == 0:
        assert found["skipped"] > 0
        assert gpu_check.failures(figures) == ["no conformance test ran on the GPU"]
    broken = suite.conform(("tests/nowhere",))
    assert broken["failed"] == 1
    assert "tests/nowhere" in broken["failures"][0]


def test_it_needs_a_clone_and_the_tools(on_host: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu_check.require_usable()
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"run it in a clone of the repository, with pip install -e '\.\[dev,gpu\]'"):
        gpu_check.require_usable()
    monkeypatch.undo()


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_what_the_suite_needs_is_asked_for_before(on_host: None, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name == missing else find_spec(name))
    with pytest.raises(ConfigError, match=r"with pip install -e '\.\[dev,gpu\]'"):
        gpu_check.require_usable()


def test_the_guide_installs_what_the_check_needs() -> None:
    """In the order of its commands; what a user with a GPU sees first is no error."""
    text = (ROOT / "docs/guide/gpus.md").read_text()
    commands = text.partition("```bash")[2].partition("```")[0].splitlines()
    checked = next(number for number, line in enumerate(commands) if "experiment=gpu_check" in line)
    installed = [line for line in commands[:checked] if line.startswith("pip install")]
    assert installed
    assert all("[dev,gpu" in line for line in installed)

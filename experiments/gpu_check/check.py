"""Checks and measures a user's NVIDIA GPU once: ``python run.py experiment=gpu_check``.

No GPU was at hand when this was written. So the conformance suite is run on the device, all networks are checked, and what the
device takes is measured by its own clock; a report says it all, to be sent back. It is written after each part, and the parts
run in processes of their own, so that whatever fails costs no more than its own part.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.config.resolve import Config, ConfigError
from experiments.gpu_check.apart import Apart
from experiments.gpu_check.probes import copies, launches, layers
from experiments.records.display import Display
from experiments.run.measure import is_fault, measure, message
from sparsednn.backend import DeviceError, load_backend
from sparsednn.results.record import MeasuredRun

ROOT = Path(__file__).parents[2]
SUITE = ("tests/conformance", "tests/gpu")
TOY_SUITE = ("tests/conformance/test_dying_instances.py",)
NEURONS, LAYERS = (1024, 4096, 16384, 65536), (120, 480, 1920)
SHOWN_FAILURES = 50
TESTS_RAN = (0, 1, 5)
"""Exit codes of pytest where it could do its work: all passed, some failed, none were there."""

INSTALL = "pip install -e '.[dev,gpu]'"
NEEDED = ("pytest", "hypothesis")
"""Packages of the extra dev that the suite needs."""

Progress = Callable[[int, int], None]
Save = Callable[[dict[str, Any]], None]


def require_usable() -> None:
    """Refuse to start without a GPU, or without the tests.

    Raises
    ------
    ConfigError
        With the way out.
    """
    try:
        load_backend("cupy")
    except (ImportError, DeviceError) as error:
        raise ConfigError(str(error)) from error
    if not all(find_spec(package) for package in NEEDED) or not all((ROOT / path).exists() for path in SUITE):
        raise ConfigError(
            f"experiment=gpu_check runs the conformance suite: run it in a clone of the repository, with {INSTALL}"
        )


def benchmark(config: Config, toy: bool, progress: Progress, save: Save) -> dict[str, Any]:
    """Check and measure as a configuration says: ``threads`` (streams), ``repeats`` and ``instances`` of each network.

    Parameters
    ----------
    config : Config
    toy : bool
    progress : callable
        Is told how many parts are done, and of how many.
    save : callable
        Is given what has been found after each part: as below, without the parts that are to come.

    Returns
    -------
    dict
        ``devices``, ``conformance``, ``networks``, ``kernels``, ``streaming``, ``layers``, ``launches``, ``copies``;
        ``errors``, of parts that have none of these; ``unfinished``, how many parts are to come; and ``failed``: what has not
        gone as it must, in words.
    """
    parts, figures, apart = list(_parts(config, toy)), _nothing_yet(), Apart()
    try:
        for number, part in enumerate(parts):
            part(figures, apart)
            figures |= {"unfinished": len(parts) - number - 1, "failed": failures(figures)}
            save(figures)
            progress(number + 1, len(parts))
    finally:
        apart.end()
    return figures


def _nothing_yet() -> dict[str, Any]:
    return {
        "devices": [], "conformance": None, "networks": [], "kernels": [], "streaming": [], "layers": [], "launches": None,
        "copies": None, "errors": {},
    }  # fmt: skip


Part = Callable[[dict[str, Any], Apart], None]


def _parts(config: Config, toy: bool) -> Iterator[Part]:
    """Yield functions that each find one part of the figures."""
    yield partial(_probe, "devices", devices, ())
    yield partial(_probe, "conformance", conform, (TOY_SUITE if toy else SUITE,))
    for section, about, changes in _points(toy):
        yield partial(_point, section, about, point_config(config, **changes))
    yield partial(_probe, "layers", layers, (toy, config.repeats))
    yield partial(_probe, "launches", launches, (toy, config.repeats))
    yield partial(_probe, "copies", copies, (toy, config.repeats))


def _probe(name: str, work: Callable[..., Any], arguments: tuple[Any, ...], figures: dict[str, Any], apart: Apart) -> None:
    """Find one section; what fails is said in ``errors``."""
    try:
        figures[name] = apart.run(work, *arguments)
    except Exception as error:
        figures["errors"][name] = _in_words(error)
    apart.end()


def _point(section: str, about: dict[str, Any], config: Config, figures: dict[str, Any], apart: Apart) -> None:
    """Find one row of a section; after one that fails, another process goes on."""
    try:
        found = apart.run(run, config)
    except Exception as error:
        found = {"status": "failed", "error": _in_words(error)}
    figures[section].append(about | found)
    if found["status"] == "failed":
        apart.end()


def _in_words(error: Exception) -> str:
    return repr(error) if is_fault(error) else message(error)


def devices() -> list[dict[str, Any]]:
    """Return what all devices say of themselves."""
    backend: Any = load_backend("cupy")
    return [device.describe() for device in backend.devices]


def _points(toy: bool) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each run: its section, what identifies it there, and what differs in the configuration."""
    for neurons, n_layers, columns in product(
        NEURONS[:1] if toy else NEURONS, LAYERS[:1] if toy else LAYERS, ("merge", "none")
    ):
        about = {"neurons": neurons, "layers": n_layers, "columns": columns}
        yield "networks", about, {**about, "kernel": "fused"}
    backend: Any = load_backend("cupy")
    for kernel, schedulers in backend.schedulers.items():
        for scheduler in schedulers:
            about = {"kernel": kernel, "scheduler": scheduler}
            yield "kernels", about, {"neurons": 1024, "layers": 120, **about}
    for neurons in (1024,) if toy else (1024, 16384):
        about = {"neurons": neurons, "layers": 120, "columns": "none"}
        yield "streaming", about, {**about, "kernel": "fused", "residency": "stream"}


def point_config(
    config: Config, neurons: int, layers: int, kernel: str, columns: str = "merge", scheduler: str = "data",
    residency: str = "memory",
) -> Config:  # fmt: skip
    """Return a configuration for one point."""
    return replace(
        config,
        neurons=neurons,
        layers=layers,
        kernel=kernel,
        backend=replace(config.backend, name="cupy"),
        scheduler=replace(config.scheduler, name=scheduler),
        optimize=replace(config.optimize, columns=columns),
        network=replace(config.network, residency=residency),
    )


def run(config: Config) -> dict[str, Any]:
    """Run a point; what does not fit, or fails, is said in ``error``."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = measure(config, Display(Console(quiet=True)), Path(folder)).body
        except MemoryError as error:
            return {"status": "does not fit", "error": message(error)}
        except Exception as error:
            return {"status": "failed", "error": _in_words(error)}
    assert isinstance(found, MeasuredRun)
    assert found.device is not None
    device, right = found.device, found.truth.match if found.truth.checked else None
    return {
        "status": "wrong" if right is False else "right" if right else "not checked",
        "categories": found.categories_count,
        "seconds": found.seconds.inference,
        "seconds_median": found.seconds.inference_median,
        "prepare_s": found.seconds.prepare,
        "performed_per_second": found.performed_edges_per_second,
        "nominal_per_second": found.nominal_edges_per_second,
        "device_s_per_row_group": device.row_groups_s / max(device.row_groups, 1),
        "block_rows": device.block_rows,
        "used_bytes": max(one.used_bytes for one in device.devices),
        "layers_copied": device.layers_copied,
        "copied_bytes": device.copied_bytes,
    }


def conform(paths: tuple[str, ...]) -> dict[str, Any]:
    """Run the tests that are marked ``gpu`` in a process of their own, and count them."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", f"--junitxml={result}", *paths]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in TESTS_RAN or not result.exists():
            said = (done.stdout + done.stderr).strip().splitlines()
            return {"passed": 0, "failed": 1, "skipped": 0, "seconds": 0.0, "failures": [f"pytest: {' '.join(said[-3:])}"]}
        return counted(ET.parse(result).getroot())


def counted(root: ET.Element) -> dict[str, Any]:
    """Return the counts of pytest's report, and what failed in one line each."""
    cases = list(root.iter("testcase"))
    bad = [(case, case.find(kind)) for case in cases for kind in ("failure", "error") if case.find(kind) is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failures = [
        f"{case.get('classname')}::{case.get('name')}: {' '.join((found.get('message') or '').split())[:200]}"
        for case, found in bad
        if found is not None
    ]
    return {
        "passed": len(cases) - skipped - len({id(case) for case, _ in bad}),
        "failed": len(bad),
        "skipped": skipped,
        "seconds": sum(float(case.get("time", 0)) for case in cases),
        "failures": failures[:SHOWN_FAILURES],
    }


def failures(figures: dict[str, Any]) -> list[str]:
    """Say what has not gone as it must; what does not fit into the device's memory is no failure."""
    found = [f"{section}: {error}" for section, error in figures["errors"].items()]
    conformance = figures["conformance"]
    if conformance is not None and conformance["failed"]:
        found.append(f"{conformance['failed']} conformance tests failed")
    elif conformance is not None and not conformance["passed"]:
        found.append("no conformance test ran on the GPU")
    for section in ("networks", "kernels", "streaming"):
        for row in figures[section]:
            name = " ".join(
                f"{key}={row[key]}" for key in ("neurons", "layers", "columns", "kernel", "scheduler") if key in row
            )
            if row["status"] == "wrong":
                found.append(f"{section}: {name}: the categories are wrong")
            elif row["status"] == "failed":
                found.append(f"{section}: {name}: {row['error']}")
    return found

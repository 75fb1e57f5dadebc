"""Runs networks of the challenge as run.py would, on a GPU and on the CPU beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.config.resolve import Config
from experiments.records.display import Display
from experiments.run.measure import is_fault, measure, message
from sparsednn.backend import load_backend
from sparsednn.results.record import MeasuredRun

NEURONS, LAYERS = (1024, 4096, 16384, 65536), (120, 480, 1920)
COLUMNS = ("merge", "none")

Point = tuple[str, dict[str, Any], dict[str, Any]]
"""A run: its section, what identifies it there, and what differs in the configuration."""


def points(toy: bool) -> Iterator[Point]:
    """Yield each run."""
    for neurons, layers, columns in product(NEURONS[:1] if toy else NEURONS, LAYERS[:1] if toy else LAYERS, COLUMNS):
        about = {"neurons": neurons, "layers": layers, "columns": columns}
        yield "networks", about, {**about, "kernel": "fused"}
    backend: Any = load_backend("cupy")
    for kernel, schedulers in backend.schedulers.items():
        for scheduler in schedulers:
            about = {"kernel": kernel, "scheduler": scheduler}
            yield "kernels", about, {"neurons": 1024, "layers": 120, **about}
    for neurons in (1024,) if toy else (1024, 16384):
        about = {"neurons": neurons, "layers": 120, "columns": "none"}
        yield "streaming", about, {**about, "kernel": "fused", "residency": "stream"}
    for neurons, columns in product(NEURONS[:1] if toy else NEURONS, COLUMNS):
        about = {"neurons": neurons, "layers": 120, "columns": columns}
        yield "cpu", about, {**about, "kernel": "auto", "backend": "numba"}


def point_config(
    config: Config, neurons: int, layers: int, kernel: str, columns: str = "merge", scheduler: str = "data",
    residency: str = "memory", backend: str = "cupy",
) -> Config:  # fmt: skip
    """Return a configuration for one point."""
    return replace(
        config,
        neurons=neurons,
        layers=layers,
        kernel=kernel,
        threads=config.threads if backend == "cupy" else None,
        backend=replace(config.backend, name=backend),
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
            return {"status": "failed", "error": in_words(error)}
    assert isinstance(found, MeasuredRun)
    right = found.truth.match if found.truth.checked else None
    return {
        "status": "wrong" if right is False else "right" if right else "not checked",
        "categories": found.categories_count,
        "threads": found.threads,
        "seconds": found.seconds.inference,
        "seconds_first": found.seconds.inference[0],
        "seconds_median": found.seconds.inference_median,
        "prepare_s": found.seconds.prepare,
        "compile_s": found.seconds.compile,
        "performed_per_second": found.performed_edges_per_second,
        "nominal_per_second": found.nominal_edges_per_second,
        **_of_device(found),
    }


def _of_device(found: MeasuredRun) -> dict[str, Any]:
    """Return what a run took by the clocks of its devices, a repeat; nothing of one on the CPU."""
    device, n_repeats = found.device, len(found.seconds.inference)
    if device is None:
        return {}
    return {
        "device_s_per_row_group": device.row_groups_s / max(device.row_groups, 1),
        "kernel_s": (device.kernel_s or 0.0) / n_repeats,
        "upload_s": (device.upload_s or 0.0) / n_repeats,
        "host_s": (device.host_s or 0.0) / n_repeats,
        "block_rows": device.block_rows,
        "used_bytes": max(one.used_bytes for one in device.devices),
        "layers_copied": device.layers_copied,
        "copied_bytes": device.copied_bytes,
    }


def in_words(error: Exception) -> str:
    """Say what an error is: in its own words, if they were made for a user."""
    return repr(error) if is_fault(error) else message(error)

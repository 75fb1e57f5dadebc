"""Calibrations with round figures, for tests."""

from __future__ import annotations

from typing import Any

from backends.numba_cpu.backend import NumbaBackend
from sparsednn.backend import CostKind, KernelOptions
from sparsednn.simulator.calibration import (
    ASSUMED,
    CACHES,
    KERNEL_PARAMETERS,
    OVERHEADS,
    SCHEMA_VERSION,
    TABLES,
    Calibration,
    check_calibration,
)


def parameter(value: float) -> dict[str, Any]:
    return {"value": value, "unit": "s", "source": "assumed", "note": "for tests"}


def content(**values: float | dict[int, float]) -> dict[str, Any]:
    """Return the content of a calibration file; every parameter is 0 unless given by its name (tables: by number)."""

    def entry(name: str) -> dict[str, Any]:
        value = values.get(
            name,
            {"meetings": 1.0, "block_rows": 128.0, "slowdown": {1: 1.0}, "core_speed": 1.0, "team_factor": 1.0}.get(name, 0.0),
        )
        if name in TABLES and not isinstance(value, dict):
            value = {1: value}
        if isinstance(value, dict):
            return {str(number): parameter(v) for number, v in value.items()}
        return parameter(value)

    values = {"network_bytes_per_s": 1e15, **dict.fromkeys(CACHES, 1e15), **values}
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": {"cpu": "none"},
        "caches": {name: entry(name) for name in CACHES},
        "kernels": {kernel: {name: entry(name) for name in names} for kernel, names in KERNEL_PARAMETERS.items()},
        "overheads": {name: entry(name) for name in OVERHEADS},
        "assumed": {name: entry(name) for name in ASSUMED},
    }


def calibration(**values: float | dict[int, float]) -> Calibration:
    """Return it checked."""
    return check_calibration(content(**values), "test.json")


def kind(kernel: str, **options: Any) -> CostKind:
    """Return the kind of costs of a Numba kernel, given its full name."""
    return NumbaBackend().cost_kind(KernelOptions(kernel, **options))

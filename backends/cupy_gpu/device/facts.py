"""Asks CUDA what a device is, and what a kernel takes as it was loaded there."""

from __future__ import annotations

from typing import Any

ATTRIBUTES = {
    "multiprocessors": 16,
    "clock_khz": 13,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "ecc": 32,
    "threads_per_multiprocessor": 39,
    "registers_per_multiprocessor": 82,
    "shared_bytes_per_multiprocessor": 81,
    "shared_bytes_per_block": 97,
    "copy_engines": 40,
    "compute_mode": 20,
    "time_limit_of_kernels": 17,
}
"""Numbers of ``cudaDeviceAttr`` in CUDA's runtime, by the names that they have here."""

OF_KERNELS = {
    "threads_per_block": 0, "shared_bytes": 1, "constant_bytes": 2, "local_bytes": 3, "registers": 4, "generation": 6,
}  # fmt: skip
"""Numbers of ``CUfunction_attribute`` in CUDA's driver."""


def device_facts(runtime: Any, number: int) -> dict[str, int | str | None]:
    """Return what a device is; None for what its driver does not tell.

    Parameters
    ----------
    runtime : module
        CuPy's ``cupy.cuda.runtime``.
    number : int
        Of the device.
    """
    found: dict[str, int | str | None] = {name: _told(runtime, code, number) for name, code in ATTRIBUTES.items()}
    found["pci_bus"] = str(runtime.deviceGetPCIBusId(number))
    return found


def kernel_facts(driver: Any, function: Any) -> dict[str, int]:
    """Return what a kernel takes; `driver` is CuPy's ``cupy.cuda.driver``, `function` a kernel that was loaded."""
    return {name: int(driver.funcGetAttribute(code, function.ptr)) for name, code in OF_KERNELS.items()}


def _told(runtime: Any, code: int, number: int) -> int | None:
    """Return an attribute; versions of CUDA forget some."""
    try:
        return int(runtime.deviceGetAttribute(code, number))
    except Exception as error:
        if "InvalidValue" not in str(error):
            raise
        return None

"""Tells cost models what a layer is to a GPU: a launch of so many blocks, instructions and bytes, by its machine code."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.cupy_gpu.device.interface import Device
from backends.cupy_gpu.kernels.source import PATH, SLICE, TILE
from backends.cupy_gpu.layout.packed import PackedNetwork
from sparsednn.backend import CostKind, DeviceFigures, KernelOptions, LayerLaunch, LayerSizes
from sparsednn.errors import OptionError

NEWEST = "90"
LANES_OF = {"75": 64, "80": 64, "86": 128, "87": 128, "89": 128, "90": 128}
"""Additions or multiplications of float32 that a multiprocessor does in a clock, by generation; after "Technical Specifications
per Compute Capability" in NVIDIA's CUDA C++ Programming Guide."""

BUDGETS = PATH.with_name("budgets.json")
"""What the compiler made of each kernel; see ``tests/gpu/budgets.py``."""


def device_figures(devices: Sequence[Device]) -> DeviceFigures | None:
    """Return what the driver says of the first of some devices that are alike; None if there are none."""
    if not devices:
        return None
    told, facts = devices[0].describe(), devices[0].facts()
    generation = str(told.get("compute_capability", NEWEST))
    clock_khz, transfers_khz, bits = (facts.get(name) for name in ("clock_khz", "memory_clock_khz", "memory_bus_bits"))
    parameters = {
        "multiprocessors": facts.get("multiprocessors"),
        "clock_hz": 1e3 * clock_khz if clock_khz else None,
        "lanes": LANES_OF.get(generation, LANES_OF[NEWEST]),
        "l2_bytes": facts.get("l2_bytes"),
        "memory_bytes": told.get("memory_bytes"),
        "memory_bytes_per_s": 2e3 * transfers_khz * bits / 8 if transfers_khz and bits else None,
    }
    known = {name: float(value) for name, value in parameters.items() if value}
    return DeviceFigures(len(devices), str(told["name"]), f"sm_{generation}", known)


def layer_launches(network: PackedNetwork, generation: str) -> list[LayerLaunch]:
    """Return what each layer is to a GPU of a generation, ``sm_90``.

    Raises
    ------
    OptionError
        If the machine code of a layer's kernel has been counted for no generation up to that.
    """
    return [
        known_launch(
            generation, kernel=layer.kernel, n_inputs=layer.n_inputs, n_outputs=layer.n_outputs, n_bytes=layer.n_bytes,
            terms=int(layer.slice_work[-1]) if len(layer.slice_work) else layer.nnz,
        )
        for layer in network.layers
    ]  # fmt: skip


def cost_kind(options: KernelOptions) -> CostKind:
    """Return what the seconds of a kernel depend on: its launches are whole blocks of instances.

    Raises
    ------
    OptionError
        For cuSPARSE, whose machine code nobody has counted.
    """
    if options.kernel != "fused":
        raise OptionError(f"kernel={options.kernel}: what cuSPARSE takes cannot be predicted; use kernel=fused")
    return CostKind("cupy/fused", "blocks", options.rows != "none", options.block_rows, row_unit=TILE)


def layer_sizes(network: PackedNetwork, retires: NDArray[np.bool_]) -> LayerSizes:
    """Return how large the layers are as they are run; `retires` : bool (n_layers + 1,), where saturated rows are taken out."""
    layers = network.layers
    n_inputs, n_outputs, connections = (
        np.array([getattr(layer, name) for layer in layers], np.int64) for name in ("n_inputs", "n_outputs", "nnz")
    )
    return LayerSizes(n_inputs, n_outputs, connections, retires[: len(layers)])


def known_launch(generation: str, *, kernel: str, n_inputs: int, n_outputs: int, terms: int, n_bytes: int) -> LayerLaunch:
    """Return what a layer is to a GPU of a generation, by the counts of its kernel's machine code; errors as above."""
    of = _figures().get(kernel, {})
    counted = [name for name in sorted(of, key=_number) if "instructions_per_multiply_add" in of[name]]
    counted = [name for name in counted if _number(name) <= _number(generation)]
    if not counted:
        raise OptionError(
            f"kernel={kernel or 'cusparse_*'}: its machine code for {generation} is not counted, so that its times cannot be "
            "predicted; use kernel=fused on GPUs from sm_75 on, or name a scheduler"
        )
    measured = {name: entry["measured"] for name, entry in of[counted[-1]].items()}  # newer ones run much the same
    return LayerLaunch(
        kernel=kernel,
        n_inputs=n_inputs,
        n_outputs=n_outputs,
        terms=terms,
        blocks=-(-n_outputs // SLICE),
        n_bytes=n_bytes,
        instructions=measured["instructions_per_multiply_add"],
        shared_loads=measured["shared_loads_per_multiply_add"],
        global_loads=measured["global_loads_per_multiply_add"],
        warps=int(measured["warps_per_multiprocessor"]),
    )


def _number(generation: str) -> int:
    return int(generation.removeprefix("sm_"))


@functools.cache
def _figures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BUDGETS.read_text())["kernels"]
    return found

"""What each kernel takes on three generations of GPUs, by its machine code, and how much it may take:
``budgets.json``, beside the source.

``python -m tests.gpu.budgets`` prints it; ``python -m tests.gpu.budgets write`` makes the present figures the table's.
"""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from backends.cupy_gpu.kernels import source
from backends.cupy_gpu.kernels.source import LANES, WARPS
from tests.gpu import nvrtc, sass

PATH = source.PATH.with_name("budgets.json")
SLACK = 1.03
"""Versions of the compiler differ by an instruction or two a loop."""

NONE_OF = ("fused_multiply_adds", "flushing_instructions", "local_loads_and_stores", "spilled_bytes")
"""Figures that are 0 for every kernel, and not in the table: results have the CPU's bits, and all is in registers."""

AT_LEAST = ("warps_per_multiprocessor",)
"""Figures that may not become less; no other may become more."""

REGISTERS = 65_536
"""Of a multiprocessor, of all three generations; a warp takes them by 256."""

MULTIPROCESSORS = {75: (32, 64, 0), 80: (64, 164, 1), 90: (64, 228, 1)}
"""Warps, KiB of shared memory, and KiB of these that the system takes for each block, of a multiprocessor; its blocks are
fewer than it may have. After "Technical Specifications per Compute Capability" in NVIDIA's CUDA C++ Programming Guide."""

STAGED_KIB = 32
"""Shared memory of a block in which a layer of the challenge is staged: 32 outputs with 64 inputs, of 128 instances each."""

Figures = dict[str, float]


def _warps(architecture: int, registers: int, shared_kib: int) -> int:
    """How many warps a multiprocessor has at a time, of blocks of 8."""
    warps, all_kib, taken_kib = MULTIPROCESSORS[architecture]
    blocks = [warps // WARPS, REGISTERS // (-(-registers // 8) * 8 * LANES * WARPS)]
    if shared_kib:
        blocks.append(all_kib // (shared_kib + taken_kib))
    return WARPS * min(blocks)


def of(name: str, kernel: sass.Kernel, used: nvrtc.Usage, architecture: int) -> Figures:
    """Return the figures of a kernel; a thread's multiply-adds are counted by their additions."""
    found: Figures = {
        "fused_multiply_adds": kernel.number(sass.fuses),
        "flushing_instructions": kernel.number(sass.flushes),
        "local_loads_and_stores": kernel.number(sass.is_local),
        "spilled_bytes": used.spilled_bytes,
        "registers": used.registers,
        "warps_per_multiprocessor": _warps(architecture, used.registers, STAGED_KIB if "staged" in name else 0),
    }
    loop = kernel.main_loop() if name.startswith("layer") else None
    if loop is not None:
        n = loop.number(sass.adds)
        found |= {
            "instructions_per_multiply_add": len(loop.instructions) / n,
            "shared_loads_per_multiply_add": loop.number(sass.loads_shared) / n,
            "global_loads_per_multiply_add": loop.number(sass.loads_global) / n,
        }
    return found


@cache
def figures(architecture: int) -> dict[str, Figures]:
    """Return the figures of all kernels on an architecture, by name."""
    usage, found = nvrtc.usage(architecture), sass.kernels(nvrtc.kernels(architecture).code)
    return {name: of(name, found[name], usage[name], architecture) for name in sorted(found)}


def present() -> dict[str, dict[str, Figures]]:
    """Return the figures of all kernels, by name and architecture."""
    with ThreadPoolExecutor() as pool:  # one beside the other: NVRTC needs no Python meanwhile
        all_of_them = dict(zip(nvrtc.ARCHITECTURES, pool.map(figures, nvrtc.ARCHITECTURES), strict=True))
    names = all_of_them[nvrtc.ARCHITECTURES[0]]
    return {name: {f"sm_{one}": found[name] for one, found in all_of_them.items()} for name in names}


def table() -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return the table in the repository: measured and bound, by kernel, architecture and figure."""
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found["kernels"]  # type: ignore[no-any-return]


def exceeded(name: str, architecture: str, figures: Figures) -> list[str]:
    """Return a line for each figure of a kernel that is beyond its bound."""
    lines = []
    entries = {figure: {"measured": 0.0, "bound": 0.0} for figure in NONE_OF} | table()[name][architecture]
    for figure, entry in entries.items():
        value, bound = figures[figure], entry["bound"]
        least = figure in AT_LEAST
        if value < bound if least else value > bound:
            lines.append(
                f"{name} on {architecture}: {figure} is {value:.4g}, and {'at least' if least else 'at most'} {bound:.4g} is "
                f"allowed ({entry['measured']:.4g} when the table was made); see python -m tests.gpu.budgets"
            )
    return lines


def _bound(figure: str, value: float, architecture: str) -> float:
    """What is allowed of a figure that is measured now."""
    if figure == "registers":  # as many as leave room for the same warps
        number = int(architecture[3:])
        return max(n for n in range(8, 256, 8) if _warps(number, n, 0) == _warps(number, int(value), 0))
    if figure == "instructions_per_multiply_add":
        return math.ceil(100 * SLACK * value) / 100
    return value


def _write(found: dict[str, dict[str, Figures]]) -> None:
    lines = []
    for name, architectures in found.items():
        rows = []
        for architecture, figures in architectures.items():
            entries = {
                figure: {"measured": round(value, 4), "bound": _bound(figure, value, architecture)}
                for figure, value in figures.items()
                if figure not in NONE_OF
            }
            rows.append(f'   "{architecture}": {json.dumps(entries)}')
        lines.append(f'  "{name}": {{\n' + ",\n".join(rows) + "\n  }")
    version = ".".join(map(str, nvrtc.version()))
    PATH.write_text(f'{{\n "compiler": "NVRTC {version}",\n "kernels": {{\n' + ",\n".join(lines) + "\n }\n}\n")


def main() -> None:
    """Print a table, or write it."""
    found = present()
    if sys.argv[1:] == ["write"]:
        _write(found)
        return
    print(f"NVRTC {'.'.join(map(str, nvrtc.version()))}")
    for name, architectures in found.items():
        for architecture, figures in architectures.items():
            print(f"{name:24} {architecture}: " + ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items()))


if __name__ == "__main__":
    main()

"""Asks what the machine is: its GPUs, what their driver's own tool says of them, and what the kernels take as loaded."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

from backends.cupy_gpu.kernels.source import source
from sparsednn.backend import DeviceError, load_backend
from sparsednn.errors import SparseDnnError

SMI = "nvidia-smi"
SMI_S = 60.0
MOST_CHARACTERS = 60_000
ASKED = (
    "name", "driver_version", "vbios_version", "pci.bus_id", "pcie.link.gen.current", "pcie.link.gen.max",
    "pcie.link.width.current", "pcie.link.width.max", "ecc.mode.current", "clocks.sm", "clocks.max.sm", "clocks.mem",
    "clocks.max.mem", "power.limit", "temperature.gpu", "persistence_mode", "compute_mode", "mig.mode.current",
)  # fmt: skip
"""What is asked of each GPU. An idle one may have its link and its clocks lowered."""

TOOLS = {
    "compute-sanitizer": "the CUDA toolkit has it",
    "nsys": "Nsight Systems, which comes with the CUDA toolkit",
    "ncu": "Nsight Compute, which comes with the CUDA toolkit",
}
KERNEL = re.compile(r'^(?:extern "C" __global__ void(?: [A-Z_]+\(\d+\))?|[A-Z][A-Z0-9_]*\()\s*([a-z]\w*)[,(]', re.MULTILINE)
"""A kernel in the source: by its signature, or by a macro that makes one."""


class LeftOutError(SparseDnnError):
    """A section cannot be had on this machine, which is no failure; the message says why."""


def devices() -> list[dict[str, Any]]:
    """Return what all devices say of themselves; ``peak_bytes_per_s`` is what their memory could do by its clock and width."""
    backend: Any = load_backend("cupy")
    found = []
    for device in backend.devices:
        facts = device.describe() | device.facts()
        found.append(facts | {"peak_bytes_per_s": peak_bytes_per_s(facts)})
    return found


def peak_bytes_per_s(facts: dict[str, Any]) -> float | None:
    """Return what a device's memory could do: two transfers a clock, as all memory of NVIDIA's GPUs has."""
    clock_khz, bits = facts.get("memory_clock_khz"), facts.get("memory_bus_bits")
    return 2e3 * clock_khz * bits / 8 if clock_khz and bits else None


def smi() -> dict[str, Any]:
    """Return what ``nvidia-smi`` says: ``gpus`` (what is `ASKED`, of each), and its texts ``all`` and ``topology``."""
    if shutil.which(SMI) is None:
        raise LeftOutError(f"{SMI} is not on PATH; the driver brings it")
    lines = _said(f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader").splitlines()
    gpus = [dict(zip(ASKED, (value.strip() for value in line.split(",")), strict=False)) for line in lines if line.strip()]
    return {"gpus": gpus, "all": _said("-q")[:MOST_CHARACTERS], "topology": _said("topo", "-m")[:MOST_CHARACTERS]}


def _said(*arguments: str) -> str:
    """Return what the tool says; what it says if it fails, too."""
    try:
        done = subprocess.run([SMI, *arguments], capture_output=True, text=True, timeout=SMI_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{SMI} {' '.join(arguments)}: no answer within {SMI_S:g} s"
    return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def kernels() -> list[dict[str, Any]]:
    """Return what each kernel takes on the first device, as it was loaded there; what cannot be loaded says why."""
    backend: Any = load_backend("cupy")
    device, found = backend.devices[0], []
    for name in dict.fromkeys(KERNEL.findall(source())):
        try:
            found.append({"kernel": name} | device.kernel_facts(name))
        except DeviceError as error:
            found.append({"kernel": name, "error": str(error)})
    return found


def tools() -> dict[str, str]:
    """Return where NVIDIA's tools are on this machine, or who brings them."""
    return {name: shutil.which(name) or f"not on PATH; {brings}" for name, brings in TOOLS.items()}

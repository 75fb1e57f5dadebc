"""NVRTC from PyPI, through ctypes: compiles the kernels for a GPU where there is none.

``python -m tests.gpu.nvrtc`` prints what each kernel takes of registers and shared memory.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from backends.cupy_gpu.kernels.source import OPTIONS, source

ARCHITECTURES = (75, 80, 90)
PACKAGE = "nvidia-cuda-nvrtc"


def _path() -> str | None:
    try:
        found = [file.locate() for file in metadata.files(PACKAGE) or [] if re.match(r"libnvrtc\.so", file.name)]
    except metadata.PackageNotFoundError:
        return None
    return str(found[0]) if found else None


PATH = _path()


class CompileError(RuntimeError):
    """The message of NVRTC about a source that it does not compile."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The result for one architecture: PTX or machine code, and what the compiler has said."""

    code: bytes
    log: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of a kernel: registers of a thread, bytes of shared memory, and bytes that spill from registers."""

    registers: int
    shared_bytes: int
    spilled_bytes: int


@cache
def _library() -> Any:
    return ctypes.CDLL(str(PATH))


def version() -> tuple[int, int]:
    """Return NVRTC's version."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compiled(text: str, architecture: str, *options: str) -> Compiled:
    """Compile for ``compute_NN`` (to PTX) or ``sm_NN`` (to machine code); CompileError with NVRTC's words if that fails."""
    library, program = _library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    try:
        given = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in (*OPTIONS, *options))]
        status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
        log = _bytes(program, "ProgramLog").rstrip(b"\0\n").decode()
        if status:
            raise CompileError(log)
        return Compiled(_bytes(program, "PTX" if architecture.startswith("compute") else "CUBIN"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    data = ctypes.create_string_buffer(size.value)
    assert getattr(_library(), f"nvrtcGet{what}")(program, data) == 0
    return data.raw


@cache
def ptx(architecture: int) -> Compiled:
    """Return the kernels as PTX."""
    return compiled(source(), f"compute_{architecture}")


@cache
def usage(architecture: int) -> dict[str, Usage]:
    """Return what each kernel takes on an architecture, as the assembler reports it."""
    log = compiled(source(), f"sm_{architecture}", "--ptxas-options=-v").log
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", part)]
        assert registers is not None, part
        found[part.partition("'")[0]] = Usage(int(registers[1]), int(shared[1]) if shared else 0, sum(spilled))
    return found


def main() -> None:
    """Print a table."""
    print(f"NVRTC {'.'.join(map(str, version()))}")
    print(f"{'kernel':26}" + "".join(f"{f'sm_{a}: registers, shared, spilled':>36}" for a in ARCHITECTURES))
    for name in sorted(usage(ARCHITECTURES[0])):
        found = [usage(architecture)[name] for architecture in ARCHITECTURES]
        print(f"{name:26}" + "".join(f"{u.registers:>22}{u.shared_bytes:>7}{u.spilled_bytes:>7}" for u in found))


if __name__ == "__main__":
    main()

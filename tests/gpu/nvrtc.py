"""NVRTC from PyPI, through ctypes: compiles the kernels for a GPU where there is none.

``python -m tests.gpu.budgets`` prints what each kernel takes.
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

ADDED_BY_CUPY = ("--device-as-default-execution-space",)
"""Options that ``cupy.cuda.compiler.compile_using_nvrtc`` adds, besides the architecture: `test_cupy_api` looks at it."""


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
    """The result for one architecture: PTX, machine code (none for ``compute_NN``), and what the compiler has said."""

    ptx: str
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
    """Compile as CuPy does for ``compute_NN`` or ``sm_NN``; CompileError with NVRTC's words if that fails."""
    library, program = _library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    try:
        wanted = (f"--gpu-architecture={architecture}", *OPTIONS, *ADDED_BY_CUPY, *options)
        given = [option.encode() for option in wanted]
        status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
        log = _bytes(program, "ProgramLog").rstrip(b"\0\n").decode()
        if status:
            raise CompileError(log)
        code = _bytes(program, "CUBIN") if architecture.startswith("sm") else b""
        return Compiled(_bytes(program, "PTX").rstrip(b"\0").decode(), code, log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    assert getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    data = ctypes.create_string_buffer(size.value)
    assert getattr(_library(), f"nvrtcGet{what}")(program, data) == 0
    return data.raw


@cache
def kernels(architecture: int) -> Compiled:
    """Return the kernels, compiled once in a process; the log is the assembler's."""
    return compiled(source(), f"sm_{architecture}", "--ptxas-options=-v")


@cache
def usage(architecture: int) -> dict[str, Usage]:
    """Return what each kernel takes on an architecture, as the assembler reports it."""
    found = {}
    for part in re.split(r"Compiling entry function '", kernels(architecture).log)[1:]:
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", part)]
        assert registers is not None, part
        found[part.partition("'")[0]] = Usage(int(registers[1]), int(shared[1]) if shared else 0, sum(spilled))
    return found

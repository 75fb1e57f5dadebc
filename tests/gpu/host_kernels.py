"""The CUDA kernels, compiled for the host by a C++ compiler with a shim for what CUDA brings."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from backends.cupy_gpu.kernels.source import PATH

SHIM = Path(__file__).with_name("shim.h")
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC")
_KERNEL = re.compile(r'extern "C" __global__ void\s+(\w+)\(([^)]*)\)')
_C_TYPES = {"int": ctypes.c_int, "int64": ctypes.c_longlong, "float": ctypes.c_float}
SCALARS = {"int": np.int32, "int64": np.int64, "float": np.float32}
"""By type of C, the type that an argument is passed as."""


def signatures(source: str) -> dict[str, list[tuple[str, str]]]:
    """Return type and name of each kernel's parameters; the source's macros are expanded."""
    plain = "#define SHARED_FLOAT4(name)\n" + source
    command = [str(COMPILER), "-E", "-P", "-x", "c++", "-"]
    expanded = subprocess.run(command, input=plain, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, parameters in _KERNEL.findall(expanded):
        split = [re.fullmatch(r"(.*?[ *])(\w+)", parameter.strip()) for parameter in parameters.split(",")]
        found[name] = [(match[1].strip(), match[2]) for match in split if match]
    return found


BUILT = "KERNELS_FOR_THE_HOST"
"""Variable with a library that was built before, for other processes."""


@cache
def library() -> tuple[ctypes.CDLL, dict[str, list[tuple[str, str]]]]:
    """Compile all kernels; return the library and the kernels' parameters."""
    kernels = signatures(PATH.read_text())
    if BUILT in os.environ:
        return ctypes.CDLL(os.environ[BUILT]), kernels
    folder = Path(tempfile.mkdtemp(prefix="sparsednn-kernels-"))
    try:
        return ctypes.CDLL(str(build(folder, kernels))), kernels
    finally:
        shutil.rmtree(folder)


def build(folder: Path, kernels: dict[str, list[tuple[str, str]]]) -> Path:
    """Compile kernels, with their parameters, into a library in a folder; return its path."""
    source = PATH.read_text()
    wrappers = []
    for name, parameters in kernels.items():
        declared, names = ", ".join(f"{kind} {p}" for kind, p in parameters), ", ".join(p for _, p in parameters)
        barriers = "true" if "staged" in name else "false"
        wrappers.append(
            f'extern "C" void host_{name}(const unsigned int *dims, size_t shared_bytes, {declared})\n'
            f"{{ shim::launch(dims, shared_bytes, {barriers}, [=] {{ {name}({names}); }}); }}\n"
        )
    text, shared = folder / "host.cpp", folder / "host.so"
    text.write_text(f'#include "{SHIM}"\n#line 1 "kernels.cu"\n{source}\n{"".join(wrappers)}')
    subprocess.run([str(COMPILER), *FLAGS, str(text), "-o", str(shared)], check=True)
    return shared


def call(
    kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], shared_bytes: int, flushes: bool = False
) -> None:  # fmt: skip
    """Run a kernel now; with denormal numbers flushed to zero, if it is to be as ``-ftz=true`` would compile it."""
    compiled, kernels = library()
    parameters = kernels[kernel]
    assert len(arguments) == len(parameters), f"{kernel} takes {len(parameters)} arguments, not {len(arguments)}"
    function: Callable[..., None] = getattr(compiled, f"host_{kernel}")
    dims = (ctypes.c_uint * 6)(*(*grid, *(1,) * (3 - len(grid))), *(*block, *(1,) * (3 - len(block))))
    values = [_value(kernel, kind, name, value) for (kind, name), value in zip(parameters, arguments, strict=True)]
    assert compiled.host_flushes(flushes), "this processor is not known to flush"
    try:
        function(dims, ctypes.c_size_t(shared_bytes), *values)
    finally:
        compiled.host_flushes(False)


def _value(kernel: str, kind: str, name: str, value: Any) -> Any:
    """An argument as ctypes passes it; its type must be the parameter's."""
    if "*" in kind:
        assert value is None or isinstance(value, np.ndarray), f"{kernel}: {name} is {type(value)}"
        assert value is None or value.flags.c_contiguous, f"{kernel}: {name} is not contiguous"
        return ctypes.c_void_p(None if value is None else value.ctypes.data)
    kind = kind.removeprefix("const ").strip()
    assert type(value) is SCALARS[kind], f"{kernel}: {name} is {type(value)}, the kernel takes {kind}"
    return _C_TYPES[kind](value)

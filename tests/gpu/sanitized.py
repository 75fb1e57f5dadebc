"""Kernels with barriers in a program of their own, every thread a real one, under the compiler's sanitizers."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.gpu import host_kernels

THREADS = ("-fsanitize=thread",)
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = ("-std=c++17", "-O1", "-g", "-ffp-contract=off", "-DREAL_THREADS", "-pthread")

READING = r"""
#include <cstdio>
#include <cstdlib>
#include <cstring>

static void take(void *to, size_t n)
{
    if (fread(to, 1, n, stdin) != n)
        exit(3);
}

template <class T> static T number()
{
    T found;
    take(&found, sizeof found);
    return found;
}

static long long last_bytes;
static char *array()
{
    last_bytes = number<long long>();
    if (last_bytes < 0)
        return nullptr;
    char *found = (char *)malloc(last_bytes);
    take(found, last_bytes);
    return found;
}
"""


@dataclass(slots=True)
class Call:
    """A launch: what it was given, copied before it, and the arrays that it has written to, as they were after it."""

    kernel: str
    dims: tuple[int, ...]
    shared_bytes: int
    given: list[Any]
    results: list[bytes] = field(default_factory=list)


def noted(calls: list[Call], wanted: str) -> Any:
    """Return what runs kernels as `host_kernels.call`, and notes the calls of one."""
    plain = host_kernels.call

    def call(kernel: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], *more: Any) -> None:
        if kernel != wanted:
            plain(kernel, grid, block, arguments, *more)
            return
        dims = (*grid, *(1,) * (3 - len(grid)), *block, *(1,) * (3 - len(block)))
        copies = [np.array(one) if isinstance(one, np.ndarray) else one for one in arguments]
        calls.append(Call(kernel, dims, more[0], copies))
        plain(kernel, grid, block, arguments, *more)
        for value, (kind, _) in zip(arguments, host_kernels.library()[1][kernel], strict=True):
            if _is_result(kind) and value is not None:
                calls[-1].results.append(value.tobytes())

    return call


def _is_result(kind: str) -> bool:
    return "*" in kind and "const" not in kind


def program(source: str, kernels: tuple[str, ...], options: tuple[str, ...], folder: Path) -> Path:
    """Compile kernels in a folder into a program that reads a call and writes its results."""
    lines = [line for line in source.splitlines() if not line.startswith("LAYER(") or any(f"({k}," in line for k in kernels)]
    text = "\n".join(lines)
    signatures, branches = host_kernels.signatures(text), []
    for kernel in kernels:
        reads, gives, names = [], [], []
        for kind, name in signatures[kernel]:
            names.append(name)
            if "*" in kind:
                reads.append(f"{kind}{name} = ({kind})array(); const long long bytes_{name} = last_bytes;")
            else:
                plain = kind.removeprefix("const ").strip()
                reads.append(f"{plain} {name} = number<{plain}>();")
            if _is_result(kind):
                gives.append(f"if ({name}) fwrite({name}, 1, bytes_{name}, stdout);")
        reading, giving = "\n".join(reads), "\n".join(gives)
        launch = f"shim::launch(dims, shared_bytes, true, [=] {{ {kernel}({', '.join(names)}); }});"
        branches.append(f'if (!strcmp(argv[1], "{kernel}")) {{\n{reading}\n{launch}\n{giving}\nreturn 0;\n}}')
    main = (
        "int main(int, char **argv)\n{\nunsigned int dims[6];\ntake(dims, sizeof dims);\n"
        "const size_t shared_bytes = number<unsigned long long>();\n" + "\n".join(branches) + "\nreturn 4;\n}\n"
    )
    path, made = folder / "program.cpp", folder / "program"
    path.write_text(f'#include "{host_kernels.SHIM}"\n#line 1 "kernels.cu"\n{text}\n{READING}\n{main}')
    subprocess.run([str(host_kernels.COMPILER), *FLAGS, *options, str(path), "-o", str(made)], check=True)
    return made


def run(made: Path, call: Call) -> subprocess.CompletedProcess[bytes]:
    """Make a call in a program; its output are the results."""
    parts = [np.array(call.dims, np.uint32).tobytes(), np.uint64(call.shared_bytes).tobytes()]
    for value in call.given:
        if value is None:
            parts.append(np.int64(-1).tobytes())
        elif isinstance(value, np.ndarray):
            parts += [np.int64(value.nbytes).tobytes(), value.tobytes()]
        else:
            parts.append(value.tobytes())
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}  # its end frees what it was given
    return subprocess.run([str(made), call.kernel], input=b"".join(parts), capture_output=True, env=environment, check=False)


@cache
def can(options: tuple[str, ...]) -> bool:
    """Whether the compiler has a sanitizer, and its programs run here."""
    if host_kernels.COMPILER is None:
        return False
    with tempfile.TemporaryDirectory(prefix="sparsednn-sanitized-") as folder:
        path, made = Path(folder, "a.cpp"), Path(folder, "a")
        path.write_text("int main() { return 0; }")
        commands = ([host_kernels.COMPILER, *options, str(path), "-o", str(made)], [str(made)])
        return all(subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in commands)

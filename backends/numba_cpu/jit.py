"""The one compilation policy of all kernels, and atomic access to memory shared between threads.

Kernels release the GIL, are cached on disk, and never reassociate or fuse floating-point operations, so that their results
have the same bits as scipy's. Numba's cache does not notice an edit in another file; here its folder is named by a hash of
the whole package's source, so that it cannot be stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numba.core.config
import platformdirs
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_CONFIG: Any = numba.core.config
F = TypeVar("F", bound=Callable[..., Any])
_BYTE, _INT32 = ir.IntType(8), ir.IntType(32)
JIT_DISABLED = bool(_CONFIG.DISABLE_JIT)


def cache_folder() -> Path:
    """Return the folder for compiled kernels of exactly this source and compiler."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return Path(platformdirs.user_cache_dir("sparsednn")) / "kernels" / digest.hexdigest()[:16]


def kernel(function: F) -> F:
    """Compile a kernel when it is first called: no GIL, cached, plain IEEE arithmetic, C division."""
    outer = _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = outer or str(cache_folder())
    try:
        compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=False)(function)
    finally:
        _CONFIG.CACHE_DIR = outer
    return compiled  # type: ignore[no-any-return]


def inline(function: F) -> F:
    """Compile a helper that kernels call; the compiler inlines it where that pays."""
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=False)(function)
    return compiled  # type: ignore[no-any-return]


if JIT_DISABLED:

    def atomic_load(array: Any, index: int) -> int:
        """Read one int64 of a shared array."""
        return int(array[index])

    def prefetch(array: Any, index: int) -> None:
        """Nothing to be done."""

else:

    @intrinsic
    def atomic_load(typing_context: Any, array: Any, index: Any) -> Any:
        """Read one int64 of a shared array, anew each time: a plain load in a loop may be hoisted out of it."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 8)

        return types.int64(array, types.intp), codegen

    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
        """Ask for the cache line of one element, which may lie outside the array."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            address = builder.bitcast(builder.gep(data, [args[1]]), _BYTE.as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT32, _INT32, _INT32])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            builder.call(function, [address, _INT32(0), _INT32(3), _INT32(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

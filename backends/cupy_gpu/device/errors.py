"""Tells the errors of CuPy, and of the CUDA libraries behind it, from others, and makes them one line with the way out."""

from __future__ import annotations

from sparsednn.backend import DeviceError

INSTALL = "install it with: pip install -e '.[gpu]' (CUDA 12) or '.[gpu13]' (CUDA 13), or use backend=numba"
INSTEAD = "use backend=numba to run without a GPU"
LIBRARY_PACKAGES = ("cupy", "cupyx", "cupy_backends")

BUILT_IN = (RuntimeError, AssertionError, ImportError)
"""Errors of Python itself that CuPy raises for what is missing or does not go together."""

MISSING_LIBRARY = (
    "failed to load",
    "failed to find cuda headers",
    "could not be found in the library",
    "not supported in the current version",
    "cannot open shared object file",
)
"""What CuPy says, in small letters, where a library of CUDA is missing, cannot be loaded, or is too old."""


def translated(error: Exception, number: int) -> Exception | None:
    """Return this project's error for one of CuPy's; None for any other error.

    CuPy has classes of its own, and raises `BUILT_IN` ones too: these are known by the module that has raised them.
    """
    if isinstance(error, MemoryError) and is_of_library(error):
        return MemoryError(
            f"backend=cupy: device {number} has too little memory: {said(error)}; use a smaller block_rows, "
            "residency=stream, threads=1 or backend=numba"
        )
    built_in = isinstance(error, BUILT_IN) and _raised_by_library(error)
    if isinstance(error, ImportError) or (built_in and any(text in str(error).lower() for text in MISSING_LIBRARY)):
        return DeviceError(  # a CUDA library is loaded when it is first used
            f"backend=cupy: a CUDA library is missing: {said(error)}; the extras gpu and gpu13 bring them all: {INSTALL}"
        )
    if built_in or is_of_library(error):
        return DeviceError(
            f"backend=cupy: device {number} failed: {said(error)}; a device may be unusable for this process from then on: "
            f"run again, or {INSTEAD}"
        )
    return None


def is_of_library(error: Exception) -> bool:
    """Return whether an error's class is one of CuPy's."""
    return _is_library(type(error).__module__)


def said(error: BaseException) -> str:
    """Return an error's text in one line."""
    return " ".join((str(error) or type(error).__name__).split())


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARY_PACKAGES


def _raised_by_library(error: BaseException) -> bool:
    """Return whether the innermost call that the error has come through is one of CuPy's; compiled ones have frames, too."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _is_library(str(trace.tb_frame.f_globals.get("__name__", "")))

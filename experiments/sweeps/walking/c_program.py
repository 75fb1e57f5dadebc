"""Compiles the two steps in C (``two_steps.c``) with the machine's compiler, and runs networks with them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from experiments.config.resolve import ConfigError
from sparsednn.network import Network

SOURCE = Path(__file__).parent / "two_steps.c"
COMPILERS = ("gcc", "cc", "clang")
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
"""Multiply and add are rounded separately, as everywhere here."""

Float32 = NDArray[np.float32]


class _Matrix(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in ("start", "stop", "rows", "values"))


class _Job(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_layers", "n_neurons", "n_rows")),
        *((name, ctypes.c_void_p) for name in ("indptr", "ids", "weights", "bias")),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("sides", _Matrix * 2),
        *((name, ctypes.c_void_p) for name in ("counts", "sums", "marks", "touched")),
    )


def compiler() -> str | None:
    """Return the path of a C compiler; None where there is none."""
    return next((path for name in COMPILERS if (path := shutil.which(name)) is not None), None)


def version(path: str) -> str:
    """Return what a compiler says of itself, and its flags."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join((said.partition("\n")[0] or path, *FLAGS))


class CProgram:
    """The two steps, compiled.

    Parameters
    ----------
    path : str
        A C compiler.

    Raises
    ------
    ConfigError
        If it does not compile them, with the first line that it says.
    """

    def __init__(self, path: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "two_steps.so"
            done = subprocess.run([path, *FLAGS, str(SOURCE), "-o", str(made)], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                why = done.stderr.partition("\n")[0]
                raise ConfigError(f"{path} does not compile {SOURCE.name}: {why}; take it from PATH to measure without C")
            self._run = ctypes.CDLL(str(made)).run_layers
        self._run.argtypes = (ctypes.POINTER(_Job), ctypes.c_int64)
        self._run.restype = ctypes.c_int64

    def prepared(self, network: Network, inputs: sp.csr_array) -> CWalk:
        """Return a walk of inputs through a network."""
        return CWalk(self._run, network, inputs)


class CWalk:
    """Inputs that the program takes through a network, as one row group on one thread.

    Parameters
    ----------
    run : callable
    network : Network
        All layers as wide as its inputs, at most 65,536; one clamp; no bias that makes something of a sum of zero.
    inputs : csr_array of float32, shape (at most 65,536 instances, neurons)

    Attributes
    ----------
    multiply_adds : int
        Of the latest run.
    """

    def __init__(self, run: Any, network: Network, inputs: sp.csr_array) -> None:
        layers = [layer.expanded() for layer in network.layers]
        widest, n_rows = network.n_inputs, inputs.shape[0]
        assert all(layer.n_outputs == widest <= 2**16 and layer.activation.is_clamp for layer in layers)
        assert n_rows <= 2**16
        assert network.zero_rows_stay_zero().all()
        columns = sp.csc_array(inputs)
        self._inputs, self._n_alive = columns, int((np.diff(inputs.indptr) > 0).sum())
        starts = np.cumsum([0, *(layer.nnz for layer in layers)])
        self._arrays: dict[str, NDArray[Any]] = {
            "indptr": np.stack([layer.indptr + start for layer, start in zip(layers, starts, strict=False)]).astype(np.int64),
            "ids": np.concatenate([layer.indices for layer in layers]).astype(np.uint16),
            "weights": np.concatenate([layer.values for layer in layers]).astype(np.float32),
            "bias": np.stack([layer.bias for layer in layers]).astype(np.float32),
            "counts": np.zeros(widest, np.int64),
            "sums": np.zeros(n_rows, np.float32),
            "marks": np.zeros(n_rows, np.int32),
            "touched": np.zeros(n_rows + 1, np.int32),
        }
        self._sides = [
            {
                "start": np.zeros(widest, np.int64),
                "stop": np.zeros(widest, np.int64),
                "rows": np.zeros(n_rows * widest + 1, np.uint16),
                "values": np.zeros(n_rows * widest + 1, np.float32),
            }
            for _ in range(2)
        ]
        self._call, activation = run, layers[0].activation
        self._job = _Job(
            n_layers=len(layers), n_neurons=widest, n_rows=n_rows, low=activation.low, high=activation.high,
            sides=(_Matrix * 2)(*(_Matrix(**_addresses(side)) for side in self._sides)), **_addresses(self._arrays),
        )  # fmt: skip
        self.multiply_adds = 0

    def cpu_s(self) -> float:
        """Run all layers; return CPU seconds, without those for bringing the inputs into place."""
        first = self._sides[0]
        first["start"][:], first["stop"][:] = self._inputs.indptr[:-1], self._inputs.indptr[1:]
        first["rows"][: self._inputs.nnz], first["values"][: self._inputs.nnz] = self._inputs.indices, self._inputs.data
        self._arrays["marks"][:] = 0
        began = thread_time()
        self.multiply_adds = self._call(ctypes.byref(self._job), self._n_alive)
        return thread_time() - began

    def output(self) -> sp.csr_array:
        """Return the last activations of the latest run: float32, shape (instances, neurons)."""
        side = self._sides[self._job.n_layers % 2]
        dense = np.zeros((self._job.n_rows, self._job.n_neurons), np.float32)
        for j, (start, stop) in enumerate(zip(side["start"], side["stop"], strict=True)):
            dense[side["rows"][start:stop], j] = side["values"][start:stop]
        return sp.csr_array(dense)


def _addresses(arrays: dict[str, NDArray[Any]]) -> dict[str, int]:
    return {name: array.ctypes.data for name, array in arrays.items()}

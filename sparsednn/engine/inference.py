"""Runs an inference of a network on a batch of inputs."""

from __future__ import annotations

from typing import Any

from sparsednn.backend import Backend
from sparsednn.engine.prepared import PreparedNetwork
from sparsednn.engine.request import Request
from sparsednn.execution.options import InferOptions, infer_options, require_types
from sparsednn.network import Network
from sparsednn.results.result import Result
from sparsednn.schedulers import Scheduler


def infer(
    network: Network,
    inputs: Any,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str | Scheduler = "data",
    threads: int | None = None,
    output: bool = False,
    options: InferOptions | None = None,
    **flat: Any,
) -> Result:
    """Run inference of a sparse network on a batch of inputs.

    With a `communicator` (see `InferOptions`) it is collective: every process calls it with its own instances and the same
    options. After an error in one of them the others wait for it: end them all (``Communicator.abort``, ``python -m mpi4py``).

    Parameters
    ----------
    network : Network
    inputs : scipy.sparse matrix of any format, or NumPy array; shape (instances, network.n_inputs)
        Converted to float32.
    backend : str or Backend
        The name of an installed backend, or an object of your own.
    kernel : str
        One of the backend's kernels; "auto" lets the backend choose.
    scheduler : str or Scheduler
        The name of a scheduler, "auto" to have the simulator choose one with its parameters, or an object of your own.
    threads : int, optional
        Worker threads, or threads of the library where the backend brings its own; unless given, as many as this process may
        use cores, shared with the other processes of its node, or as a backend for devices wants.
    output : bool
        Also return the last activations; of all processes, on rank 0.
    options : InferOptions, optional
        All further options, in groups.
    **flat
        Or each of them as a keyword argument of its own, which goes before `options`: see `InferOptions`.

    Returns
    -------
    Result
        With ``.categories`` (1-based ids, ascending, of all processes), ``.output`` (csr_array, if asked for) and ``.record``.

    Raises
    ------
    TypeError
        For an unknown option, a value of the wrong type, or an input that is no matrix.
    ValueError
        For a shape that does not match, NaN or infinite inputs, or an unknown name; the message has the legal ones.
    RuntimeError
        If the scheduler is an object that is at work in another call, of another thread.
    MemoryError
        If the network does not fit in the kernel's layout.
    FloatingPointError
        If activations have overflowed float32.
    DeviceError
        If a device fails.
    """
    opts = infer_options(flat, options)
    require_types(network, backend, kernel, scheduler)
    return PreparedNetwork(network, Request.checked(backend, kernel, scheduler, threads, output, opts)).infer(inputs)

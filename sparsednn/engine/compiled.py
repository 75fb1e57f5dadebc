"""Owns the compiled network: prepared once, called often, with dense or sparse batches of any size."""

from __future__ import annotations

import math
import os
import threading
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.batches import dense_batch, output_array
from sparsednn.backend import Backend, DirectOutcome
from sparsednn.engine.direct_calls import categories_of, direct_network, infer_directly, most_directly, raise_for
from sparsednn.engine.inference import PreparedNetwork, Request
from sparsednn.errors import OptionError, OptionTypeError
from sparsednn.execution.options import InferOptions, infer_options
from sparsednn.network import Network
from sparsednn.results.result import Result
from sparsednn.system.memory import require

SMALL = 64
"""Instances up to which `CompiledNetwork.infer` goes directly too: of more, the record has what each thread did."""

_RIGHT = DirectOutcome.RIGHT  # looked up once: small calls take a few microseconds
_forks = [0]  # how often this process is a child of one that had imported this; cheaper to ask than its id
os.register_at_fork(after_in_child=lambda: _forks.__setitem__(0, _forks[0] + 1))


class NetworkLayout(NamedTuple):
    """A layout of the network that calls use.

    Attributes
    ----------
    kernel : str
    n_bytes : int, or None
        Of the layers and the activations; None where the backend keeps it to itself.
    instances : str
        Which batches it serves.
    reason : str
    """

    kernel: str
    n_bytes: int | None
    instances: str
    reason: str

    def __str__(self) -> str:
        """Say it in a line."""
        size = "" if self.n_bytes is None else f" ({self.n_bytes:,} bytes)"
        return f"{self.kernel}{size}: {self.instances}; {self.reason}"


class Description(NamedTuple):
    """What a compiled network is made of.

    Attributes
    ----------
    backend : str
    threads : int
    layouts : tuple of NetworkLayout
    """

    backend: str
    threads: int
    layouts: tuple[NetworkLayout, ...]

    def __str__(self) -> str:
        """Say it in a line for each layout."""
        return "\n".join([f"{self.backend}, {self.threads} threads", *(f"  {layout}" for layout in self.layouts)])


def compile(
    network: Network,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str = "data",
    threads: int | None = None,
    options: InferOptions | None = None,
    **flat: Any,
) -> CompiledNetwork:
    """Prepare a network once for many calls: layers are packed, kernels compiled, threads started.

    Parameters
    ----------
    network, backend, kernel, scheduler, threads, options, **flat
        As of `sparsednn.infer`.

    Returns
    -------
    CompiledNetwork
        A context manager. With several processes its methods are collective, as `sparsednn.infer` is.

    Raises
    ------
    TypeError, ValueError, MemoryError, DeviceError
        As `sparsednn.infer` does.
    """
    asked = Request.checked(network, backend, kernel, scheduler, threads, False, infer_options(flat, options))
    return CompiledNetwork(network, asked, direct=kernel == "auto" and scheduler == "data")


class CompiledNetwork:
    """A network that is called often. Calls of several threads are served one after the other.

    Its threads live as long as it does; between calls they sleep. `sparsednn.compile` makes it.

    Examples
    --------
    ::

        with sparsednn.compile(network) as compiled:
            activations = compiled(batch)  # float32 (instances, outputs)
            classes = compiled.predict(batch)
    """

    def __init__(self, network: Network, asked: Request, *, direct: bool) -> None:
        self.network, self._asked = network, asked
        self._prepared: PreparedNetwork | None = PreparedNetwork(network, asked)
        self._direct = direct_network(network, asked) if direct else None
        self._most_directly = None if self._direct is None else most_directly(network, self._direct)
        self._n_inputs, self._n_outputs = network.n_inputs, network.n_outputs
        self._lock = threading.Lock()
        self._fork = _forks[0]

    def __call__(self, x: Any, *, sparse: bool = False) -> Any:
        """Return the last activations of a batch: as `run`."""
        return self.run(x, sparse=sparse)

    def run(self, x: Any, out: NDArray[np.float32] | None = None, *, sparse: bool = False) -> Any:
        """Return the last activations of a batch.

        Parameters
        ----------
        x : array of shape (instances, inputs) or (inputs,), or scipy.sparse matrix
            float32, or bool or integers that float32 holds exactly; any strides. What speaks DLPack (a tensor of PyTorch on the
            CPU) is taken without a copy.
        out : float32 array, shape (instances, outputs), optional
            Where the result is to be written; it may not overlap `x`.
        sparse : bool
            Return a csr_array.

        Returns
        -------
        float32 array, shape (instances, outputs), in C order; (outputs,) for one instance of shape (inputs,); or `out`; or a
        csr_array. It is never used again by a later call.

        Raises
        ------
        TypeError, ValueError
            For another shape or type of numbers, NaN or infinity: before anything is run.
        FloatingPointError
            If activations have overflowed float32.
        RuntimeError
            If it is closed, or was made before this process was forked.
        """
        if type(x) is not np.ndarray and sp.issparse(x):
            require(4 * math.prod(x.shape), "the batch as a dense array", "give fewer instances at a time, or use infer()")
        batch, single = dense_batch(x, self._n_inputs)
        if sparse:
            return self._sparse(batch, out)
        dense = (
            np.empty((batch.shape[0], self._n_outputs), np.float32)
            if out is None
            else output_array(out, batch, self._n_outputs)
        )
        self._compute(batch, dense)
        return dense[0] if single and out is None else dense

    def _sparse(self, batch: NDArray[np.float32], out: Any) -> Any:
        """Return the last activations as a csr_array."""
        if out is not None:
            raise OptionError("run: out is dense; give out or sparse=True, not both")
        if not self._takes_directly(batch.shape[0]):
            return self._ordinary(batch, output=True).output
        dense = np.empty((batch.shape[0], self._n_outputs), np.float32)
        self._compute(batch, dense)
        return sp.csr_array(dense)

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the class of each instance, from 0: the output with the largest activation, the lowest of equal ones."""
        classes: NDArray[np.int64] = np.argmax(self.run(x), axis=-1)
        return classes

    def categories(self, x: Any) -> NDArray[np.int64]:
        """Return the 1-based ids, ascending, of the instances whose last activations have a sum above zero."""
        return categories_of(np.atleast_2d(self.run(x)))

    def infer(self, x: Any, *, output: bool = False) -> Result:
        """Run inference with the network as it is prepared: categories, and the full record.

        Parameters
        ----------
        x : scipy.sparse matrix or array, shape (instances, inputs)
            As of `sparsednn.infer`. A small batch goes directly; its record says ``scheduler: model`` and the kernel's name.
        output : bool
            Also return the last activations.

        Raises
        ------
        TypeError, ValueError, MemoryError, FloatingPointError, DeviceError, RuntimeError
            As `sparsednn.infer` and `run` do.
        """
        with self._lock:
            prepared = self._opened()
            shape = np.shape(x)
            if self._direct is not None and len(shape) == 2 and shape[0] <= SMALL and self._takes_directly(shape[0]):
                return infer_directly(self.network, self._direct, self._asked, x, output=output)
            return prepared.infer(x, output=output)

    def describe(self) -> Description:
        """Return the layouts with their bytes, which batches each serves, and why."""
        self._opened()
        layouts = []
        if self._direct is not None:
            most = self._most_directly
            reason = "one compiled call: threads cut the columns of a small batch and share the rows of a large one"
            served = "every batch" if most is None else f"batches of up to {most:,} instances"
            layouts.append(NetworkLayout(self._direct.kernel, self._direct.n_bytes, served, reason))
        if self._direct is None or self._most_directly is not None:
            served = "every batch" if self._direct is None else "larger batches"
            reason = "instances that are zero or saturated are dropped on the way" if self._direct else "as asked for"
            layouts.append(NetworkLayout(self._asked.kernel.kernel, None, f"{served}, and infer()", reason))
        return Description(self._asked.backend.name, self._asked.n_threads, tuple(layouts))

    def close(self) -> None:
        """End the threads and give the memory back; it cannot be called any more."""
        with self._lock:
            if self._direct is not None and self._fork == _forks[0]:
                self._direct.close()
            self._direct, self._prepared = None, None

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: threads and their memory belong to this process."""
        raise OptionTypeError("a CompiledNetwork cannot be pickled; pickle the Network, and compile it where it is used")

    def _takes_directly(self, n: int) -> bool:
        return self._direct is not None and (self._most_directly is None or n <= self._most_directly)

    def _opened(self) -> PreparedNetwork:
        if self._prepared is None:
            raise OptionError("this CompiledNetwork is closed; compile the network again")
        if self._fork != _forks[0]:
            raise OptionError("this CompiledNetwork was made before the process was forked; compile the network in the child")
        return self._prepared

    def _compute(self, batch: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        if not self._takes_directly(batch.shape[0]):
            result = self._ordinary(batch, output=True).output
            out[:] = 0 if result is None else result.toarray()
            return
        with self._lock:
            if self._prepared is None or self._fork != _forks[0]:
                self._opened()
            outcome = self._direct.run(batch, out)  # type: ignore[union-attr]
        if outcome is not _RIGHT:
            raise_for(outcome, batch, out)

    def _ordinary(self, batch: Any, *, output: bool) -> Result:
        with self._lock:
            return self._opened().infer(batch, output=output)

"""Owns the compiled network: prepared once, called often, with dense or sparse batches of any size."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.batches import dense_batch, output_array
from sparsednn.arguments.scalars import whole_number
from sparsednn.backend import Backend, DirectNetwork, DirectOutcome
from sparsednn.comm import LocalCommunicator
from sparsednn.engine.blocks import BlockwiseCalls, block_rows
from sparsednn.engine.direct_calls import categories_of, direct_layout, infer_directly, raise_for, threads_of_calls
from sparsednn.engine.layouts import Description, DirectLayout
from sparsednn.engine.prepared import PreparedNetwork
from sparsednn.engine.request import Request
from sparsednn.errors import MemoryShortageError, OptionError, OptionTypeError
from sparsednn.execution.options import InferOptions, infer_options, require_types
from sparsednn.network import Network
from sparsednn.results.result import Result
from sparsednn.system.memory import require

SMALL = 64
"""Instances up to which `CompiledNetwork.infer` goes directly too: of more, the record has what each thread did."""
_RIGHT, _LEFT_OUT = DirectOutcome.RIGHT, None  # looked up once: small calls take a few microseconds
_forks = [0]  # how often this process is a child of one that had imported this; cheaper to ask than its id
os.register_at_fork(after_in_child=lambda: _forks.__setitem__(0, _forks[0] + 1))


def compile(
    network: Network,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str = "data",
    threads: int | None = None,
    options: InferOptions | None = None,
    batch_sizes: Sequence[int] = (),
    **flat: Any,
) -> CompiledNetwork:
    """Prepare a network once for many calls: kernels are compiled; layers are packed and threads started when first needed.

    Parameters
    ----------
    network, backend, kernel, scheduler, threads, options, **flat
        As of `sparsednn.infer`.
    batch_sizes : sequence of int
        The layouts that calls with so many instances need are packed at once.

    Returns
    -------
    CompiledNetwork
        A context manager. With several processes its methods are collective, as `sparsednn.infer` is.

    Raises
    ------
    TypeError, ValueError, MemoryError, DeviceError
        As `sparsednn.infer` does.
    """
    opts = infer_options(flat, options)
    require_types(network, backend, kernel, scheduler)
    sizes = [whole_number("batch_sizes", size, 1) for size in batch_sizes]
    asked = Request.checked(backend, kernel, scheduler, threads, False, opts)
    prepared = PreparedNetwork(network, asked)
    direct = direct_layout(prepared.whole(), asked, kernel) if scheduler == "data" else None
    compiled = CompiledNetwork(prepared, direct)
    compiled.pack(sizes)
    return compiled


class CompiledNetwork(BlockwiseCalls):
    """A network that is called often. Calls of several threads are served one after the other.

    Its threads live as long as it does; between calls they sleep. `sparsednn.compile` makes it.

    Examples
    --------
    ::

        with sparsednn.compile(network) as compiled:
            activations = compiled(batch)  # float32 (instances, outputs)
            classes = compiled.predict(batch)
    """

    def __init__(self, prepared: PreparedNetwork, direct: DirectLayout | None) -> None:
        self.outline, self._asked = prepared.outline, prepared.asked
        self._prepared: PreparedNetwork | None = prepared
        self._direct = direct
        self._n_inputs, self._n_outputs = self.outline.n_inputs, self.outline.n_outputs
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
        if (
            type(x) is np.ndarray
            and x.dtype.kind in "bui"
            and x.shape[1:] == (self._n_inputs,)
            and len(x) > SMALL
            and not sparse
        ):
            return self._converted(x, output_array(out, x, self._n_outputs))
        batch, single = dense_batch(x, self._n_inputs)
        if sparse:
            return self._sparse(batch, out)
        dense = (
            np.empty((batch.shape[0], self._n_outputs), np.float32)
            if out is None
            else output_array(out, batch, self._n_outputs)
        )
        self.compute(batch, dense)
        return dense[0] if single and out is None else dense

    def _sparse(self, batch: NDArray[np.float32], out: Any) -> Any:
        """Return the last activations as a csr_array."""
        if out is not None:
            raise OptionError("run: out is dense; give out or sparse=True, not both")
        if not self._takes_directly(batch.shape[0]):
            return self._ordinary(batch, output=True).output
        dense = np.empty((batch.shape[0], self._n_outputs), np.float32)
        self.compute(batch, dense)
        return sp.csr_array(dense)

    def rows_at_once(self, n: int) -> int:
        """All, where a call gains by many instances that may be dropped on their way, or is one of several processes'."""
        drops = self._direct is not None and not self._direct.takes(n)
        if drops or not isinstance(self._asked.options.communicator, LocalCommunicator):
            return max(n, 1)
        return block_rows(max(self._n_inputs, self._n_outputs), threads_of_calls(self._asked))

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
            small = len(shape) == 2 and shape[0] <= SMALL
            if small and self._takes_directly(shape[0]) and (direct := self._ready()) is not None:
                return prepared.told(infer_directly(self.outline, direct, self._asked, x, output=output))
            return prepared.infer(x, output=output)

    def describe(self) -> Description:
        """Return the layouts with their bytes, which batches each serves, and why."""
        prepared = self._opened()
        layouts = [] if self._direct is None else [self._direct.describe()]
        if self._direct is None or not self._direct.serves_all:
            served = "every batch" if self._direct is None or self._direct.refusal else "larger batches"
            dropped = "instances that are zero or saturated are dropped on the way"
            served, reason = f"{served}, and infer()", dropped if self._direct else "as asked for"
        else:
            served, reason = f"infer() of more than {SMALL} instances", "the record has what each thread did"
        layouts.append(prepared.describe(served, reason))
        return Description(self._asked.backend.name, self._asked.n_threads, tuple(layouts), prepared.tolerance_of_all())

    def pack(self, batch_sizes: Iterable[int]) -> None:
        """Pack the layouts that calls with so many instances need, as far as they are not packed yet."""
        with self._lock:
            prepared = self._opened()
            for size in batch_sizes:
                if not self._takes_directly(size) or self._direct.packed() is None:  # type: ignore[union-attr]
                    prepared.pack()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the packed layers into a new folder, whole or not at all, for `sparsednn.load`.

        Layouts that are not packed yet are packed for it. A compiled network that is in the folder already is replaced.

        Raises
        ------
        ValueError
            If it has something that cannot be saved: another backend than Numba's, several processes, a scheduler object.
        OSError
            If the path has something else, or cannot be written.
        """
        from sparsednn.engine import saved  # most networks are compiled in the process that calls them

        with self._lock:
            saved.save(Path(path), self._opened(), self._direct)

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
        return self._direct is not None and self._direct.takes(n)

    def _opened(self) -> PreparedNetwork:
        if self._prepared is None:
            raise OptionError("this CompiledNetwork is closed; compile the network again")
        if self._fork != _forks[0]:
            raise OptionError("this CompiledNetwork was made before the process was forked; compile the network in the child")
        return self._prepared

    def compute(self, batch: NDArray[np.float32], out: NDArray[np.float32], first: int = 0) -> None:
        """Write the activations of checked instances into an array; messages count them from `first` on. See `run`."""
        if not self._takes_directly(batch.shape[0]):
            self._compute_otherwise(batch, out)
            return
        with self._lock:
            network = self._ready()
            outcome = _LEFT_OUT if network is None else network.run(batch, out)
        if outcome is _LEFT_OUT:
            self._compute_otherwise(batch, out)
        elif outcome is not _RIGHT:
            raise_for(outcome, batch, out, first)

    def _ready(self) -> DirectNetwork | None:
        """Return the network for direct calls, which is packed now if it was not before; None: it is left out."""
        if self._prepared is None or self._fork != _forks[0]:
            self._opened()
        direct: DirectLayout = self._direct  # type: ignore[assignment]
        return direct.network or direct.packed()

    def _compute_otherwise(self, batch: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Take other kernels than the direct ones; or these after all, if theirs is the only layout that fits."""
        try:
            output = self._ordinary(batch, output=True).output
        except MemoryShortageError as error:
            with self._lock:
                if self._direct is None or self._ready() is None:
                    raise
                self._direct.take_all(str(error))
            self.compute(batch, out)
        else:
            out[:] = 0 if output is None else output.toarray()

    def _ordinary(self, batch: Any, *, output: bool) -> Result:
        with self._lock:
            return self._opened().infer(batch, output=output)

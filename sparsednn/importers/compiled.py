"""Owns the compiled model: called with images, it answers with outputs, classes or its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.engine import CompiledNetwork
from sparsednn.engine.blocks import best, checked_count
from sparsednn.importers.accuracy import Accuracy, AccuracyCount, checked_labels
from sparsednn.importers.batches import checked_instances, prepared_block
from sparsednn.importers.check import ModelCheck, compare
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.postprocessing import classes_of, finish, n_classes
from sparsednn.importers.profile import ModelProfile, profile


class CompiledModel:
    """A model that is called often; `Model.compile` makes it. A context manager.

    Instances are taken in the shape of the model's input, ``(n, *input_shape)``, or flattened in C order,
    ``(n, prod(input_shape))``; float32, or bool or integers that float32 holds exactly, as an array, a tensor on the CPU, or a
    scipy.sparse matrix. Nothing is scaled that the model's preprocessing does not say.

    Examples
    --------
    ::

        with sparsednn.from_onnx("pruned.onnx").compile() as model:
            print(model.accuracy(images, labels))
    """

    def __init__(self, description: ModelDescription, compiled: CompiledNetwork, options: Mapping[str, Any]) -> None:
        self.description, self.compiled, self._options = description, compiled, dict(options)
        shape = description.in_shape
        self._ready_shapes = (shape, (math.prod(shape),)) if description.preprocessing is None else ()

    def __call__(self, x: Any) -> NDArray[Any]:
        """Return what the graph puts out: float32 (n, *output_shape), of a graph that ends in ArgMax int64.

        Raises
        ------
        TypeError, ValueError
            For another shape (the message has the legal ones), another type of numbers, NaN or infinity.
        FloatingPointError
            If activations have overflowed float32.
        RuntimeError
            If it is closed.
        """
        postprocess = self.description.postprocess
        if postprocess == "none" and self._is_ready(x):
            return self._at_once(x).reshape(len(x), *self.description.out_shape)
        instances = self._checked(x)
        if postprocess == "argmax":
            return self._classes(instances).reshape(-1, *self.description.out_shape)
        found = self._empty(instances.shape[0])
        for _, logits in self._blocks(instances, found):
            if postprocess != "none":
                logits[:] = finish(logits, postprocess)
        return found.reshape(len(found), *self.description.out_shape)

    def logits(self, x: Any) -> NDArray[np.float32]:
        """Return what comes before the post-processing: float32, ``(n, *output_shape)``; before an ArgMax (n, outputs)."""
        if self._is_ready(x):
            found = self._at_once(x)
        else:
            instances = self._checked(x)
            found = self._empty(instances.shape[0])
            for _ in self._blocks(instances, found):
                pass
        return found if self.description.postprocess == "argmax" else found.reshape(len(found), *self.description.out_shape)

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the class of each instance, from 0: int64, shape (n,).

        The largest output, the lowest of equal ones; where the only output is a sigmoid: 1 if it is 0.5 or more. Outputs are
        there for a block of instances at a time.
        """
        return self._classes(self._checked(x))

    def top(self, x: Any, k: int = 5) -> NDArray[np.int64]:
        """Return the `k` largest outputs of each instance, the largest first, of equal ones the lower: int64, shape (n, k).

        Outputs are there for a block of instances at a time.

        Raises
        ------
        TypeError, ValueError
            As a call does; or if there are fewer outputs than `k`.
        """
        count, instances = checked_count(k, self.description.network.n_outputs), self._checked(x)
        found = np.empty((instances.shape[0], count), np.int64)
        for first, logits in self._blocks(instances):
            found[first : first + len(logits)] = best(logits, count)
        return found

    def accuracy(self, images: Any, labels: Any) -> Accuracy:
        """Compare the predicted classes with labels.

        Parameters
        ----------
        images : as of a call
        labels : whole numbers, shape (n,)
            The class of each instance, from 0.

        Raises
        ------
        TypeError, ValueError
            As a call does; if labels are no classes, or not as many as images.
        """
        x = self._checked(images)
        postprocess, n_outputs = self.description.postprocess, self.description.network.n_outputs
        right = checked_labels(labels, x.shape[0], n_classes(n_outputs, postprocess))
        count = AccuracyCount(n_outputs, postprocess)
        for first, logits in self._blocks(x):
            count.add(logits, right[first : first + len(logits)])
        return count.accuracy()

    def profile(self, x: Any, calls: int = 5) -> ModelProfile:
        """Measure where the time of a call goes: seconds, entries and the share of living activations by node of the graph.

        Parameters
        ----------
        x : as of a call
            As many instances as calls usually have.
        calls : int
            How often each layer is called; medians are taken.

        Returns
        -------
        ModelProfile
            Printed, it is a table that says what was measured: each layer by itself, and the whole network.

        Raises
        ------
        TypeError, ValueError, FloatingPointError
            As a call does; or if there are no instances.
        """
        return profile(self.description, self.compiled, self._options, x, calls)

    def check(self, x: Any, tolerance: float = 5e-5) -> ModelCheck:
        """Compare all tensors of the graph with onnx.reference: as `Model.check`."""
        return compare(self.description, x, tolerance)

    def close(self) -> None:
        """End the threads and give the memory back; it cannot be called any more."""
        self.compiled.close()

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _is_ready(self, x: Any) -> bool:
        """Whether a batch is as the network takes it: then a call of microseconds is not preceded by as many of Python."""
        return type(x) is np.ndarray and x.dtype == np.float32 and x.shape[1:] in self._ready_shapes

    def _at_once(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.compiled(x.reshape(len(x), self.description.network.n_inputs))
        return found

    def _checked(self, x: Any) -> Any:
        """Return instances that have a legal shape; a warning is for who has called the method that calls this."""
        return checked_instances(x, self.description, stacklevel=4)

    def _empty(self, n: int) -> NDArray[np.float32]:
        return np.empty((n, self.description.network.n_outputs), np.float32)

    def _classes(self, instances: Any) -> NDArray[np.int64]:
        """Return the class of each instance, whose outputs are there for a block at a time."""
        found = np.empty(instances.shape[0], np.int64)
        for first, logits in self._blocks(instances):
            found[first : first + len(logits)] = classes_of(logits, self.description.postprocess)
        return found

    def _blocks(self, instances: Any, found: NDArray[np.float32] | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the first instance and the outputs of each block; in `found`, or else overwritten by those of the next."""
        description, n = self.description, instances.shape[0]
        is_ready = description.preprocessing is None and not sp.issparse(instances) and instances.dtype == np.float32
        rows = max(n, 1) if is_ready and found is not None else self.compiled.rows_at_once(n)
        buffer = np.empty((0 if is_ready else min(n, rows), description.network.n_inputs), np.float32)
        out = self._empty(min(n, rows)) if found is None else found
        return self.compiled.in_blocks(instances, lambda some: prepared_block(some, description, buffer), out, rows)

"""Owns the compiled model: called with images, it answers with outputs, classes or its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sparsednn.engine import CompiledNetwork
from sparsednn.importers.accuracy import Accuracy, AccuracyCount, checked_labels
from sparsednn.importers.batches import instances_of, prepared_batch
from sparsednn.importers.check import ModelCheck, compare
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.postprocessing import classes_of, finish, n_classes
from sparsednn.importers.profile import ModelProfile, profile

AT_ONCE = 4096
"""Instances that are run at a time for an accuracy, so that scaled copies stay small."""


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
        logits = self._run(x)
        return finish(logits, self.description.postprocess).reshape(len(logits), *self.description.out_shape)

    def logits(self, x: Any) -> NDArray[np.float32]:
        """Return what comes before the post-processing: float32, ``(n, *output_shape)``; before an ArgMax (n, outputs)."""
        logits = self._run(x)
        return logits if self.description.postprocess == "argmax" else logits.reshape(len(logits), *self.description.out_shape)

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the class of each instance, from 0: int64, shape (n,).

        The largest output, the lowest of equal ones; where the only output is a sigmoid: 1 if it is 0.5 or more.
        """
        return classes_of(self._run(x), self.description.postprocess)

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
        x = instances_of(images, self.description)
        postprocess, n_outputs = self.description.postprocess, self.description.network.n_outputs
        right = checked_labels(labels, x.shape[0], n_classes(n_outputs, postprocess))
        count = AccuracyCount(n_outputs, postprocess)
        for first in range(0, len(right), AT_ONCE):
            count.add(self._run(x[first : first + AT_ONCE]), right[first : first + AT_ONCE])
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

    def _run(self, x: Any) -> NDArray[np.float32]:
        """Return the last activations of a batch: float32, shape (n, outputs)."""
        logits: NDArray[np.float32] = self.compiled.run(prepared_batch(x, self.description))
        return logits

"""Loads dense instances of a point, such as images: brings them into the network's shape and scale; and labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from experiments.config.resolve import Config
from experiments.config.source_schema import InputConfig
from experiments.run.model_files import ModelUse
from sparsednn.arguments.arrays import as_float32, canonical_inputs
from sparsednn.arguments.batches import dense_batch
from sparsednn.errors import DataError, OptionError, SparseDnnError
from sparsednn.results.model_record import PreprocessingRecord

if TYPE_CHECKING:
    from sparsednn.data.dense_instances import DenseInstances
    from sparsednn.importers.preprocessing import Preprocessing

AT_ONCE = 4096
"""Instances that are dense in memory at a time."""

MOST_DIGITS = 9
"""Of a folder that is named by the number of its class."""

PLAIN_AXES = 2
"""Axes of a grey image: no order of channels to ask for."""


class Images:
    """The dense instances of a point.

    Parameters
    ----------
    config : Config
    model : ModelUse
    n_inputs : int
        Of the network.

    Attributes
    ----------
    n : int
        How many instances are run.
    preprocessing : Preprocessing
        What is done to them.
    is_said : bool
        Whether the model's file or the user has said anything about that.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError, ImportError
        If the file is missing or malformed, has fewer instances than are asked for, or does not go with the network.
    """

    def __init__(self, config: Config, model: ModelUse, n_inputs: int) -> None:
        from sparsednn.data.dense_instances import open_instances

        path = config.input.path
        self._source = open_instances(config.input.name, None if path is None else Path(path))
        self._n_inputs, self._shape = n_inputs, model.input_shape
        self.n = self._source.n if config.instances is None else config.instances
        if self.n > self._source.n:
            raise DataError(
                f"{self._source.source}: has {self._source.n} instances, fewer than instances={self.n}; "
                "instances=null takes all of them"
            )
        given, self.preprocessing = _preprocessing(config.input, model)
        self.is_said = given or model.preprocessing is not None
        self.preprocessing = _fitted(self._source, model.input_shape, self.preprocessing, config.input.layout)

    def rows(self, ids: NDArray[np.int64], progress: Callable[[int, int], None], warn: Callable[[str], None]) -> sp.csr_array:
        """Return instances of some ids (int64, from 0), scaled, as a csr_array of float32, shape (len(ids), n_inputs).

        Raises
        ------
        ValueError
            If a number is not finite, or an integer that float32 does not hold.
        """
        parts, largest = [], 0
        for first in range(0, len(ids), AT_ONCE):
            some = ids[first : first + AT_ONCE]
            values = self._source.take(some)
            largest = max(largest, _largest_integer(values))
            parts.append(sp.csr_array(self._batch(values, some)))
            progress(first + len(some), len(ids))
        if largest > 1 and not self.is_said:
            warn(
                f"warning: {self._source.source} holds integers up to {largest}, and nothing scales them; if the network was "
                "trained on scaled ones, use input.scale=255, and input.scale=1 if not"
            )
        stacked = sp.vstack(parts, format="csr") if parts else sp.csr_array((0, self._n_inputs), dtype=np.float32)
        return canonical_inputs(stacked, self._n_inputs)

    def _batch(self, values: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return dense instances as the network takes them: float32 (n, n_inputs)."""
        flat = values.reshape(len(values), self._n_inputs)
        try:
            batch = as_float32(flat, "x") if flat.dtype.kind == "f" else dense_batch(flat, self._n_inputs)[0]
        except SparseDnnError as error:
            raise DataError(f"{self._source.source}: {error}") from error
        batch = self.preprocessing.apply(batch, self._shape, np.empty(batch.shape, np.float32))
        wrong = np.flatnonzero(~np.isfinite(batch).all(axis=1))
        if wrong.size:
            raise DataError(f"{self._source.source}: instance {ids[wrong[0]] + 1} has a number that is not finite in float32")
        return batch

    @property
    def record(self) -> PreprocessingRecord:
        """The preprocessing of the instances, for the record."""
        done = self.preprocessing
        return PreprocessingRecord(scale=done.scale, mean=list(done.mean), std=list(done.std), layout=done.layout)

    def labels(self, model: ModelUse, n_classes: int) -> tuple[Any, tuple[str, ...]] | None:
        """Return the labels that the file itself has, unchecked, and names of classes; None if it has none."""
        labels, names = self._source.labels, self._source.class_names
        if labels is None:
            return None
        if names:
            labels, names = _classes_of_names(self._source.source, labels, names, model, n_classes)
        return labels, names


def _preprocessing(given: InputConfig, model: ModelUse) -> tuple[bool, Preprocessing]:
    """Return what is done to the instances, and whether the user has said some of that: the rest is the model's."""
    from sparsednn.importers.preprocessing import Preprocessing

    said = {name: getattr(given, name) for name in ("scale", "mean", "std", "layout") if getattr(given, name) is not None}
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    preprocessing = replace(model.preprocessing or Preprocessing(), **said)
    try:
        preprocessing.require_fit(model.input_shape)
    except OptionError as error:
        raise OptionError(str(error).replace("Preprocessing: ", "input.")) from None
    return bool(said), preprocessing


def _fitted(
    source: DenseInstances, shape: tuple[int, ...], preprocessing: Preprocessing, layout: str | None
) -> Preprocessing:  # fmt: skip
    """Return what is done to instances of a file so that they have the network's shape, or refuse them naming both shapes.

    Axes of one element count for nothing. Images whose format has the channels last are turned without a word.
    """
    has, takes = source.shape, preprocessing.image_shape(shape)
    if has in (takes, (math.prod(takes),)) or list(_longer(has)) == list(_longer(takes)):
        return preprocessing
    turned = len(has) == len(shape) == 3 and preprocessing.layout == "as_is"
    for order, axes in (("hwc", (2, 0, 1)), ("chw", (1, 2, 0))):
        if turned and tuple(has[axis] for axis in axes) == shape:
            if source.channels_last and order == "hwc" and layout is None:
                return replace(preprocessing, layout="hwc")
            raise DataError(
                f"{source.source}: has instances of shape {has}, but the network takes {takes}; "
                f"input.layout={order} turns their axes"
            )
    if len(shape) == 1 and math.prod(has) == shape[0]:
        if len(list(_longer(has))) <= PLAIN_AXES or layout is not None:
            return preprocessing
        raise DataError(
            f"{source.source}: has instances of shape {has}, but the network takes {shape}, in an order that nobody has said; "
            "input.layout=as_is takes them as they lie in the file"
        )
    raise DataError(f"{source.source}: has instances of shape {has}, but the network takes {takes}")


def _longer(shape: tuple[int, ...]) -> Iterator[int]:
    return (size for size in shape if size != 1)


def _largest_integer(values: NDArray[Any]) -> int:
    return int(values.max()) if values.dtype.kind in "iu" and values.size else 0


def _classes_of_names(
    source: str, labels: NDArray[np.int64], names: tuple[str, ...], model: ModelUse, n_classes: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the classes of folders that are named by the model's names of classes, by numbers, or in the classes' order."""
    known = model.class_names
    if known and set(names) <= set(known):
        return np.array([known.index(name) for name in names], np.int64)[labels], known
    if all(name.isdecimal() and name.isascii() and len(name) <= MOST_DIGITS for name in names):
        return np.array([int(name) for name in names], np.int64)[labels], ()
    if len(names) != n_classes:
        raise DataError(
            f"{source}: has {len(names)} folders of images for {n_classes} classes, so that their order says nothing; name "
            f"them by the numbers of their classes, from 0{', or by the names that the model has' if known else ''}"
        )
    return labels, names

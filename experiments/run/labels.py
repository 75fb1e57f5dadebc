"""Loads the right answers for a point's instances: labels that come with them or are in a file, and logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.image_schema import SHIPPED
from experiments.config.resolve import Config
from experiments.run.images import Images
from experiments.run.model_files import ModelUse
from sparsednn.arguments.arrays import as_float32
from sparsednn.data.arrays_in_files import array_of_npy, arrays_of_npz, only_array
from sparsednn.errors import DataError, SparseDnnError


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of all instances of a point.

    Attributes
    ----------
    classes : int64 array, shape (n,)
        The class of each, from 0.
    names : tuple of str
        Of the classes, or none.
    source : {"package", "given"}
        Where they are from.
    """

    classes: NDArray[np.int64]
    names: tuple[str, ...]
    source: str


def load_labels(config: Config, images: Images | None, n_instances: int, n_outputs: int, model: ModelUse) -> Labels | None:
    """Return the labels of the instances that are run, or None if there are none.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If a file is missing or malformed, has another number of labels than there are instances, or one is no class of the
        network.
    """
    if config.input.labels is None and images is None:
        return None
    from sparsednn.importers.postprocessing import n_classes  # other runs need not wait for the importers

    given, names, classes = config.input.labels, tuple[str, ...](), n_classes(n_outputs, model.postprocess)
    if given is not None:
        from sparsednn.data.labels import read_labels  # with pandas, for which other runs need not wait

        source, labels = f"input.labels={given}", read_labels(Path(given))
    elif images is not None and (found := images.labels(model, classes)) is not None:
        source, (labels, names) = f"input={config.input.name}", found
    else:
        return None
    checked = _checked(source, labels if config.instances is None else labels[:n_instances], n_instances, classes)
    return Labels(checked, names, "package" if config.input.name in SHIPPED else "given")


def load_logits(config: Config, n_instances: int, n_outputs: int) -> NDArray[np.float32] | None:
    """Return the last activations that are held to be true, shape (n_instances, n_outputs), or None if none are given.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, MemoryError
        If the file is missing or malformed, or has other numbers of instances or outputs.
    """
    given = config.input.logits
    if given is None:
        return None
    path = Path(given)
    if path.name.lower().endswith(".npz"):
        array, _ = only_array(path, arrays_of_npz(path), ("logits", "y"), ("x", "labels"))
    else:
        array = array_of_npy(path)
    logits: NDArray[np.float32] = as_float32(array, f"input.logits={given}")
    if config.instances is not None:
        logits = logits[:n_instances]
    if logits.shape[:1] != (n_instances,) or logits.size != n_instances * n_outputs:
        raise DataError(
            f"input.logits={given}: has shape {array.shape}; {n_instances} instances of {n_outputs} outputs are needed"
        )
    if not np.isfinite(logits).all():
        raise DataError(f"input.logits={given}: holds a number that is not finite in float32")
    return logits.reshape(n_instances, n_outputs)


def _checked(source: str, labels: Any, n_instances: int, n_classes: int) -> NDArray[np.int64]:
    from sparsednn.importers.accuracy import checked_labels

    try:
        return checked_labels(labels, n_instances, n_classes)
    except SparseDnnError as error:
        raise DataError(f"{source}: {error}; ids of true categories are input.truth=FILE") from error

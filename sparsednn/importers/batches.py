"""Takes a batch of instances in the shapes that a model allows, and prepares it as the model's preprocessing says."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import array_of_tensor, is_tensor
from sparsednn.arguments.batches import dense_batch
from sparsednn.errors import DataError, OptionTypeError
from sparsednn.importers.description import ModelDescription
from sparsednn.importers.preprocessing import Preprocessing, unscaled_warning


def instances_of(x: Any, model: ModelDescription) -> Any:
    """Return a batch as an array or a csr matrix, of shape (n, *input_shape) or flattened.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or of another shape; the message has the legal ones.
    """
    if sp.issparse(x):
        x = x.tocsr()
    elif is_tensor(x):
        x = array_of_tensor(x, "x")
    elif not isinstance(x, np.ndarray):
        raise OptionTypeError(f"x: a NumPy array, a tensor or a scipy.sparse matrix is needed, not {type(x).__name__}")
    shape = (model.preprocessing or Preprocessing()).image_shape(model.in_shape)
    flat = (math.prod(shape),)
    if x.ndim < 1 or x.shape[1:] not in (shape, flat):
        legal = " or ".join(f"(n, {', '.join(map(str, one))})" for one in dict.fromkeys((shape, flat)))
        raise DataError(f"x has shape {x.shape}; the model takes {legal}")
    return x


def prepared_batch(x: Any, model: ModelDescription) -> NDArray[np.float32]:
    """Return a batch as the network takes it: float32, shape (n, n_inputs), scaled as the model says, and only so.

    Raises
    ------
    TypeError, ValueError
        As `instances_of`; for another type of numbers, or integers that float32 does not hold.
    """
    instances = instances_of(x, model)
    line = unscaled_warning(instances.data if sp.issparse(instances) else instances, model.preprocessing)
    if line is not None:
        warnings.warn(line, stacklevel=4)
    n_inputs = model.network.n_inputs
    batch, _ = dense_batch(instances if sp.issparse(instances) else instances.reshape(len(instances), n_inputs), n_inputs)
    return batch if model.preprocessing is None else model.preprocessing.apply(batch, model.in_shape)

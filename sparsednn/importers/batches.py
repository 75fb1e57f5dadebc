"""Takes a batch of instances in the shapes that a model allows, and prepares it as the model's preprocessing says."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import array_of_tensor, is_tensor
from sparsednn.arguments.batches import dense_batch, require_float32_holds
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


def checked_instances(x: Any, model: ModelDescription, stacklevel: int) -> Any:
    """Return a batch as `instances_of` does, with a warning if it looks like pixels that nobody scales."""
    instances = instances_of(x, model)
    line = unscaled_warning(instances.data if sp.issparse(instances) else instances, model.preprocessing)
    if line is not None:
        warnings.warn(line, stacklevel=stacklevel)
    return instances


def prepared_block(instances: Any, model: ModelDescription, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return some instances as the network takes them: float32 (n, n_inputs), scaled as the model says, and only so.

    Parameters
    ----------
    instances : array or csr matrix of n instances, checked
    model : ModelDescription
    buffer : float32 array, shape (n or more, n_inputs)
        Has them, if they have to be scaled.

    Raises
    ------
    TypeError, ValueError
        For another type of numbers than float32, bool and integers that float32 holds.
    """
    n, n_inputs = instances.shape[0], model.network.n_inputs
    if model.preprocessing is None:
        return dense_batch(instances if sp.issparse(instances) else instances.reshape(n, n_inputs), n_inputs)[0]
    require_float32_holds(instances.data if sp.issparse(instances) else instances)
    flat = instances.toarray() if sp.issparse(instances) else instances.reshape(n, n_inputs)
    return model.preprocessing.apply(flat, model.in_shape, buffer[:n])


def prepared_batch(x: Any, model: ModelDescription) -> NDArray[np.float32]:
    """Return a whole batch as the network takes it; see `prepared_block`.

    Raises
    ------
    TypeError, ValueError
        As `instances_of` and `prepared_block` do.
    """
    instances = checked_instances(x, model, stacklevel=4)
    return prepared_block(instances, model, np.empty((instances.shape[0], model.network.n_inputs), np.float32))

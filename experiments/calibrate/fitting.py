"""Fits the parameters of a cost model to measured seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Fit:
    """The result of a fit.

    Attributes
    ----------
    parameters : dict of float
        Seconds for one of each feature; none below 0.
    errors : float64 array, shape (n_samples,)
        Predicted over measured, less 1.
    """

    parameters: dict[str, float]
    errors: NDArray[np.float64]

    @property
    def median_error(self) -> float:
        """Median of the absolute relative errors."""
        return float(np.median(np.abs(self.errors)))


def fit(features: Mapping[str, ArrayLike], seconds: Sequence[float] | NDArray[np.float64]) -> Fit:
    """Return the parameters, none below 0, whose sums of parameter times feature come nearest to measured seconds.

    Least squares of the *relative* errors, so that short runs count as much as long ones.

    Parameters
    ----------
    features : mapping of float arrays, shape (n_samples,)
        How often each parameter is taken in each sample; 0 or more.
    seconds : float array, shape (n_samples,)
        Measured, above 0.

    Raises
    ------
    ValueError
        If there are fewer samples than features, lengths differ, or a value is not legal.
    """
    measured = np.asarray(seconds, np.float64)
    if not features or len(measured) < len(features):
        raise ValueError(f"{len(measured)} samples for {len(features)} parameters; at least one sample for each is needed")
    for name, counts in features.items():
        array = np.asarray(counts, np.float64)
        if array.shape != measured.shape or not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"feature {name}: {len(measured)} numbers of 0 or more are needed, one for each sample")
    if not (np.isfinite(measured) & (measured > 0)).all():
        raise ValueError(f"seconds: {measured[~(measured > 0)][:1]}: measured times must be finite and above 0")
    relative = np.array([np.asarray(counts, np.float64) for counts in features.values()]).T / measured[:, None]
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)  # features differ by many orders of magnitude
    solution, _ = scipy.optimize.nnls(relative / scale, np.ones(len(measured)))
    parameters = solution / scale
    return Fit(dict(zip(features, parameters.tolist(), strict=True)), relative @ parameters - 1)

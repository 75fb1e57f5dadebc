"""Parameters of a cost model, fitted to times that were made of known ones."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.calibrate.fitting import fit


def test_a_fit_finds_the_parameters_that_made_the_times() -> None:
    rng = np.random.default_rng(3)
    parameters = {"layer_s": 1e-6, "multiply_add_s": 4e-11, "entry_s": 0.0, "open_s": 1e-4}
    counts = {name: 10.0 ** rng.uniform(0, 6, 60) for name in parameters}
    times = sum(parameters[name] * counts[name] for name in parameters)
    found = fit(counts, times)
    assert found.parameters == pytest.approx(parameters, rel=1e-6, abs=1e-16)
    assert found.median_error < 1e-9
    noisy = fit(counts, times * rng.uniform(0.9, 1.1, 60))
    assert noisy.parameters["layer_s"] == pytest.approx(1e-6, rel=0.1)
    assert 0 < noisy.median_error < 0.1
    assert min(noisy.parameters.values()) >= 0


def test_a_fit_makes_relative_errors_small() -> None:
    """One constant for a short and a long run: least squares of seconds would take their mean, 50.5."""
    found = fit({"run_s": [1.0, 1.0]}, [1.0, 100.0])
    assert found.parameters["run_s"] == pytest.approx(1.01 / 1.0001)
    assert found.errors.tolist() == pytest.approx([1.01 / 1.0001 - 1, 0.0101 / 1.0001 - 1])


@pytest.mark.parametrize(
    ("features", "times", "message"),
    [
        pytest.param({}, [1.0], "1 samples for 0 parameters", id="nothing to fit"),
        pytest.param({"a": [1.0], "b": [1.0]}, [1.0], "1 samples for 2 parameters", id="too few samples"),
        pytest.param({"a": [1.0]}, [1.0, 2.0], "feature a: 2 numbers", id="lengths differ"),
        pytest.param({"a": [1.0, -1.0]}, [1.0, 2.0], "feature a: 2 numbers of 0 or more", id="negative counts"),
        pytest.param({"a": [1.0, 1.0]}, [1.0, 0.0], "measured times must be finite and above 0", id="a time of 0"),
    ],
)
def test_samples_that_cannot_be_fitted(features: dict[str, list[float]], times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(features, times)

"""Plans the points of an experiment from its configuration: pure, so that every rule can be tested without a run."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.config.overrides import override
from experiments.config.resolve import ConfigError
from experiments.config.schema import ExperimentConfig, SweepConfig

LABEL, BENCHMARK = "label", "benchmark"
UP_TO_CORES = "up_to_cores"
"""A value in a grid that stands for 1, 2, 4, ... and as many as this machine has cores."""

_OWN = ("experiment", "hydra")
CALIBRATION = "cluster.calibration"
_USE_IT = {"executor=simulated", "scheduler=auto", "scheduler=adaptive"}
"""Overrides of points that use a calibration."""


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """One point of an experiment: the sweep that it belongs to, its name there, and all overrides that make it.

    An `optional` one is left out where a package that it needs is not installed.
    """

    sweep: str
    label: str
    overrides: tuple[str, ...]
    optional: bool = False

    @property
    def neurons(self) -> int:
        """Width of its network, as far as its overrides say it; 0 otherwise."""
        found = [text.partition("=")[2] for text in self.overrides if text.startswith("neurons=")]
        return int(found[-1]) if found and found[-1].isdigit() else 0


def plan(experiment: ExperimentConfig, given: Iterable[str], n_cores: int = 1) -> list[PlannedPoint]:
    """Return the points of an experiment, in the order in which they are to be run.

    Of several values for a key the last counts: the experiment's, the sweep's, those for toy size, the point's own, the user's.
    A user may change whatever is the same in all points, but not what some sweep varies. A calibration file is for simulated
    points, and measured ones beside them do without. A benchmark is one point.

    Parameters
    ----------
    experiment : ExperimentConfig
    given : strings
        The user's own overrides, as ``key=value``; those of the experiment itself are left out.
    n_cores : int
        Of this machine: what `UP_TO_CORES` goes up to.

    Raises
    ------
    ConfigError
        If the experiment contradicts itself, or the user's overrides contradict it.
    """
    user = _user_overrides(given)
    _refuse_swept(experiment, user)
    every = [point for sweep in _sweeps(experiment) for point in _points_of(experiment, sweep, user, n_cores)]
    points = [point for point in every if experiment.most_neurons is None or point.neurons <= experiment.most_neurons]
    if not points:
        raise ConfigError(
            f"experiment.most_neurons={experiment.most_neurons}: leaves no point of experiment={experiment.name}; raise it"
        )
    for (sweep_name, label), n_times in Counter((point.sweep, point.label) for point in points).items():
        if n_times > 1:
            raise ConfigError(f"experiment {experiment.name}: {n_times} points are {sweep_name} / {label}; give them labels")
    return _with_calibration_where_used(points)


def _sweeps(experiment: ExperimentConfig) -> list[SweepConfig]:
    return [SweepConfig(BENCHMARK, points=[{LABEL: experiment.benchmark}])] if experiment.benchmark else experiment.sweeps


def _points_of(
    experiment: ExperimentConfig, sweep: SweepConfig, user: Mapping[str, str], n_cores: int
) -> Iterator[PlannedPoint]:
    shared = {**experiment.overrides, **sweep.overrides}
    if experiment.toy:
        shared |= {**experiment.toy_overrides, **sweep.toy_overrides}
    for own in _own_overrides(experiment, sweep, n_cores):
        label = own.get(LABEL, ", ".join(override(key, value) for key, value in own.items()))
        merged = {**shared, **{key: value for key, value in own.items() if key != LABEL}}
        kept = [override(key, value) for key, value in merged.items() if not any(_within(key, other) for other in user)]
        yield PlannedPoint(sweep.name, str(label), (*kept, *user.values()), sweep.optional)


def _own_overrides(experiment: ExperimentConfig, sweep: SweepConfig, n_cores: int) -> list[dict[str, Any]]:
    """Return what each point of a sweep has to itself: each listed point with every combination of the grid."""
    grid = sweep.toy_grid if experiment.toy and sweep.toy_grid else sweep.grid
    points = sweep.toy_points if experiment.toy and sweep.toy_points else sweep.points
    name = f"experiment {experiment.name}, sweep {sweep.name or '(without a name)'}"
    if not sweep.name or not (grid or points):
        raise ConfigError(f"{name}: a sweep has a name, and a grid or points")
    for key, values in grid.items():
        if not values:
            raise ConfigError(f"{name}: {key} has no values")
    lists = [_expanded(values, n_cores) for values in grid.values()]
    combined = [dict(zip(grid, values, strict=True)) for values in itertools.product(*lists)]
    return [_joined(point, own) for point in points or [{}] for own in combined]


def _expanded(values: list[Any], n_cores: int) -> list[Any]:
    """Return a grid's values with `UP_TO_CORES` written out, each once."""
    powers = [2**k for k in range(n_cores.bit_length()) if 2**k < n_cores]
    found = [number for value in values for number in ([*powers, n_cores] if value == UP_TO_CORES else [value])]
    return [value for place, value in enumerate(found) if value not in found[:place]]


def _joined(point: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a listed point with a combination of the grid's values, which its label names too."""
    if LABEL not in point or not own:
        return {**point, **own}
    label = ", ".join([str(point[LABEL]), *(override(key, value) for key, value in own.items())])
    return {**point, **own, LABEL: label}


def _with_calibration_where_used(points: list[PlannedPoint]) -> list[PlannedPoint]:
    """Take the calibration file from points that have no use for one, if others have; if none has, the run refuses it."""
    using = [bool(_USE_IT & set(point.overrides)) for point in points]
    if not any(using):
        return points
    return [point if uses else _without(point, CALIBRATION) for point, uses in zip(points, using, strict=True)]


def _without(point: PlannedPoint, key: str) -> PlannedPoint:
    return replace(point, overrides=tuple(text for text in point.overrides if text.partition("=")[0].lstrip("+") != key))


def _user_overrides(given: Iterable[str]) -> dict[str, str]:
    """Return the user's overrides by key, without those of the experiment itself and Hydra's."""
    by_key = {text.partition("=")[0].lstrip("+"): text for text in given}
    return {key: text for key, text in by_key.items() if re.split(r"[./]", key)[0] not in _OWN}


def _refuse_swept(experiment: ExperimentConfig, user: Mapping[str, str]) -> None:
    """A user's value for what an experiment varies would make all its points the same."""
    swept = _swept_keys(experiment)
    for key, text in user.items():
        for other in swept:
            if _within(key, other) or _within(other, key):
                raise ConfigError(
                    f"{text}: experiment={experiment.name} varies {other} itself; leave {key} out, "
                    f"or run points of your own: python run.py -m {key}=VALUE,VALUE"
                )


def _swept_keys(experiment: ExperimentConfig) -> Sequence[str]:
    """Return the keys that differ between the points of some sweep."""
    found: dict[str, None] = {}
    for sweep in experiment.sweeps:
        for point in _own_overrides(experiment, sweep, 1):
            found |= dict.fromkeys(key for key in point if key != LABEL)
    return list(found)


def _within(key: str, group: str) -> bool:
    """Whether a key is the other, or one of the fields of it."""
    return key == group or key.startswith(f"{group}.")

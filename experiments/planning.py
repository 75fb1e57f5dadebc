"""From an experiment's configuration to its points: pure, so that every rule can be tested without a run."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsednn.config import ConfigError
from sparsednn.schema import ExperimentConfig, SweepConfig

LABEL, BENCHMARK = "label", "benchmark"
_BARE = re.compile(r"[\w./+-]+")
_BEFORE_QUOTE = re.compile(r"(\\*)('|\Z)")  # only there does Hydra take backslashes for more than themselves
_OWN = ("experiment", "hydra")


@dataclass(frozen=True, slots=True)
class PlannedPoint:
    """One point of an experiment: the sweep that it belongs to, its name there, and all overrides that make it."""

    sweep: str
    label: str
    overrides: tuple[str, ...]


def plan(experiment: ExperimentConfig, given: Iterable[str]) -> list[PlannedPoint]:
    """Return the points of an experiment, in the order in which they are to be run.

    Of several values for a key the last counts: the experiment's, the sweep's, those for toy size, the point's own, the user's.
    A user may change whatever is the same in all points, but not what some sweep varies. A benchmark is one point.

    Parameters
    ----------
    experiment : ExperimentConfig
    given : strings
        The user's own overrides, as ``key=value``; those of the experiment itself are left out.

    Raises
    ------
    ConfigError
        If the experiment contradicts itself, or the user's overrides contradict it.
    """
    user = _user_overrides(given)
    _refuse_swept(experiment, user)
    points = [point for sweep in _sweeps(experiment) for point in _points_of(experiment, sweep, user)]
    for (sweep_name, label), n_times in Counter((point.sweep, point.label) for point in points).items():
        if n_times > 1:
            raise ConfigError(f"experiment {experiment.name}: {n_times} points are {sweep_name} / {label}; give them labels")
    return points


def override(key: str, value: Any) -> str:
    """Return ``key=value`` as Hydra reads it: null, truth values, numbers, strings (quoted where they must be) and lists."""
    return f"{key}={_written(value)}"


def _sweeps(experiment: ExperimentConfig) -> list[SweepConfig]:
    return [SweepConfig(BENCHMARK, points=[{LABEL: experiment.benchmark}])] if experiment.benchmark else experiment.sweeps


def _points_of(experiment: ExperimentConfig, sweep: SweepConfig, user: Mapping[str, str]) -> Iterator[PlannedPoint]:
    shared = {**experiment.overrides, **sweep.overrides}
    if experiment.toy:
        shared |= {**experiment.toy_overrides, **sweep.toy_overrides}
    for own in _own_overrides(experiment, sweep):
        label = own.get(LABEL, ", ".join(override(key, value) for key, value in own.items()))
        merged = {**shared, **{key: value for key, value in own.items() if key != LABEL}}
        kept = [override(key, value) for key, value in merged.items() if not any(_within(key, other) for other in user)]
        yield PlannedPoint(sweep.name, str(label), (*kept, *user.values()))


def _own_overrides(experiment: ExperimentConfig, sweep: SweepConfig) -> list[dict[str, Any]]:
    """Return what each point of a sweep has to itself."""
    grid = sweep.toy_grid if experiment.toy and sweep.toy_grid else sweep.grid
    name = f"experiment {experiment.name}, sweep {sweep.name or '(without a name)'}"
    if not sweep.name or bool(grid) == bool(sweep.points):
        raise ConfigError(f"{name}: a sweep has a name, and either a grid or points")
    if not grid:
        return sweep.points
    for key, values in grid.items():
        if not values:
            raise ConfigError(f"{name}: {key} has no values")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


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
        for point in _own_overrides(experiment, sweep):
            found |= dict.fromkeys(key for key in point if key != LABEL)
    return list(found)


def _within(key: str, group: str) -> bool:
    """Whether a key is the other, or one of the fields of it."""
    return key == group or key.startswith(f"{group}.")


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_written(item) for item in value)}]"
    if isinstance(value, str) and not _BARE.fullmatch(value):
        return "'" + _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value) + "'"
    return str(value)

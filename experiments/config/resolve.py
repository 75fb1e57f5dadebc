"""From Hydra's configuration to a checked one.

`resolve` turns Hydra's DictConfig into a `Config` and makes all checks that concern more than one field. Past it nobody sees a
DictConfig.
"""

from __future__ import annotations

import dataclasses
import math
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import slurm_rules as submission
from experiments.config.schema import GROUPS, ClusterConfig, Config, Executor, ExperimentConfig, Residency
from sparsednn.data.challenge_inputs import N_INSTANCES
from sparsednn.errors import OptionError, unknown, unknown_key

__all__ = ["GROUPS", "Config", "ConfigError", "as_record", "chosen_experiment", "keys", "register", "resolve"]


class ConfigError(OptionError):
    """A configuration that cannot be run; the message names the option and the way out."""


MOST = 2**31 - 1
"""Of what is counted: launchers and libraries take no larger numbers, and some take them for others without a word."""

KINDS_OF_EXPERIMENT = ("sweeps", "benchmark", "members", "report")
"""Fields of an experiment of which it has one."""


def register() -> None:
    """Make the schema known to Hydra as ``schema/config``."""
    ConfigStore.instance().store(group="schema", name="config", node=Config)


def resolve(cfg: DictConfig) -> Config:
    """Turn a composed configuration into a checked `Config`; of the challenge's instances it has the number, if all are meant.

    Raises
    ------
    ConfigError
        For an unknown key, a value outside its range, or values that do not go together.
    """
    _refuse_unknown(OmegaConf.to_container(cfg, resolve=False), Config, "")
    config = _as_object(cfg)
    if not isinstance(config, Config):
        raise ConfigError("the composed configuration lacks the schema: conf/config.yaml must list schema/config first")
    _check_counts(config)
    _check_ranges(config)
    if (refused := submission.refusal(config)) is not None:
        raise ConfigError(refused)
    _check_executor(config)
    _check_sources(config)
    if config.input.name == "challenge" and config.instances is None:
        config.instances = N_INSTANCES
    return config


def chosen_experiment(cfg: DictConfig) -> ExperimentConfig | None:
    """Return the experiment of a composed configuration, or None for a plain run.

    Only this group is looked at: the rest is the user's own, and is checked with each point of the experiment.

    Raises
    ------
    ConfigError
        If it is not a whole one.
    """
    experiment = _as_object(cfg.experiment)
    given = [name for name in KINDS_OF_EXPERIMENT if getattr(experiment, name)]
    if not given:
        if experiment != ExperimentConfig():
            raise ConfigError(
                f"experiment.name={experiment.name}: only a file of conf/experiment has {', '.join(KINDS_OF_EXPERIMENT)}; "
                "experiment=NAME takes it"
            )
        return None
    if experiment.name == "none":
        raise ConfigError(f"experiment.{given[0]}: an experiment needs a name other than none")
    if len(given) > 1:
        raise ConfigError(f"experiment.{given[1]}: experiment={experiment.name} has {given[0]}, not that")
    if given[0] in ("members", "report"):
        for name in ("figure", "overrides", "toy_overrides", "same_categories"):
            if getattr(experiment, name) != getattr(ExperimentConfig(), name):
                raise ConfigError(f"experiment.{name}: experiment={experiment.name} has {given[0]} and no points of its own")
    if experiment.rounds < 1:
        raise ConfigError(f"experiment.rounds={experiment.rounds}: must be at least 1")
    return experiment  # type: ignore[no-any-return]


def _as_object(cfg: DictConfig) -> Any:
    """Fill in what refers to other keys; what cannot be filled in is one line that names the key."""
    try:
        return OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{key}{str(error).splitlines()[0]}") from error


def as_record(config: Config) -> dict[str, Any]:
    """Return a resolved configuration as plain values, ready for JSON."""
    plain = dataclasses.asdict(config)
    return _plain(plain)  # type: ignore[no-any-return]


def from_record(record: dict[str, Any]) -> Config:
    """Return the configuration that `as_record` has made plain."""
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), record))
    return config  # type: ignore[no-any-return]


def keys() -> list[str]:
    """Return all legal keys of the configuration, groups and their fields included."""
    return _keys(Config, "")


def _keys(schema: Any, prefix: str) -> list[str]:
    found = []
    for f in dataclasses.fields(schema):
        found.append(prefix + f.name)
        factory: Any = f.default_factory
        if dataclasses.is_dataclass(factory):
            found += _keys(factory, f"{prefix}{f.name}.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _refuse_unknown(given: Any, schema: Any, prefix: str) -> None:
    """Hydra accepts +key=value even where the schema has no such key."""
    legal = {f.name: f for f in dataclasses.fields(schema)}
    for key, value in given.items():
        if key not in legal:
            raise ConfigError(unknown_key(f"{prefix}{key}", keys()))
        if dataclasses.is_dataclass(legal[key].default_factory) and isinstance(value, dict):
            _refuse_unknown(value, legal[key].default_factory, f"{prefix}{key}.")


def _check_counts(config: Config) -> None:
    at_least_1 = {
        "neurons": config.neurons,
        "layers": config.layers,
        "instances": config.instances,
        "threads": config.threads,
        "processes": config.processes,
        "repeats": config.repeats,
        "rebalance_after": config.rebalance_after,
        "backend.block_rows": config.backend.block_rows,
        "scheduler.split_factor": config.scheduler.split_factor,
        "partition.buckets": config.partition.buckets,
        "network.dense_width": config.network.dense_width,
        "cluster.nodes": config.cluster.nodes,
        "cluster.numa_domains": config.cluster.numa_domains,
        "cluster.cores_per_node": config.cluster.cores_per_node,
        "cluster.max_nodes": config.cluster.max_nodes,
        "cluster.processes_per_node": config.cluster.processes_per_node,
    }
    for name, value in at_least_1.items():
        if value is not None and not 1 <= value <= MOST:
            raise ConfigError(f"{name}={value}: must be at least 1" if value < 1 else f"{name}={value}: must be at most {MOST}")
    for radix in config.network.radices or ():
        if not isinstance(radix, int):
            raise ConfigError(f"network.radices={config.network.radices}: {radix!r} is not an integer")


def _check_ranges(config: Config) -> None:
    if not 0 <= config.scheduler.recruiting_ratio <= 1:
        raise ConfigError(f"scheduler.recruiting_ratio={config.scheduler.recruiting_ratio}: must be from 0 to 1")
    for name in ("threshold", "minimum_work"):
        value = getattr(config.scheduler, name)
        if value < 0:
            raise ConfigError(f"scheduler.{name}={value}: must be 0 or more")
    for name, seed in (("seed", config.seed), ("network.seed", config.network.seed)):
        if not 0 <= seed < 2**32:
            raise ConfigError(f"{name}={seed}: must be from 0 to {2**32 - 1}")
    if config.cluster.timeout_s is not None and not config.cluster.timeout_s > 0:
        raise ConfigError(f"cluster.timeout_s={config.cluster.timeout_s}: must be above 0")
    for name in ("slow_core", "noisy_node"):
        value = getattr(config.cluster, name)
        if value is not None and not 1 <= value < math.inf:
            raise ConfigError(f"cluster.{name}={value}: says how many times as long everything takes, so at least 1")
    for name, value in dataclasses.asdict(config.cluster.assume).items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"cluster.assume.{name}={value}: must be above 0")
    for name in ("bias", "weight", "maximum"):
        value = getattr(config.network, name)
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"network.{name}={value}: must be finite")


def _check_executor(config: Config) -> None:
    """A simulated cluster has its own size; real threads have no cluster."""
    cluster, simulated = config.cluster, config.executor is Executor.simulated
    if simulated:
        for name, value, alone in (
            ("processes", config.processes, None),
            ("rebalance_after", config.rebalance_after, None),
            ("partition.split", config.partition.split.value, "even"),
            ("repeats", config.repeats, 1),
            ("cluster.pin", cluster.pin, False),
            ("network.residency", config.network.residency, Residency.memory),
        ):
            if value != alone:
                raise ConfigError(
                    f"{name}={_shown(value)}: not with executor=simulated; a simulated cluster has cluster.nodes, "
                    "cluster.processes_per_node and cluster.cores_per_node"
                )
        return
    defaults = ClusterConfig()
    for name, value in dataclasses.asdict(cluster.assume).items():
        if value is not None:
            raise ConfigError(f"cluster.assume.{name}={value}: only for executor=simulated")
    for name in ("nodes", "cores_per_node", "processes_per_node", "slow_core", "noisy_node"):
        value = getattr(cluster, name)
        built = submission.submits(config) and name in submission.SIZES
        if value != getattr(defaults, name) and not built:
            raise ConfigError(f"cluster.{name}={_shown(value)}: only for executor=simulated")
    if cluster.calibration is not None and config.scheduler.name != "auto":
        raise ConfigError(f"cluster.calibration={cluster.calibration}: only for executor=simulated or scheduler=auto")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value.value if isinstance(value, Enum) else value)


SOURCES = {"network": ("radixnet", "files"), "input": ("challenge", "files"), "cluster": ("local", submission.SLURM)}
"""Legal values of a group's `name`."""

ONLY_FOR = {
    "network.path": "network=files",
    "network.bias_on": "network=files",
    "network.activation": "network=files",
    "network.maximum": "network=files",
    "network.radices": "network=radixnet",
    "network.dense_width": "network=radixnet",
    "network.weight": "network=radixnet",
    "input.path": "input=files",
    **{f"cluster.{name}": f"cluster={submission.SLURM}" for name in submission.FIELDS},
}
"""Fields that only one choice of their group uses; with another choice a value would be ignored, and recorded all the same."""


def _check_sources(config: Config) -> None:
    for group, legal in SOURCES.items():
        name = getattr(config, group).name
        if name not in legal:
            raise ConfigError(unknown(f"{group}.name", name, legal))
    for key, choice in ONLY_FOR.items():
        group, field = key.split(".")
        chosen = getattr(config, group)
        value, default = getattr(chosen, field), getattr(type(chosen)(), field)
        if value != default and f"{group}={chosen.name}" != choice:
            raise ConfigError(f"{key}={_shown(value)}: is only for {choice}, not for {group}={chosen.name}")
    if config.network.name == "files" and not config.network.path:
        raise ConfigError("network=files: say where the layers are: network.path=FOLDER")
    if config.input.name == "files" and not config.input.path:
        raise ConfigError("input=files: say where the instances are: input.path=FILE_OR_FOLDER")
    if config.input.name == "challenge" and config.instances is not None and config.instances > N_INSTANCES:
        raise ConfigError(f"instances={config.instances}: the challenge has {N_INSTANCES} instances, all with instances=null")

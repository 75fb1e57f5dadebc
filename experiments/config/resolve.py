"""Turns Hydra's configuration into a checked one.

`resolve` turns Hydra's DictConfig into a `Config` and makes all checks that concern more than one field. Past it nobody sees a
DictConfig.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import slurm_rules as submission
from experiments.config.file_rules import refused_files, widths_of
from experiments.config.help import help_text
from experiments.config.image_schema import IMAGE_FILES
from experiments.config.model_rules import refused_model
from experiments.config.schema import CHOICES, GROUPS, SIMULATED, ClusterConfig, Config, ExperimentConfig, own_first
from sparsednn.data.challenge_inputs import N_INSTANCES
from sparsednn.errors import OptionError, OptionTypeError, unknown_key
from sparsednn.options.fields import check_values, choice_of, declarations, default_of, group_of
from sparsednn.schedulers import counts_work

__all__ = ["GROUPS", "Config", "ConfigError", "as_record", "chosen_experiment", "keys", "register", "resolve"]


CONF = Path(__file__).parents[2] / "conf"


class ConfigError(OptionError):
    """A configuration that cannot be run; the message names the option and the way out."""


KINDS_OF_EXPERIMENT = ("sweeps", "benchmark", "members", "report")
"""Fields of an experiment of which it has one."""


@functools.cache
def register() -> None:
    """Make the schema known to Hydra as ``schema/config``, and what ``--help`` says of it; once in a process is enough."""
    ConfigStore.instance().store(group="schema", name="config", node=Config)
    OmegaConf.register_new_resolver("sparsednn_help", lambda: help_text(CONF), replace=True)


def resolve(cfg: DictConfig) -> Config:
    """Turn a composed configuration into a checked `Config`; of the challenge's instances it has the number, if all are meant.

    Raises
    ------
    ConfigError
        For an unknown key, a value outside its range, or values that do not go together.
    """
    _refuse_unknown(OmegaConf.to_container(cfg, resolve=False), Config, "")
    config = _as_object(cfg, Config, "")
    if not isinstance(config, Config):
        raise ConfigError("the composed configuration lacks the schema: conf/config.yaml must list schema/config first")
    if (refused := submission.refusal(config)) is not None:
        raise ConfigError(refused)
    _check_executor(config)
    _check_disturbance(config)
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
    experiment = _as_object(cfg.experiment, ExperimentConfig, "experiment.")
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
    for name in CHOICES:
        if getattr(experiment, name) and given[0] != "benchmark":
            raise ConfigError(
                f"experiment.{name}={getattr(experiment, name)}: experiment={experiment.name} runs no benchmark, "
                "whose networks it could choose from; leave it out"
            )
    if given[0] in ("members", "report"):
        for name in ("figure", "overrides", "toy_overrides", "same_categories"):
            if getattr(experiment, name) != getattr(ExperimentConfig(), name):
                raise ConfigError(f"experiment.{name}: experiment={experiment.name} has {given[0]} and no points of its own")
    return experiment  # type: ignore[no-any-return]


def _as_object(cfg: DictConfig, schema: type, prefix: str) -> Any:
    """Fill in what refers to other keys, and check every value; what cannot be is one line that names the key."""
    try:
        check_values(OmegaConf.to_container(cfg, resolve=True), schema, prefix)  # type: ignore[arg-type]
        return OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{key}{str(error).splitlines()[0]}") from error
    except (OptionError, OptionTypeError) as error:
        raise ConfigError(str(error)) from error


def as_record(config: Config) -> dict[str, Any]:
    """Return a resolved configuration as plain values, ready for JSON."""
    plain = dataclasses.asdict(config)
    return _plain(plain)  # type: ignore[no-any-return]


def from_record(record: dict[str, Any]) -> Config:
    """Return the configuration that `as_record` has made plain, by this version or an earlier one."""
    optimize = {"empty_columns": "walk"} | record.get("optimize", {})  # all that there was before it was an option
    record = record | {"optimize": optimize}
    config: Any = _as_object(OmegaConf.merge(OmegaConf.structured(Config), record), Config, "")  # type: ignore[arg-type]
    return config  # type: ignore[no-any-return]


def keys() -> list[str]:
    """Return all legal keys of the configuration, groups and their fields included."""
    return _keys(Config, "")


def _keys(schema: type, prefix: str) -> list[str]:
    found = []
    for name, declared in own_first(schema):
        found.append(prefix + name)
        if (inner := group_of(declared)) is not None:
            found += _keys(inner, f"{prefix}{name}.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _refuse_unknown(given: Any, schema: type, prefix: str) -> None:
    """Hydra accepts +key=value even where the schema has no such key."""
    legal = declarations(schema)
    for key, value in given.items():
        if key not in legal:
            raise ConfigError(unknown_key(f"{prefix}{key}", keys()))
        inner = group_of(legal[key])
        if inner is not None and isinstance(value, dict):
            _refuse_unknown(value, inner, f"{prefix}{key}.")


def _check_executor(config: Config) -> None:
    """A simulated cluster has its own size; real threads have no cluster."""
    cluster, simulated = config.cluster, config.executor == SIMULATED
    if simulated:
        for name, value, alone in (
            ("processes", config.processes, None),
            ("rebalance_after", config.rebalance_after, None),
            ("partition.split", config.partition.split, "even"),
            ("repeats", config.repeats, 1),
            ("cluster.pin", cluster.pin, False),
            ("network.residency", config.network.residency, "memory"),
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
            others = " or cluster=slurm" if name in submission.SIZES else ""
            raise ConfigError(f"cluster.{name}={_shown(value)}: only for executor=simulated{others}")
    if cluster.calibration is not None and not counts_work(config.scheduler.name):
        raise ConfigError(
            f"cluster.calibration={cluster.calibration}: only for executor=simulated, scheduler=auto or scheduler=adaptive"
        )


def _check_disturbance(config: Config) -> None:
    """Only workers that stay where they are can be disturbed one by one, and only one of several processes."""
    disturb = {name: value for name, value in dataclasses.asdict(config.cluster.disturb).items() if value is not None}
    for name, value in disturb.items():
        given = f"cluster.disturb.{name}={_shown(value)}"
        if config.executor == SIMULATED:
            raise ConfigError(f"{given}: not with executor=simulated, which has cluster.slow_core and cluster.noisy_node")
        if config.backend.name == "cupy":
            raise ConfigError(f"{given}: not with backend=cupy, whose workers are devices; leave it out")
        if len(disturb) > 1:
            raise ConfigError(f"{given}: one disturbance at a time; leave {' or '.join(disturb)} out")
        if name == "burner_nice" and not config.cluster.pin:
            raise ConfigError(f"{given}: workers that are not pinned would go to another core; add cluster.pin=true")
        if name == "stopped_share" and (config.processes or 1) < 2:
            raise ConfigError(f"{given}: stops one of several processes, and there is 1; add processes=2")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _check_sources(config: Config) -> None:
    for group in GROUPS:
        chosen = getattr(config, group)
        for name, declared in declarations(type(chosen)).items():
            needed, value = choice_of(declared), getattr(chosen, name)
            if needed is None or chosen.name in needed.partition("=")[2].split("|") or value == default_of(declared):
                continue
            raise ConfigError(f"{group}.{name}={_shown(value)}: is only for {needed}, not for {group}={chosen.name}")
    if (refused := refused_files(config) or refused_model(config)) is not None:
        raise ConfigError(refused)
    if (widths := widths_of(config)) is not None:
        config.neurons, config.layers = widths[0], len(widths) - 1
    if config.network.name == "files" and not config.network.path:
        raise ConfigError("network=files: say where the layers are: network.path=FOLDER")
    if config.input.name in ("files", *IMAGE_FILES) and not config.input.path:
        raise ConfigError(f"input={config.input.name}: say where the instances are: input.path=FILE_OR_FOLDER")
    if config.input.name == "challenge" and config.instances is not None and config.instances > N_INSTANCES:
        raise ConfigError(f"instances={config.instances}: the challenge has {N_INSTANCES} instances, all with instances=null")

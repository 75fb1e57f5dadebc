"""The configuration: dataclasses own names, types and legal choices; YAML files in conf/ own values.

`resolve` turns Hydra's DictConfig into a `Config` and makes all checks that concern more than one field. Past it nobody sees a
DictConfig.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from sparsednn.choices import unknown
from sparsednn.data.challenge_inputs import N_INSTANCES
from sparsednn.data.radixnet import CHALLENGE_SEED


class Executor(Enum):
    """Who carries decisions out."""

    threads = "threads"
    simulated = "simulated"


class Strategy(Enum):
    """Which worker may recruit helpers."""

    earliest_first = "earliest_first"
    slower_first = "slower_first"
    faster_first = "faster_first"


class Hashing(Enum):
    """What is permuted."""

    none = "none"
    input = "input"
    layer = "layer"
    both = "both"


class RowOrder(Enum):
    """Order of the rows before they are split."""

    given = "given"
    alive_first = "alive_first"


class RowWork(Enum):
    """How work on rows is avoided."""

    none = "none"
    prune = "prune"


class ColumnWork(Enum):
    """How work on columns is avoided."""

    none = "none"
    merge = "merge"


class ColumnOrder(Enum):
    """Order in which a layer's outputs are computed."""

    given = "given"
    shared_inputs = "shared_inputs"


class Residency(Enum):
    """Where the network is during inference."""

    memory = "memory"
    stream = "stream"


class BiasRule(Enum):
    """Where the bias is added."""

    nonzero = "nonzero"
    all = "all"


class ActivationName(Enum):
    """Activation of every layer."""

    clipped_relu = "clipped_relu"
    relu = "relu"
    identity = "identity"


@dataclass(slots=True)
class BackendConfig:
    """Who carries out the arithmetic."""

    name: str = "numba"
    block_rows: int | None = None


@dataclass(slots=True)
class SchedulerConfig:
    """One for all schedulers; fields that a scheduler has no use for are inert."""

    name: str = "data"
    strategy: Strategy = Strategy.earliest_first
    recruiting_ratio: float = 0.3
    threshold: int = 4
    split_factor: int = 8


@dataclass(slots=True)
class PartitionConfig:
    """How rows are split."""

    hashing: Hashing = Hashing.none
    order: RowOrder = RowOrder.given
    buckets: int = 1


@dataclass(slots=True)
class OptimizeConfig:
    """Exact optimisations."""

    rows: RowWork = RowWork.prune
    columns: ColumnWork = ColumnWork.none
    order: ColumnOrder = ColumnOrder.shared_inputs


@dataclass(slots=True)
class NetworkConfig:
    """Where the network comes from."""

    name: str = "radixnet"
    path: str | None = None
    residency: Residency = Residency.memory
    radices: list[int] | None = None
    dense_width: int = 16
    seed: int = CHALLENGE_SEED
    weight: float = 0.0625
    bias: float | None = None
    bias_on: BiasRule = BiasRule.nonzero
    activation: ActivationName = ActivationName.clipped_relu
    maximum: float = 32.0


@dataclass(slots=True)
class InputConfig:
    """Where the instances come from."""

    name: str = "challenge"
    path: str | None = None
    truth: str | None = None


@dataclass(slots=True)
class ClusterConfig:
    """The machines."""

    name: str = "local"
    nodes: int = 1
    cores_per_node: int | None = None
    processes_per_node: int = 1
    pin: bool = False
    timeout_s: float | None = None
    mpiexec: str | None = None
    calibration: str | None = None


@dataclass(slots=True)
class ExperimentConfig:
    """A named experiment."""

    name: str = "none"


@dataclass(slots=True)
class Config:
    """Everything that a run is told."""

    neurons: int = 1024
    layers: int = 120
    instances: int | None = N_INSTANCES
    kernel: str = "auto"
    executor: Executor = Executor.threads
    threads: int | None = None
    processes: int | None = None
    repeats: int = 1
    seed: int = CHALLENGE_SEED
    trace: bool = False
    resume: bool = False
    rebalance_after: int | None = None
    backend: BackendConfig = field(default_factory=BackendConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    partition: PartitionConfig = field(default_factory=PartitionConfig)
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    input: InputConfig = field(default_factory=InputConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the option and the way out."""


GROUPS = tuple(f.name for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default_factory))


def register() -> None:
    """Make the schema known to Hydra as ``schema/config``."""
    ConfigStore.instance().store(group="schema", name="config", node=Config)


def resolve(cfg: DictConfig) -> Config:
    """Turn a composed configuration into a checked `Config`.

    Raises
    ------
    ConfigError
        For an unknown key, a value outside its range, values that do not go together, or a feature that this version does not
        have.
    """
    _refuse_unknown(OmegaConf.to_container(cfg, resolve=False), Config, "")
    config = OmegaConf.to_object(cfg)
    if not isinstance(config, Config):
        raise ConfigError("the composed configuration lacks the schema: conf/config.yaml must list schema/config first")
    _check_ranges(config)
    _refuse_unbuilt(config)
    _check_sources(config)
    return config


def as_record(config: Config) -> dict[str, Any]:
    """Return a resolved configuration as plain values, ready for JSON."""
    plain = dataclasses.asdict(config)
    return _plain(plain)  # type: ignore[no-any-return]


def keys() -> list[str]:
    """Return all legal keys of the configuration, groups and their fields included."""
    return _keys(Config, "")


def _keys(schema: Any, prefix: str) -> list[str]:
    found = []
    for f in dataclasses.fields(schema):
        found.append(prefix + f.name)
        if dataclasses.is_dataclass(f.default_factory):
            found += _keys(f.default_factory, f"{prefix}{f.name}.")
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
            raise ConfigError(f"unknown key: {unknown(prefix + str(key), value, keys())}")
        if dataclasses.is_dataclass(legal[key].default_factory) and isinstance(value, dict):
            _refuse_unknown(value, legal[key].default_factory, f"{prefix}{key}.")


def _check_ranges(config: Config) -> None:
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
        "cluster.cores_per_node": config.cluster.cores_per_node,
        "cluster.processes_per_node": config.cluster.processes_per_node,
    }
    for name, value in at_least_1.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: must be at least 1")
    if not 0 <= config.scheduler.recruiting_ratio <= 1:
        raise ConfigError(f"scheduler.recruiting_ratio={config.scheduler.recruiting_ratio}: must be from 0 to 1")
    if config.scheduler.threshold < 0:
        raise ConfigError(f"scheduler.threshold={config.scheduler.threshold}: must be 0 or more")
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"seed={config.seed}: must be from 0 to {2**32 - 1}")
    if config.cluster.timeout_s is not None and not config.cluster.timeout_s > 0:
        raise ConfigError(f"cluster.timeout_s={config.cluster.timeout_s}: must be above 0")
    if config.network.bias is not None and not math.isfinite(config.network.bias):
        raise ConfigError(f"network.bias={config.network.bias}: must be finite")


def _refuse_unbuilt(config: Config) -> None:
    """Options whose names are fixed but whose features this version does not have."""
    only = {
        "executor": (config.executor, Executor.threads),
        "processes": (config.processes or 1, 1),
        "trace": (config.trace, False),
        "resume": (config.resume, False),
        "rebalance_after": (config.rebalance_after, None),
        "partition.hashing": (config.partition.hashing, Hashing.none),
        "partition.order": (config.partition.order, RowOrder.given),
        "optimize.columns": (config.optimize.columns, ColumnWork.none),
        "network.residency": (config.network.residency, Residency.memory),
        "cluster.nodes": (config.cluster.nodes, 1),
        "cluster.processes_per_node": (config.cluster.processes_per_node, 1),
        "cluster.pin": (config.cluster.pin, False),
        "cluster.timeout_s": (config.cluster.timeout_s, None),
        "cluster.mpiexec": (config.cluster.mpiexec, None),
        "cluster.calibration": (config.cluster.calibration, None),
    }
    for name, (value, built) in only.items():
        if value != built:
            shown, legal = (_shown(v) for v in (value, built))
            raise ConfigError(f"{name}={shown}: this version does not have that yet; legal: {legal}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value.value if isinstance(value, Enum) else value)


def _check_sources(config: Config) -> None:
    if config.network.name == "files" and not config.network.path:
        raise ConfigError("network=files: say where the layers are: network.path=FOLDER")
    if config.input.name == "files" and not config.input.path:
        raise ConfigError("input=files: say where the instances are: input.path=FILE_OR_FOLDER")
    if config.input.name == "challenge" and config.instances is not None and config.instances > N_INSTANCES:
        raise ConfigError(f"instances={config.instances}: the challenge has {N_INSTANCES} instances")

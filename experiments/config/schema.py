"""The configuration's schema: dataclasses own names, types and legal choices; YAML files in conf/ own values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sparsednn.data.radixnet import CHALLENGE_SEED
from sparsednn.schedulers.base import MINIMUM_WORK


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


class Split(Enum):
    """What processes get equally much of."""

    even = "even"
    work = "work"


class RowWork(Enum):
    """How work on rows is avoided."""

    none = "none"
    prune = "prune"
    retire = "retire"
    merge = "merge"


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
    recruiting_ratio: float = 0.0
    threshold: int = 4
    split_factor: int = 8
    minimum_work: int = MINIMUM_WORK


@dataclass(slots=True)
class PartitionConfig:
    """How rows are split."""

    hashing: Hashing = Hashing.none
    order: RowOrder = RowOrder.given
    split: Split = Split.even
    buckets: int = 1


@dataclass(slots=True)
class OptimizeConfig:
    """Exact optimisations."""

    rows: RowWork = RowWork.merge
    columns: ColumnWork = ColumnWork.merge
    order: ColumnOrder = ColumnOrder.shared_inputs
    full_columns: bool = True


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
class AssumeConfig:
    """What to assume in place of the calibration file's assumed parameters; None: what it says."""

    core_speed: float | None = None
    slowdown: float | None = None
    barrier_s: float | None = None
    network_latency_s: float | None = None
    network_bytes_per_s: float | None = None
    llc_bytes: float | None = None
    memory_bytes_per_s: float | None = None


@dataclass(slots=True)
class Submission:
    """Fields of a cluster under Slurm; what is None is left to Slurm.

    `memory` is that of a node. `python` is the interpreter there; None: the one that prepares the job. `setup` are lines of
    shell that come before it.
    """

    max_nodes: int | None = None
    partition: str | None = None
    account: str | None = None
    time_limit: str | None = None
    memory: str | None = None
    job_name: str = "sparsednn"
    sbatch_arguments: list[str] = field(default_factory=list)
    srun_arguments: list[str] = field(default_factory=lambda: ["--cpu-bind=cores"])
    setup: list[str] = field(default_factory=list)
    python: str | None = None
    dry_run: bool = False


@dataclass(slots=True)
class ClusterConfig(Submission):
    """The machines. `slow_core` and `noisy_node` are how many times as long one core, or everything on one node, takes."""

    name: str = "local"
    nodes: int = 1
    cores_per_node: int | None = None
    processes_per_node: int = 1
    pin: bool = False
    numa_domains: int | None = None
    timeout_s: float | None = None
    mpiexec: str | None = None
    share_network: bool = True
    calibration: str | None = None
    slow_core: float | None = None
    noisy_node: float | None = None
    assume: AssumeConfig = field(default_factory=AssumeConfig)


@dataclass(slots=True)
class SweepConfig:
    """Some points of an experiment: every combination of a grid's values and, if there are any, the listed points.

    A listed point is a mapping of overrides, with a `label` if its overrides are not to be its name. Points of an `optional`
    sweep are left out where a package that they need is not installed.
    """

    name: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    toy_overrides: dict[str, Any] = field(default_factory=dict)
    toy_grid: dict[str, list[Any]] = field(default_factory=dict)
    toy_points: list[dict[str, Any]] = field(default_factory=list)
    optional: bool = False


@dataclass(slots=True)
class ExperimentConfig:
    """A named experiment, without which a run is a plain one.

    It has sweeps or a benchmark, and the figure that is drawn of their records; or `members`, other experiments that are run
    one after the other; or `report`, folders whose records a report is made of.

    In each of the `rounds` all measured points take turns, so that all see a machine whose speed changes; simulated ones are
    run once. `toy_...` count at toy size.
    """

    name: str = "none"
    figure: str = ""
    toy: bool = False
    rounds: int = 1
    same_categories: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    toy_overrides: dict[str, Any] = field(default_factory=dict)
    sweeps: list[SweepConfig] = field(default_factory=list)
    benchmark: str = ""
    members: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Config:
    """Everything that a run is told."""

    neurons: int = 1024
    layers: int = 120
    instances: int | None = None
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


GROUPS = tuple(f.name for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default_factory))
"""Fields of `Config` that are configuration groups."""

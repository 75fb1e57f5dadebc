"""Declares the configuration's schema: the library's groups of options, and the options of run.py alone.

Each field is declared once, with its default, its legal values and what it does (`sparsednn.options.fields`): `--help`, the
reference and the checks are made of that. YAML files in conf/ hold what a choice of a group sets otherwise.
"""

from __future__ import annotations

import dataclasses
from dataclasses import Field, dataclass, field
from typing import Any

from experiments.config.image_schema import OutputConfig
from experiments.config.source_schema import SEEDS, InputConfig, NetworkConfig
from sparsednn.data.radixnet import CHALLENGE_SEED
from sparsednn.options.fields import (
    Options,
    choice,
    count,
    declarations,
    group,
    number,
    only_for,
    several,
    switch,
    text,
)
from sparsednn.options.groups import (
    BackendOptions,
    ClusterOptions,
    MachineOptions,
    OptimizeOptions,
    PartitionOptions,
    RunOptions,
    SchedulerOptions,
)

SIMULATED = "simulated"
"""The executor that only predicts."""


@dataclass(kw_only=True)
class BackendConfig(BackendOptions):
    """The backend that carries out the arithmetic."""

    name: str = text("numba", "An installed backend")


@dataclass
class SchedulerConfig(SchedulerOptions):
    """The parameters of all schedulers; fields that a scheduler has no use for are inert."""

    name: str = text("data", "A scheduler, or auto")


@dataclass
class AssumeConfig(Options):
    """The values that executor=simulated assumes in place of those that the calibration assumes; null: the calibration's."""

    core_speed: float | None = number(None, "how fast a core is, by the calibrated one", above=0)
    slowdown: float | None = number(None, "how many times as long work takes while 28 cores share memory", above=0)
    barrier_s: float | None = number(None, "seconds that a meeting of 28 workers takes", above=0)
    network_latency_s: float | None = number(None, "seconds that a message between nodes takes", above=0)
    network_bytes_per_s: float | None = number(None, "bandwidth between nodes", above=0)
    llc_bytes: float | None = number(None, "last-level cache, for the estimated traffic", above=0)
    memory_bytes_per_s: float | None = number(None, "bandwidth of memory, for the estimated traffic", above=0)


@dataclass
class DisturbConfig(Options):
    """What makes a straggler of a real worker or process; null: nothing does."""

    burner_nice: int | None = count(
        None,
        "have a program burn the first worker's core, N above the run's nice value. 0 takes half of the core, 5 a quarter, "
        "10 a tenth; the record has what it took. It needs cluster.pin=true and two cores",
        least=0,
        most=19,
    )
    stopped_share: float | None = number(
        None,
        "stop the last process for this share of every 10 ms. By SIGSTOP and SIGCONT: like a quota, and none. It needs several "
        "processes",
        least=0.01,
        most=0.95,
        values="S",
    )


@dataclass
class Submission(Options):
    """Fields of a cluster under Slurm; what is null is left to Slurm."""

    max_nodes: int | None = only_for("cluster=slurm", count(None, "How many nodes there are"))
    partition: str | None = only_for("cluster=slurm", text(None, "The partition"))
    account: str | None = only_for("cluster=slurm", text(None, "The account"))
    time_limit: str | None = only_for("cluster=slurm", text(None, "The time limit", values="HH:MM:SS"))
    memory: str | None = only_for("cluster=slurm", text(None, "Memory of a node; 0: all of it", values="180G"))
    job_name: str = only_for("cluster=slurm", text("sparsednn", "The job's name"))
    sbatch_arguments: list[str] = only_for(
        "cluster=slurm", several([], "Further arguments of sbatch", kind=str, values="['--exclusive']")
    )
    srun_arguments: list[str] = only_for(
        "cluster=slurm", several(["--cpu-bind=cores"], "Arguments of srun", kind=str, values="['--mpi=pmix']")
    )
    setup: list[str] = only_for(
        "cluster=slurm", several([], "Lines of shell before the run", kind=str, values="['module load openmpi']")
    )
    python: str | None = only_for(
        "cluster=slurm", text(None, "The interpreter there; null: the one that prepares the job", values="FILE")
    )
    dry_run: bool = only_for("cluster=slurm", switch(False, "Show and write the script of the job, and submit nothing"))


@dataclass
class ClusterConfig(Submission, ClusterOptions, MachineOptions):
    """The machines of a run."""

    name: str = choice("local", ("local", "slurm"), "This machine, or a cluster under Slurm")
    timeout_s: float | None = number(
        None,
        "End processes that take longer than S seconds; the point has failed then. With processes=1 it is a new process",
        above=0,
        values="S",
    )
    mpiexec: str | None = text(
        None, "The launcher that starts processes; null: the one beside the Python interpreter", values="COMMAND"
    )
    assume: AssumeConfig = group(AssumeConfig, "executor=simulated assumes: ")
    disturb: DisturbConfig = group(DisturbConfig, "stragglers on purpose: ")


@dataclass
class SweepConfig(Options):
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


@dataclass
class ExperimentConfig(Options):
    """A named experiment, without which a run is a plain one.

    It has sweeps or a benchmark, and the figure that is drawn of their records; or `members`, other experiments that are run
    one after the other; or `report`, folders whose records a report is made of.
    """

    name: str = text("none", "Set by the experiment's file")
    figure: str = text("", "The figure that is drawn of its records")
    toy: bool = switch(False, "Run it at toy size: seconds; `toy_...` count then")
    rounds: int = count(
        1, "Run the measured points so often, in turn. So all see a machine whose speed changes; simulated ones are run once"
    )
    least_cores: int = count(1, "Cores that its points need; where fewer may be used, it is refused")
    most_neurons: int | None = count(None, "Points with wider networks are left out; null: none")
    networks: list[str] = several([], "Only these networks of a benchmark; []: all", kind=str, values="[mlp300]")
    sparsities: list[float] = several(
        [], "Only these shares of weights that are zero, of a benchmark; []: all", kind=(int, float), values="[0.9]"
    )
    same_categories: bool = switch(False, "All points must have the same categories")
    overrides: dict[str, Any] = field(default_factory=dict)
    toy_overrides: dict[str, Any] = field(default_factory=dict)
    sweeps: list[SweepConfig] = field(default_factory=list)
    benchmark: str = text("", "In place of sweeps: the benchmark that it runs")
    members: list[str] = several(
        [], "In place of sweeps: experiments that are run one after the other", kind=str, values="[NAME]"
    )
    report: list[str] = several(
        [], "In place of sweeps: folders whose records a report is made of", kind=str, values="[outputs]"
    )


@dataclass
class Config(RunOptions):
    """All options of a run."""

    neurons: int | None = count(
        1024, "Neurons of each layer: 1024, 4096, 16384 or 65536 (others: network.radices). null: as a model's file says",
        null=True,
    )  # fmt: skip
    layers: int | None = count(
        120, "Layers: 120, 480 or 1920 in the challenge. Others: multiples of the block length. null: as a model's file says",
        null=True,
    )  # fmt: skip
    instances: int | None = count(None, "Only the first N input vectors; null: all there are (60,000, or those of the file)")
    kernel: str = text(
        "auto",
        "The compiled code that does the work; backend=numba: rowwise_first, udc, csc, dcsc, csr. Names are format of "
        "activations _ format of layers; of backend=numba: auto, rowwise_first, udc_csc, udc_udc, csc_csc, dcsc_csc, csc_udc, "
        "csr_csr, and aliases udc, csc, dcsc, csr. blas and fast are for dense layers: near, not the same bits",
    )
    executor: str = choice(
        "threads", ("threads", SIMULATED), "Compute on real threads, or only predict the time on a cluster (cluster.nodes, ...)"
    )
    threads: int | None = count(
        None,
        "Threads of each process; null: its share of the cores that may be used. Of a simulated node: of its cores; of a GPU: "
        "one stream",
    )
    processes: int | None = count(None, "Start N processes (extra mpi); null: 1, or as many as an MPI launcher has started")
    seed: int = count(CHALLENGE_SEED, "Seed of the network's permutations; 5489 gives the challenge's", least=0, most=SEEDS)
    resume: bool = switch(
        False, "Skip points that outputs/ has already. It needs a complete record of the same configuration and code there"
    )
    backend: BackendConfig = group(BackendConfig)
    scheduler: SchedulerConfig = group(SchedulerConfig)
    partition: PartitionOptions = group(PartitionOptions)
    optimize: OptimizeOptions = group(OptimizeOptions)
    network: NetworkConfig = group(NetworkConfig)
    input: InputConfig = group(InputConfig)
    output: OutputConfig = group(OutputConfig)
    cluster: ClusterConfig = group(ClusterConfig)
    experiment: ExperimentConfig = group(ExperimentConfig)

    @property
    def size(self) -> tuple[int, int]:
        """Neurons and layers of a network that is no model."""
        assert self.neurons is not None
        assert self.layers is not None
        return self.neurons, self.layers


def own_first(schema: type) -> list[tuple[str, Field[Any]]]:
    """Return the fields of a class as people look for them: its name, its own, then those of the library."""
    own = schema.__annotations__
    return sorted(declarations(schema).items(), key=lambda item: (item[0] != "name", item[0] not in own))


CHOICES = ("networks", "sparsities")
"""Fields of `ExperimentConfig` that choose among what a benchmark would do."""

GROUPS = tuple(f.name for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default_factory))
"""Fields of `Config` that are configuration groups."""

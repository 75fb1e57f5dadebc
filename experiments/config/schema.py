"""Declares the configuration's schema: the library's groups of options, and the options of run.py alone.

Each field is declared once, with its default, its legal values and what it does (`sparsednn.options.fields`): `--help`, the
reference and the checks are made of that. YAML files in conf/ hold what a choice of a group sets otherwise.
"""

from __future__ import annotations

import dataclasses
from dataclasses import Field, dataclass, field
from typing import Any

from experiments.config.image_schema import FROM_FILES, IMAGE_FILES, MODELS, SHIPPED, ImageOptions, OutputConfig
from sparsednn.arguments.arrays import LARGEST
from sparsednn.data.layouts.predictions import CLASSIFIERS
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
    texts,
)
from sparsednn.options.groups import (
    BackendOptions,
    ClusterOptions,
    MachineOptions,
    NetworkOptions,
    OptimizeOptions,
    PartitionOptions,
    RunOptions,
    SchedulerOptions,
)

SEEDS = 2**32 - 1
SIMULATED = "simulated"
"""The executor that only predicts."""

LAYOUTS = ("challenge", "distsparsednn", "snicit")
"""How folders of networks are laid out."""


@dataclass(kw_only=True)
class BackendConfig(BackendOptions):
    """The backend that carries out the arithmetic."""

    name: str = text("numba", "An installed backend")


@dataclass
class SchedulerConfig(SchedulerOptions):
    """The parameters of all schedulers; fields that a scheduler has no use for are inert."""

    name: str = text("data", "A scheduler, or auto")


@dataclass
class NetworkConfig(NetworkOptions):
    """The source of the network."""

    name: str = choice("radixnet", ("radixnet", "files", *MODELS), "Generated, or read from files")
    cache: bool | None = switch(
        None,
        "Keep the packed network for later runs, and take it from there. It is in the cache folder (networks/network-...), "
        "where those that were not used for longest go first; null: generated networks are kept, files of your own are not",
    )
    cache_gb: float = number(10.0, "Size of all cached networks, in GB", above=0)
    path: str | None = only_for(
        f"network=files|{'|'.join(MODELS)}",
        text(
            None,
            "The model's file, or the folder with layers. Those are n{neurons}-l{number}.tsv, .bin, .npz or .mtx, or gzipped",
            values="FILE",
        ),
    )
    input_shape: list[int] | None = only_for(
        "network=onnx", several(None, "Shape of one instance, where the file leaves it open", kind=int, values="[1,28,28]")
    )
    layout: str = only_for(
        "network=files", choice("challenge", LAYOUTS, "How the folder is laid out: as the challenge's, or another program's")
    )
    widths: list[Any] | None = only_for(
        "network=files",
        several(
            None,
            "Neurons of the input and of each layer; null: neurons, or as the files say. N*K is K layers of N neurons",
            kind=(int, str),
            values="[784,1024*59,10]",
        ),
    )
    index_base: int = only_for(
        "network=files",
        count(1, "The first id in text and binary layers, 0 or 1. Other layouts than the challenge's have their own", least=0,
              most=1, values="0|1"),
    )  # fmt: skip
    radices: list[int] | None = only_for(
        "network=radixnet",
        several(None, "A mixed-radix network of your own; null: all 2, as many as the size takes", kind=int, values="[2,3]"),
    )
    dense_width: int = only_for("network=radixnet", count(16, "How often the pattern of the radices is repeated"))
    seed: int = count(CHALLENGE_SEED, "Of its permutations; that of seed, unless given", least=0, most=SEEDS)
    weight: float = only_for("network=radixnet", number(0.0625, "The weight of every connection", largest=LARGEST))
    bias: float | None = only_for(
        "network=radixnet|files",
        number(
            None,
            "Of every neuron; null: those in files, or the published one. Files n{neurons}-b{number} have one for each neuron",
            largest=LARGEST,
        ),
    )
    bias_on: str | None = only_for(
        "network=files",
        choice(
            None,
            ("nonzero", "all"),
            "Add the bias to sums that are not zero, or to all. null: to all if files have biases; with layout=distsparsednn "
            "to sums that are not zero",
        ),
    )
    activation: Any = only_for(
        "network=files",
        texts(
            "Of all layers, or one for each; null: clipped_relu, or the layout's own. Names: clipped_relu, relu, identity, "
            "relu6, hardtanh, leaky_relu, sigmoid, tanh, gelu, 'clip(low,high)', 'leaky_relu(slope)'; NAME*K is for K layers",
            values="NAME|[NAME,...]",
        ),
    )
    classifier: str | None = only_for(
        "network=files",
        choice(
            None,
            CLASSIFIERS,
            "How outputs become classes; null: sigmoid of one, else softmax. Only with layout=distsparsednn",
        ),
    )
    maximum: float = only_for("network=files", number(32.0, "Of clipped_relu", largest=LARGEST))


@dataclass
class InputConfig(ImageOptions):
    """The source of the instances."""

    name: str = choice(
        "challenge", ("challenge", "files", *IMAGE_FILES, *SHIPPED),
        "Rebuilt from the MNIST images that come with the package, read from files, or images of the package with labels",
    )  # fmt: skip
    path: str | None = only_for(
        FROM_FILES,
        text(
            None,
            "The file, or the folder. With input=files that has sparse-images-{neurons}.tsv, .bin, .npz or .mtx",
            values="FILE",
        ),
    )
    index_base: int = only_for(
        "input=files",
        count(1, "The first id of instances and features in text and binary files", least=0, most=1, values="0|1"),
    )
    truth: str | None = text(
        None, "True categories to check the result against. A file, or a folder with neuron{neurons}-l{layers}-categories.tsv; "
        "with network.layout=distsparsednn the class of each instance (predictions)",
        values="FILE",
    )  # fmt: skip


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
    most_neurons: int | None = count(None, "Points with wider networks are left out; null: none")
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
        "The compiled code that does the work; backend=numba: adaptive, udc, csc, csr. Names are format of activations _ "
        "format of layers; of backend=numba: auto, adaptive, udc_csc, udc_udc, csc_csc, csc_udc, csr_csr, and aliases udc, "
        "csc, csr. blas and fast are for dense layers: near, not the same bits",
    )
    executor: str = choice(
        "threads", ("threads", SIMULATED), "Compute on real threads, or only predict the time on a cluster (cluster.nodes, ...)"
    )
    threads: int | None = count(
        None,
        "Threads of each process; null: its share of the cores that may be used. Of a simulated node: of its cores; of a GPU: "
        "two streams",
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


GROUPS = tuple(f.name for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.default_factory))
"""Fields of `Config` that are configuration groups."""

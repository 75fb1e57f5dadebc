"""Declares all options of the library, grouped by what they concern.

`sparsednn.infer` takes each as a keyword argument, and the groups as `sparsednn.execution.options.InferOptions`; `run.py` takes
each as a key. To add one is to add one field: command line, documentation and checks follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsednn.options.fields import Options, choice, count, documented, file, number, switch

STRATEGIES = ("earliest_first", "slower_first", "faster_first")
HASHINGS = ("none", "input", "layer", "both")

MINIMUM_WORK = 50_000
"""Multiply-adds that each member of a team must find in a layer, unless told otherwise."""


@documented
@dataclass(kw_only=True)
class OptimizeOptions(Options):
    """Exact optimisations: they change no result, not a bit."""

    rows: str = choice(
        "merge",
        ("none", "prune", "retire", "merge"),
        "Each does what those before it do; prune: drop rows that have become all zero and will stay so; retire: take out rows "
        "in which every neuron is at its activation's maximum, if all later layers provably keep that; merge: let one row go "
        "on for all that have the same bits",
    )
    columns: str = choice("merge", ("none", "merge"), "Of columns of a layer that are the same, merge computes one")
    order: str = choice(
        "shared_inputs",
        ("given", "shared_inputs"),
        "Order in which a layer's output columns are computed; shared_inputs puts columns with the same inputs together",
    )
    full_columns: bool = switch(
        True, "Let the sparse kernels add a column of activations in which no row is zero as a dense vector, without its ids"
    )


@documented
@dataclass(kw_only=True)
class BackendOptions(Options):
    """The options of a backend."""

    block_rows: int | None = count(
        None, "Instances that the dense-block kernels, or a stream of a GPU, take at a time; null: the backend chooses"
    )


@documented
@dataclass
class PartitionOptions(Options):
    """The split of the rows into processes and row groups."""

    hashing: str = choice(
        "none",
        HASHINGS,
        "Spread neighbouring instances evenly over the row groups (input), neighbouring neurons over each layer (layer), or "
        "both; results are in the original ids; with hashed neurons, csr_csr and the kernels with dense layers add in another "
        "order and so may differ in the last bits",
    )
    order: str = choice(
        "given",
        ("given", "alive_first"),
        "Order of the instances before they are split: as given, or those that end alive before all others (the worst case for "
        "a contiguous split; found by a run before the clock is on)",
    )
    split: str = choice(
        "even", ("even", "work"), "Processes get equally many instances, or equal estimated work (nonzeros of the input)"
    )
    buckets: int = count(1, "Hashing works in N * 128 parts")


@documented
@dataclass
class SchedulerOptions(Options):
    """Parameters of all schedulers; those that a scheduler has no use for are inert."""

    split_factor: int = count(8, "Row groups for each worker, where workers take them from queues")
    strategy: str = choice(
        "earliest_first",
        STRATEGIES,
        "Which worker may recruit helpers: any; one within threshold layers of the slowest; one within it of the fastest",
    )
    recruiting_ratio: float = number(
        0.0, "Workers recruit from this share of the layers on; the paper has 0.3", least=0, most=1, values="R"
    )
    threshold: int = count(4, "Layers from the slowest, or the fastest, that still count as near", least=0, most=None)
    minimum_work: int = count(
        MINIMUM_WORK,
        "A worker recruits only as many helpers as leave this many multiply-adds of a layer for each member of its team: with "
        "less, meeting costs more than it brings; 0: as many as there are, but none for an empty row group",
        least=0,
        most=None,
    )


@documented
@dataclass
class NetworkOptions(Options):
    """The residency of the packed network."""

    residency: str = choice(
        "memory",
        ("memory", "stream"),
        "Keep the packed layers in memory, or in files in the cache folder, from which a thread reads them ahead of the "
        "computation; each network has a folder of its own there (layers/layers-...), which stays until somebody deletes it",
    )


@documented
@dataclass
class ClusterOptions(Options):
    """The use that an inference makes of the machines."""

    pin: bool = switch(False, "Keep each worker thread on a core of its own")
    numa_domains: int | None = count(
        None,
        "Schedule as if the workers were in so many NUMA domains; null: as the machine has them where workers are pinned, and "
        "one where they may run anywhere",
    )
    share_network: bool = switch(
        True,
        "Keep one copy of the packed network on each node, in memory that its processes share; where shared memory has no room "
        "for it, each process has a copy; results are the same",
    )
    calibration: str | None = file(
        "The calibration by which scheduler=auto and executor=simulated predict; null: the one that comes with the package"
    )


@documented
@dataclass
class RunOptions(Options):
    """The repeats of an inference, and how closely it is watched."""

    repeats: int = count(1, "How often the inference is run; the record has every time, and their median")
    trace: bool = switch(False, "Write down what each worker did when (run.py: trace.json for Perfetto, and gantt.png)")
    rebalance_after: int | None = count(
        None,
        "After so many layers, once, the instances that are left are spread evenly over all processes and their row groups",
        values="K",
    )


@documented
@dataclass
class MachineOptions(Options):
    """The nodes of a cluster, with a slow core or a noisy node."""

    nodes: int = count(1, "executor=simulated: machines; cluster=slurm: nodes that the job asks for")
    cores_per_node: int | None = count(
        None, "executor=simulated, cluster=slurm: shared by a node's processes; null: as many as this process may use"
    )
    processes_per_node: int = count(1, "executor=simulated, cluster=slurm: processes on each node")
    slow_core: float | None = number(
        None, "executor=simulated: how many times as long everything takes on the first core", least=1, values="F"
    )
    noisy_node: float | None = number(
        None, "executor=simulated: how many times as long everything takes on the last node at the most, at random",
        least=1, values="F",
    )  # fmt: skip

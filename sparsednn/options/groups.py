"""Declares all options of the library, grouped by what they concern.

`sparsednn.infer` takes each as a keyword argument, and the groups as `sparsednn.execution.options.InferOptions`; `run.py` takes
each as a key. To add one is to add one field: command line, documentation and checks follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsednn.options.documentation import documented
from sparsednn.options.fields import Options, choice, count, file, number, switch

STRATEGIES = ("earliest_first", "slower_first", "faster_first")
WEIGHTS = ("float32", "bfloat16", "float16")
"""Formats that weights may be rounded to; float32: they stay as they are given."""

HASHINGS = ("none", "input", "layer", "both")

MINIMUM_WORK = 50_000
"""Multiply-adds that each member of a team must find in a layer, unless told otherwise."""


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class OptimizeOptions(Options):
    """Exact optimisations: they change no result, not a bit, but for `weights`, which rounds the network first."""

    rows: str = choice(
        "merge",
        ("none", "prune", "retire", "merge"),
        "Instances: prune drops those all zero, retire finished ones too, merge equal ones too. Each does what those before "
        "it do; prune: drop rows that have become all zero and will stay so; retire: take out rows in which every neuron is "
        "at its activation's maximum, if all later layers provably keep that; merge: let one row go on for all that have the "
        "same bits",
    )
    columns: str = choice("merge", ("none", "merge"), "Of neurons (columns) of a layer that are the same, merge computes one")
    order: str = choice(
        "shared_inputs",
        ("given", "shared_inputs"),
        "shared_inputs computes neurons with the same inputs one after the other. Otherwise output columns are in the order "
        "given",
    )
    full_columns: bool = switch(
        True,
        "Sparse kernels add a neuron that is zero for no instance as a dense vector. A column of activations needs no ids then",
    )
    empty_columns: str = choice(
        "skip",
        ("walk", "skip"),
        "Kernel csc: skip does not compute sums that no entry reaches. walk visits their connections, as the paper does; if no "
        "instance is alive, skip does not count what reaches them either",
    )
    weights: str = choice(
        "float32",
        WEIGHTS,
        "Weights are rounded to it; the dense-block kernels and direct calls store them so. Results are those of the rounded "
        "network, to the bit, in every backend; arithmetic and activations stay float32. Not exact",
    )


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class BackendOptions(Options):
    """The options of a backend."""

    block_rows: int | None = count(
        None,
        "Instances that a dense-block kernel takes at a time; null: the backend chooses. Of a GPU: that a stream takes at a "
        "time",
    )


@documented
@dataclass(eq=False, repr=False)
class PartitionOptions(Options):
    """The split of the rows into processes and row groups."""

    hashing: str = choice(
        "none",
        HASHINGS,
        "Spread neighbouring instances (input), neurons of each layer (layer), or both, evenly. Instances are spread over the "
        "row groups; results are in the original ids; with hashed neurons, csr_csr and the kernels with dense layers add in "
        "another order and so may differ in the last bits",
    )
    order: str = choice(
        "given",
        ("given", "alive_first"),
        "Order of the instances before they are split; alive_first: the worst case. With alive_first those that end alive are "
        "before all others, which is the worst case for a contiguous split; a run before the clock is on finds them",
    )
    split: str = choice(
        "even",
        ("even", "work"),
        "Processes get equally many instances, or equal estimated work. Work is estimated by the nonzeros of the input",
    )
    buckets: int = count(1, "Hashing works in N * 128 parts")


@documented
@dataclass(eq=False, repr=False)
class SchedulerOptions(Options):
    """Parameters of all schedulers; those that a scheduler has no use for are inert."""

    split_factor: int = count(8, "Row groups for each worker, where workers take them from queues")
    strategy: str = choice(
        "earliest_first",
        STRATEGIES,
        "Who may recruit helpers: any, those near the slowest, those near the fastest. Near is within threshold layers",
    )
    recruiting_ratio: float = number(
        0.0, "Workers recruit from this share of the layers on; the paper has 0.3", least=0, most=1, values="R"
    )
    threshold: int = count(4, "Layers from the slowest, or the fastest, that still count as near", least=0, most=None)
    minimum_work: int = count(
        MINIMUM_WORK,
        "Multiply-adds of a layer that each member of a team must have at least. A worker recruits only as many helpers as "
        "leave so many for each: with less, meeting costs more than it brings; 0: as many as there are, but none for an empty "
        "row group",
        least=0,
        most=None,
    )
    sample_rows: int = count(
        32, "scheduler=adaptive: instances of which the work is counted before a run. All others are taken to be like these"
    )
    walk_share: float = number(
        0.04,
        "scheduler=adaptive: share of a row group's time that walking the network may take. The smaller it is, the larger are "
        "the row groups",
        least=0.001,
        most=1,
        values="R",
    )


@documented
@dataclass(eq=False, repr=False)
class NetworkOptions(Options):
    """The residency of the packed network."""

    residency: str = choice(
        "memory",
        ("memory", "stream"),
        "Keep the packed layers in memory, or in files that a thread reads ahead of their use. Each network has a folder of "
        "its own in the cache folder (layers/layers-...), which stays until somebody deletes it",
    )


@documented
@dataclass(eq=False, repr=False)
class ClusterOptions(Options):
    """The use that an inference makes of the machines."""

    pin: bool = switch(False, "Keep each worker thread on a core of its own")
    numa_domains: int | None = count(
        None,
        "Schedule as if workers were in so many NUMA domains (cores near the same memory). If null: as the machine has them "
        "where workers are pinned, and one where they may run anywhere",
    )
    share_network: bool = switch(
        True,
        "Keep one copy of the packed network on each node, for all its processes. Where shared memory has no room for it, "
        "each process has a copy; results are the same",
    )
    calibration: str | None = file(
        "File of costs by which scheduler=auto and executor=simulated predict; null: the package's. It is called the "
        "calibration"
    )


@documented
@dataclass(eq=False, repr=False)
class RunOptions(Options):
    """The repeats of an inference, and how closely it is watched."""

    repeats: int = count(1, "How often the inference is run; the record has every time, and their median")
    trace: bool = switch(False, "Write down what each worker did when (run.py: trace.json for Perfetto, and gantt.png)")
    rebalance_after: int | None = count(
        None,
        "After K layers, once, spread the instances that are left evenly over all processes. Over their row groups too",
        values="K",
    )


@documented
@dataclass(eq=False, repr=False)
class MachineOptions(Options):
    """The nodes of a cluster, with a slow core or a noisy node."""

    nodes: int = count(1, "executor=simulated: machines; cluster=slurm: nodes that the job asks for")
    cores_per_node: int | None = count(
        None,
        "executor=simulated, cluster=slurm: cores of a node; null: as many as this process may use. A node's processes share "
        "them",
    )
    processes_per_node: int = count(1, "executor=simulated, cluster=slurm: processes on each node")
    slow_core: float | None = number(
        None, "executor=simulated: how many times as long everything takes on the first core", least=1, values="F"
    )
    noisy_node: float | None = number(
        None, "executor=simulated: how many times as long the last node takes at the most, at random",
        least=1, values="F",
    )  # fmt: skip

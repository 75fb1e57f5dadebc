"""Declares the record of an inference: every field of ``result.json`` that the library knows, with meaning and unit.

Fields that run.py adds, of the point and of the machine, are declared in `experiments.records.point`; fields of simulated runs
only, in `sparsednn.results.simulated_record`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sparsednn.backend.description import DeviceUse, LayerReads, Optimizations
from sparsednn.results.model_record import AccuracyRecord, ModelRecord, PreprocessingRecord
from sparsednn.results.worker_times import WorkerRecord
from sparsednn.system.json_fields import JsonPart, doc, json_part

SCHEMA_VERSION = 2
"""Version of the records that are written: raised whenever a field changes its meaning or place."""

READABLE_VERSIONS = (1, 2)
"""Versions of the records that can be read. Those of version 1 have the same fields, of which older ones lack some."""

LABELS, LOGITS = "labels", "logits"
"""Kinds of a truth: the class of each instance, or the last activations."""

SIMULATED = "simulated"
"""The executor of a record whose times are virtual."""


@json_part
class Truth(JsonPart):
    """The check of what was found against the truth."""

    checked: bool = field(default=False, metadata=doc("whether there is a truth to check against"))
    source: str | None = field(
        default=None, metadata=doc("where it is from: given, package, published_ids, published_count or own_reference")
    )
    match: bool | None = field(
        default=None, metadata=doc("whether all is true; null with labels: an accuracy is a result, not a check")
    )
    kind: str | None = field(default=None, metadata=doc("what is compared: categories, labels or logits", when="checked"))
    correct: int | None = field(default=None, metadata=doc("instances that are as the truth has them", when="checked"))
    of: int | None = field(default=None, metadata=doc("instances that were compared: all", when="checked"))
    difference: float | None = field(
        default=None, metadata=doc("largest difference of a logit, by the largest logit that was given", when="kind logits")
    )


@json_part
class Seconds(JsonPart):
    """Times of a run, taken between barriers."""

    load: float = field(metadata=doc("reading or making network and input, and bringing them into canonical form", "s"))
    inference: list[float] = field(metadata=doc("from the input in memory to the categories, one for each repeat", "s"))
    inference_median: float = field(metadata=doc("median of the repeats", "s"))


@json_part
class MeasuredSeconds(Seconds):
    """Times of a run on real threads."""

    choose: float = field(
        metadata=doc("choosing a scheduler, with scheduler=auto; counting a sample and settling sizes, with adaptive", "s")
    )
    hash: float = field(metadata=doc("hashing neurons, and giving each process its instances", "s"))
    prepare: float = field(metadata=doc("bringing the network into the kernel's layout", "s"))
    compile: float = field(metadata=doc("compiling kernels, or loading them from the cache", "s"))


@json_part
class Balance(JsonPart):
    """Largest over mean, 1 being perfect balance."""

    busy: float = field(metadata=doc("largest over mean of the workers' busy times"))
    input_nnz: float = field(metadata=doc("largest over mean of the input's nonzeros in the row groups"))
    layer_nnz: float | None = field(
        default=None,
        metadata=doc("largest over mean of the connections that workers get of a layer's columns, averaged over the layers",
                     when="measured runs"),
    )  # fmt: skip


@json_part
class AutoChoice(JsonPart):
    """The choice of scheduler=auto, and its reason."""

    reason: str = field(metadata=doc("why, in a sentence with the figures"))
    predicted_s: dict[str, float] = field(metadata=doc("time predicted for each plan that was tried", "s"))
    simulated: bool = field(default=True, metadata=doc("always true: the predictions are simulated"))


@json_part
class ProcessRecord(JsonPart):
    """The work and the times of one process."""

    process: int = field(metadata=doc("rank of the process"))
    host: str = field(metadata=doc("name of its machine"))
    process_id: int = field(metadata=doc("its number in the operating system"))
    instances: int = field(metadata=doc("instances that it was given"))
    inference_s: float = field(metadata=doc("time until it had its own categories", "s"))
    idle_s: float = field(metadata=doc("time that it waited for the others then", "s"))
    exchange_s: float = field(metadata=doc("time of balancing the rows between layers (rebalance_after)", "s"))
    multiply_adds: int = field(metadata=doc("multiply-adds that it did"))
    peak_rss_bytes: int = field(metadata=doc("most memory that it had resident", "bytes"))
    pss_bytes: int | None = field(metadata=doc("its memory, that shared with n processes counted as one n-th (Linux)", "bytes"))
    load_s: float = field(metadata=doc("time that it took to load", "s"))
    unshared_bytes: int | None = field(
        default=None,
        metadata=doc("how much of the network it has a copy of its own of, since shared memory had no room; else 0", "bytes",
                     when="several processes"),
    )  # fmt: skip


@json_part
class Spread(JsonPart):
    """The spread of one time over the processes."""

    min: float = field(metadata=doc("smallest", "s"))
    max: float = field(metadata=doc("largest", "s"))
    mean: float = field(metadata=doc("mean", "s"))
    spread: float = field(metadata=doc("largest over mean"))


@json_part
class ProcessTimes(JsonPart):
    """The spread of each time over the processes; the fields have the names that they have in `ProcessRecord`."""

    load_s: Spread = field(metadata=doc("of loading"))
    inference_s: Spread = field(metadata=doc("of the inference"))
    idle_s: Spread = field(metadata=doc("of waiting for the others"))


@json_part
class RunRecord(JsonPart):
    """The fields that the record of every inference has, measured or simulated."""

    schema_version: int = field(default=SCHEMA_VERSION, metadata=doc("version of the fields of a record"))
    status: str = field(default="complete", metadata=doc("what came of it: complete, failed, submitted or dry_run"))
    neurons: int = field(metadata=doc("inputs of the network"))
    layers: int = field(metadata=doc("layers of the network"))
    instances: int = field(metadata=doc("instances of the input, of all processes"))
    input_nnz: int = field(metadata=doc("nonzeros of the input"))
    network_nnz: int = field(metadata=doc("connections of the network"))
    backend: str = field(metadata=doc("name of the backend"))
    kernel: str = field(metadata=doc("the kernel's own name"))
    scheduler: str = field(metadata=doc("name of the scheduler"))
    scheduler_options: dict[str, Any] = field(metadata=doc("its parameters: see `SchedulerOptions`"))
    executor: str = field(metadata=doc("threads, or simulated: then all times of the inference are virtual"))
    hashing: str = field(metadata=doc("what is hashed: none, input, layer or both"))
    row_order: str = field(metadata=doc("order of the instances before they are split: given or alive_first"))
    processes: int = field(metadata=doc("number of processes"))
    threads: int = field(metadata=doc("workers of each process"))
    optimizations: Optimizations = field(metadata=doc("the optimisations that are on"))
    exact: bool = field(
        default=True,
        metadata=doc(
            "whether bits are those of all kernels: same order of additions, and weights that rounding has not changed"
        ),
    )
    tolerance: float | None = field(
        default=None, metadata=doc("how far an output may be from the exact one, as a share of the largest", when="not exact")
    )
    categories_count: int = field(metadata=doc("number of categories"))
    categories_sha256: str = field(metadata=doc("SHA-256 of their 1-based ids, written one a line"))
    truth: Truth = field(default_factory=Truth, metadata=doc("whether they are right"))
    model: ModelRecord | None = field(default=None, metadata=doc("the model", when="network=onnx, torch, keras or saved"))
    preprocessing: PreprocessingRecord | None = field(
        default=None, metadata=doc("what was done to the input", when="inputs of images")
    )
    accuracy: AccuracyRecord | None = field(default=None, metadata=doc("right answers", when="inputs with labels"))
    seconds: Seconds = field(metadata=doc("times"))
    nominal_edges_per_second: float = field(metadata=doc("instances x connections / median time", "1/s"))
    performed_edges: int = field(metadata=doc("multiply-adds really done"))
    performed_edges_per_second: float = field(metadata=doc("multiply-adds really done / median time", "1/s"))
    peak_rss_bytes: int = field(metadata=doc("most memory that this process, or rank 0, had resident", "bytes"))
    imbalance: Balance = field(metadata=doc("how even the work is"))
    workers: list[WorkerRecord] = field(metadata=doc("each worker, by process and thread"))
    auto: AutoChoice | None = field(default=None, metadata=doc("what was chosen", when="scheduler=auto"))

    @property
    def simulated_times(self) -> bool:
        """Whether its times are virtual."""
        return self.executor == SIMULATED


@json_part
class MeasuredRun(RunRecord):
    """The fields that the record of an inference on real threads has."""

    split: str = field(metadata=doc("what each process gets equally much of: instances (even) or work"))
    rebalance_after: int | None = field(metadata=doc("layers after which the rows are balanced over the processes", "layers"))
    seconds: MeasuredSeconds = field(metadata=doc("times"))
    process_records: list[ProcessRecord] = field(metadata=doc("each process, by rank"))
    process_times: ProcessTimes | None = field(
        default=None, metadata=doc("how the times of the processes spread", when="run.py has loaded the data")
    )
    stream: LayerReads | None = field(default=None, metadata=doc("layers read", when="residency=stream"))
    device: DeviceUse | None = field(default=None, metadata=doc("devices", when="backend=cupy"))

"""Chooses for scheduler=auto: tries parallelisms and parameters on the simulator, takes the fastest, and explains why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import scipy.sparse as sp

from sparsednn.backend import Backend, CostKind, KernelOptions, ProfilingBackend
from sparsednn.errors import OptionError
from sparsednn.execution.options import InferOptions
from sparsednn.network import Network
from sparsednn.schedulers import ONE_PROCESS_SCHEDULERS, SCHEDULERS, SchedulerOptions
from sparsednn.simulator.cluster import Cluster, ClusterSimulator, SchedulingChoice
from sparsednn.simulator.cost_model import CostModel
from sparsednn.simulator.models import cost_model, of_plan, workers_in_words
from sparsednn.simulator.profile import prepare_with_profile
from sparsednn.simulator.work import WorkProfile

CLEARLY = 0.01
"""A plan must be predicted to save this share of the time to be preferred to a simpler one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice and its reason.

    Attributes
    ----------
    plan : SchedulingChoice
        The scheduler, its options, and whether instances are hashed.
    predicted : dict of float
        Seconds predicted for each plan that was tried, by its description, simplest plans first.
    reason : str
        A sentence with the figures.
    """

    plan: SchedulingChoice
    predicted: dict[str, float]
    reason: str

    @property
    def scheduler(self) -> str:
        """Name of the scheduler."""
        return self.plan.scheduler

    @property
    def options(self) -> SchedulerOptions:
        """Its options."""
        return self.plan.options


def choose(
    profile: WorkProfile,
    model: CostModel,
    kind: CostKind,
    n_threads: int,
    options: SchedulerOptions | None = None,
    *,
    schedulers: Sequence[str] = ONE_PROCESS_SCHEDULERS,
    cluster: Cluster | None = None,
    row_order: str = "given",
    buckets: int = 1,
) -> Choice:
    """Return the plan that the simulator finds fastest.

    Parameters
    ----------
    profile : WorkProfile
    model : CostModel
    kind : CostKind
        Of a kernel that is calibrated.
    n_threads : int
    options : SchedulerOptions, optional
        Source of the options that are not tried: the recruiting ratio, the threshold, the minimum of work.
    schedulers : sequence of str
        Those that go with the kernel.
    cluster : Cluster, optional
        One node with a core for each thread, unless given; its `threads` is `n_threads` in any case.
    row_order, buckets
        See `sparsednn.simulator.cluster.SchedulingChoice`.

    Raises
    ------
    ValueError
        If there is no scheduler to choose from, or the kernel is not calibrated.
    """
    if not schedulers:
        raise OptionError("scheduler=auto: there is no scheduler to choose from")
    cluster = replace(cluster or Cluster(cores_per_node=n_threads), threads=n_threads)
    simulator = ClusterSimulator(profile, model, kind, cluster)
    plans = _plans(schedulers, options or SchedulerOptions(), row_order, buckets)
    seconds = {describe(plan): simulator.run(plan).elapsed_s for plan in plans}
    fastest_s = min(seconds.values())
    plan = next(plan for plan in plans if seconds[describe(plan)] <= fastest_s * (1 + CLEARLY))
    return Choice(plan, seconds, _reason(plan, seconds, workers_in_words(model, n_threads)))


def prepare_and_choose(
    network: Network, inputs: sp.csr_array, backend: Backend, kernel: KernelOptions, n_threads: int, options: InferOptions
) -> tuple[Choice, InferOptions, Any]:
    """Choose how to run an inference on real threads; return the choice, the options with it, and the backend's plan.

    The network is packed once: the plan that says how large the layers are is the one to run, for `n_threads` workers. It is of
    the network as given: where neurons are hashed or rows balanced between layers, the inference needs another.

    Parameters
    ----------
    network : Network
    inputs : csr_array of float32, shape (instances, network.n_inputs)
    backend : Backend
    kernel : KernelOptions
        With the full name of a kernel of the backend.
    n_threads : int
    options : InferOptions

    Raises
    ------
    ValueError
        If the kernel is not calibrated, or the backend cannot count the work.
    """
    if not isinstance(backend, ProfilingBackend):
        raise OptionError(
            f"scheduler=auto: backend={backend.name} cannot make profiles; name a scheduler, or use backend=numba"
        )
    model, kind = cost_model(backend, kernel, options.cluster.calibration, {})
    plan, profile = prepare_with_profile(network, inputs, kernel, n_threads, backend, n_threads)
    model = of_plan(model, backend, plan, n_threads)
    return *choose_for(profile, model, kind, backend.schedulers[kernel.kernel], n_threads, options), plan


def choose_for(
    profile: WorkProfile,
    model: CostModel,
    kind: CostKind,
    schedulers: Sequence[str],
    n_threads: int,
    options: InferOptions,
    cluster: Cluster | None = None,
) -> tuple[Choice, InferOptions]:
    """Return the plan that the simulator finds fastest for an inference, and the options with which to run it.

    Parameters: see `choose`; what is not tried is taken from `options`.
    """
    choice = choose(
        profile, model, kind, n_threads, options.scheduler, schedulers=schedulers,
        cluster=cluster, row_order=options.partition.order, buckets=options.partition.buckets,
    )  # fmt: skip
    hashing = options.partition.hashing
    if choice.plan.hashes_rows and not options.hashes_rows:
        hashing = "both" if options.hashes_neurons else "input"
    return choice, replace(options, scheduler=choice.options, partition=replace(options.partition, hashing=hashing))


def describe(plan: SchedulingChoice) -> str:
    """Return what is special of a plan, in a few words."""
    words = [plan.scheduler, *(f"{name}={getattr(plan.options, name)}" for name in SCHEDULERS[plan.scheduler].tuned)]
    return " ".join([*words, "hashing=input"] if plan.hashes_rows else words)


def _plans(schedulers: Sequence[str], options: SchedulerOptions, row_order: str, buckets: int) -> list[SchedulingChoice]:
    """All plans to try, the simplest first; a scheduler that cuts row groups chooses by the same model itself."""
    plans = []
    for hashes_rows in (False, True):
        for name in (name for name in ONE_PROCESS_SCHEDULERS if name in schedulers and not SCHEDULERS[name].cuts):
            if SCHEDULERS[name].one_row_group and hashes_rows:
                continue
            plans += [SchedulingChoice(name, variant, hashes_rows, row_order, buckets) for variant in _variants(name, options)]
    return plans


def _variants(scheduler: str, options: SchedulerOptions) -> list[SchedulerOptions]:
    """The parameters to try: every combination of the values by which the scheduler can be tuned."""
    tuned = SCHEDULERS[scheduler].tuned
    return [replace(options, **dict(zip(tuned, values, strict=True))) for values in product(*tuned.values())]


def _reason(plan: SchedulingChoice, seconds: dict[str, float], workers: str) -> str:
    """The choice, the best plan of each other scheduler, and how they compare."""
    chosen = describe(plan)
    best: dict[str, tuple[float, str]] = {}
    for name, predicted_s in seconds.items():
        scheduler = name.split()[0]
        best[scheduler] = min(best.get(scheduler, (predicted_s, name)), (predicted_s, name))
    others = sorted(best[scheduler] for scheduler in best if scheduler != plan.scheduler)
    compared = "; ".join(f"{name}: {predicted_s:.3g} s" for predicted_s, name in others)
    sentence = f"{chosen} is predicted to take {seconds[chosen]:.3g} s on {workers}"
    slowest_s = max(seconds.values())
    if slowest_s > seconds[chosen]:
        sentence += f", {slowest_s / seconds[chosen]:.2f} times faster than the slowest of {len(seconds)} plans tried"
    return f"{sentence} (the best of the others: {compared})" if others else sentence

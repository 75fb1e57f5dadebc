"""Runs an inference on a simulated cluster, and returns a result like that of `sparsednn.infer`, in virtual seconds."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.arguments.scalars import instance_of
from sparsednn.backend import Backend, kernel_name, load_simulated, require_schedulable
from sparsednn.errors import OptionError, OptionTypeError, unknown
from sparsednn.execution.options import InferOptions, infer_options, require_types
from sparsednn.network import Network
from sparsednn.network.rounding import FLOAT32
from sparsednn.results.result import Result
from sparsednn.results.trace import Trace
from sparsednn.schedulers import AUTO, ONE_PROCESS_SCHEDULERS
from sparsednn.simulator.cluster import Cluster, ClusterSimulator, SchedulingChoice
from sparsednn.simulator.models import cost_model, of_plan
from sparsednn.simulator.profile import prepare_with_profile
from sparsednn.simulator.record import simulated_record
from sparsednn.simulator.tuning import choose_for

REAL_TIME_ONLY = ("repeats", "pin", "progress", "communicator", "rebalance_after")
"""Options of `infer` that mean nothing in virtual time."""


def simulate(
    network: Network,
    inputs: Any,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str = "data",
    cluster: Cluster | None = None,
    n_threads: int = 1,
    options: InferOptions | None = None,
    **flat: Any,
) -> Result:
    """Predict how long an inference takes on a cluster, scheduled as it would be there.

    The work of every row is measured by running it once (and cached); a cost model turns it into seconds; the schedulers do the
    rest in virtual time. Every figure is simulated, and the record says so.

    Parameters
    ----------
    network : Network
    inputs : scipy.sparse matrix or NumPy array, shape (instances, network.n_inputs)
    backend : str or Backend
        Whose kernels are meant, and who counts the work.
    kernel : str
        One of the backend's kernels that is calibrated.
    scheduler : str
        One of `sparsednn.schedulers.ONE_PROCESS_SCHEDULERS`, or "auto".
    cluster : Cluster, optional
        One core, unless given.
    n_threads : int
        Real threads, for counting the work.
    options : InferOptions, optional
        All further options, in groups; those that mean nothing in virtual time are refused. Hashing of neurons
        changes nothing here: teams cut columns by their connections.
    **flat
        Or each of them as a keyword argument of its own.

    Returns
    -------
    Result
        Its categories are those of the inference that counted the work; the times in ``.record["seconds"]`` are virtual, but
        for ``load`` and ``profile``.

    Raises
    ------
    TypeError, ValueError
        As `infer` does; and if the kernel is not calibrated.
    """
    backend, kernel, opts, cluster = _checked(network, backend, kernel, scheduler, cluster, flat, options)
    kernel_options = opts.kernel_options(kernel)
    model, kind = cost_model(backend, kernel_options, opts.cluster.calibration, cluster.assume, simulated=True)
    rows = canonical_inputs(inputs, network.n_inputs)
    started_at = perf_counter()
    prepared, profile = prepare_with_profile(network, rows, kernel_options, n_threads, backend)
    profile_s, model = perf_counter() - started_at, of_plan(model, backend, prepared, cluster.n_workers)
    choice = None
    if scheduler == AUTO:
        choice, opts = choose_for(profile, model, kind, backend.schedulers[kernel], cluster.n_workers, opts, cluster)
        scheduler = choice.scheduler
    plan = SchedulingChoice(scheduler, opts.scheduler, opts.hashes_rows, opts.partition.order, opts.partition.buckets)
    simulator = ClusterSimulator(profile, model, kind, cluster)
    run = simulator.run(plan, trace=opts.run.trace, traffic=kind.unit != "blocks")
    categories, described = profile.categories(), backend.describe(prepared)
    trace = Trace(run.spans, {"scheduler": scheduler, "kernel": kernel, "simulated": True}) if opts.run.trace else None
    record = simulated_record(
        network, rows, backend, described, opts, simulator, plan, run, categories, profile_s, choice
    )  # fmt: skip
    return Result(categories, None, record, trace)


def _checked(
    network: Any, backend: Any, kernel: Any, scheduler: Any, cluster: Any, flat: dict[str, Any], options: InferOptions | None
) -> tuple[Backend, str, InferOptions, Cluster]:  # fmt: skip
    """Refuse what cannot be simulated; return the backend, the kernel's full name, checked options and the cluster."""
    require_types(network, backend, kernel, scheduler)
    instance_of("cluster", cluster, (Cluster, type(None)), "a sparsednn.simulator.cluster.Cluster is needed")
    opts = _virtual_options(flat, options)
    if not isinstance(scheduler, str):
        raise OptionTypeError(f"scheduler={scheduler.name}: an object; simulated runs take the name of a scheduler")
    if scheduler not in ONE_PROCESS_SCHEDULERS and scheduler != AUTO:
        raise OptionError(f"{unknown('scheduler', scheduler, [*ONE_PROCESS_SCHEDULERS, AUTO])} (simulated)")
    backend = load_simulated(backend) if isinstance(backend, str) else backend
    kernel = kernel_name(backend, kernel)
    require_schedulable(backend, kernel, scheduler, ONE_PROCESS_SCHEDULERS)
    return backend, kernel, opts, cluster or Cluster()


def _virtual_options(flat: dict[str, Any], options: InferOptions | None) -> InferOptions:
    """Return checked options, or refuse those that mean nothing in virtual time."""
    checked = infer_options(flat, options)
    given = {
        "repeats": checked.run.repeats != 1, "pin": checked.cluster.pin, "progress": checked.progress is not None,
        "communicator": checked.communicator.size > 1, "rebalance_after": checked.run.rebalance_after is not None,
    }  # fmt: skip
    for name in REAL_TIME_ONLY:
        if name in flat or given.get(name, False):
            raise OptionError(f"{name}: means nothing in virtual time; leave it out or use executor=threads")
    if checked.optimize.weights != FLOAT32:
        costs = "costs are calibrated with weights of float32"
        raise OptionError(f"weights={checked.optimize.weights}: {costs}; leave it out or use executor=threads")
    return checked

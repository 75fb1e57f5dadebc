"""Inference on a simulated cluster: a result as `sparsednn.infer` gives one, with virtual seconds."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.arguments.scalars import instance_of, whole_number
from sparsednn.backend import Backend, kernel_name, load_backend, require_schedulable
from sparsednn.errors import OptionError, OptionTypeError, unknown
from sparsednn.network import Network
from sparsednn.options import infer_options, require_types
from sparsednn.results.result import Result
from sparsednn.results.trace import Trace
from sparsednn.schedulers import ONE_PROCESS_SCHEDULERS
from sparsednn.simulator.calibration import assuming, read_calibration
from sparsednn.simulator.cluster import Cluster, ClusterSimulator, Plan
from sparsednn.simulator.cost_model import CostModel, cost_kind
from sparsednn.simulator.profile import profile_as_run
from sparsednn.simulator.record import simulated_record
from sparsednn.simulator.tuning import AUTO, choose_for

REAL_TIME_ONLY = ("repeats", "pin", "progress", "communicator")
"""Options of `infer` that mean nothing in virtual time."""


def simulate(
    network: Network,
    inputs: Any,
    backend: str | Backend = "numba",
    kernel: str = "auto",
    scheduler: str = "data",
    cluster: Cluster | None = None,
    n_threads: int = 1,
    **options: Any,
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
    **options
        See `InferOptions`; those that mean nothing in virtual time are refused. Hashing of neurons changes nothing here: teams
        cut columns by their connections.

    Returns
    -------
    Result
        Its categories are those of the inference that counted the work; the times in ``.record["seconds"]`` are virtual, but
        for ``load`` and ``profile``.

    Raises
    ------
    TypeError, ValueError
        As `infer` does; and if the kernel is not calibrated, or the last activations can be negative, so that counts do not
        tell categories.
    """
    for name in REAL_TIME_ONLY:
        if name in options:
            raise OptionError(f"{name}: means nothing in virtual time; leave it out or use executor=threads")
    require_types(network, backend, kernel, scheduler)
    instance_of("cluster", cluster, (Cluster, type(None)), "a sparsednn.simulator.cluster.Cluster is needed")
    n_threads = whole_number("n_threads", n_threads, 1)
    opts, cluster = infer_options(options), cluster or Cluster()
    backend = load_backend(backend) if isinstance(backend, str) else backend
    kernel = kernel_name(backend, kernel)
    if not isinstance(scheduler, str):
        raise OptionTypeError(f"scheduler={scheduler.name}: an object; simulated runs take the name of a scheduler")
    if scheduler not in ONE_PROCESS_SCHEDULERS and scheduler != AUTO:
        raise OptionError(f"{unknown('scheduler', scheduler, [*ONE_PROCESS_SCHEDULERS, AUTO])} (simulated)")
    require_schedulable(backend, kernel, scheduler, ONE_PROCESS_SCHEDULERS)
    if network.layers[-1].activation.low < 0:
        raise OptionError("the last layer's activations can be negative: simulated runs know only how many are not zero")
    model = CostModel(assuming(read_calibration(opts.calibration), cluster.assume))
    kernel_options = opts.kernel_options(kernel)
    kind = cost_kind(backend, kernel_options)
    model.require_calibrated(kind)
    rows = canonical_inputs(inputs, network.n_inputs)
    started_at = perf_counter()
    profile, described = profile_as_run(network, rows, kernel_options, n_threads, backend)
    profile_s = perf_counter() - started_at
    choice = None
    if scheduler == AUTO:
        choice, opts = choose_for(network, rows, backend, kernel_options, cluster.n_workers, opts, cluster)
        scheduler = choice.scheduler
    plan = Plan(scheduler, opts.scheduler_options, opts.hashes_rows, opts.row_order, opts.buckets)
    simulator = ClusterSimulator(profile, model, kind, cluster)
    run = simulator.run(plan, trace=opts.trace, traffic=kind.unit != "blocks")
    categories = profile.alive_at_end()
    trace = Trace(run.spans, {"scheduler": scheduler, "kernel": kernel, "simulated": True}) if opts.trace else None
    record = simulated_record(
        network, rows, backend, described, opts, simulator, plan, run, categories, profile_s, choice
    )  # fmt: skip
    return Result(categories, None, record, trace)

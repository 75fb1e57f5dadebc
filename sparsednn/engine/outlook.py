"""Makes the outlook of an inference whose scheduler cuts row groups, by a sample of its rows and the cost model."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from sparsednn.backend import ProfilingBackend
from sparsednn.engine.request import Request
from sparsednn.errors import OptionError
from sparsednn.execution.exclusive import alone_with
from sparsednn.execution.prepared_run import Inference
from sparsednn.network import Network
from sparsednn.rows.distribution import Share
from sparsednn.schedulers import Outlook, Scheduler

if TYPE_CHECKING:
    from sparsednn.simulator.work import WorkProfile


def sample_of(asked: Request, scheduler: Scheduler, network: Network, share: Share) -> WorkProfile:
    """Count the work of a few rows of the first process, for all processes. Collective.

    Rows are spread, so that the first ones in order are like any others. They are run with a copy of the network that is packed
    for counting, and gone when this returns.

    Raises
    ------
    ValueError
        If the backend cannot count, or the kernel is not calibrated.
    """
    from sparsednn.simulator.cost_model import calibrated_model  # most runs need no cost model
    from sparsednn.simulator.profile import measure_profile

    if not isinstance(asked.backend, ProfilingBackend):
        raise OptionError(
            f"scheduler={scheduler.name}: backend={asked.backend.name} cannot count the work of a sample; name another "
            "scheduler, or use backend=numba"
        )
    calibrated_model(asked.backend, asked.kernel, asked.options.cluster.calibration, {})
    comm, sample = asked.options.communicator, None
    if comm.rank == 0:
        rows = share.rows[np.sort(share.order[: scheduler.options.sample_rows])]
        sample = measure_profile(network, rows, 1, asked.backend, cache=False, categories=False)
    return comm.broadcast(sample)


def give_outlook(job: Inference, asked: Request, sample: WorkProfile) -> None:
    """Let an inference know what to expect of its rows, and have its scheduler settle its sizes once, off the clock."""
    from sparsednn.simulator.cost_model import calibrated_model
    from sparsednn.simulator.outlook import CostOutlook

    assert isinstance(asked.backend, ProfilingBackend)  # or there would be no sample
    model, kind = calibrated_model(asked.backend, asked.kernel, asked.options.cluster.calibration, {})
    as_run = sample.as_run(asked.backend.layer_sizes(job.stages[0].plan))
    n_processes = asked.options.communicator.node_size
    slowdown = model.slowdown(kind, asked.n_workers, asked.n_cores * n_processes, n_processes)

    def outlook_of(n_rows: int) -> Outlook:
        return CostOutlook(as_run, n_rows, model, kind, asked.n_workers, asked.n_cores, slowdown)

    job.outlook_of = functools.cache(outlook_of)
    with alone_with(job.scheduler):
        whole = job.job(job.share, 0, job.stages[0].n_layers)
        job.scheduler.start(whole.of_workers(job.scheduler.n_wanted(whole)))

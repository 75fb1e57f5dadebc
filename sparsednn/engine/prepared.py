"""Keeps a network prepared for a request, and runs inferences with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from sparsednn.arguments.arrays import canonical_inputs, require_width
from sparsednn.backend import StoringBackend, tolerance_of
from sparsednn.data.compact_rows import CompactRows
from sparsednn.engine.layouts import NetworkLayout
from sparsednn.engine.request import Request, reads_compact_rows
from sparsednn.execution.exclusive import alone_with
from sparsednn.execution.layer_ranges import LayerRange, layer_ranges_of
from sparsednn.execution.options import InferOptions
from sparsednn.execution.phases import PhaseTimes, redistributed, warm_up
from sparsednn.execution.prepared_run import Around, Inference, Repeat
from sparsednn.execution.record import record_of, trace_of
from sparsednn.network import Network, NetworkOutline
from sparsednn.network.rounding import FLOAT32, tolerance_of_weights, with_weights
from sparsednn.results.measures import column_imbalance
from sparsednn.results.record import AutoChoice
from sparsednn.results.result import Result
from sparsednn.rows.distribution import Share, loaded_share
from sparsednn.rows.partition import alive_first
from sparsednn.schedulers import AUTO, Scheduler

if TYPE_CHECKING:
    from sparsednn.simulator.tuning import Choice
    from sparsednn.simulator.work import WorkProfile


class RestoredNetwork(NamedTuple):
    """A network of which only the packed layers are there.

    Attributes
    ----------
    outline : NetworkOutline
    n_bytes : int
        Of the packed layers.
    restore : callable
        Returns the backend's plan for a request, whose options must be those that the layers were packed with.
    rounded : bool
        Whether rounding (`OptimizeOptions.weights`) changed a weight.
    """

    outline: NetworkOutline
    n_bytes: int
    restore: Callable[[Request], Any]
    rounded: bool = False


class PreparedNetwork:
    """A network that is prepared for a request, and keeps what does not depend on the inputs for the next call.

    Parameters
    ----------
    network : Network or RestoredNetwork
        With a `RestoredNetwork`, the request must keep its stages (`keeps_stages`). Of a `Network`, the weights are rounded
        as asked for.
    asked : Request

    Attributes
    ----------
    network : Network or RestoredNetwork
        As it is packed.
    rounded : bool
        Whether its weights are others than those that were given.
    """

    def __init__(self, network: Network | RestoredNetwork, asked: Request) -> None:
        self.network, self.asked = network, asked
        if isinstance(network, RestoredNetwork):
            self.outline, self.rounded = network.outline, network.rounded
        else:
            self.network = with_weights(network, asked.options.optimize.weights)
            self.outline, self.rounded = self.network.outline(), self.network is not network
        self._stages: list[LayerRange] | None = None
        self._sample: WorkProfile | None = None

    @property
    def keeps_stages(self) -> bool:
        """Whether the layers are prepared in the same way whatever the inputs are."""
        return not self.asked.options.hashes_neurons and self.asked.scheduler != AUTO

    @property
    def plan(self) -> Any | None:
        """The backend's plan of all layers; None if they are not packed yet, or not in one."""
        return self._stages[0].plan if self._stages is not None and len(self._stages) == 1 else None

    def pack(self) -> None:
        """Pack the layers now, if that does not depend on the inputs."""
        if self.keeps_stages:
            self._prepared(self.network, self.asked.options, None)

    def describe(self, instances: str, reason: str) -> NetworkLayout:
        """Say what the layout is, that serves some instances for a reason."""
        backend, plan, n_bytes, state = self.asked.backend, self.plan, None, "not packed yet"
        if isinstance(self.network, RestoredNetwork):
            n_bytes, state = self.network.n_bytes, "in files"
        elif plan is not None and isinstance(backend, StoringBackend) and self.asked.options.network.residency == "memory":
            n_bytes = sum(array.nbytes for array in backend.store_plan(plan).arrays.values())
        if not self.keeps_stages:
            state = "packed for each call"
        elif self._stages is not None:
            state = "packed"
        return NetworkLayout(self.asked.kernel.kernel, n_bytes, instances, reason, state)

    def infer(self, inputs: Any, *, output: bool | None = None, around: Around = nullcontext) -> Result:
        """Run inference; `output` goes before the request's. See `sparsednn.infer`; inputs may also be `CompactRows`.

        `around` makes a context manager for each run, on every process, which is entered before the clock is on.
        """
        asked, clock = self.asked, PhaseTimes()
        with clock.lap("load"):
            rows = self._rows(inputs)
        with clock.lap("choose"):
            scheduler, choice, opts, plan = asked.choose(self.network, rows)
        with clock.lap("hash"):
            as_run, outline = self.network, self.outline
            if opts.hashes_neurons:
                from sparsednn.rows.hashing import hash_neurons  # most runs do not hash neurons

                as_run, rows = hash_neurons(self.whole(), rows, opts.partition.buckets)
                outline = as_run.outline()
            layer_nnz = column_imbalance(outline, asked.n_workers)
            share = redistributed(loaded_share(opts.communicator, rows, opts.row_ids), opts, spread=scheduler.cuts)
        with clock.lap("choose"):
            sample = self._sampled(scheduler, as_run, share)
        with clock.lap("prepare"):
            stages = self._prepared(as_run, opts, plan)
            del as_run, plan  # the stages have plans of their own, with copies
        with clock.lap("compile"):
            warm_up(asked.backend, stages, share, scheduler.n_row_groups(asked.n_workers), opts)
        wanted = asked.output if output is None else output
        job = Inference(
            asked.backend, stages, scheduler, share, asked.n_workers, asked.n_cores, opts, output=wanted, around=around
        )  # fmt: skip
        if sample is not None:
            from sparsednn.engine.outlook import give_outlook

            with clock.lap("choose"):
                give_outlook(job, asked, sample)
        runs = _repeated(job)
        seconds = clock.seconds | {
            "inference": [run.seconds for run in runs],
            "inference_median": float(np.median([run.seconds for run in runs])),
        }
        return self.told(_result(job, self.outline, runs[-1], seconds, asked.n_threads, layer_nnz, choice))

    @property
    def tolerance(self) -> float | None:
        """How far outputs may be from those of the weights that were given, as a share of the largest; None: not at all."""
        return tolerance_of_weights(self.asked.options.optimize.weights, self.outline.n_layers) if self.rounded else None

    def tolerance_of_all(self) -> float | None:
        """Return how far outputs may be from those of the weights that were given, and of exact kernels; None: not at all."""
        same_bits = self.asked.kernel.kernel in self.asked.backend.same_bits
        return (0.0 if same_bits else tolerance_of(self.outline.n_layers)) + (self.tolerance or 0.0) or None

    def told(self, result: Result) -> Result:
        """Return a result whose record says what weights were rounded to, how they are stored, and how near outputs are."""
        weights, run = self.asked.options.optimize.weights, result.run_record
        if weights == FLOAT32:
            return result
        on = run.optimizations
        on.weights, on.stored_weights = weights, on.stored_weights or FLOAT32
        if self.tolerance is not None:
            run.exact, run.tolerance = False, self.tolerance + (run.tolerance or 0.0)
        return replace(result, run_record=run)

    def _rows(self, inputs: Any) -> sp.csr_array | CompactRows:
        """Inputs as they are run; compact ones are sound, and stay so where nothing but kernels for them will see them."""
        if not isinstance(inputs, CompactRows):
            return canonical_inputs(inputs, self.outline.n_inputs)
        require_width(inputs.shape, self.outline.n_inputs)
        asked = self.asked
        stay = reads_compact_rows(asked.backend, asked.kernel.kernel, asked.scheduler, asked.options)
        return inputs if stay else inputs.to_csr()

    def _prepared(self, as_run: Network | RestoredNetwork, options: InferOptions, plan: Any) -> list[LayerRange]:
        """Prepare the layers, unless that was done in an earlier call."""
        if self._stages is not None:
            return self._stages
        if isinstance(as_run, RestoredNetwork):
            stages = [LayerRange(as_run.outline.n_layers, as_run.restore(self.asked), zeros_stay=True)]
        else:
            stages = layer_ranges_of(as_run, options.run.rebalance_after, partial(self.asked.prepare, made=plan))
        if self.keeps_stages:
            self._stages = stages
        return stages

    def _sampled(self, scheduler: Scheduler, as_run: Network | RestoredNetwork, share: Share) -> WorkProfile | None:
        """Return work counts for schedulers that cut row groups; a compiled network counts those of its first call."""
        if not scheduler.cuts or self._sample is not None:
            return self._sample
        from sparsednn.engine.outlook import sample_of  # most schedulers need no outlook

        assert isinstance(as_run, Network)
        sample = sample_of(self.asked, scheduler, as_run, share)
        if self.keeps_stages and sample.n_instances:
            self._sample = sample
        return sample

    def whole(self) -> Network:
        """Return the network, of which not only the packed layers may be there."""
        assert isinstance(self.network, Network)
        return self.network


def _repeated(job: Inference) -> list[Repeat]:
    """Run an inference as often as asked for; before that, find out which instances end alive, if they are to go first."""
    options = job.options
    with alone_with(job.scheduler):
        if options.partition.order == "alive_first":
            alive = alive_first(job.run().categories, job.share.n_instances)
            job.share = redistributed(job.share, options, alive, spread=job.scheduler.cuts)
        return [job.run() for _ in range(options.run.repeats)]


def _result(
    job: Inference, network: NetworkOutline, last: Repeat, seconds: dict[str, Any], n_threads: int, layer_nnz: float,
    choice: Choice | None,
) -> Result:  # fmt: skip
    """Return what every process gets: the record is rank 0's."""
    comm, record = job.options.communicator, None
    if comm.rank == 0:
        auto = None if choice is None else AutoChoice(reason=choice.reason, predicted_s=choice.predicted)
        record = record_of(job, network, last, seconds, n_threads, layer_nnz, auto)
    record = comm.broadcast(record)
    return Result(last.categories, last.output, record, trace_of(job, last))

"""Measures a point: loads, infers, checks, and completes its record."""

from __future__ import annotations

import functools
import gc
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from experiments.config.file_rules import DISTSPARSEDNN, checks_predictions, has_layout
from experiments.config.key_names import in_keys
from experiments.config.resolve import Config, ConfigError
from experiments.config.schema import SIMULATED, DisturbConfig
from experiments.records.display import Display, Stage, inference_note
from experiments.records.files import GANTT, RUNNING, TRACE, write_record
from experiments.records.point import COMPLETE, FAILED, BenchmarkRun, Disturbance, PointRecord
from experiments.run.arguments import infer_arguments, simulate_arguments
from experiments.run.environment import environment
from experiments.run.labels import Labels
from experiments.run.load import Data, load
from experiments.run.memory_estimate import require_room
from experiments.run.model_files import ModelUse
from experiments.run.network_cache import PointCache
from sparsednn.backend import kernel_name, load_backend, load_simulated, require_schedulable
from sparsednn.comm import Communicator, LocalCommunicator
from sparsednn.data import truth
from sparsednn.data.compact_rows import CompactRows
from sparsednn.data.layouts.predictions import Predictions, classifier_of
from sparsednn.engine import PreparedNetwork, Request
from sparsednn.errors import MemoryShortageError, OptionError, OptionTypeError, SparseDnnError, mendable
from sparsednn.execution.prepared_run import Around
from sparsednn.execution.threads import WATCH_INTERVAL_S
from sparsednn.network import Network
from sparsednn.results.measures import add_load_times
from sparsednn.results.record import LABELS, LOGITS, RunRecord, Truth
from sparsednn.results.result import Result
from sparsednn.schedulers import SCHEDULERS
from sparsednn.system import console
from sparsednn.system.console import FAULT
from sparsednn.system.memory import peak_rss_bytes

if TYPE_CHECKING:
    from experiments.run.disturbance import Disturber

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


class ProcessError(SparseDnnError, RuntimeError):
    """Processes have not ended as they should."""


FAULT_NOTE = f"{console.FAULT_NOTE}, with the record"


def check(config: Config) -> None:
    """Refuse what cannot be run, before anything is loaded."""
    if config.executor == SIMULATED:
        backend = load_simulated(config.backend.name)
    else:
        _import_backend(config.backend.name)
        backend = load_backend(config.backend.name)
    require_schedulable(backend, kernel_name(backend, config.kernel), config.scheduler.name, SCHEDULERS)
    require_room(config)
    if config.cluster.disturb != DisturbConfig():
        from experiments.run.disturbance import require_possible

        require_possible(config)


@functools.cache
def _import_backend(name: str) -> None:
    """Import a backend, once: nothing of it is garbage, nor will it be, so that the collector need not look through it."""
    goes_on = gc.isenabled()
    gc.disable()
    try:
        load_backend(name)
    finally:
        if goes_on:
            gc.freeze()
            gc.enable()


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of a point.

    Attributes
    ----------
    body : RunRecord or BenchmarkRun
        The part of its record that tells it.
    error : str, optional
        Fault of the outcome: then the point has failed.
    config_hash : str, optional
        That of the point, where it is not that of its configuration.
    disturbance : Disturbance, optional
        What disturbed it, if it was to be.
    """

    body: RunRecord | BenchmarkRun
    error: str | None = None
    config_hash: str | None = None
    disturbance: Disturbance | None = None

    def enter(self, record: PointRecord) -> None:
        """Write it into the record of its point."""
        record.body, record.status, record.disturbance = self.body, COMPLETE, self.disturbance
        record.config_hash = self.config_hash or record.config_hash
        if self.error is not None:
            record.fail(self.error)


def measure(config: Config, display: Display, folder: Path, comm: Communicator | None = None) -> Measured:
    """Load, infer and check. A trace is written into `folder`.

    With a communicator it is collective, and only rank 0 writes.
    """
    comm = comm or LocalCommunicator()
    check(config)
    cache = PointCache(config, display, comm)
    data = load(config, display, comm, cache.take)
    disturber = _disturber(config, comm)
    result = _infer(config, data, display, comm, cache, nullcontext if disturber is None else disturber.around)
    run, disturbance = result.run_record, None if disturber is None else disturber.record(display)
    add_load_times(run, comm.gather(data.seconds))
    if comm.rank > 0:
        return Measured(run)
    if result.trace is not None:
        from experiments.figures.base.gantt import draw_gantt  # Matplotlib: most runs draw nothing, and need not wait for it

        result.trace.write(folder / TRACE)
        draw_gantt(result.trace, folder / GANTT)
        display.say(f"trace: {folder / TRACE} (open in https://ui.perfetto.dev), chart: {folder / GANTT}")
    _answer(config, data, result, display, folder)
    return Measured(run, _wrong(run) if run.truth.match is False else None, disturbance=disturbance)


def _disturber(config: Config, comm: Communicator) -> Disturber | None:
    """Return what disturbs the runs, if they are to be disturbed."""
    if config.cluster.disturb == DisturbConfig():
        return None
    from experiments.run.disturbance import Disturber  # hardly anybody wants that

    return Disturber(config, comm)


def _checked_predictions(predictions: Predictions, output: Any, display: Display) -> Truth:
    """Compare the classes of all instances with those that are given; networks may be right about some only."""
    correct, of = predictions.correct(output), len(predictions.classes)
    display.say(
        f"classes ({predictions.classifier}): {correct:,} of {of:,} are those of {predictions.source} ({correct / of:.2%})"
    )
    return Truth(checked=True, source="given", kind=LABELS, correct=correct, of=of)


def _wrong(run: RunRecord) -> str:
    """Say what is not as the truth has it."""
    truth = run.truth
    if truth.kind != LOGITS or truth.of is None or truth.correct is None:
        return f"{run.categories_count} categories were found, which are not the true ones"
    return (
        f"{truth.of - truth.correct} of {truth.of} instances have other last activations than input.logits, by up to "
        f"{truth.difference:.1e} of the largest"
    )


def _answer(config: Config, data: Data, result: Result, display: Display, folder: Path) -> None:
    """Complete the record by what the outputs mean, and write the files that were asked for."""
    run = result.run_record
    run.model, run.preprocessing = data.model.record, None if data.images is None else data.images.record
    if data.predictions is not None and result.output is not None:
        run.truth = _checked_predictions(data.predictions, result.output, display)
    elif data.labels is None:
        challenge = config.input.name == "challenge"
        run.truth = Truth(**truth.check(result.categories, run.instances, data.outline, challenge, data.truth))
    elif result.output is None:
        display.say(f"note: labels are not compared: executor={config.executor} computes no outputs")
    if result.output is not None:
        from experiments.run import answers  # only where somebody asks what the outputs mean

        if data.labels is not None:
            run.accuracy = answers.accuracy_of(result.output, data.labels, data.model)
            run.truth = answers.truth_of(run.accuracy, data.labels)
        if data.logits is not None:
            run.truth = answers.compared(result.output, data.logits, config.input.tolerance)
        if config.output.predictions:
            path = answers.write_predictions(folder, result.output, *_meaning(config, data, result.output.shape[1]))
            display.say(f"predictions: {path}")
    if config.output.categories:
        from sparsednn.data.triples import write_ids  # with pandas

        path = folder / f"neuron{run.neurons}-l{run.layers}-categories.tsv"
        write_ids(path, result.categories)
        display.say(f"categories: {path}")


def _meaning(config: Config, data: Data, n_outputs: int) -> tuple[Labels | None, ModelUse, str | None]:
    """Return the labels, what outputs mean, and the classifier of another program, if its files are what is read."""
    if not has_layout(config, DISTSPARSEDNN):
        return data.labels, data.model, None
    classifier = classifier_of(n_outputs, config.network.classifier)
    model = replace(data.model, postprocess="sigmoid") if classifier == "sigmoid" else data.model
    labels = data.labels
    if data.predictions is not None:
        labels = Labels(data.predictions.classes, (), "given")
    return labels, model, classifier


def _infer(config: Config, data: Data, display: Display, comm: Communicator, cache: PointCache, around: Around) -> Result:
    """Infer, or simulate it, and show how far it is."""
    with display.stage("inference") as stage:
        if isinstance(data.network, Network) and config.executor == SIMULATED:
            from sparsednn.simulator.simulate import simulate  # real runs need no simulator

            stage.update(0, 1, "counting the work of every row, unless it is in the cache")
            inputs = data.inputs.to_csr() if isinstance(data.inputs, CompactRows) else data.inputs
            return simulate(data.network, inputs, **simulate_arguments(config))
        stage.update(0, 1, "preparing, and compiling what is not in the cache")
        arguments = infer_arguments(config)
        arguments["options"] = replace(
            arguments["options"], communicator=comm, row_ids=data.row_ids, progress=_progress(data, stage)
        )
        wants_outputs = (
            data.labels is not None
            or config.output.predictions
            or config.input.logits is not None
            or checks_predictions(config)
        )
        prepared = PreparedNetwork(data.network, Request.checked(**arguments, output=wants_outputs))
        result = prepared.infer(data.inputs, around=around)
    cache.put(prepared)
    return result


def _progress(data: Data, stage: Stage) -> Callable[[int, int], None]:
    """Return the function that an inference calls to show how far it is."""
    n_layers, n_rows, started_at = data.outline.n_layers, data.inputs.shape[0], list[float]()

    def progress(done: int, total: int) -> None:
        started_at[:] = started_at or [perf_counter()]  # the first call: kernels are compiled by then
        elapsed_s = perf_counter() - started_at[0] + WATCH_INTERVAL_S
        stage.update(done, total, inference_note(done, n_layers, n_rows, data.outline.nnz, elapsed_s))

    return progress


def fail_by(record: PointRecord, error: BaseException, where: str = "") -> None:
    """Make a record one of a point that an error has ended: of a fault of the program it has the traceback too.

    `where` comes before the message.
    """
    record.fail(where + message(error))
    if is_fault(error):
        record.traceback = "".join(traceback.format_exception(error))


def is_fault(error: BaseException) -> bool:
    """Whether an error is a fault of the program: nothing that the user could mend, nor has asked for."""
    return not isinstance(error, KeyboardInterrupt) and mendable(error) is None


def message(error: BaseException) -> str:
    """Say what an error is, in one line if it is the user's to mend."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    found = mendable(error)
    if isinstance(found, OptionError | OptionTypeError | MemoryShortageError) and not isinstance(found, ConfigError):
        return in_keys(str(found))  # other messages have names of files in them
    return str(found) if found is not None else f"{type(error).__name__}: {error}"


def exit_status(record: PointRecord) -> int:
    """Return the exit status that a record stands for: 0, 1 for a point that has failed, `FAULT` if it was the program's."""
    if record.status != FAILED:
        return 0
    return 1 if record.traceback is None else FAULT


def finish(record: PointRecord, folder: Path) -> None:
    """Write the record and take the mark of a running point away."""
    record.environment = environment()
    if not record.has_run:
        record.peak_rss_bytes = peak_rss_bytes()
    write_record(folder, record)
    (folder / RUNNING).unlink(missing_ok=True)

"""What a point does: load, infer, check; and what becomes of its record."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from experiments.config.resolve import Config
from experiments.config.schema import Executor
from experiments.run.arguments import infer_arguments, simulate_arguments
from experiments.run.display import Display, Stage, inference_note
from experiments.run.environment import environment
from experiments.run.load import Data, load
from experiments.run.memory_estimate import require_room
from sparsednn.backend import kernel_name, load_backend, require_schedulable
from sparsednn.comm import Communicator, LocalCommunicator
from sparsednn.data import truth
from sparsednn.engine import infer
from sparsednn.errors import SparseDnnError, mendable
from sparsednn.execution.threads import WATCH_INTERVAL_S
from sparsednn.results.measures import add_load_times
from sparsednn.schedulers import SCHEDULERS
from sparsednn.simulator.simulate import simulate
from sparsednn.system import console
from sparsednn.system.console import FAULT
from sparsednn.system.files import write_json
from sparsednn.system.json_fields import to_json
from sparsednn.system.memory import peak_rss_bytes

RESULT, RUNNING = "result.json", "running.json"
INTERRUPTED = 130
"""Exit status after Ctrl-C."""

TRACE, GANTT = "trace.json", "gantt.png"


class ProcessError(SparseDnnError, RuntimeError):
    """Processes have not come to an end as they should."""


FAULT_NOTE = f"{console.FAULT_NOTE}, with the record"


def check(config: Config) -> None:
    """Refuse what cannot be run, before anything is loaded."""
    backend = load_backend(config.backend.name)
    require_schedulable(backend, kernel_name(backend, config.kernel), config.scheduler.name, SCHEDULERS)
    require_room(config)


def measure(config: Config, display: Display, folder: Path, comm: Communicator | None = None) -> dict[str, Any]:
    """Load, infer and check; return the record without what concerns the launch. A trace is written into `folder`.

    With a communicator it is collective, and only rank 0 writes.
    """
    comm = comm or LocalCommunicator()
    check(config)
    data = load(config, display, comm)
    with display.stage("inference") as stage:
        if config.executor is Executor.simulated:
            stage.update(0, 1, "counting the work of every row, unless it is in the cache")
            result = simulate(data.network, data.inputs, **simulate_arguments(config))
        else:
            stage.update(0, 1, "preparing, and compiling what is not in the cache")
            arguments = infer_arguments(config) | {"communicator": comm, "row_ids": data.row_ids}
            result = infer(data.network, data.inputs, progress=_progress(data, stage), **arguments)
    run = result.run_record
    add_load_times(run, comm.gather(data.seconds))
    record = to_json(run)
    if comm.rank > 0:
        return record
    if result.trace is not None:
        from experiments.figures.base.gantt import draw_gantt  # Matplotlib: most runs draw nothing, and need not wait for it

        result.trace.write(folder / TRACE)
        draw_gantt(result.trace, folder / GANTT)
        display.say(f"trace: {folder / TRACE} (open in https://ui.perfetto.dev), chart: {folder / GANTT}")
    record["truth"] = truth.check(
        result.categories, record["instances"], data.network, config.input.name == "challenge", data.truth
    )  # fmt: skip
    if record["truth"]["match"] is False:
        fail(record, f"{len(result.categories)} categories were found, which are not the true ones")
    return record


def _progress(data: Data, stage: Stage) -> Callable[[int, int], None]:
    """What an inference calls to show how far it is."""
    n_layers, n_rows, started_at = len(data.network.layers), data.inputs.shape[0], list[float]()

    def progress(done: int, total: int) -> None:
        started_at[:] = started_at or [perf_counter()]  # the first call: kernels are compiled by then
        elapsed_s = perf_counter() - started_at[0] + WATCH_INTERVAL_S
        stage.update(done, total, inference_note(done, n_layers, n_rows, data.network.nnz, elapsed_s))

    return progress


def fail(record: dict[str, Any], message: str) -> None:
    """Make a record one of a failed point."""
    record["status"], record["error"] = "failed", message


def fail_by(record: dict[str, Any], error: BaseException, where: str = "") -> None:
    """Make a record one of a point that an error has ended: of a fault of the program it has the traceback too.

    `where` comes before the message.
    """
    fail(record, where + message(error))
    if is_fault(error):
        record["traceback"] = "".join(traceback.format_exception(error))


def is_fault(error: BaseException) -> bool:
    """Whether an error is a fault of the program: nothing that the user could mend, nor has asked for."""
    return not isinstance(error, KeyboardInterrupt) and mendable(error) is None


def message(error: BaseException) -> str:
    """Say what an error is, in one line if it is the user's to mend."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    found = mendable(error)
    return str(found) if found is not None else f"{type(error).__name__}: {error}"


def exit_status(record: Mapping[str, Any]) -> int:
    """Return the exit status that a record stands for: 0, 1 for a point that has failed, `FAULT` if it was the program's."""
    if record["status"] != "failed":
        return 0
    return FAULT if "traceback" in record else 1


def finish(record: dict[str, Any], folder: Path) -> None:
    """Write the record and take the mark of a running point away."""
    record["environment"] = environment()
    record.setdefault("peak_rss_bytes", peak_rss_bytes())
    write_json(folder / RESULT, record)
    (folder / RUNNING).unlink(missing_ok=True)

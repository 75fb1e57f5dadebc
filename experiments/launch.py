"""Runs the points of a sweep: load, infer, check, record.

Every point leaves exactly one ``result.json`` in its folder. While it runs there is a ``running.json``; a point that
died without a handler leaves only that, and counts as failed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from rich.console import Console

from experiments.arguments import infer_arguments, simulate_arguments
from experiments.display import Display, Stage, inference_note, summary
from experiments.environment import environment
from experiments.estimate import require_room
from experiments.gantt import draw_gantt
from sparsednn.backend import kernel_name, load_backend, require_schedulable
from sparsednn.config import Config, ConfigError, as_record
from sparsednn.data import truth
from sparsednn.data.challenge_inputs import N_INSTANCES, challenge_inputs
from sparsednn.data.files import read_inputs, read_network, read_truth
from sparsednn.data.radixnet import challenge_bias, radixnet
from sparsednn.engine import infer
from sparsednn.executors.threads import WATCH_INTERVAL_S
from sparsednn.memory import peak_rss_bytes, reset_peak_rss
from sparsednn.network import Activation, Network, clipped_relu, identity, relu
from sparsednn.result import SCHEMA_VERSION, write_json
from sparsednn.schedulers import SCHEDULERS
from sparsednn.schema import Executor
from sparsednn.simulation import simulate

RESULT, RUNNING = "result.json", "running.json"
TRACE, GANTT = "trace.json", "gantt.png"


@dataclass(frozen=True, slots=True)
class Data:
    """What a point runs on."""

    network: Network
    inputs: sp.csr_array
    truth: NDArray[np.int64] | None
    seconds: float


Work = Callable[[Config, Display, Path], dict[str, Any]]
"""What a point does, and what its record says of that: with the configuration, the display and the point's folder."""


def run_point(
    resolve: Callable[[], Config],
    folder: Path,
    overrides: list[str],
    console: Console,
    about: Mapping[str, Any] | None = None,
    benchmark: Work | None = None,
) -> dict[str, Any]:
    """Run one point and write its record into `folder`; return the record, whose status is "complete" or "failed".

    `overrides` are those that the user gave for this point, for the record; `about` is what else it is to say. An inference
    is run, and its summary shown, unless there is a `benchmark`.

    Raises
    ------
    OSError
        If the folder cannot be written.
    KeyboardInterrupt
        After the record of the interrupted point is written.
    """
    started = {"host": socket.gethostname(), "process_id": os.getpid(), "started": datetime.now(UTC).isoformat()}
    write_json(folder / RUNNING, {**started, **(about or {})})
    reset_peak_rss()
    record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "status": "failed", "overrides": overrides, **(about or {})}
    display = Display(console)
    try:
        config = resolve()
        record["config"] = as_record(config)
        if benchmark is None:
            record |= {"neurons": config.neurons, "layers": config.layers}
        record |= (benchmark or measure)(config, display, folder)
    except KeyboardInterrupt:
        _fail(record, "interrupted")
        _finish(record, folder)
        raise
    except Exception as error:
        _fail(record, _message(error))
        if not isinstance(error, EXPECTED):
            console.print_exception()
    _finish(record, folder)
    if record["status"] == "complete":
        if benchmark is None:
            console.print(summary(record))
        display.say(f"record: {folder / RESULT}")
    return record


EXPECTED = (
    ConfigError, ValueError, TypeError, OSError, MemoryError, ImportError, FloatingPointError
)  # fmt: skip
"""Errors whose message says all that a user needs; anything else is shown with its traceback."""


def measure(config: Config, display: Display, folder: Path) -> dict[str, Any]:
    """Load, infer and check; return the record without what concerns the launch. A trace is written into `folder`."""
    backend = load_backend(config.backend.name)  # refuse what is unknown before anything is loaded
    require_schedulable(backend, kernel_name(backend, config.kernel), config.scheduler.name, SCHEDULERS)
    require_room(config)
    data = load(config, display)
    with display.stage("inference") as stage:
        if config.executor is Executor.simulated:
            stage.update(0, 1, "counting the work of every row, unless it is in the cache")
            result = simulate(data.network, data.inputs, **simulate_arguments(config))
        else:
            stage.update(0, 1, "preparing, and compiling what is not in the cache")
            result = infer(data.network, data.inputs, progress=_progress(data, stage), **infer_arguments(config))
    if result.trace is not None:
        result.trace.write(folder / TRACE)
        draw_gantt(result.trace, folder / GANTT)
        display.say(f"trace: {folder / TRACE} (open in https://ui.perfetto.dev), chart: {folder / GANTT}")
    record = result.record
    record["seconds"]["load"] += data.seconds
    record["truth"] = truth.check(
        result.categories, data.inputs.shape[0], data.network, config.input.name == "challenge", data.truth
    )
    if record["truth"]["match"] is False:
        _fail(record, f"{len(result.categories)} categories were found, which are not the true ones")
    return record


def _progress(data: Data, stage: Stage) -> Callable[[int, int], None]:
    """What an inference calls to show how far it is."""
    n_layers, n_rows, started_at = len(data.network.layers), data.inputs.shape[0], list[float]()

    def progress(done: int, total: int) -> None:
        started_at[:] = started_at or [perf_counter()]  # the first call: kernels are compiled by then
        elapsed_s = perf_counter() - started_at[0] + WATCH_INTERVAL_S
        stage.update(done, total, inference_note(done, n_layers, n_rows, data.network.nnz, elapsed_s))

    return progress


def load(config: Config, display: Display) -> Data:
    """Load or generate network, inputs and truth."""
    started_at = perf_counter()
    with display.stage("network") as stage:
        network = _load_network(config, stage.update)
    display.say(
        f"network: {network.n_inputs:,} neurons x {len(network.layers):,} layers, {network.nnz:,} connections "
        f"({perf_counter() - started_at:.1f} s)"
    )
    inputs_at = perf_counter()
    with display.stage("inputs") as stage:
        inputs = _load_inputs(config, stage.update)
    display.say(f"inputs: {inputs.shape[0]:,} instances, {inputs.nnz:,} nonzeros ({perf_counter() - inputs_at:.1f} s)")
    given = None
    if config.input.truth is not None:
        given = read_truth(Path(config.input.truth), config.neurons, config.layers)
        if config.instances is not None:
            given = given[given <= config.instances]
    return Data(network, inputs, given, perf_counter() - started_at)


def _load_network(config: Config, progress: Callable[[int, int], None]) -> Network:
    net = config.network
    if net.name == "radixnet":
        return radixnet(
            config.neurons,
            config.layers,
            radices=net.radices,
            dense_width=net.dense_width,
            seed=net.seed,
            weight=net.weight,
            bias=net.bias,
        )
    return read_network(
        Path(str(net.path)),
        config.neurons,
        config.layers,
        bias=challenge_bias(config.neurons) if net.bias is None else net.bias,
        activation=_activation(net.activation.value, net.maximum),
        bias_on=net.bias_on.value,
        progress=progress,
    )


def _activation(name: str, maximum: float) -> Activation:
    return {"clipped_relu": clipped_relu(maximum), "relu": relu(), "identity": identity()}[name]


def _load_inputs(config: Config, progress: Callable[[int, int], None]) -> sp.csr_array:
    if config.input.name == "challenge":
        return challenge_inputs(config.neurons, config.instances or N_INSTANCES, progress=progress)
    return read_inputs(Path(str(config.input.path)), config.neurons, config.instances)


def _fail(record: dict[str, Any], message: str) -> None:
    record["status"], record["error"] = "failed", message


def _message(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}"


def _finish(record: dict[str, Any], folder: Path) -> None:
    """Write the record and take the mark of a running point away."""
    record["environment"] = environment()
    record.setdefault("peak_rss_bytes", peak_rss_bytes())
    write_json(folder / RESULT, record)
    (folder / RUNNING).unlink(missing_ok=True)

"""Declares the reports of an executor: one for each call into the kernels, one for a whole run."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from typing import NamedTuple

from sparsednn.backend import Outcome
from sparsednn.results.spans import Span
from sparsednn.results.worker_times import WorkerTimes


class Report(NamedTuple):
    """The outcome of one worker's call into the kernels.

    Attributes
    ----------
    outcome : Outcome
    first_layer, last_layer : int
        Layers of the row group that were finished before and after.
    multiply_adds : int
        Done by this worker.
    meet_s : float
        Seconds that it waited for other members of its team.
    waits : list of (start_s, stop_s)
        The longer ones of these waits, if they are logged; seconds of `time.perf_counter`.
    """

    outcome: Outcome
    first_layer: int = 0
    last_layer: int = 0
    multiply_adds: int = 0
    meet_s: float = 0.0
    waits: tuple[tuple[float, float], ...] = ()


class Timeline(NamedTuple):
    """The times of one run: its duration, the times of each worker, and the spans if it was traced."""

    elapsed_s: float
    times: list[WorkerTimes]
    spans: list[Span]

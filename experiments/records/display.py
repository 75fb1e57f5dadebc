"""Shows the progress of a run, a summary at its end, and a table at the end of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.records.job import fastest, job_of
from experiments.records.point import COMPLETE, FAILED, SUBMITTED, PointRecord, SubmittedJob
from sparsednn.backend import DeviceUse, LayerReads
from sparsednn.results.record import MeasuredRun, ProcessTimes, RunRecord, Spread, Truth
from sparsednn.results.worker_times import WorkerRecord
from sparsednn.system.json_fields import declared, to_json

PLAIN_WIDTH = 160
"""Characters in a line where the console is a file."""

PLAIN_INTERVAL_S = 10.0


class Display:
    """Shows progress as a live line on a terminal, and as plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(escape(text), highlight=False, soft_wrap=True, emoji=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Show the progress of one stage of a run until the block ends."""
        stage = Stage(name, self)
        if not self.console.is_terminal:
            yield stage
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, refresh_per_second=4) as progress:
            stage.task, stage.progress = progress.add_task(name, total=None, note=""), progress
            yield stage


class Stage:
    """One stage of a run."""

    def __init__(self, name: str, display: Display) -> None:
        self.name = name
        self.progress: Progress | None = None
        self.task: Any = None
        self._display = display
        self._said_at = monotonic()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        if self.progress is not None:
            self.progress.update(self.task, completed=done, total=total, note=note)
        elif monotonic() - self._said_at >= PLAIN_INTERVAL_S:
            self._said_at = monotonic()
            self._display.say(f"{self.name}: {100 * done / max(total, 1):.0f} % {note}".rstrip())


def inference_note(done: int, n_layers: int, n_instances: int, connections: int, elapsed_s: float) -> str:
    """Say how far an inference is: instances, layers and nominal rate; `done` counts instances x layers."""
    rate = connections / n_layers * done / max(elapsed_s, 1e-9)
    return f"{done // n_layers:,}/{n_instances:,} instances x {n_layers} layers, {rate / 1e9:,.0f}e9 edges/s"


def time_text(seconds: float) -> str:
    """Return a time with its unit and three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:,.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def time_left(elapsed_s: float, n_done: int, n_points: int) -> str:
    """Say how long the rest takes if its points take as long as those before."""
    if n_done == 0:
        return ""
    return f" ({time_text(elapsed_s)} so far, about {time_text(elapsed_s / n_done * (n_points - n_done))} left)"


def summary(run: RunRecord) -> Table:
    """Return the record of an inference as a readable table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in (_rows_of_all(run) | _rows_of_some(run)).items():
        table.add_row(name, escape(text))
    return table


def _rows_of_all(run: RunRecord) -> dict[str, str]:
    """What is said of every inference."""
    seconds = to_json(run.seconds)
    times, note = run.seconds.inference, _note(run)
    spread = f" (median of {len(times)}: {min(times):.3f} to {max(times):.3f})" if len(times) > 1 else ""
    workers = f"{_count(run.processes, 'process')} x {_count(run.threads, 'thread')}"
    return {
        "network": f"{run.neurons:,} neurons x {run.layers:,} layers, {run.network_nnz:,} connections",
        "input": f"{run.instances:,} instances, {run.input_nnz:,} nonzeros",
        "run": f"{run.backend} {run.kernel}, scheduler {run.scheduler}, {workers}{note}",
        "optimizations": ", ".join(f"{key}={_shown(value)}" for key, value in to_json(run.optimizations).items()),
        "categories": f"{run.categories_count:,}  {verdict(run.truth)}",
        "inference": f"{run.seconds.inference_median:.3f} s{spread}{note}",
        "other times": ", ".join(f"{name} {seconds[name]:.2f} s" for name in OTHER_TIMES if name in seconds),
        "nominal rate": f"{run.nominal_edges_per_second / 1e9:,.1f}e9 edges/s (instances x connections / time)",
        "performed rate": f"{run.performed_edges_per_second / 1e9:,.2f}e9 multiply-adds/s "
        f"({run.performed_edges:,} really done)",
        "busy": busy(run),
        "locking": locking(run.workers),
        "peak memory": f"{run.peak_rss_bytes / 1e9:.2f} GB",
    }


def _rows_of_some(run: RunRecord) -> dict[str, str]:
    """What is said where there are several processes, streamed layers, devices or a choice."""
    rows = {}
    if isinstance(run, MeasuredRun):
        if run.processes > 1 and run.process_times is not None:
            rows["processes"] = processes(run.process_times)
        if run.stream is not None:
            rows["stream"] = streaming(run.stream)
        if run.device is not None:
            rows["devices"] = devices(run.device)
    if run.auto is not None:
        rows["chosen"] = run.auto.reason
    return rows


OTHER_TIMES = ("load", "choose", "hash", "prepare", "compile", "profile")
MOST_WORKERS_SHOWN = 16


def _count(n: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"


def processes(times: ProcessTimes) -> str:
    """Say how the times of the processes spread."""
    shown = []
    for name in declared(ProcessTimes):
        one: Spread = getattr(times, name.name)
        spread = f"mean {one.mean:.3f}, largest / mean {one.spread:.2f}"
        shown.append(f"{name.name.removesuffix('_s')} {one.min:.3f} to {one.max:.3f} s ({spread})")
    return ", ".join(shown)


def _note(run: RunRecord) -> str:
    """Say of a simulated record that it is one."""
    return " (simulated)" if run.simulated_times else ""


def busy(run: RunRecord) -> str:
    """Say how long each worker was busy; of many, the shortest and the longest."""
    times = [worker.busy_s for worker in run.workers]
    if len(times) > MOST_WORKERS_SHOWN:
        shown = f"{min(times):.3f} to {max(times):.3f} s"
    else:
        shown = ", ".join(f"{time:.3f} s" for time in times)
    return f"{shown} (largest / mean {run.imbalance.busy:.2f})"


LOCKING = ("enlist", "probe", "recruit", "meet", "lock")
"""Parts of the locking mechanism: to report being free, ask for helpers in vain or not, meet in teams, wait for the lock."""


def locking(workers: list[WorkerRecord]) -> str:
    """Say what the protocol between the workers has cost, and how long they were asleep."""
    most = max(worker.locking_s for worker in workers)
    parts = ", ".join(f"{part} {_mean(workers, f'{part}_s') * 1e3:.2f}" for part in LOCKING)
    asleep = _mean(workers, "wait_s") * 1e3
    return f"{_mean(workers, 'locking_s') * 1e3:.2f} ms a worker, at most {most * 1e3:.2f} ({parts}); asleep {asleep:.1f} ms"


def _mean(workers: list[WorkerRecord], name: str) -> float:
    return sum(float(getattr(worker, name)) for worker in workers) / len(workers)


def streaming(stream: LayerReads) -> str:
    """Say what was read of the layers while others were computed."""
    text = (
        f"{stream.different_layers_read:,} of {stream.layers:,} layers read, {stream.layers_read:,} times in all, "
        f"{stream.bytes_read / 1e9:.2f} GB in {stream.read_s:.2f} s; workers waited {stream.waited_s:.2f} s for them"
    )
    return text if stream.overlap is None else f"{text} ({100 * stream.overlap:.0f} % of the reading while computing)"


def devices(use: DeviceUse) -> str:
    """Say which devices were used, and what they did by their own clocks in all repeats."""
    names = Counter(one.name for one in use.devices)
    shown = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items())
    held = max(one.used_bytes for one in use.devices) / 1e9
    text = (
        f"{shown}; {_count(use.row_groups, 'row group')} in {use.row_groups_s:.3f} s of their own clocks, "
        f"at most {use.block_rows:,} instances at a time, {held:.2f} GB held"
    )
    return text if use.layers_copied is None else f"{text}; {use.layers_copied:,} layers copied"


def verdict(truth: Truth) -> str:
    """Say whether categories are right."""
    if not truth.checked:
        return "(no truth to check them against)"
    return f"{'correct' if truth.match else 'WRONG'} ({truth.source})"


COLUMNS = ("inference s", "x fastest", "nominal e9/s", "performed e9/s", "imbalance", "locking ms", "categories")
"""Of the table of a sweep, beside what differs and the check."""


def sweep_table(records: list[PointRecord]) -> Table:
    """Return the points of a sweep as a table: what differs between them, and what came of it.

    "x fastest" is the time over that of the fastest point of the same network and input sizes.
    """
    points = [dict(override.lstrip("+").split("=", 1) for override in record.overrides) for record in records]
    keys = list(dict.fromkeys(key for point in points for key in point))
    swept = [key for key in keys if len({point.get(key) for point in points}) > 1]
    table = Table(title=f"{len(records)} points")
    for key in swept:
        table.add_column(key)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("check")
    complete = [record.run for record in records if record.status == COMPLETE]
    best = fastest((job_of(run), run.seconds.inference_median, run.seconds.inference_median) for run in complete)
    for record, point in zip(records, points, strict=True):
        values = [point.get(key, "") for key in swept]
        if record.status == COMPLETE:
            table.add_row(*values, *_results(record.run, best[job_of(record.run)]))
        else:
            table.add_row(*values, *[""] * len(COLUMNS), _without_result(record))
    return table


def _results(run: RunRecord, fastest_s: float) -> tuple[str, ...]:
    """What came of a point, in the columns of the table."""
    return (
        f"{run.seconds.inference_median:.3f}{_note(run)}",
        f"{run.seconds.inference_median / max(fastest_s, 1e-9):.2f}",
        f"{run.nominal_edges_per_second / 1e9:,.0f}",
        f"{run.performed_edges_per_second / 1e9:,.1f}",
        f"{run.imbalance.busy:.2f}",
        f"{_mean(run.workers, 'locking_s') * 1e3:.2f}",
        f"{run.categories_count:,}",
        verdict(run.truth),
    )


def _without_result(record: PointRecord) -> str:
    """Say what has become of a point that is not complete."""
    if record.status == FAILED:
        return f"[red]failed[/]: {escape((record.error or '').splitlines()[0])}"
    job = record.body.job_id if isinstance(record.body, SubmittedJob) else None
    return f"submitted: job {escape(str(job))}" if record.status == SUBMITTED else "not submitted (dry run)"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

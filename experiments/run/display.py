"""What a run shows: progress while it goes on, a summary when it ends, a table when a sweep ends."""

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


def summary(record: dict[str, Any]) -> Table:
    """Return a complete record as a readable table."""
    seconds, truth = record["seconds"], record["truth"]
    times = seconds["inference"]
    spread = f" (median of {len(times)}: {min(times):.3f} to {max(times):.3f})" if len(times) > 1 else ""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "network": f"{record['neurons']:,} neurons x {record['layers']:,} layers, {record['network_nnz']:,} connections",
        "input": f"{record['instances']:,} instances, {record['input_nnz']:,} nonzeros",
        "run": f"{record['backend']} {record['kernel']}, scheduler {record['scheduler']}, "
        f"{_count(record['processes'], 'process')} x {_count(record['threads'], 'thread')}{_note(record)}",
        "optimizations": ", ".join(f"{key}={_shown(value)}" for key, value in record["optimizations"].items()),
        "categories": f"{record['categories_count']:,}  {verdict(truth)}",
        "inference": f"{seconds['inference_median']:.3f} s{spread}{_note(record)}",
        "other times": ", ".join(f"{name} {seconds[name]:.2f} s" for name in OTHER_TIMES if name in seconds),
        "nominal rate": f"{record['nominal_edges_per_second'] / 1e9:,.1f}e9 edges/s (instances x connections / time)",
        "performed rate": f"{record['performed_edges_per_second'] / 1e9:,.2f}e9 multiply-adds/s "
        f"({record['performed_edges']:,} really done)",
        "busy": busy(record),
        "locking": locking(record["workers"]),
        "peak memory": f"{record['peak_rss_bytes'] / 1e9:.2f} GB",
    }
    if record["processes"] > 1 and "process_times" in record:
        rows["processes"] = processes(record["process_times"])
    if "stream" in record:
        rows["stream"] = streaming(record["stream"])
    if "device" in record:
        rows["devices"] = devices(record["device"])
    if "auto" in record:
        rows["chosen"] = record["auto"]["reason"]
    for name, text in rows.items():
        table.add_row(name, escape(text))
    return table


OTHER_TIMES = ("load", "choose", "hash", "prepare", "compile", "profile")
MOST_WORKERS_SHOWN = 16


def _count(n: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"


def processes(times: dict[str, dict[str, float]]) -> str:
    """Say how the times of the processes spread."""
    shown = []
    for name, one in times.items():
        spread = f"mean {one['mean']:.3f}, largest / mean {one['spread']:.2f}"
        shown.append(f"{name.removesuffix('_s')} {one['min']:.3f} to {one['max']:.3f} s ({spread})")
    return ", ".join(shown)


def _note(record: dict[str, Any]) -> str:
    """Say of a simulated record that it is one."""
    return " (simulated)" if record["executor"] == "simulated" else ""


def busy(record: dict[str, Any]) -> str:
    """Say how long each worker was busy; of many, the shortest and the longest."""
    times = [worker["busy_s"] for worker in record["workers"]]
    if len(times) > MOST_WORKERS_SHOWN:
        shown = f"{min(times):.3f} to {max(times):.3f} s"
    else:
        shown = ", ".join(f"{time:.3f} s" for time in times)
    return f"{shown} (largest / mean {record['imbalance']['busy']:.2f})"


LOCKING = ("enlist", "probe", "recruit", "meet", "lock")
"""Parts of the locking mechanism: to report being free, ask for helpers in vain or not, meet in teams, wait for the lock."""


def locking(workers: list[dict[str, Any]]) -> str:
    """Say what the protocol between the workers has cost, and how long they were asleep."""
    most = max(worker["locking_s"] for worker in workers)
    parts = ", ".join(f"{part} {_mean(workers, f'{part}_s') * 1e3:.2f}" for part in LOCKING)
    asleep = _mean(workers, "wait_s") * 1e3
    return f"{_mean(workers, 'locking_s') * 1e3:.2f} ms a worker, at most {most * 1e3:.2f} ({parts}); asleep {asleep:.1f} ms"


def _mean(workers: list[dict[str, Any]], key: str) -> float:
    return sum(float(worker[key]) for worker in workers) / len(workers)


def streaming(stream: dict[str, Any]) -> str:
    """Say what was read of the layers while others were computed."""
    text = (
        f"{stream['different_layers_read']:,} of {stream['layers']:,} layers read, {stream['layers_read']:,} times in all, "
        f"{stream['bytes_read'] / 1e9:.2f} GB in {stream['read_s']:.2f} s; workers waited {stream['waited_s']:.2f} s for them"
    )
    return text if stream["overlap"] is None else f"{text} ({100 * stream['overlap']:.0f} % of the reading while computing)"


def devices(device: dict[str, Any]) -> str:
    """Say which devices were used, and what they did by their own clocks in all repeats."""
    names = Counter(str(one["name"]) for one in device["devices"])
    shown = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items())
    held = max(one["used_bytes"] for one in device["devices"]) / 1e9
    text = (
        f"{shown}; {_count(device['row_groups'], 'row group')} in {device['row_groups_s']:.3f} s of their own clocks, "
        f"at most {device['block_rows']:,} instances at a time, {held:.2f} GB held"
    )
    return f"{text}; {device['layers_copied']:,} layers copied" if "layers_copied" in device else text


def verdict(truth: dict[str, Any]) -> str:
    """Say whether categories are right."""
    if not truth["checked"]:
        return "(no truth to check them against)"
    return f"{'correct' if truth['match'] else 'WRONG'} ({truth['source']})"


def sweep_table(records: list[dict[str, Any]]) -> Table:
    """Return the points of a sweep as a table: what differs between them, and what came of it.

    "x fastest" is the time over that of the fastest point of the same network and input sizes.
    """
    points = [dict(override.lstrip("+").split("=", 1) for override in record["overrides"]) for record in records]
    keys = list(dict.fromkeys(key for point in points for key in point))
    swept = [key for key in keys if len({point.get(key) for point in points}) > 1]
    table = Table(title=f"{len(records)} points")
    for key in swept:
        table.add_column(key)
    for name in ("inference s", "x fastest", "nominal e9/s", "performed e9/s", "imbalance", "locking ms", "categories"):
        table.add_column(name, justify="right")
    table.add_column("check")
    fastest = _fastest(records)
    for record, point in zip(records, points, strict=True):
        values = [point.get(key, "") for key in swept]
        if record["status"] != "complete":
            table.add_row(*values, *[""] * 7, _without_result(record))
            continue
        table.add_row(
            *values,
            f"{record['seconds']['inference_median']:.3f}{_note(record)}",
            f"{record['seconds']['inference_median'] / max(fastest[_job(record)], 1e-9):.2f}",
            f"{record['nominal_edges_per_second'] / 1e9:,.0f}",
            f"{record['performed_edges_per_second'] / 1e9:,.1f}",
            f"{record['imbalance']['busy']:.2f}",
            f"{_mean(record['workers'], 'locking_s') * 1e3:.2f}",
            f"{record['categories_count']:,}",
            verdict(record["truth"]),
        )
    return table


def _without_result(record: dict[str, Any]) -> str:
    """Say what has become of a point that is not complete."""
    if record["status"] == "failed":
        return f"[red]failed[/]: {escape(record['error'].splitlines()[0])}"
    return f"submitted: job {escape(record['job_id'])}" if record["status"] == "submitted" else "not submitted (dry run)"


def _job(record: dict[str, Any]) -> tuple[int, ...]:
    """Sizes of what was run: points with the same ones are compared."""
    return tuple(record[key] for key in ("neurons", "layers", "instances", "network_nnz", "input_nnz"))


def _fastest(records: list[dict[str, Any]]) -> dict[tuple[int, ...], float]:
    """Return for each job the seconds of the fastest point."""
    fastest: dict[tuple[int, ...], float] = {}
    for record in records:
        if record["status"] == "complete":
            seconds = record["seconds"]["inference_median"]
            fastest[_job(record)] = min(seconds, fastest.get(_job(record), seconds))
    return fastest


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

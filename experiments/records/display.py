"""Shows the progress of a run, as a live line on a terminal and as plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

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

"""Joins the records of benchmarks of direct calls, and makes their table: medians, and the best library over ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd
from rich.table import Table

from experiments.config.resolve import ConfigError
from experiments.records.point import benchmark_figures
from experiments.records.read import Points
from experiments.records.statistics import Interval, median_interval

OURS, CHALLENGE = "sparsednn", "challenge"
DENSE = " dense"
"""Ends the names of libraries that multiply the zeros too."""

IDLE = "idle"
SAID = {IDLE: "after 10 ms"}
"""How tables call times that are no percentiles."""

LEFT_OUT, TOOK = " is left out of ", ": a call takes "

Seconds = Mapping[str, Mapping[str, Sequence[float | None]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The times of all contestants for a network and a batch.

    Attributes
    ----------
    family : str
    sparsity : float
    batch : int
    seconds : mapping
        By contestant and percentile (p50, p95, p99), round by round; None where one who was far behind sat out. "idle": calls
        after a pause, where these were measured.
    threads : int, optional
    """

    family: str
    sparsity: float
    batch: int
    seconds: Seconds
    threads: int | None = None

    def middle(self, name: str, percentile: str = "p50") -> float:
        """Return the median over the rounds."""
        return median([time for time in self.seconds[name][percentile] if time is not None])

    def n_rounds(self, name: str) -> int:
        """Return in how many rounds it called."""
        return sum(time is not None for time in self.seconds[name]["p50"])

    def called_once(self, name: str) -> bool:
        """Whether it made one call, which took too long for others."""
        return self.n_rounds(name) == 1 < self.n_rounds(OURS)

    def best(self, dense: bool | None = None) -> str | None:
        """Return the fastest library: of all, of those with dense layers, or of those with sparse ones."""
        names = [name for name in self.seconds if name != OURS and (dense is None or name.endswith(DENSE) == dense)]
        return min(names, key=self.middle, default=None)

    def ratio(self, name: str) -> Interval:
        """Return a library's time over ours, round by round: the median and its 95 % interval."""
        pairs = zip(self.seconds[name]["p50"], self.seconds[OURS]["p50"], strict=True)
        return median_interval([peer / own for peer, own in pairs if peer is not None and own is not None])


def answers_of(points: Points, benchmark: str) -> tuple[list[Answer], list[str]]:
    """Return the answers of all records, rounds of one after those of the other; and who was left out, in words.

    Raises
    ------
    ConfigError
        If a record has no figures of the benchmark, or those of other settings.
    """
    found = [figures for record in points.records if (figures := benchmark_figures(record, benchmark)) is not None]
    if not found or len(found) < len(points.records):
        raise ConfigError(f"experiment {points.name}: its records hold no {benchmark}; only that benchmark makes them")
    joined = []
    for settings in zip(*(figures["settings"] for figures in found), strict=True):
        keys = [(one["family"], one["sparsity"], one["batch"], one.get("threads"), *one["seconds"]) for one in settings]
        if len(set(keys)) > 1:
            raise ConfigError(f"experiment {points.name}: its records are of different settings or libraries: {keys[0]}")
        seconds = {
            name: {percentile: [time for one in settings for time in one["seconds"][name][percentile]] for percentile in times}
            for name, times in settings[0]["seconds"].items()
        }
        first = settings[0]
        joined.append(Answer(first["family"], first["sparsity"], first["batch"], seconds, first.get("threads")))
    return joined, [*said_once(joined), *_without_slow_ones({line for figures in found for line in figures["left_out"]})]


def _without_slow_ones(lines: Collection[str]) -> list[str]:
    """Join the lines of records before those that called once: they left out, setting by setting, who took seconds."""
    slow = {line: line.partition(LEFT_OUT)[0] for line in lines if LEFT_OUT in line and TOOK in line}
    counted = ", ".join(f"{name} ({n})" for name, n in sorted(Counter(slow.values()).items()))
    said = [f"Left out where a call took more than two seconds: {counted} settings"] if slow else []
    return [*said, *sorted(line for line in lines if line not in slow)]


def have_threads(answers: Sequence[Answer]) -> bool:
    """Whether answers are of several numbers of threads."""
    return len({answer.threads for answer in answers}) > 1


def said_once(answers: Sequence[Answer]) -> list[str]:
    """Say of which contestants a time is that of one call, and how often."""
    names = [name for answer in answers for name in answer.seconds if answer.called_once(name)]
    if not names:
        return []
    counted = ", ".join(f"{name} ({n})" for name, n in sorted(Counter(names).items()))
    return [f"One call only, without warming up, since it took seconds and three times as long as ours: {counted} settings"]


def table_of(answers: Sequence[Answer], percentiles: Sequence[str] = ("p50",)) -> Table:
    """Return the microseconds of a call, and how often ours goes into those of the best library."""
    table = Table(title="Whole calls, medians in us; best library / ours with 95 % intervals (above 1: ours is faster)")
    by_threads = have_threads(answers)
    for name in ("network", "zeros", "instances", *(["threads"] if by_threads else [])):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    names = list(dict.fromkeys(name for answer in answers for name in answer.seconds))
    for name in names:
        for percentile in percentiles if name == OURS else ("p50",):
            table.add_column(name if percentile == "p50" else f"{name} {SAID.get(percentile, percentile)}", justify="right")
    table.add_column("best library / ours", justify="right")
    for answer in answers:
        cells = [
            f"{1e6 * answer.middle(name, percentile):,.1f}" if name in answer.seconds else ""
            for name in names
            for percentile in (percentiles if name == OURS else ("p50",))
        ]
        best = answer.best()
        ratio = "" if best is None else "{:.2f} ({:.2f} to {:.2f})".format(*answer.ratio(best))
        threads = [f"{answer.threads}"] if by_threads else []
        table.add_row(answer.family, f"{100 * answer.sparsity:g} %", f"{answer.batch:,}", *threads, *cells, ratio)
    return table


def data_of(points: Points, answers: Sequence[Answer]) -> pd.DataFrame:
    """Return a row for each contestant of each setting."""
    point, rows = points.points[0], list[dict[str, Any]]()
    for answer in answers:
        for name, seconds in answer.seconds.items():
            row: dict[str, Any] = {"sweep": point.sweep, "point": point.label, "network": answer.family}
            row |= {"sparsity": answer.sparsity, "batch": answer.batch, "threads": answer.threads, "contestant": name}
            row |= {"rounds": answer.n_rounds(name), "calls_per_second": 1 / answer.middle(name)}
            row |= {f"seconds_{percentile}": answer.middle(name, percentile) for percentile in seconds}
            if name != OURS:
                row |= dict(zip(("ratio", "ratio_low", "ratio_high"), answer.ratio(name), strict=True))
            rows.append(row)
    return pd.DataFrame(rows)

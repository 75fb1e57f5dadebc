"""Lists the benchmarks that an experiment can run in place of a sweep (``benchmark: NAME`` in its file), and runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.resolve import Config, ConfigError, as_record
from experiments.config.schema import CHOICES, ExperimentConfig
from experiments.records.display import Display
from experiments.records.point import BenchmarkRun
from experiments.run.identity import config_hash
from experiments.run.measure import Measured
from sparsednn.engine import default_threads
from sparsednn.errors import unknown
from sparsednn.system.files import atomic_path

Figures = dict[str, Any]
Progress = Callable[[int, int], None]


class Steps(NamedTuple):
    """The steps of a benchmark.

    Attributes
    ----------
    require_usable : callable
        Raises ConfigError where it cannot be run.
    run : callable
        Returns figures as plain values, given the configuration, the experiment (whether it is to be of toy size, and what was
        chosen), and a function that it tells how far it is. If ``failed`` is among them (a list of lines) and not empty, the
        point has failed.
    report : callable, optional
        Returns the name and the text of a file for the point's folder, given the figures.
    choices : callable, optional
        Returns what ``experiment.networks`` and ``experiment.sparsities`` can choose from, given whether it is of toy size.
    reports_parts : bool
        Whether `run` also takes a function that writes the report of the figures that it is given, which are not all yet.
    outlook : callable, optional
        Says how long it will take, given what `run` is given first.
    """

    require_usable: Callable[[], None]
    run: Callable[..., Figures]
    report: Callable[[Figures], tuple[str, str]] | None = None
    choices: Callable[[bool], Mapping[str, Collection[Any]]] | None = None
    reports_parts: bool = False
    outlook: Callable[[Config, ExperimentConfig], str] | None = None


def _by_size(run: Callable[..., Figures]) -> Callable[..., Figures]:
    """Return the steps of a benchmark of which nothing but its size can be chosen."""
    return lambda config, experiment, *more: run(config, experiment.toy, *more)


class Benchmark(NamedTuple):
    """A benchmark: its steps, which are imported only to be run, the keys that it uses, and packages of extras it needs."""

    steps: Callable[[], Steps]
    uses: tuple[str, ...]
    extra_packages: tuple[str, ...] = ()


def _crossover() -> Steps:
    from experiments.sweeps import direct_calls

    return Steps(direct_calls.require_usable, direct_calls.crossover, choices=direct_calls.crossover_choices)


def _latency() -> Steps:
    from experiments.sweeps import direct_calls

    return Steps(direct_calls.require_usable, direct_calls.latency, choices=direct_calls.latency_choices)


def _gpu_check() -> Steps:
    from experiments.gpu_check import check, report

    def outlook(config: Config, experiment: ExperimentConfig) -> str:
        return check.outlook(config, experiment.toy)

    return Steps(check.require_usable, _by_size(check.benchmark), report.report, reports_parts=True, outlook=outlook)


def _random_networks() -> Steps:
    from experiments.sweeps import random_contests

    return Steps(random_contests.require_usable, _by_size(random_contests.benchmark))


def _roofline() -> Steps:
    from experiments.roofline import measure

    return Steps(measure.require_usable, _by_size(measure.benchmark))


def _trained_networks() -> Steps:
    from experiments.sweeps.trained import benchmark

    return Steps(benchmark.require_usable, benchmark.benchmark, choices=benchmark.choices)


def _walking() -> Steps:
    from experiments.sweeps.walking import benchmark

    return Steps(benchmark.require_usable, _by_size(benchmark.benchmark))


_IMAGES = ("input", "input.path", "input.labels", "input.scale", "input.mean", "input.std", "input.layout")
BENCHMARKS = {
    "crossover": Benchmark(_crossover, ("threads", "repeats")),
    "gpu_check": Benchmark(_gpu_check, ("threads", "repeats", "instances", "cluster.timeout_s")),
    "latency": Benchmark(_latency, ("threads", "repeats")),
    "random_networks": Benchmark(_random_networks, ("threads", "repeats")),
    "roofline": Benchmark(_roofline, ("threads", "repeats")),
    "trained_networks": Benchmark(_trained_networks, ("threads", "repeats", "instances", "seed", *_IMAGES), ("torch", "onnx")),
    "walking": Benchmark(_walking, ("threads", "repeats")),
}


def missing_packages(name: str) -> list[str]:
    """Return the packages that a benchmark needs and that are not installed; none for what is no benchmark."""
    needed = BENCHMARKS[name].extra_packages if name in BENCHMARKS else ()
    return [package for package in needed if find_spec(package) is None]


def require(experiment: ExperimentConfig, overrides: Iterable[str]) -> None:
    """Refuse a benchmark that is unknown or cannot be run here, and what it would ignore.

    Parameters
    ----------
    experiment : ExperimentConfig
        Has a benchmark.
    overrides : strings
        Of its point, as ``key=value``.

    Raises
    ------
    ConfigError
    """
    name = experiment.benchmark
    if name not in BENCHMARKS:
        raise ConfigError(unknown("experiment.benchmark", name, sorted(BENCHMARKS)))
    if experiment.same_categories:
        raise ConfigError(f"experiment.same_categories=true: the benchmark {name} finds no categories; leave it out")
    uses = BENCHMARKS[name].uses
    for text in overrides:
        key = text.partition("=")[0].lstrip("+")
        if key not in uses:
            raise ConfigError(
                f"{text}: experiment={experiment.name} runs the benchmark {name}, which does not use {key}; "
                f"leave it out. Used: {', '.join(uses)}, experiment.rounds, experiment.toy"
            )
    steps = BENCHMARKS[name].steps()
    steps.require_usable()
    _require_choices(experiment, steps)


def _require_choices(experiment: ExperimentConfig, steps: Steps) -> None:
    choices = steps.choices(experiment.toy) if steps.choices else {}
    for name in CHOICES:
        for value in getattr(experiment, name):
            if name not in choices:
                raise ConfigError(
                    f"experiment.{name}={getattr(experiment, name)}: the benchmark {experiment.benchmark} has none to choose "
                    "from; leave it out"
                )
            if value not in choices[name]:
                raise ConfigError(unknown(f"experiment.{name}", f"{value}", [f"{one}" for one in choices[name]]))


def _write_report(steps: Steps, folder: Path, figures: Figures) -> Path:
    """Write the report of a benchmark that has one; return its path."""
    assert steps.report is not None
    file, text = steps.report(figures)
    with atomic_path(folder / file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / file


def measure(experiment: ExperimentConfig, config: Config, display: Display, folder: Path) -> Measured:
    """Run an experiment's benchmark; return what its record says of it, with the figures under its name."""
    name = experiment.benchmark
    steps = BENCHMARKS[name].steps()
    if steps.outlook is not None:
        display.say(f"benchmark {name}: {steps.outlook(config, experiment)}")
    with display.stage(f"benchmark {name}") as stage:
        in_parts = (partial(_write_report, steps, folder),) if steps.reports_parts else ()
        figures = steps.run(config, experiment, stage.update, *in_parts)
    if steps.report is not None:
        display.say(f"report: {_write_report(steps, folder, figures)}")
    threads = config.threads or default_threads()
    body = BenchmarkRun(executor=config.executor, processes=1, threads=threads)
    setattr(body, name, figures)
    error = "; ".join(figures["failed"]) if figures.get("failed") else None
    return Measured(body, error, config_hash(as_record(config), experiment))

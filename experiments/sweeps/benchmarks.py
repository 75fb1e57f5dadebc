"""Benchmarks that an experiment can run in place of inferences: ``benchmark: NAME`` in its file, where others have sweeps.

A benchmark's module has ``require_usable()``, which raises ConfigError where it cannot be run, and ``benchmark(config, toy,
progress)``, which returns its figures as plain values; ``progress(done, total)`` is told how far it is. If ``failed`` is among
the figures (a list of lines) and not empty, the point has failed. It may have ``report(figures)``, which returns the name and
the text of a file for the point's folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experiments.config.resolve import Config, ConfigError, as_record
from experiments.config.schema import ExperimentConfig
from experiments.records.display import Display
from experiments.records.point import BenchmarkRun
from experiments.run.identity import config_hash
from experiments.run.measure import Measured
from sparsednn.engine import default_threads
from sparsednn.errors import unknown
from sparsednn.system.files import atomic_path


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: the module that measures, which is imported only to be run, and the keys that it uses."""

    module: str
    uses: tuple[str, ...]


BENCHMARKS = {
    "gpu_check": Benchmark("experiments.gpu_check.check", ("threads", "repeats", "instances")),
    "random_networks": Benchmark("experiments.sweeps.random_contests", ("threads", "repeats")),
    "roofline": Benchmark("experiments.roofline.measure", ("threads", "repeats")),
}


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
    importlib.import_module(BENCHMARKS[name].module).require_usable()


def measure(experiment: ExperimentConfig, config: Config, display: Display, folder: Path) -> Measured:
    """Run an experiment's benchmark; return what its record says of it, with the figures under its name."""
    name = experiment.benchmark
    module = importlib.import_module(BENCHMARKS[name].module)
    with display.stage(f"benchmark {name}") as stage:
        figures = module.benchmark(config, experiment.toy, stage.update)
    if hasattr(module, "report"):
        file, text = module.report(figures)
        with atomic_path(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
        display.say(f"report: {folder / file}")
    threads = config.threads or default_threads()
    body = BenchmarkRun(executor=config.executor, processes=1, threads=threads)
    setattr(body, name, figures)
    error = "; ".join(figures["failed"]) if figures.get("failed") else None
    return Measured(body, error, config_hash(as_record(config), experiment))

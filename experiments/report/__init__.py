"""Owns the HTML report of the newest records of all experiments: ``python run.py experiment=report``. It runs nothing."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from experiments.config.resolve import ConfigError
from experiments.config.schema import ExperimentConfig
from experiments.records.display import Display
from experiments.records.files import TOY_NOTE, Say
from experiments.report.collect import newest_runs
from experiments.report.page import page
from sparsednn.system.files import atomic_path

FILE = "report.html"
EXPERIMENTS = Path(__file__).parents[2] / "conf" / "experiment"


def write(folders: list[Path], into: Path, toy: bool, say: Say = lambda line: None) -> tuple[Path, list[str]]:
    """Write the report into a folder; return its path, and what could not be used; `say` is told what is left out.

    Raises
    ------
    ConfigError, OSError
        If there are no records, or a file cannot be read or written.
    """
    notes = list[str]()
    runs, problems = newest_runs(folders, toy, notes.append)
    for line in [TOY_NOTE, *notes] if toy else notes:
        say(line)
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path.stem not in ("none", "report", "smoke"))
    text = page(runs, [*problems, *notes], known, toy)
    with atomic_path(into / FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return into / FILE, problems


def run(experiment: ExperimentConfig, folder: Path, given: list[str], console: Console) -> bool:
    """Write the report of an experiment's folders; return whether all records could be used.

    Raises
    ------
    ConfigError, OSError
        As `write`; and for overrides that mean nothing here.
    """
    for text in given:
        key = text.partition("=")[0].lstrip("+")
        if key != "experiment" and not key.startswith(("experiment.", "hydra.")):
            raise ConfigError(f"{text}: a report runs nothing; leave {key} out")
    display = Display(console)
    path, problems = write([Path(name) for name in experiment.report], folder, experiment.toy, display.say)
    for line in problems:
        display.say(f"warning: {line}")
    display.say(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB, opens in a browser without a network)")
    return not problems

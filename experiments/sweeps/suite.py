"""Experiments that are made of others, and what a call of run.py does with the experiment that it was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic

from hydra import compose
from rich.console import Console

from experiments.config.resolve import ConfigError, chosen_experiment
from experiments.config.schema import ExperimentConfig
from experiments.launch.without_running import Elsewhere
from experiments.run.display import Display, time_left
from experiments.sweeps.experiment import CONFIG_NAME, ExperimentRun
from experiments.sweeps.points import plan
from sparsednn.comm import Communicator


def run_experiment(
    experiment: ExperimentConfig, folder: Path, given: list[str], console: Console, complain: Callable[[str], None],
    elsewhere: Elsewhere, comm: Communicator | None = None,
) -> int:  # fmt: skip
    """Run an experiment into `folder`, or those that it is made of, or write its report; return the exit status.

    Parameters, errors: see `ExperimentRun`.
    """
    if experiment.report:
        from experiments import report  # with Plotly, which only it needs

        return 0 if report.run(experiment, folder, given, console) else 1
    if not experiment.members:
        return ExperimentRun(experiment, folder, given, console, complain, elsewhere, comm).run()
    members = [_composed(name, experiment, given) for name in experiment.members]
    for member in members:
        plan(member, given)  # a mistake in what is given is one error, before anything is run
    display, started_at, status = Display(console), monotonic(), 0
    for number, member in enumerate(members):
        left = time_left(monotonic() - started_at, number, len(members))
        display.say(f"experiment {experiment.name}: {member.name}, {number + 1} of {len(members)}{left}")
        own = folder / member.name
        own.mkdir(exist_ok=True)
        try:
            status = max(status, ExperimentRun(member, own, given, console, complain, elsewhere, comm).run())
        except ConfigError as error:  # the others go on
            complain(str(error))
            status = max(status, 1)
    return status


def _composed(name: str, experiment: ExperimentConfig, given: list[str]) -> ExperimentConfig:
    """Return a member: at toy size, and in one round, if the whole is."""
    size = ["experiment.toy=true", "experiment.rounds=1"] if experiment.toy else []
    rounds = [text for text in given if text.partition("=")[0] == "experiment.rounds"]
    member = chosen_experiment(compose(CONFIG_NAME, overrides=[f"experiment={name}", *size, *rounds]))
    if member is None or member.members or member.report:
        raise ConfigError(f"experiment.members: {name} has no sweeps and no benchmark of its own; leave it out")
    return member

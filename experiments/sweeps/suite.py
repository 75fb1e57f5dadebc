"""Runs the experiment of one call of run.py: itself, the experiments that it is made of, or the report."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from hydra import compose

from experiments.config.composer import CONFIG_NAME
from experiments.config.resolve import ConfigError, chosen_experiment
from experiments.config.schema import ExperimentConfig
from experiments.records.display import time_left
from experiments.sweeps.benchmarks import missing_packages
from experiments.sweeps.experiment import ExperimentRun, RunContext, lacking_cores
from experiments.sweeps.points import plan


def run_experiment(experiment: ExperimentConfig, folder: Path, given: list[str], context: RunContext) -> int:
    """Run an experiment into `folder`, or those that it is made of, or write its report; return the exit status.

    Parameters, errors: see `ExperimentRun`.
    """
    if experiment.report:
        from experiments import report  # with Plotly, which only it needs

        return 0 if report.run(experiment, folder, given, context.console) else 1
    if not experiment.members:
        return ExperimentRun(experiment, folder, given, context).run()
    members = [_composed(name, experiment, given) for name in experiment.members]
    for member in members:
        plan(member, given)  # a mistake in what is given is one error, before anything is run
    members = _that_can_be_run(members, experiment.name, context)
    started_at, status = monotonic(), 0
    for number, member in enumerate(members):
        left = time_left(monotonic() - started_at, number, len(members))
        context.say(f"experiment {experiment.name}: {member.name}, {number + 1} of {len(members)}{left}")
        own = folder / member.name
        own.mkdir(exist_ok=True)
        try:
            status = max(status, ExperimentRun(member, own, given, context).run())
        except ConfigError as error:  # the others go on
            context.complain(str(error))
            status = max(status, 1)
    return status


def _that_can_be_run(members: list[ExperimentConfig], name: str, context: RunContext) -> list[ExperimentConfig]:
    """Leave out what needs an extra which is not installed, or cores that are not there, with a word for each."""
    kept = []
    for member in members:
        missing = missing_packages(member.benchmark)
        lacking = f"not installed: {', '.join(missing)}" if missing else lacking_cores(member)
        if lacking:
            context.say(f"experiment {name}: left out: {member.name}: {lacking}")
        else:
            kept.append(member)
    return kept


def _composed(name: str, experiment: ExperimentConfig, given: list[str]) -> ExperimentConfig:
    """Return a member: at toy size, and in one round, if the whole is."""
    size = ["experiment.toy=true", "experiment.rounds=1"] if experiment.toy else []
    rounds = [text for text in given if text.partition("=")[0] == "experiment.rounds"]
    member = chosen_experiment(compose(CONFIG_NAME, overrides=[f"experiment={name}", *size, *rounds]))
    if member is None or member.members or member.report:
        raise ConfigError(f"experiment.members: {name} has no sweeps and no benchmark of its own; leave it out")
    return member

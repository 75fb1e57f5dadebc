"""Names the schedulers that go with a kernel, by what they ask of it: backends list those of each kernel with these."""

from __future__ import annotations

ONE_WORKER_A_GROUP = ("data", "manager_worker", "work_stealing", "global_work_stealing")
"""Ask nothing: a worker runs its row group alone."""

TEAMS = ("data", "model", "data_then_model", "manager_worker", "work_stealing", "global_work_stealing")
"""All of the paper: some have a row group run by a team, whose members meet at every layer."""

FORECAST = (*TEAMS, "adaptive")
"""All: those that forecast ask for costs that are calibrated, too."""

"""Runs one process of a point, as `experiments.launch.mpiexec` starts it with `experiments.launch.start_rank`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from rich.console import Console

from experiments.config.resolve import from_record
from experiments.launch.mpi import run_as_follower
from experiments.launch.mpiexec import POINT
from experiments.launch.point import run_point
from experiments.records.display import PLAIN_WIDTH
from experiments.records.point import PointOfExperiment
from experiments.run.measure import exit_status
from sparsednn.comm.mpi import MpiCommunicator
from sparsednn.system.console import endure
from sparsednn.system.json_fields import from_json


def main(folder: Path) -> int:
    """Run the point that is described in the folder; return the exit status."""
    comm = MpiCommunicator()
    if comm.rank > 0:
        run_as_follower(comm)
        return 0
    logging.basicConfig(stream=sys.stdout, format="%(message)s")  # warnings are shown with what this process says
    status = 1
    try:
        point = json.loads((folder / POINT).read_text())
        console = Console(width=PLAIN_WIDTH)
        about = point["experiment"]
        experiment = None if about is None else from_json(PointOfExperiment, about)
        record = run_point(
            lambda: from_record(point["config"]), folder, point["overrides"], console, experiment, comm=comm
        )  # fmt: skip
        status = exit_status(record)
    finally:
        comm.broadcast(None)
    return status


if __name__ == "__main__":
    endure()  # the exit status is about the point alone: its console is that of the process that has started this one
    sys.exit(main(Path(sys.argv[1])))

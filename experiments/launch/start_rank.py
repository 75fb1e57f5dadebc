"""Starts `mpi_worker` by its file: ``python -P start_rank.py FOLDER``, whatever modules the current folder has."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    runpy.run_module("experiments.launch.mpi_worker", run_name="__main__", alter_sys=True)

"""Starts `experiments.rank` by its file: ``python -P start_rank.py FOLDER``, whatever modules the current folder has."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    runpy.run_module("experiments.rank", run_name="__main__", alter_sys=True)

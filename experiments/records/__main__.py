"""Starts the command ``python -m experiments.records FOLDER...``; see `experiments.records.compare`."""

import sys

from experiments.records.compare import main
from sparsednn.system.console import run_program

if __name__ == "__main__":
    sys.exit(run_program(main))

"""Starts the command ``python -m experiments.calibrate FILE``; see `experiments.calibrate.measure`."""

import sys

from experiments.calibrate.measure import main
from sparsednn.system.console import run_program

if __name__ == "__main__":
    sys.exit(run_program(main))

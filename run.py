"""Entry point: compose the configuration, launch the run or the experiment. ``python run.py --help`` explains it."""

import gc
import os
import sys
from pathlib import Path

gc.disable()  # nothing of what is imported and composed is garbage, nor will it be: `point` goes on with the rest

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments.config.resolve import register
from experiments.launch.outcomes import PointOutcome
from experiments.session import Session
from sparsednn.system.console import run_program

CONF = Path(__file__).resolve().parent / "conf"  # also where this is started by a link to it
SESSION = Session(CONF)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def point(cfg: DictConfig) -> PointOutcome:
    """Run one point of the sweep that Hydra composes, or an experiment; launchers may do so in other processes."""
    gc.freeze()
    gc.enable()
    hydra_config = HydraConfig.get()
    number = hydra_config.job.num if hydra_config.mode == RunMode.MULTIRUN else 0
    return SESSION.run(cfg, Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task), number)


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach the session, which says them in one line
    register()
    status = run_program(lambda: SESSION.main(point, sys.argv[1:]))
    gc.freeze()  # the process ends, and its memory with it: to look through all of it for garbage takes a tenth of a second
    sys.exit(status)

"""Entry point: compose the configuration, launch the run or the experiment. ``python run.py --help`` explains it."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from experiments.session import Session
from sparsednn.config import register

CONF = Path(__file__).parent / "conf"
SESSION = Session(CONF)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def point(cfg: DictConfig) -> None:
    """Run one point of the sweep that Hydra composes, or an experiment."""
    hydra_config = HydraConfig.get()
    SESSION.run(cfg, Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task))


if __name__ == "__main__":
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach the session, which says them in one line
    register()
    sys.exit(SESSION.main(point, sys.argv[1:]))

"""Names the package that a point needs and that is not installed."""

from __future__ import annotations

from omegaconf import DictConfig

from experiments.config.resolve import ConfigError
from experiments.config.schema import SIMULATED
from experiments.launch.mpiexec import launcher, starts_processes
from sparsednn.backend import load_backend, load_simulated


def missing_package(cfg: DictConfig) -> str | None:
    """Say which package a composed point lacks, and how to get it; None if it lacks none."""
    try:
        load = load_simulated if cfg.executor == SIMULATED else load_backend
        load(str(cfg.backend.name))
        if starts_processes(cfg.processes, cfg.cluster.timeout_s) and cfg.executor != SIMULATED:
            launcher(cfg.cluster.mpiexec)
    except (ImportError, ConfigError) as error:
        return str(error)
    except (TypeError, ValueError):
        return None  # a mistake: the run says what is wrong
    return None

"""Identifies a point by its code and by the part of its configuration that results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from experiments.config.schema import ExperimentConfig
from experiments.config.slurm_rules import FIELDS
from experiments.run.environment import CHANGED, environment

IGNORED = {"": ("resume",), "cluster": ("name", *FIELDS), "network": ("cache", "cache_gb")}
"""Keys by group that no result depends on: they say how a run is started, and what it keeps."""


def config_hash(config: Mapping[str, Any], experiment: ExperimentConfig | None = None) -> str:
    """Return the SHA-256 of a resolved configuration, given as plain values, without the keys that no result depends on.

    Points of an experiment are the same as plain runs of their configuration; but a benchmark infers nothing, and depends on
    the toy size as well.
    """
    kept = {key: value for key, value in config.items() if key not in IGNORED[""]}
    for group in ("cluster", "network"):
        kept[group] = {key: value for key, value in config[group].items() if key not in IGNORED[group]}
    if experiment is not None and experiment.benchmark:
        kept["experiment"] = {"benchmark": experiment.benchmark, "toy": experiment.toy}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def known_revision() -> str | None:
    """Return the git revision of this code, or None if files differ from it or there is none: nobody knows that code then."""
    revision = environment().git_revision
    return None if revision is None or revision.endswith(CHANGED) else revision

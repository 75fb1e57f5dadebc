"""One composer for all tests of a process that compose points: each choice of groups takes Hydra a seventh of a second."""

from __future__ import annotations

from experiments.config.composer import Composer

COMPOSER = Composer()
"""Composes as Hydra does, as `tests/config/test_composer.py` tells, and each choice of groups once."""

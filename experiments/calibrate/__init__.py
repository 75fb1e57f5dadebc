"""The simulator's costs are measured: ``python -m experiments.calibrate FILE``."""

"""Owns the calibration of the simulator: ``python -m experiments.calibrate FILE`` measures its costs."""

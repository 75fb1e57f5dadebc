"""Owns the simulated cluster: the same schedulers in virtual time, with work counts and a calibrated cost model."""

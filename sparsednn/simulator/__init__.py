"""The same schedulers run in virtual time: work counts, a calibrated cost model, a simulated cluster."""

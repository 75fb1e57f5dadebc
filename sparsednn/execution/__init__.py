"""Owns the run of a prepared inference on real threads: row groups, executor, shared queues, record."""

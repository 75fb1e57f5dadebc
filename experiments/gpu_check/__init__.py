"""Owns the check that a user with a GPU runs once: conformance, timings, a report."""

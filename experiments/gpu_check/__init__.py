"""The check that whoever has a GPU runs once: conformance, timings, a report."""

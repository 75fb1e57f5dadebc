"""Owns the records: declares, reads, checks and compares them (``python -m experiments.records FOLDER...``)."""

"""Runs from configurations: launching, measuring and reporting."""

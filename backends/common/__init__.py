"""Owns what several backends use: the compilation policy, merging and ordering of columns, results of rows, schedulers."""

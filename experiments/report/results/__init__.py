"""Owns the committed results: small records of experiments, and the tables of pages, which are generated from them alone."""

"""Owns the generated tables of pages, a module for each page; each is a function of the committed records."""

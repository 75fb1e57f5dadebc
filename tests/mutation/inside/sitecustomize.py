"""Starts every Python process of a mutation run, by PYTHONPATH: puts a mutant in a module's place, and records lines.

Nothing is imported that a process would not import anyway, unless one of the two is asked for; `sitecustomize` is the name that
Python looks for.
"""

from __future__ import annotations

import os
import sys

MUTANT = "MUTATION_MUTANT"
"""Module, file, and the file that is to be run in its place, with `os.pathsep` between them."""

COVER = "MUTATION_COVER"
"""File of data on covered lines, to which each process adds a suffix, and the files to be covered."""

CONTEXT = "MUTATION_CONTEXT"
"""The test that runs now, or the fixture that several share."""


def mutate(module: str, file: str, instead: str) -> None:
    """Let a module be made of another file; tracebacks and `__file__` name the file itself."""
    from importlib.machinery import PathFinder, SourceFileLoader

    class Loader(SourceFileLoader):
        def get_code(self, fullname):
            with open(instead, "rb") as text:  # noqa: PTH123 (no process imports pathlib for it)
                return compile(text.read(), self.path, "exec", dont_inherit=True)

    class Finder:
        def find_spec(self, name, path=None, target=None):
            spec = PathFinder.find_spec(name, path) if name == module else None
            if spec is not None and spec.origin == file:
                spec.loader = Loader(name, file)
                return spec
            return None

    sys.meta_path.insert(0, Finder())


def cover(data_file: str, files: list[str], context: str) -> object:
    """Record which lines of files are run, until the process ends; return the record."""
    import coverage

    record = coverage.Coverage(
        data_file=data_file, data_suffix=True, auto_data=True, config_file=False, include=files, context=context,
        messages=False,
    )  # fmt: skip
    record.start()
    return record


def start() -> None:
    """Do what the environment says."""
    if MUTANT in os.environ:
        mutate(*os.environ[MUTANT].split(os.pathsep))
    if COVER in os.environ:
        data_file, *files = os.environ[COVER].split(os.pathsep)
        cover(data_file, files, os.environ.get(CONTEXT, ""))


start()

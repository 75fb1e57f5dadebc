"""Draws a figure again: ``python -m experiments.figures NAME FOLDER...``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.records.display import Display
from experiments.records.statistics import WIDTH
from sparsednn.system.console import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figures", description="Draw a figure from records alone.")
    parser.add_argument("name", help=f"one of {', '.join(figures.names())}")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="where the records are, or folders above it")
    parser.add_argument("--into", type=Path, help="where the figure goes; the first FOLDER, unless given")
    args = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, WIDTH)
    complaints = Display(Console(stderr=True))
    try:
        paths, table = figures.redraw(args.name, args.folders, args.into or args.folders[0], complaints.say)
    except (ConfigError, OSError) as error:
        complaints.say(f"error: {error}")
        return 1
    console.print(table)
    Display(console).say(f"figure: {', '.join(str(path) for path in paths)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))

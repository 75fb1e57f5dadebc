"""Implements the command ``python -m sparsednn.data export``, which writes challenge data for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import scipy.sparse as sp
from rich.progress import Progress

from sparsednn.data.challenge_inputs import N_INSTANCES, challenge_inputs
from sparsednn.data.files import export
from sparsednn.data.radixnet import radixnet
from sparsednn.data.truth import challenge_categories
from sparsednn.engine import infer
from sparsednn.network import Network
from sparsednn.system.console import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(arguments)
    try:
        _export(args.neurons, args.layers, args.instances, args.format, args.folder)
    except (ValueError, OSError, MemoryError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: files that are there are whole", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sparsednn.data", description="Sparse DNN Graph Challenge data")
    commands = parser.add_subparsers(required=True, metavar="export")
    command = commands.add_parser(
        "export",
        help="write a network, its inputs and its categories as files",
        description="Write the challenge's network, inputs and true categories in the published text layout (tsv) or "
        "the C++ DistSparseDNN's binary layout (bin). Read them back with: python run.py network=files "
        "network.path=FOLDER input=files input.path=FOLDER input.truth=FOLDER",
    )
    command.add_argument("--neurons", type=int, default=1024, help="1024, 4096, 16384 or 65536 (default: 1024)")
    command.add_argument("--layers", type=int, default=120, help="120, 480, 1920 or another multiple of the block length")
    command.add_argument("--instances", type=int, default=N_INSTANCES, help=f"the first so many (default: {N_INSTANCES})")
    command.add_argument("--format", choices=("tsv", "bin"), default="tsv")
    command.add_argument("folder", type=Path, metavar="DIR", help="where to; made if it is not there")
    return parser


def _export(neurons: int, layers: int, instances: int, suffix: str, folder: Path) -> None:
    network = radixnet(neurons, layers)
    with Progress(transient=True) as progress:
        building = progress.add_task("inputs", total=None)
        inputs = challenge_inputs(
            neurons, instances, progress=lambda done, total: progress.update(building, completed=done, total=total)
        )
        writing = progress.add_task("layers", total=layers)
        categories = _categories(network, inputs, instances)
        written = export(
            folder, network, inputs, categories, f".{suffix}", lambda done, _: progress.update(writing, completed=done)
        )
    print(f"{len(written)} files in {folder}: {network.nnz:,} connections, {inputs.nnz:,} nonzero inputs")


def _categories(network: Network, inputs: sp.csr_array, instances: int):  # type: ignore[no-untyped-def]
    """The published categories of the challenge's depths; for others, what inference finds."""
    if network.challenge is None:
        return infer(network, inputs).categories
    truth = challenge_categories(network.n_inputs)
    return truth[truth <= instances]


if __name__ == "__main__":
    sys.exit(run_program(main))

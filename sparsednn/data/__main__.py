"""Implements the command ``python -m sparsednn.data export``: challenge data, and trained networks, for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import scipy.sparse as sp
from rich.progress import Progress

from sparsednn.data.challenge_inputs import N_INSTANCES, challenge_inputs
from sparsednn.data.files import export, read_inputs
from sparsednn.data.labelled import snicit_network
from sparsednn.data.layouts.predictions import classes_of, classifier_of
from sparsednn.data.radixnet import radixnet
from sparsednn.data.truth import challenge_categories
from sparsednn.engine import infer
from sparsednn.errors import OptionError
from sparsednn.network import Network
from sparsednn.system.console import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(arguments)
    try:
        if args.layout == "challenge":
            _refuse(args, ("model", "inputs", "bias_on"), "is for --layout distsparsednn or snicit")
            _export(_given(args.neurons, 1024), _given(args.layers, 120), args.instances, args.format, args.folder)
        else:
            _export_trained(args)
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
        "network.path=FOLDER input=files input.path=FOLDER input.truth=FOLDER. Or write a trained network as SNICIT has it, or "
        "as DistSparseDNN's programs for MNIST, CIFAR and IMDB do, with its instances and the classes that it finds.",
    )
    command.add_argument("--neurons", type=int, help="1024, 4096, 16384 or 65536 (default: 1024)")
    command.add_argument("--layers", type=int, help="120, 480, 1920 or another multiple of the block length (default: 120)")
    command.add_argument("--instances", type=int, help=f"the first so many (default: all; of the challenge {N_INSTANCES})")
    command.add_argument("--format", choices=("tsv", "bin"), default="tsv", help="text (distsparsednn: .txt) or binary")
    command.add_argument("--layout", choices=("challenge", "distsparsednn", "snicit"), default="challenge")
    command.add_argument(
        "--model", metavar="FILE", help="the trained network: a file of Model.save; snicit: that of the package"
    )
    command.add_argument("--inputs", type=Path, metavar="FILE", help="distsparsednn: its instances (.npz, .mtx, .tsv, .bin)")
    command.add_argument(
        "--bias-on", choices=("nonzero", "all"), help="write it as if biases were added there (distsparsednn: nonzero)"
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="where to; made if it is not there")
    return parser


def _export(neurons: int, layers: int, n_instances: int | None, suffix: str, folder: Path) -> None:
    network, instances = radixnet(neurons, layers), _given(n_instances, N_INSTANCES)
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


def _export_trained(args: argparse.Namespace) -> None:
    """Write a trained network in another program's layout."""
    from sparsednn.data.layouts import export as layouts

    if args.model is None:
        raise OptionError(
            f"--layout {args.layout}: say which network: --model FILE, one that Model.save has written, or snicit"
        )
    _refuse(args, ("neurons", "layers"), "the model says it; leave it out")
    network = _trained(args.model)
    if args.bias_on is not None:
        network = Network.from_layers(network.layers, args.bias_on)
    if args.layout == "snicit":
        _refuse(args, ("inputs", "instances"), "is for --layout distsparsednn; this layout has no instances")
        if args.format != "tsv":
            raise OptionError(f"--format {args.format}: --layout snicit is text")
        written = layouts.write_snicit(args.folder, network)
        print(f"{len(written)} files in {args.folder}: {network.nnz:,} connections")
        return
    if args.inputs is None:
        raise OptionError("--layout distsparsednn: say which instances go with the network: --inputs FILE")
    inputs = read_inputs(args.inputs, network.n_inputs, args.instances)
    output = infer(network, inputs, output=True).output
    classes = classes_of(output, classifier_of(network.n_outputs))
    written = layouts.write_distsparsednn(args.folder, network, inputs, classes, ".txt" if args.format == "tsv" else ".bin")
    print(f"{len(written)} files in {args.folder}: {network.nnz:,} connections, {inputs.nnz:,} nonzero inputs")


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _trained(model: str) -> Network:
    """Return the network of a saved model, or that of the package."""
    if model == "snicit" and not Path(model).exists():
        return snicit_network()
    from sparsednn.importers import load_model

    return load_model(model).network


def _refuse(args: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """Refuse options that a layout has no use for."""
    for name in names:
        if (value := getattr(args, name)) is not None:
            raise OptionError(f"--{name.replace('_', '-')} {value}: {reason}")


def _categories(network: Network, inputs: sp.csr_array, instances: int):  # type: ignore[no-untyped-def]
    """The published categories of the challenge's depths; for others, what inference finds."""
    if network.challenge is None:
        return infer(network, inputs).categories
    truth = challenge_categories(network.n_inputs)
    return truth[truth <= instances]


if __name__ == "__main__":
    sys.exit(run_program(main))

"""Reads trained networks as the program of SNICIT for MNIST and CIFAR-10 has them.

Two folders, ``tsv_weights`` and ``tsv_biases``, have a file of one name for each layer k from 1:

- ``l{k}-dense.tsv``: all weights of a layer, a number a line, one input's outputs after the other's;
- ``l{k}-sparse.tsv``: row, column, weight, separated by tabs; neurons count from 0, rows are inputs;
- in ``tsv_biases``, whatever the layer: the bias of each output, a number a line.

That program has clip(0,1) after every layer but the last, and biases everywhere.

S. Jiang et al., "SNICIT: Accelerating Sparse Neural Network Inference via Compression at Inference Time on GPU", ICPP 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.data.layouts.numbered import numbered_files
from sparsednn.data.triples import FirstIds, read_triples, to_matrix
from sparsednn.data.vectors import read_vector
from sparsednn.errors import DataError, MissingFileError
from sparsednn.network import Activation, BiasOn, Network

WEIGHTS, BIASES = "tsv_weights", "tsv_biases"
STEMS, SUFFIXES = ("l{}-dense", "l{}-sparse"), (".tsv", ".tsv.gz")
IDS = FirstIds(0, 0, way_out="are the widths right?")

Progress = Callable[[int, int], None]


def read_network(
    folder: Path,
    *,
    widths: Sequence[int] | None = None,
    layers: int | None = None,
    activation: Activation | str | Sequence[Activation | str] | None = None,
    bias_on: BiasOn = "all",
    progress: Progress | None = None,
) -> Network:
    """Read the layers of a folder.

    Parameters
    ----------
    folder : Path
        The folder with ``tsv_weights`` and ``tsv_biases``; or one below ``tsv_weights``, as that program has one for each
        network, whose biases are in the folder of that name below ``tsv_biases``.
    widths : sequence of ints, optional
        Inputs and neurons of each layer. Unless given, the files tell; a sparse first layer is square.
    layers : int, optional
        How many there are; unless given, all that the folder has.
    activation : optional
        As of `Network`. Unless given, that program's: clip(0,1), and none in the last layer.
    bias_on : {"all", "nonzero"}
        "all" as that program does.
    progress : callable, optional

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, malformed or does not fit, or there are two for one layer; the message names the file (and line).
    """
    paths = layer_files(folder, layers if widths is None else len(widths) - 1)
    n_layers = len(paths) // 2
    weights, biases = list[Any](), list[Any]()
    for number, (path, bias_path) in enumerate(zip(paths[:n_layers], paths[n_layers:], strict=True), start=1):
        biases.append(read_vector(bias_path, None if widths is None else widths[number], f"neurons in layer {number}"))
        before = weights[-1].shape[1] if weights else None
        weights.append(_matrix(path, before if widths is None else widths[number - 1], len(biases[-1])))
        if progress is not None:
            progress(number, n_layers)
    usual = ["clip(0,1)"] * (n_layers - 1) + ["identity"]
    return Network(weights, bias=biases, bias_on=bias_on, activation=usual if activation is None else activation)


def layer_files(folder: Path, layers: int | None) -> list[Path]:
    """Return all files of the layers, weights before biases, as `read_network` finds them; raises what that raises."""
    weights, biases = _folders(folder)
    paths = numbered_files(weights, STEMS, SUFFIXES, 1, layers)
    return paths + numbered_files(biases, STEMS, SUFFIXES, 1, len(paths))


def _folders(folder: Path) -> tuple[Path, Path]:
    """Return the folders of weights and of biases."""
    if (folder / WEIGHTS).is_dir():
        return folder / WEIGHTS, folder / BIASES
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder")
    parts = folder.absolute().parts
    if WEIGHTS not in parts:
        raise MissingFileError(f"{folder}: has no folder {WEIGHTS}, and is not in one; say the folder that {WEIGHTS} is in")
    at = len(parts) - 1 - parts[::-1].index(WEIGHTS)
    return folder, Path(*parts[:at], BIASES, *parts[at + 1 :])


def _matrix(path: Path, n_inputs: int | None, n_outputs: int) -> Any:
    """Return the weights of a layer; `n_inputs` is None if only the file tells."""
    if "-sparse" in path.name:
        n = n_outputs if n_inputs is None else n_inputs
        return to_matrix(read_triples(path, IDS), n, n_outputs, "row", "column")
    values: NDArray[np.float32] = read_vector(path)
    found, rest = divmod(len(values), n_outputs or 1)
    if rest or not len(values) or (n_inputs is not None and found != n_inputs):
        wanted = f"{n_inputs or 'any number of'} inputs x {n_outputs} outputs"
        raise DataError(
            f"{path}: has {len(values)} weights, not those of {wanted}; is the file whole, and are the widths right?"
        )
    return values.reshape(found, n_outputs)

"""Reads trained networks as the programs of DistSparseDNN for MNIST, CIFAR and IMDB have them.

A folder has, of each layer l from 0, ``weights{l}`` and ``bias{l}``, and ``input`` and ``predictions``; each as text (``.txt``,
fields separated by white space) or little-endian binary (``.bin``), which may be gzipped:

- ``weights{l}``: row, column, weight (uint32, uint32, float32). Neurons count from 0.
- ``bias{l}``: neuron, bias (uint32, float32). A neuron that is not there has none.
- ``input``: instance, feature, value (uint32, uint32, float32). Instances count from 1, features from 0.
- ``predictions``: instance, class (uint32, uint32). Classes count from 0.

That program adds biases to sums that are not zero, has relu after every layer but the last, and takes classes as
`sparsednn.data.layouts.predictions.classes_of` does.

M. Hasanzadeh Mofrad et al., "Accelerating Distributed Inference of Sparse Deep Neural Networks via Mitigating the Straggler
Effect", HPEC 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import as_float32
from sparsednn.data.files import read_instances
from sparsednn.data.layouts.numbered import numbered_files
from sparsednn.data.layouts.pairs import Pairs, read_pairs
from sparsednn.data.layouts.predictions import Predictions, classifier_of
from sparsednn.data.lookup import find_one
from sparsednn.data.text import id_field, number_field
from sparsednn.data.triples import FirstIds, Triples, read_triples, to_matrix
from sparsednn.errors import DataError, MemoryShortageError
from sparsednn.network import Activation, BiasOn, Network
from sparsednn.system.memory import require

SUFFIXES = (".txt", ".txt.gz", ".bin", ".bin.gz")
WEIGHT_IDS = FirstIds(0, 0, way_out="are the widths right?")
INPUT_IDS = FirstIds(1, 0, way_out="the network has no more inputs, unless widths say so")
LARGEST_WIDTH = 2**31 - 1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """The network, the instances and the classes that a folder holds.

    Attributes
    ----------
    network : Network
    inputs : csr_array of float32, shape (instances, network.n_inputs)
    predictions : Predictions
        Its classes are int64, shape (instances,).
    """

    network: Network
    inputs: sp.csr_array
    predictions: Predictions


def read(folder: Path, *, widths: Sequence[int] | None = None, classifier: str | None = None) -> TrainedNetwork:
    """Read a folder with network, instances and predictions; arguments and errors as of the functions below."""
    network = read_network(folder, widths=widths)
    kind = classifier_of(network.n_outputs, classifier)
    classes, source = read_predictions(folder, n_classes_of(network.n_outputs, kind))
    inputs = read_inputs(folder, network.n_inputs, n_at_least=len(classes))
    if len(classes) < inputs.shape[0]:
        raise DataError(f"{source}: has {len(classes)} instances, but the input has {inputs.shape[0]}; is the file whole?")
    return TrainedNetwork(network, inputs, Predictions(classes, kind, str(source)))


def read_network(
    folder: Path,
    *,
    widths: Sequence[int] | None = None,
    layers: int | None = None,
    activation: Activation | str | Sequence[Activation | str] | None = None,
    bias_on: BiasOn = "nonzero",
    progress: Progress | None = None,
) -> Network:
    """Read the layers of a folder.

    Parameters
    ----------
    folder : Path
    widths : sequence of ints, optional
        Features, neurons of each layer, and outputs. Unless given, the largest ids tell: neurons behind them have no connection
        and make no difference.
    layers : int, optional
        How many there are; unless given, all that the folder has.
    activation : optional
        As of `Network`. Unless given, that program's: relu, and none in the last layer.
    bias_on : {"nonzero", "all"}
        "nonzero" as that program does.
    progress : callable, optional

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If a file is missing, malformed or does not fit, there are two for one layer, or a largest id tells of more neurons than
        memory has room for; the message names the file (and line).
    """
    paths = layer_files(folder, layers if widths is None else len(widths) - 1)
    n_layers = len(paths) // 2
    weights, biases = list[Any](), list[Any]()
    for number, (triples, bias, following) in enumerate(_with_following(paths[:n_layers], paths[n_layers:]), start=1):
        if widths is not None:
            n_in, n_out = widths[number - 1], widths[number]
        else:
            n_in = weights[-1].shape[1] if weights else _n(triples, triples.rows)
            n_out = max(_n(triples, triples.columns), _n(bias, bias.ids))
            n_out = max(n_out, _n(following, following.rows)) if following is not None else n_out
        weights.append(to_matrix(triples, n_in, n_out, "row", "column"))
        biases.append(_vector(bias, n_out))
        if progress is not None:
            progress(number, n_layers)
    usual = ["relu"] * (n_layers - 1) + ["identity"]
    return Network(weights, bias=biases, bias_on=bias_on, activation=usual if activation is None else activation)


def layer_files(folder: Path, layers: int | None) -> list[Path]:
    """Return all files of the layers, weights before biases, as `read_network` finds them; raises what that raises."""
    paths = numbered_files(folder, ["weights{}"], SUFFIXES, 0, layers)
    return paths + numbered_files(folder, ["bias{}"], SUFFIXES, 0, len(paths), "; an empty file says that it has no biases")


def read_inputs(path: Path, n_features: int, *, instances: int | None = None, n_at_least: int = 0) -> sp.csr_array:
    """Read instances: a file, or a folder with ``input``; the first `instances` of them, all if None.

    They end with the largest id, or with `n_at_least`, behind which there may be instances without a nonzero.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        If the file is missing or malformed, there are two, an id is out of range, there are fewer instances than asked for, or
        there is too little memory for as many as the largest id says.
    """
    path = find_one([path], "input", SUFFIXES) if path.is_dir() else path
    rows = read_instances(path, n_features, instances, INPUT_IDS, tabs=False).tocsr()
    if rows.shape[0] < n_at_least:
        rows.resize((n_at_least, n_features))
    if instances is not None and instances > rows.shape[0]:
        raise DataError(
            f"{path}: has {rows.shape[0]} instances, fewer than instances={instances}; if those behind it have no "
            f"nonzeros, give the last one an entry of value 0 ({instances} 0 0)"
        )
    return sp.csr_array(rows if instances is None else rows[:instances])


def read_predictions(path: Path, n_classes: int | None = None) -> tuple[NDArray[np.int64], Path]:
    """Read the class of each instance: a file, or a folder with ``predictions``; return the file, too.

    Returns
    -------
    classes : int64 array, shape (instances,)
        From 0; below `n_classes`, if that is given.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or malformed, there are two, an instance is missing or there twice, or a class is out of range.
    """
    path = find_one([path], "predictions", SUFFIXES) if path.is_dir() else path
    pairs = read_pairs(path, "instance", id_field("class"))
    if not pairs.ids.size:
        raise DataError(f"{path}: is empty; each instance needs its class")
    pairs.require_once_within("instance", 1, max(int(pairs.ids.max()), 1))
    order = np.argsort(pairs.ids)
    gaps = np.flatnonzero(pairs.ids[order] != np.arange(1, len(order) + 1))
    if gaps.size:
        raise DataError(
            f"{path}: instance {gaps[0] + 1} has no class, though {pairs.ids.max()} has one; each instance needs a line"
        )
    bad = np.flatnonzero((pairs.values < 0) | (pairs.values >= (pairs.values.max() + 1 if n_classes is None else n_classes)))
    if bad.size:
        legal = "0 or more" if n_classes is None else f"from 0 to {n_classes - 1}, as the network's outputs say"
        raise DataError(f"{pairs.place(bad[0])}: class {pairs.values[bad[0]]}: must be {legal}")
    return pairs.values[order], path


def n_classes_of(n_outputs: int, classifier: str) -> int:
    """Return how many classes there are."""
    return 2 if classifier == "sigmoid" else n_outputs


def _with_following(paths: Sequence[Path], bias_paths: Sequence[Path]) -> Iterator[tuple[Triples, Pairs, Triples | None]]:
    """Yield the weights and biases of each layer, and the weights of the layer that follows."""
    before: tuple[Triples, Pairs] | None = None
    for path, bias_path in zip(paths, bias_paths, strict=True):
        here = read_triples(path, WEIGHT_IDS, tabs=False), read_pairs(bias_path, "neuron", number_field("bias"))
        if before is not None:
            yield *before, here[0]
        before = here
    if before is not None:
        yield *before, None


def _n(source: Triples | Pairs, ids: NDArray[np.int64]) -> int:
    """Return how many neurons there are if the largest id is the last one."""
    n = max(int(ids.max(initial=0)) + 1, 1)
    try:
        require(8 * n, f"{source.path}: {n:,} neurons", "is its largest id right?")
    except MemoryError as error:  # only now, since the line has to be looked for
        raise MemoryShortageError(f"{error} The largest id is at {source.place(int(ids.argmax()))}") from None
    if n > LARGEST_WIDTH:
        raise DataError(f"{source.place(int(ids.argmax()))}: neuron {n - 1} is beyond {LARGEST_WIDTH - 1}; is that id right?")
    return n


def _vector(bias: Pairs, n_outputs: int) -> NDArray[np.float32]:
    """Return the biases of a layer, shape (n_outputs,)."""
    bias.require_once_within("neuron", 0, n_outputs)
    values = as_float32(bias.values, f"{bias.path}: bias")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(f"{bias.place(bad[0])}: the bias {bias.values[bad[0]]} is not finite in float32")
    vector = np.zeros(n_outputs, np.float32)
    vector[bias.ids] = values
    return vector

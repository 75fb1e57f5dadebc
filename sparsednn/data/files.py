"""Finds and reads the files of networks, inputs and categories in every format, and exports them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import canonical_csc
from sparsednn.data.lookup import find_one, refuse_other_formats
from sparsednn.data.matrix_market import read_matrix_market
from sparsednn.data.npz import read_npz
from sparsednn.data.triples import FROM_1, FirstIds, read_ids, read_triples, to_matrix, write_ids, write_triples
from sparsednn.data.vectors import VECTOR_SUFFIXES, read_vector
from sparsednn.errors import DataError, MemoryShortageError
from sparsednn.network import Activation, BiasOn, Network
from sparsednn.system.memory import require

SUFFIXES = (".tsv", ".tsv.gz", ".bin", ".bin.gz", ".npz", ".mtx", ".mtx.gz")
_WITH_SHAPE = (".npz", ".mtx", ".mtx.gz")

Progress = Callable[[int, int], None]


def read_network(
    folder: Path,
    neurons: int,
    layers: int,
    *,
    bias: float | None,
    activation: Activation | str | Sequence[Activation | str],
    bias_on: BiasOn | None = None,
    widths: Sequence[int] | None = None,
    index_base: int = 1,
    progress: Progress | None = None,
) -> Network:
    """Read ``n{neurons}-l1`` to ``n{neurons}-l{layers}`` from a folder.

    Each layer is a file ``n{neurons}-l{number}`` with one of the endings .tsv, .bin (both may be gzipped), .npz (scipy.sparse)
    or .mtx (Matrix Market; may be gzipped), in `folder` itself or in ``neuron{neurons}`` below it. Text and binary layers have
    the shape that `widths` says, or are neurons x neurons; the others have their own shape. An entry that is there twice is
    refused in text and binary layers; in the others it stands for a sum, which is made in float32.

    Parameters
    ----------
    folder : Path
    neurons : int
        Inputs of the first layer.
    layers : int
    bias : float, or None
        None: each layer has a file ``n{neurons}-b{number}`` with one float32 for each of its outputs: a number a line (.tsv),
        little-endian (.bin; both may be gzipped), or an array of NumPy (.npy).
    activation : Activation, name, or a sequence with one for each layer
    bias_on : {"nonzero", "all"}, optional
        Default: "all" with files of biases, else "nonzero".
    widths : sequence of layers + 1 ints, optional
        Neurons of the input and of each layer.
    index_base : int
        The first id of rows and columns in text and binary layers: 1, as published, or 0.
    progress : callable, optional

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, malformed or does not fit, or there are two for one layer; the message names the file (and line).
    """
    weights, first_ids = list[Any](), FirstIds(index_base, index_base, "index_base")
    for number, path in enumerate(layer_files(folder, neurons, layers), start=1):
        shape = (neurons, neurons) if widths is None else (widths[number - 1], widths[number])
        weights.append(read_matrix(path, *shape, "row", "column", first_ids))
        if widths is not None and weights[-1].shape != shape:
            found = "{} x {}".format(*weights[-1].shape)
            raise DataError(f"{path}: is {found}, but widths={list(widths)} says {shape[0]} x {shape[1]} of layer {number}")
        if progress is not None:
            progress(number, layers)
    if weights[0].shape[0] != neurons:
        raise DataError(f"{folder}: the first layer has {weights[0].shape[0]} inputs, not neurons={neurons}")
    biases: float | list[Any] = 0.0 if bias is None else bias
    if bias is None:
        files = bias_files(folder, neurons, layers)
        biases = [read_vector(path, matrix.shape[1]) for path, matrix in zip(files, weights, strict=True)]
    return Network(weights, bias=biases, bias_on=bias_on, activation=activation)


def layer_files(folder: Path, neurons: int, layers: int) -> Iterator[Path]:
    """Yield the file of each layer, as `read_network` finds them; raises what that raises."""
    for number in range(1, layers + 1):
        yield _find(folder, f"n{neurons}-l{number}", neurons)


def bias_files(folder: Path, neurons: int, layers: int) -> Iterator[Path]:
    """Yield the file of each layer's biases, as `read_network` finds them; raises what that raises."""
    for number in range(1, layers + 1):
        yield _find(folder, f"n{neurons}-b{number}", neurons, VECTOR_SUFFIXES)


def has_biases(folder: Path, neurons: int, layers: int) -> bool:
    """Say whether any layer has a file of biases."""
    stems = [f"n{neurons}-b{number}" for number in range(1, layers + 1)]
    return any(
        (place / f"{stem}{suffix}").is_file()
        for place in _places(folder, neurons)
        for stem in stems
        for suffix in VECTOR_SUFFIXES
    )


def read_inputs(path: Path, neurons: int, instances: int | None, index_base: int = 1) -> sp.csr_array:
    """Read inputs: a file, or a folder with ``sparse-images-{neurons}``; the first `instances` of them, all if None.

    Text and binary files have no number of instances: they end with the largest id. A last instance without a nonzero has an
    entry of value 0 there. Their ids, of instances and features, begin at `index_base`.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or malformed, there are two, or `instances` is below 1 or above what the file has.
    MemoryError
        If there is too little memory for as many instances as the largest id, or the shape, says.
    """
    if instances is not None and instances < 1:
        raise DataError(f"instances={instances}: must be at least 1")
    path = _find(path, f"sparse-images-{neurons}", neurons) if path.is_dir() else path
    if path.name.lower().endswith(_WITH_SHAPE):
        matrix = sp.csr_array(_read_shaped(path))
    else:
        first_ids = FirstIds(index_base, index_base, "index_base")
        matrix = read_instances(path, neurons, instances, first_ids).tocsr()
    if matrix.shape[1] != neurons:
        raise DataError(f"{path}: has {matrix.shape[1]} features, not neurons={neurons}")
    if instances is not None and instances > matrix.shape[0]:
        way_out = _way_out(path, instances, index_base)
        raise DataError(f"{path}: has {matrix.shape[0]} instances, fewer than instances={instances}; {way_out}")
    return sp.csr_array(matrix if instances is None else matrix[:instances])


def read_instances(path: Path, n_features: int, asked: int | None, first_ids: FirstIds, *, tabs: bool = True) -> sp.coo_array:
    """Read all instances of a text or binary file, up to the largest id; `asked` are those that will be taken.

    Raises
    ------
    FileNotFoundError, ValueError, MemoryError
        As `read_inputs` does.
    """
    triples = read_triples(path, first_ids, tabs=tabs)
    last = int(triples.rows.max())
    n = max(last + 1 - (first_ids.row if triples.rows.min() > 0 else 0), 1)
    try:
        require(8 * (n + min(asked or 0, n)), f"{path}: {n:,} instances", "is its largest id right?")
    except MemoryError as error:  # only now, since the line has to be looked for
        raise MemoryShortageError(f"{error} The largest id is at {triples.place(int(triples.rows.argmax()))}") from None
    return to_matrix(triples, n, n_features, "instance", "feature")


def _way_out(path: Path, instances: int, index_base: int) -> str:
    if path.name.lower().endswith(_WITH_SHAPE):
        return "instances=null takes all of them"
    return (
        "instances=null takes all up to the largest id. If those behind it have no nonzeros, give the last one an entry of "
        f"value 0 ({instances - 1 + index_base}, {index_base}, 0), or use .npz or .mtx, which have a shape"
    )


def read_truth(path: Path, neurons: int, layers: int) -> NDArray[np.int64]:
    """Read the categories that are held to be true: a file, or a folder with ``neuron{neurons}-l{layers}-categories``.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or malformed, or there are two.
    """
    if path.is_dir():
        path = _find(path, f"neuron{neurons}-l{layers}-categories", neurons, (".tsv", ".tsv.gz", ".bin", ".bin.gz"))
    return read_ids(path)


def read_matrix(
    path: Path, n_rows: int, n_columns: int, row_name: str, column_name: str, first_ids: FirstIds = FROM_1
) -> Any:  # fmt: skip
    """Read one matrix in any of the formats; those that carry no shape have the one given, and ids as said."""
    if path.name.lower().endswith(_WITH_SHAPE):
        return canonical_csc(_read_shaped(path), str(path))
    return to_matrix(read_triples(path, first_ids), n_rows, n_columns, row_name, column_name)


def export(
    folder: Path, network: Network, inputs: sp.csr_array, categories: NDArray[np.int64], suffix: str,
    progress: Progress | None = None,
) -> list[Path]:  # fmt: skip
    """Write a network of equal widths, its inputs and its categories as the Graph Challenge lays them out.

    ``neuron{n}/n{n}-l{number}{suffix}``, ``sparse-images-{n}{suffix}`` and ``neuron{n}-l{layers}-categories{suffix}``,
    each written atomically. A last instance without a nonzero gets an entry of value 0, so that readers know of it.

    Raises
    ------
    ValueError
        If one of the files is there in another format already, so that readers could not tell which is meant; nothing is
        written.
    """
    n, n_layers = network.n_inputs, len(network.layers)
    layer_folder = folder / f"neuron{n}"
    stems = [f"n{n}-l{number}" for number in range(1, n_layers + 1)]
    stems += [f"sparse-images-{n}", f"neuron{n}-l{n_layers}-categories"]
    refuse_other_formats(_places(folder, n), stems, SUFFIXES, suffix)
    layer_folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, layer in enumerate(network.layers, start=1):
        written.append(layer_folder / f"n{n}-l{number}{suffix}")
        write_triples(written[-1], layer.to_scipy(), by_column=True)
        if progress is not None:
            progress(number, n_layers)
    written.append(folder / f"sparse-images-{n}{suffix}")
    write_triples(written[-1], with_last_instance(inputs), by_column=False)
    written.append(folder / f"neuron{n}-l{n_layers}-categories{suffix}")
    write_ids(written[-1], categories)
    return written


def with_last_instance(inputs: sp.csr_array) -> sp.csr_array:
    """Return inputs with an entry of value 0 in the last instance, if that has none."""
    coo = sp.coo_array(inputs)
    rows, columns = coo.coords
    last = coo.shape[0] - 1
    if last < 0 or (rows.size and rows.max() == last):
        return inputs
    return sp.csr_array((np.append(coo.data, np.float32(0)), (np.append(rows, last), np.append(columns, 0))), shape=coo.shape)


def _places(folder: Path, neurons: int) -> tuple[Path, Path]:
    """Where the files of a network may lie."""
    return folder, folder / f"neuron{neurons}"


def _find(folder: Path, stem: str, neurons: int, suffixes: Sequence[str] = SUFFIXES) -> Path:
    return find_one(_places(folder, neurons), stem, suffixes)


def _read_shaped(path: Path) -> Any:
    matrix = read_npz(path) if path.suffix.lower() == ".npz" else read_matrix_market(path)
    n_rows, n_columns = matrix.shape
    require(8 * max(n_rows, n_columns), f"{path}: a matrix of {n_rows:,} x {n_columns:,}", "is its shape right?")
    return matrix

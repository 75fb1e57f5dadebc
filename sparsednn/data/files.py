"""Finds and reads the files of networks, inputs and categories in every format, and exports them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.arrays import canonical_csc
from sparsednn.data.matrix_market import read_matrix_market
from sparsednn.data.npz import read_npz
from sparsednn.data.triples import read_ids, read_triples, to_matrix, write_ids, write_triples
from sparsednn.errors import DataError, MemoryShortageError, MissingFileError
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
    bias: float,
    activation: Activation,
    bias_on: BiasOn = "nonzero",
    progress: Progress | None = None,
) -> Network:
    """Read ``n{neurons}-l1`` to ``n{neurons}-l{layers}`` from a folder.

    Each layer is a file ``n{neurons}-l{number}`` with one of the endings .tsv, .bin (both may be gzipped), .npz (scipy.sparse)
    or .mtx (Matrix Market; may be gzipped), in `folder` itself or in ``neuron{neurons}`` below it. Text and binary layers are
    neurons x neurons; the others have their own shape, with `neurons` inputs in the first layer. An entry that is there twice
    is refused in text and binary layers; in the others it stands for a sum, which is made in float32.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, malformed or does not fit, or there are two for one layer; the message names the file (and line).
    """
    weights = []
    for number, path in enumerate(layer_files(folder, neurons, layers), start=1):
        weights.append(read_matrix(path, neurons, neurons, "row", "column"))
        if progress is not None:
            progress(number, layers)
    if weights[0].shape[0] != neurons:
        raise DataError(f"{folder}: the first layer has {weights[0].shape[0]} inputs, not neurons={neurons}")
    return Network(weights, bias=bias, bias_on=bias_on, activation=activation)


def layer_files(folder: Path, neurons: int, layers: int) -> Iterator[Path]:
    """Yield the file of each layer, as `read_network` finds them; raises what that raises."""
    for number in range(1, layers + 1):
        yield _find(folder, f"n{neurons}-l{number}", neurons)


def read_inputs(path: Path, neurons: int, instances: int | None) -> sp.csr_array:
    """Read inputs: a file, or a folder with ``sparse-images-{neurons}``; the first `instances` of them, all if None.

    Text and binary files have no number of instances: they end with the largest id. A last instance without a nonzero has an
    entry of value 0 there.

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
        triples = read_triples(path)
        last = max(int(triples.rows.max()), 1)
        try:
            require(8 * (last + min(instances or 0, last)), f"{path}: {last:,} instances", "is its largest id right?")
        except MemoryError as error:  # only now, since the line has to be looked for
            raise MemoryShortageError(f"{error} The largest id is at {triples.place(int(triples.rows.argmax()))}") from None
        matrix = to_matrix(triples, last, neurons, "instance", "feature").tocsr()
    if matrix.shape[1] != neurons:
        raise DataError(f"{path}: has {matrix.shape[1]} features, not neurons={neurons}")
    if instances is not None and instances > matrix.shape[0]:
        raise DataError(
            f"{path}: has {matrix.shape[0]} instances, fewer than instances={instances}; {_way_out(path, instances)}"
        )
    return sp.csr_array(matrix if instances is None else matrix[:instances])


def _way_out(path: Path, instances: int) -> str:
    if path.name.lower().endswith(_WITH_SHAPE):
        return "instances=null takes all of them"
    return (
        "instances=null takes all up to the largest id. If those behind it have no nonzeros, give the last one an entry of "
        f"value 0 ({instances}, 1, 0), or use .npz or .mtx, which have a shape"
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


def read_matrix(path: Path, n_rows: int, n_columns: int, row_name: str, column_name: str) -> Any:
    """Read one matrix in any of the formats; those that carry no shape have the one given."""
    if path.name.lower().endswith(_WITH_SHAPE):
        return canonical_csc(_read_shaped(path), str(path))
    return to_matrix(read_triples(path), n_rows, n_columns, row_name, column_name)


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
    _refuse_other_formats(folder, [*stems, f"sparse-images-{n}", f"neuron{n}-l{n_layers}-categories"], n, suffix)
    layer_folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, layer in enumerate(network.layers, start=1):
        written.append(layer_folder / f"n{n}-l{number}{suffix}")
        write_triples(written[-1], layer.to_scipy(), by_column=True)
        if progress is not None:
            progress(number, n_layers)
    written.append(folder / f"sparse-images-{n}{suffix}")
    write_triples(written[-1], _with_last_instance(inputs), by_column=False)
    written.append(folder / f"neuron{n}-l{n_layers}-categories{suffix}")
    write_ids(written[-1], categories)
    return written


def _refuse_other_formats(folder: Path, stems: list[str], neurons: int, suffix: str) -> None:
    for stem in stems:
        for place in (folder, folder / f"neuron{neurons}"):
            for other in SUFFIXES:
                path = place / f"{stem}{other}"
                if other != suffix and path.is_file():
                    raise DataError(
                        f"{path}: is there already, and nobody could tell it from {stem}{suffix}; take another folder"
                    )


def _with_last_instance(inputs: sp.csr_array) -> sp.csr_array:
    coo = sp.coo_array(inputs)
    rows, columns = coo.coords
    last = coo.shape[0] - 1
    if last < 0 or (rows.size and rows.max() == last):
        return inputs
    return sp.csr_array((np.append(coo.data, np.float32(0)), (np.append(rows, last), np.append(columns, 0))), shape=coo.shape)


def _find(folder: Path, stem: str, neurons: int, suffixes: Iterable[str] = SUFFIXES) -> Path:
    """Return the file of that stem, whatever its format; of two, neither is known to be the right one."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder")
    names = [place / f"{stem}{suffix}" for place in (folder, folder / f"neuron{neurons}") for suffix in suffixes]
    files = list({path.resolve(): path for path in names if path.is_file()}.values())
    if not files:
        raise MissingFileError(f"{folder}: no file {stem} with one of the endings {', '.join(suffixes)}")
    if len(files) > 1:
        raise DataError(
            f"{' and '.join(map(str, files))} are both there, and either could be meant; leave one of them in its place"
        )
    return files[0]


def _read_shaped(path: Path) -> Any:
    matrix = read_npz(path) if path.suffix.lower() == ".npz" else read_matrix_market(path)
    n_rows, n_columns = matrix.shape
    require(8 * max(n_rows, n_columns), f"{path}: a matrix of {n_rows:,} x {n_columns:,}", "is its shape right?")
    return matrix

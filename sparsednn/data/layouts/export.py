"""Writes trained networks as DistSparseDNN's and SNICIT's programs read them, and refuses what those have no words for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sparsednn.arguments.scalars import one_of
from sparsednn.data.files import with_last_instance
from sparsednn.data.layouts import snicit
from sparsednn.data.layouts.distsparsednn import INPUT_IDS, SUFFIXES, WEIGHT_IDS
from sparsednn.data.layouts.numbered import refuse_deeper
from sparsednn.data.layouts.pairs import write_pairs
from sparsednn.data.lookup import files_of, refuse_other_formats
from sparsednn.data.triples import write_triples
from sparsednn.data.vectors import write_vector
from sparsednn.errors import DataError, OptionError
from sparsednn.network import Activation, BiasOn, Network, activation_named, identity, relu

Progress = Callable[[int, int], None]


def write_distsparsednn(
    folder: Path, network: Network, inputs: Any, classes: NDArray[np.int64], suffix: str = ".txt",
    progress: Progress | None = None,
) -> list[Path]:  # fmt: skip
    """Write a network, instances and classes (from 0) as that program reads them; return the files, each written atomically.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    network : Network
        With relu after every layer but the last, none after that, and biases where sums are not zero: nothing else can be said.
    inputs : sparse matrix, shape (instances, network.n_inputs)
    classes : int64 array, shape (instances,)
    suffix : {".txt", ".bin"}
        Text has as many digits as float32 needs.
    progress : callable, optional

    The last neuron, or instance, has an entry of value 0 where it has no other, so that readers know of it.

    Raises
    ------
    ValueError
        If the network is another, a class is below 0, or files are there in another format or of a deeper network; nothing is
        written.
    """
    n_layers, matrix = len(network.layers), sp.csr_array(inputs)
    one_of("suffix", suffix, (".txt", ".bin"))
    _require_expressible(network, "nonzero", relu(), "DistSparseDNN")
    if matrix.shape != (len(classes), network.n_inputs):
        raise DataError(
            f"inputs have shape {matrix.shape}; {(len(classes), network.n_inputs)} is needed, by classes and network"
        )
    if classes.size and classes.min() < 0:
        raise DataError(f"classes: {classes.min()} (instance {int(classes.argmin())}, from 0) is below 0")
    stems = [f"{name}{number}" for number in range(n_layers) for name in ("weights", "bias")] + ["input", "predictions"]
    refuse_other_formats([folder], stems, SUFFIXES, suffix)
    refuse_deeper(folder, ["weights{}", "bias{}"], SUFFIXES, n_layers - 1)
    folder.mkdir(parents=True, exist_ok=True)
    for number, layer in enumerate(network.layers):
        last = _with_last_neurons(layer.to_scipy())
        write_triples(folder / f"weights{number}{suffix}", last, by_column=False, first_ids=WEIGHT_IDS, separator=" ")
        neurons = np.flatnonzero(layer.bias)
        write_pairs(folder / f"bias{number}{suffix}", neurons, layer.bias[neurons])
        if progress is not None:
            progress(number + 1, n_layers)
    last = with_last_instance(matrix)
    write_triples(folder / f"input{suffix}", last, by_column=False, first_ids=INPUT_IDS, separator=" ")
    write_pairs(folder / f"predictions{suffix}", np.arange(1, len(classes) + 1), classes.astype(np.int64))
    return [folder / f"{stem}{suffix}" for stem in stems]


def write_snicit(folder: Path, network: Network, progress: Progress | None = None) -> list[Path]:
    """Write a network as that program reads it, the first and the last layer dense; return the files.

    Parameters
    ----------
    folder : Path
        Made if it is not there; gets ``tsv_weights`` and ``tsv_biases``.
    network : Network
        With clip(0,1) after every layer but the last, none after that, and biases everywhere: nothing else can be said.
    progress : callable, optional

    Raises
    ------
    ValueError
        If the network is another, or files are there as the other kind or of a deeper network; nothing is written.
    """
    _require_expressible(network, "all", activation_named("clip(0,1)"), "SNICIT")
    n_layers = len(network.layers)
    kinds = ["dense", *["sparse"] * (n_layers - 2), "dense"] if n_layers > 1 else ["dense"]
    names = [f"l{number}-{kind}" for number, kind in enumerate(kinds, start=1)]
    places, others = (folder / snicit.WEIGHTS, folder / snicit.BIASES), {"dense": "sparse", "sparse": "dense"}
    for place in places:
        refuse_other_formats([place], names, snicit.SUFFIXES, ".tsv")
        for number, kind in enumerate(kinds, start=1):
            for other in files_of([place], f"l{number}-{others[kind]}", snicit.SUFFIXES):
                name = f"l{number}-{kind}.tsv"
                raise DataError(f"{other}: is there already, and nobody could tell it from {name}; take another folder")
        refuse_deeper(place, snicit.STEMS, snicit.SUFFIXES, n_layers)
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for number, (name, layer) in enumerate(zip(names, network.layers, strict=True), start=1):
        path, matrix = folder / snicit.WEIGHTS / f"{name}.tsv", layer.to_scipy()
        if name.endswith("dense"):
            write_vector(path, matrix.toarray().reshape(-1))
        else:
            entries = matrix if matrix.nnz else _with_last_neurons(matrix)
            write_triples(path, entries, by_column=False, first_ids=snicit.IDS)
        write_vector(folder / snicit.BIASES / f"{name}.tsv", np.asarray(layer.bias))
        if progress is not None:
            progress(number, n_layers)
    return [folder / place / f"{name}.tsv" for place in (snicit.WEIGHTS, snicit.BIASES) for name in names]


def _with_last_neurons(weights: sp.csc_array) -> sp.csc_array:
    """Return weights with an entry of value 0 for the last input and output, if one of them has no other."""
    coo = sp.coo_array(weights)
    if all(ids.max(initial=-1) == n - 1 for ids, n in zip(coo.coords, coo.shape, strict=True)):
        return weights
    coords = [np.append(ids, n - 1) for ids, n in zip(coo.coords, coo.shape, strict=True)]
    return sp.csc_array((np.append(coo.data, np.float32(0)), coords), shape=coo.shape)


def _require_expressible(network: Network, bias_on: BiasOn, hidden: Activation, program: str) -> None:
    """Refuse a network that a layout has no words for."""
    if network.bias_on != bias_on and any(layer.bias.any() for layer in network.layers):
        where = "to sums that are not zero" if bias_on == "nonzero" else "everywhere"
        raise OptionError(
            f"bias_on={network.bias_on!r}: {program} adds biases {where}, and would compute something else; "
            f"bias_on={bias_on!r} makes it the same network here"
        )
    for number, layer in enumerate(network.layers, start=1):
        usual = hidden if number < len(network.layers) else identity()
        own = layer.activation
        if not own.is_clamp or (own.low, own.high) != (usual.low, usual.high):
            shown = usual.name if usual.name != "clip" else f"clip({usual.low:g},{usual.high:g})"
            raise OptionError(f"layer {number}: activation={own.name}: {program} has {shown} there, and no other")

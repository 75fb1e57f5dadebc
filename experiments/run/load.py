"""Loads the data of a point: network, instances and truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from experiments.config.file_rules import checks_predictions
from experiments.config.model_rules import has_images, is_model
from experiments.config.resolve import Config
from experiments.records.display import Display
from experiments.run.images import Images
from experiments.run.labels import Labels, load_labels, load_logits
from experiments.run.model_files import ModelUse, read_model
from sparsednn.arguments.arrays import canonical_inputs
from sparsednn.comm import Communicator
from sparsednn.data.challenge_inputs import N_INSTANCES, cache_path, compact_challenge_inputs
from sparsednn.data.compact_rows import CompactRows
from sparsednn.data.layouts.predictions import Predictions
from sparsednn.data.radixnet import radixnet
from sparsednn.engine import RestoredNetwork
from sparsednn.errors import DataError, OptionError
from sparsednn.network import Network, NetworkOutline
from sparsednn.rows.distribution import hashes_rows, initial_rows
from sparsednn.schedulers import AUTO, SCHEDULERS


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a point: network, instances, truth.

    Attributes
    ----------
    network : Network or RestoredNetwork
    outline : NetworkOutline
    inputs : csr_array or CompactRows
        This process's instances; `row_ids` are theirs among those of all processes, int64, ascending.
    model : ModelUse
        What the outputs mean.
    images : Images, or None
        Where the instances are from, if they are dense.
    labels : Labels, or None
        Of all instances.
    truth : int64 array, or None
        The ids of the true categories, on rank 0, if they are given.
    logits : float32 array, shape (instances, outputs), or None
        On rank 0, if the last activations are given.
    predictions : Predictions, or None
        The class of each instance, on rank 0, if that is given.
    seconds : float
        That loading took.
    """

    network: Network | RestoredNetwork
    outline: NetworkOutline
    inputs: sp.csr_array | CompactRows
    row_ids: NDArray[np.int64]
    model: ModelUse
    images: Images | None
    labels: Labels | None
    truth: NDArray[np.int64] | None
    logits: NDArray[np.float32] | None
    seconds: float
    predictions: Predictions | None = None


# `sparsednn.data.files` and `experiments.run.files` are imported where files are read: with them comes pandas, for which other
# runs need not wait.


def load(
    config: Config, display: Display, comm: Communicator, take: Callable[[], RestoredNetwork | None] = lambda: None
) -> Data:
    """Load or generate network, inputs and truth; each process its own instances, and on each node one network. Collective.

    If `take` returns a network, which is packed already, that is the one.
    """
    started_at = perf_counter()
    packed = take()
    network, outline, model = _network(config, display, comm) if packed is None else (packed, packed.outline, None)
    model = model or ModelUse((outline.n_inputs,))
    cached = ", packed, from the cache" if packed is not None else ""
    display.say(
        f"network: {outline.n_inputs:,} neurons x {outline.n_layers:,} layers, {outline.nnz:,} connections "
        f"({perf_counter() - started_at:.1f} s{cached})"
    )
    inputs_at = perf_counter()
    images = Images(config, model, outline.n_inputs) if has_images(config) else None
    with display.stage("inputs") as stage:
        inputs, ids, n_instances = _load_inputs(config, outline.n_inputs, images, stage.update, display, comm)
    labels = load_labels(config, images, n_instances, outline.n_outputs, model)
    of_all = "" if comm.size == 1 else f" of {n_instances} in this process"
    display.say(f"inputs: {inputs.shape[0]:,} instances{of_all}, {inputs.nnz:,} nonzeros ({perf_counter() - inputs_at:.1f} s)")
    given, predictions, logits = None, None, None
    if comm.rank == 0:
        logits = load_logits(config, n_instances, outline.n_outputs)
        if checks_predictions(config):
            from experiments.run.files import read_predictions

            predictions = read_predictions(config, outline.n_outputs, n_instances)
        else:
            given = _load_truth(config, outline, n_instances)
    seconds = perf_counter() - started_at
    return Data(network, outline, inputs, ids, model, images, labels, given, logits, seconds, predictions)


def _network(config: Config, display: Display, comm: Communicator) -> tuple[Network, NetworkOutline, ModelUse | None]:
    with display.stage("network") as stage:

        def make() -> tuple[Network, ModelUse | None]:
            return read_model(config) if is_model(config) else (_load_network(config, stage.update), None)

        network, model = comm.share(make) if config.cluster.share_network else make()
    return network, network.outline(), model


def _load_truth(config: Config, outline: NetworkOutline, n_instances: int) -> NDArray[np.int64] | None:
    """Return the truth that is given, if there is one; cut off where the user has said how many instances are to be run."""
    if config.input.truth is None:
        return None
    from sparsednn.data.files import read_truth

    try:
        truth = read_truth(Path(config.input.truth), outline.n_inputs, outline.n_layers)
    except DataError as error:
        raise DataError(f"{error}; labels, the classes of instances, are input.labels=FILE") from error
    challenge = config.input.name == "challenge"
    if config.instances is not None and not (challenge and config.instances == N_INSTANCES):
        truth = truth[truth <= config.instances]
    if truth.size and truth[-1] > n_instances:
        source, way_out = (
            ("the challenge", "take the truth of these")
            if challenge
            else (f"input.path={config.input.path}", f"instances={n_instances} cuts off the truth there")
        )
        raise OptionError(
            f"input.truth={config.input.truth}: has the category {truth[-1]}, but {source} has {n_instances} instances; "
            f"{way_out}"
        )
    return truth


def _load_network(config: Config, progress: Callable[[int, int], None]) -> Network:
    net, (neurons, layers) = config.network, config.size
    if net.name == "radixnet":
        return radixnet(
            neurons,
            layers,
            radices=net.radices,
            dense_width=net.dense_width,
            seed=net.seed,
            weight=net.weight,
            bias=net.bias,
        )
    from experiments.run.files import read_network

    return read_network(config, progress)


def _load_inputs(
    config: Config, n_inputs: int, images: Images | None, progress: Callable[[int, int], None], display: Display,
    comm: Communicator,
) -> tuple[sp.csr_array | CompactRows, NDArray[np.int64], int]:  # fmt: skip
    """Return this process's instances, their ids, and how many all processes have."""

    def rows_of_process(n: int) -> NDArray[np.int64]:
        hashed, buckets = hashes_rows(config.partition.hashing), config.partition.buckets
        spread = config.scheduler.name != AUTO and SCHEDULERS[config.scheduler.name].cuts
        return np.sort(initial_rows(n, comm.size, hashed=hashed, buckets=buckets, spread=spread)[comm.rank])

    if images is not None:
        ids = rows_of_process(images.n)
        return images.rows(ids, progress, display.say), ids, images.n
    if config.input.name != "challenge":
        from experiments.run.files import read_instances

        rows = read_instances(config, n_inputs)
        ids = rows_of_process(rows.shape[0])
        own_rows = rows if comm.size == 1 else canonical_inputs(rows[ids], n_inputs)
        return own_rows, ids, rows.shape[0]
    n_instances = config.instances or N_INSTANCES
    is_missing = not cache_path(n_inputs).is_file()
    if comm.size > 1 and any(comm.all_gather(is_missing)):  # then one process of each node builds them for all
        if comm.node_rank == 0:
            compact_challenge_inputs(n_inputs, 1, progress=progress)
        comm.barrier()
    ids = rows_of_process(n_instances)
    return compact_challenge_inputs(n_inputs, n_instances, ids=ids, progress=progress), ids, n_instances

"""Takes the packed network of a point from the cache, or puts it there for later runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from experiments.config.model_rules import is_model
from experiments.config.resolve import Config
from experiments.config.schema import SIMULATED
from experiments.records.display import Display
from experiments.run.arguments import options_of
from sparsednn.backend import StoringBackend, kernel_name, load_backend, load_simulated
from sparsednn.comm import Communicator
from sparsednn.data import radixnet
from sparsednn.engine import PreparedNetwork, RestoredNetwork
from sparsednn.engine.network_cache import NetworkCache, key_of
from sparsednn.schedulers import counts_work
from sparsednn.system.cache import cache_folder
from sparsednn.system.memory import GB, MB

PARAMETERS = (
    "name", "radices", "dense_width", "seed", "weight", "bias", "bias_on", "activation", "maximum", "layout", "widths",
    "index_base",
)  # fmt: skip
"""Fields of the group `network` that decide the network, beside its size and its files."""


class PointCache:
    """The cache of networks, as a point uses it. All methods are collective.

    Parameters
    ----------
    config : Config
    display : Display
        Is told what was done.
    comm : Communicator
    """

    def __init__(self, config: Config, display: Display, comm: Communicator) -> None:
        self._config, self._display, self._comm = config, display, comm
        self._cache = NetworkCache(cache_folder() / "networks", int(config.network.cache_gb * GB))
        load = load_simulated if config.executor == SIMULATED else load_backend
        self._backend = load(config.backend.name)
        self._key: str | None = None
        wanted, reason = config.network.cache, self._why_not()
        if wanted is None:
            wanted = config.network.name == "radixnet"
        elif wanted and reason is not None:
            display.say(f"network cache: not used with {reason}")
        self._is_used = wanted and reason is None

    def take(self) -> RestoredNetwork | None:
        """Return the network if all processes find it in the cache."""
        if not self._is_used:
            return None
        assert isinstance(self._backend, StoringBackend)
        key = None
        if self._comm.rank == 0:  # files are read for it
            kernel = kernel_name(self._backend, self._config.kernel)
            key = key_of(_decides(self._config), self._backend, options_of(self._config).kernel_options(kernel))
        self._key = self._comm.broadcast(key)
        found = self._cache.take(self._key, self._backend)
        return found if all(self._comm.all_gather(found is not None)) else None

    def put(self, prepared: PreparedNetwork) -> None:
        """Keep the network, unless it was taken from the cache; the first process of each node does so for all."""
        if self._key is None or isinstance(prepared.network, RestoredNetwork) or prepared.plan is None:
            return
        kept = self._cache.put(self._key, prepared) if self._comm.node_rank == 0 else None
        if kept is not None and self._comm.rank == 0:
            self._display.say(f"network: kept packed in the cache for later runs ({kept / MB:,.1f} MB)")

    def _why_not(self) -> str | None:
        """Name what needs the network itself, or layers packed in another way for each run; None: nothing does."""
        config = self._config
        needing = {
            f"network={config.network.name}": is_model(config),
            f"executor={config.executor}": config.executor == SIMULATED,
            f"backend={config.backend.name}": not isinstance(self._backend, StoringBackend),
            f"scheduler={config.scheduler.name}": counts_work(config.scheduler.name),
            f"partition.hashing={config.partition.hashing}": options_of(config).hashes_neurons,
            f"rebalance_after={config.rebalance_after}": config.rebalance_after is not None,
            f"network.residency={config.network.residency}": config.network.residency != "memory",
        }
        return next((name for name, needs in needing.items() if needs), None)


def _decides(config: Config) -> dict[str, Any]:
    """Return all that decides which network it is; of a generated one without making it."""
    network, (neurons, layers) = config.network, config.size
    decides = {name: getattr(network, name) for name in PARAMETERS} | {"neurons": neurons, "layers": layers}
    digest = hashlib.sha256()
    if network.name == "radixnet":
        digest.update(Path(radixnet.__file__).read_bytes())
    else:
        from experiments.run.files import network_files

        for path in network_files(config):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return decides | {"source": digest.hexdigest()}

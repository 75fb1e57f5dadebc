"""Declares all options of an inference, and builds them from flat keyword arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import instance_of, whole_numbers
from sparsednn.backend.protocol import Backend, KernelOptions
from sparsednn.comm import Communicator, LocalCommunicator
from sparsednn.errors import OptionTypeError, unknown_key
from sparsednn.network import Network
from sparsednn.options.documentation import documented
from sparsednn.options.fields import Options, check_value, declarations, group, group_of
from sparsednn.options.groups import (
    BackendOptions,
    ClusterOptions,
    NetworkOptions,
    OptimizeOptions,
    PartitionOptions,
    RunOptions,
    SchedulerOptions,
)
from sparsednn.rows.distribution import hashes_rows
from sparsednn.schedulers.base import Scheduler
from sparsednn.system.cache import cache_folder

ProgressCallback = Callable[[int, int], None]
NAMED = ("backend", "kernel", "scheduler", "threads", "output", "options")
"""Parameters of `infer` beside these options."""

RENAMED = {("partition", "order"): "row_order"}
"""Fields whose names another group has as well, with their keyword arguments."""


@documented
@dataclass(eq=False, repr=False)
class InferOptions(Options):
    """Options of `sparsednn.infer` and `sparsednn.simulator.simulate.simulate` beyond their named parameters.

    Both take each option as a keyword argument of its own, too: ``infer(..., hashing="input", row_order="alive_first")`` for
    ``options=InferOptions(partition=PartitionOptions(hashing="input", order="alive_first"))``. A value that is not legal raises
    OptionError (a ValueError) or OptionTypeError (a TypeError), which name the option.
    """

    optimize: OptimizeOptions = group(OptimizeOptions)
    backend: BackendOptions = group(BackendOptions)
    partition: PartitionOptions = group(PartitionOptions)
    scheduler: SchedulerOptions = group(SchedulerOptions)
    network: NetworkOptions = group(NetworkOptions)
    cluster: ClusterOptions = group(ClusterOptions)
    run: RunOptions = group(RunOptions)
    progress: ProgressCallback | None = field(
        default=None,
        metadata={"doc": "Called a few times a second with (rows x layers finished, rows x layers in all)."},
    )
    communicator: Communicator = field(
        default_factory=LocalCommunicator,
        metadata={"doc": "The processes that take part: this one alone, unless told otherwise."},
    )
    row_ids: NDArray[np.int64] | None = field(
        default=None,
        metadata={
            "doc": "Ids of this process's instances (int64, shape (n,), from 0 and ascending) among those of all processes, "
            "which have each once; one process's after the other's, by rank, unless given."
        },
    )

    def __setattr__(self, name: str, value: Any) -> None:
        """Check what is no single option as well."""
        match name:
            case "progress" if value is not None and not callable(value):
                raise OptionTypeError(f"progress={value!r}: a function of two numbers is needed")
            case "communicator":
                instance_of("communicator", value, Communicator, "a sparsednn.comm.Communicator is needed")
            case "row_ids" if value is not None:
                value = whole_numbers("row_ids", value)
            case _ if name in GROUPS:
                instance_of(f"options.{name}", value, GROUPS[name], f"a {GROUPS[name].__name__} is needed")
        super().__setattr__(name, value)

    def kernel_options(self, kernel: str) -> KernelOptions:
        """Return those that concern the kernel, whose full name is given."""
        stream_from = cache_folder() / "layers" if self.network.residency == "stream" else None
        taken = {name: getattr(self.optimize, name) for name in declarations(OptimizeOptions)}
        return KernelOptions(kernel, **taken, block_rows=self.backend.block_rows, stream_from=stream_from)

    @property
    def hashes_rows(self) -> bool:
        """Whether instances are hashed."""
        return hashes_rows(self.partition.hashing)

    @property
    def hashes_neurons(self) -> bool:
        """Whether neurons are hashed."""
        return self.partition.hashing in ("layer", "both")


GROUPS: dict[str, type[Options]] = {
    name: made for name, declared in declarations(InferOptions).items() if (made := group_of(declared)) is not None
}
"""The groups of `InferOptions`."""

PARAMETERS: dict[str, tuple[str, str]] = {
    RENAMED.get((name, declared.name), declared.name): (name, declared.name)
    for name, made in GROUPS.items()
    for declared in fields(made)  # type: ignore[arg-type]
}
"""Keyword arguments of `infer` that are options, each with its group and field."""

OTHERS = ("progress", "communicator", "row_ids")
"""Keyword arguments of `infer` that are fields of `InferOptions` themselves."""


def infer_options(given: dict[str, Any], options: InferOptions | None = None) -> InferOptions:
    """Return checked options: flat keyword arguments, and for those that are not given, `options`.

    Raises
    ------
    OptionError, OptionTypeError
        For an unknown option, or a value that is not legal; the message has those that are.
    """
    if options is not None:
        instance_of("options", options, InferOptions, "a sparsednn.InferOptions is needed")
    result, changed = replace(options or InferOptions()), dict[str, dict[str, Any]]()
    for group_name, made in GROUPS.items():  # copies: what the caller changes later is not what is running
        given_group = getattr(result, group_name)
        setattr(result, group_name, made(**{option: getattr(given_group, option) for option in declarations(made)}))
    for name, value in given.items():
        if name in OTHERS:
            setattr(result, name, value)
        elif name in PARAMETERS:
            group_name, option = PARAMETERS[name]
            changed.setdefault(group_name, {})[option] = _checked(name, option, GROUPS[group_name], value)
        else:
            raise OptionTypeError(f"infer: {unknown_key(name, (*NAMED, *PARAMETERS, *OTHERS))}")
    for group_name, values in changed.items():
        setattr(result, group_name, replace(getattr(result, group_name), **values))
    return result


def _checked(name: str, option: str, made: type[Options], value: Any) -> Any:
    """Check a value that a caller has given under another name than its field's."""
    return check_value(declarations(made)[option], name, value)


def require_types(network: Any, backend: Any, kernel: Any = "auto", scheduler: Any = "data") -> None:
    """Refuse what is of the wrong type by its name; what is in it is checked where it is used.

    Raises
    ------
    OptionTypeError
        If the network is no `Network`, the backend no name and no `Backend`, and so on.
    """
    instance_of("network", network, Network, "a sparsednn.Network is needed")
    instance_of("backend", backend, (str, Backend), "the name of a backend, or a sparsednn.backend.Backend is needed")
    instance_of("kernel", kernel, str, "the name of a kernel is needed")
    instance_of("scheduler", scheduler, (str, Scheduler), "the name of a scheduler, or an object of Scheduler is needed")

"""Declares how a backend describes a plan in a record: kernel, optimisations in use, layer reads, devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from sparsednn.system.json_fields import JsonPart, doc, json_part

LAYERS_OF_ONE, FEWEST_LAYERS = 400_000, 4
"""So many layers were off by the largest output itself; networks of fewer layers than these four are taken for four."""


def tolerance_of(n_layers: int) -> float:
    """Return how far outputs of a kernel that adds up in an order of its own may be from exact ones, as a share of the largest.

    Most are much nearer, since roundings of float32 mostly even out. They may be farther where sums cancel: where the terms are
    much larger than what is left of them in the end.
    """
    return max(n_layers, FEWEST_LAYERS) / LAYERS_OF_ONE


@json_part
class Optimizations(JsonPart):
    """The optimisations that are on; a backend may add switches of its own, in `others`."""

    open: ClassVar[bool] = True

    rows: str = field(metadata=doc("what is done about rows that no longer change: none, prune, retire or merge"))
    columns: str = field(metadata=doc("what is done about columns of a layer that are the same: none or merge"))
    order: str = field(metadata=doc("order of a layer's output columns: given or shared_inputs"))
    structure_aware: bool = field(metadata=doc("whether the kernel makes use of the structure of the layers"))
    residency: str | None = field(
        default=None, metadata=doc("where the packed layers are: memory or stream", when="the backend can stream layers")
    )
    block_rows: int | None = field(default=None, metadata=doc("rows of a block", "rows", when="kernels of dense blocks"))
    full_columns: bool | None = field(
        default=None, metadata=doc("whether columns without a zero are added as dense vectors", when="sparse kernels")
    )
    empty_columns: str | None = field(
        default=None,
        metadata=doc(
            "what is done about the sums of columns that no entry reaches: walk or skip", when="kernels of CSC and DCSC"
        ),
    )
    weights: str | None = field(
        default=None,
        metadata=doc(
            "what weights were rounded to before they were packed: bfloat16 or float16", when="weights are not float32"
        ),
    )
    stored_weights: str | None = field(
        default=None,
        metadata=doc(
            "how the kernel stores them: as they were rounded, or float32, where it has no other way or one weight a layer",
            when="weights are not float32",
        ),
    )


@json_part
class LayerReads(JsonPart):
    """The layers that were read from files while other layers were computed."""

    layers: int = field(metadata=doc("layers of the network"))
    different_layers_read: int = field(metadata=doc("how many of them were read at least once"))
    layers_read: int = field(metadata=doc("how many were read in all"))
    bytes_read: int = field(metadata=doc("what was read in all", "bytes"))
    read_s: float = field(metadata=doc("time that reading took", "s"))
    waited_s: float = field(metadata=doc("time that workers waited for layers", "s"))
    overlap: float | None = field(metadata=doc("share of the reading that went on while layers were computed, from 0 to 1"))


@json_part
class UsedDevice(JsonPart):
    """A device and its memory in use; a driver may add further fields."""

    open: ClassVar[bool] = True

    name: str = field(metadata=doc("name of the device"))
    number: int = field(metadata=doc("its number on the machine, from 0"))
    used_bytes: int = field(metadata=doc("memory of the device that is taken", "bytes"))
    compute_capability: str | None = field(default=None, metadata=doc("generation, as NVIDIA numbers it", when="CUDA"))
    memory_bytes: int | None = field(default=None, metadata=doc("memory of the device", "bytes", when="CUDA"))
    driver: int | None = field(default=None, metadata=doc("version of the driver, as CUDA encodes it", when="CUDA"))
    runtime: int | None = field(default=None, metadata=doc("version of the runtime, as CUDA encodes it", when="CUDA"))
    cupy: str | None = field(default=None, metadata=doc("version of CuPy", when="CUDA"))
    peers: list[int] | None = field(default=None, metadata=doc("devices whose memory it reads without the host", when="CUDA"))


@json_part
class DeviceUse(JsonPart):
    """The devices of rank 0, and what they did in all repeats by their own clocks."""

    devices: list[UsedDevice] = field(metadata=doc("each device"))
    block_rows: int = field(metadata=doc("instances that a device takes at a time, at most", "rows"))
    row_groups: int = field(metadata=doc("row groups that were run"))
    row_groups_s: float = field(
        metadata=doc("from the first work of each to its last, by the device's clock, time of the host included", "s")
    )
    kernel_s: float | None = field(
        default=None,
        metadata=doc(
            "of that, what layers took: from before the first launch to after the last of each few that follow each other", "s"
        ),
    )
    upload_s: float | None = field(default=None, metadata=doc("of that, what copies of inputs to devices took", "s"))
    host_s: float | None = field(
        default=None, metadata=doc("what is left of it: devices waited for the host, or looked for rows to drop", "s")
    )
    uploaded_bytes: int | None = field(
        default=None, metadata=doc("inputs copied to devices, where they were not yet from an earlier repeat", "bytes")
    )
    inputs_pinned: bool | None = field(default=None, metadata=doc("whether the host's memory of the inputs could be pinned"))
    layers_copied: int | None = field(default=None, metadata=doc("layers copied to devices", when="residency=stream"))
    copied_bytes: int | None = field(default=None, metadata=doc("bytes copied to devices", "bytes", when="residency=stream"))
    layers_pinned: bool | None = field(
        default=None, metadata=doc("whether the host's memory of the layers could be pinned", when="residency=stream")
    )


@dataclass(slots=True, eq=False, repr=False)
class PlanDescription:
    """The description of a plan in a record.

    Attributes
    ----------
    kernel : str
        The kernel's own name.
    optimizations : Optimizations
        Those that are on.
    stream : LayerReads, optional
        If layers are read while others are computed.
    device : DeviceUse, optional
        If devices are used.
    tolerance : float, optional
        If the bits are not those of the reference: how far an output may be from the exact one, as a share of the largest.
    """

    kernel: str
    optimizations: Optimizations
    stream: LayerReads | None = None
    device: DeviceUse | None = None
    tolerance: float | None = None

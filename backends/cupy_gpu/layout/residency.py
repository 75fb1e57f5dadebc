"""Gives workers the layers: all kept in the device's memory, or as many as fit, copied there from pinned memory of the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from backends.cupy_gpu.device.interface import Device, DeviceArray, Event, Stream
from backends.cupy_gpu.layout.packed import PackedLayer, PackedNetwork

Make = Callable[[Device, PackedLayer, DeviceArray], Any]
"""Turns the bytes of a layer, on a device, into the form that a kernel takes."""

SLOTS_PER_WORKER = 2
"""Places for layers that each worker needs at least: of the one that is used, and of the next, which is copied meanwhile."""


class Tables(NamedTuple):
    """All layers on a device, as `layers_staged` in `kernels.cu` takes them: their bytes, and two tables of them."""

    store: DeviceArray
    table: DeviceArray
    numbers: DeviceArray


class Layers(Protocol):
    """The layers of a network, as one worker comes to them."""

    def take(self, number: int) -> Any:
        """Return a layer, for work that is put into the worker's stream from now on."""

    def give_back(self, number: int) -> None:
        """Say that all work with a layer is in the stream."""

    def tables(self) -> Tables | None:
        """Return all layers, for work with several at a time; None if they are not all on the device."""


class ResidentNetwork(Layers):
    """A whole network in the memory of a device, for all workers there; layers that are the same are there once."""

    def __init__(self, device: Device, network: PackedNetwork, make: Make, stream: Stream) -> None:
        self._layers = network.layers
        data, narrow = device.upload(network.store, stream), network.narrow
        self._tables = (
            Tables(data, device.upload(narrow.table, stream), device.upload(narrow.numbers, stream)) if narrow else None
        )
        stream.synchronize()
        self._made: dict[tuple[int, ...], Any] = {}
        for layer in network.layers:  # now, and not when a layer is first used, which is in a run that is timed
            if layer.identity not in self._made:
                self._made[layer.identity] = make(device, layer, data[layer.at : layer.at + layer.n_bytes])

    def take(self, number: int) -> Any:
        return self._made[self._layers[number].identity]

    def give_back(self, number: int) -> None:
        """Keep the layer: the whole network stays."""

    def tables(self) -> Tables | None:
        return self._tables


@dataclass(slots=True, eq=False)
class Slot:
    """A place for the bytes of a layer in a device's memory.

    Attributes
    ----------
    data : uint8 array of the device, shape (bytes of the largest layer,)
    at : int, or None
        Which bytes of the network it holds: where they begin.
    copied : Event, or None
        From when on they are there.
    ready_in : set of Stream
        Streams that have waited for that.
    used : dict of Stream to Event
        For each stream, from when on its work with them is done.
    n_users : int
        Workers that have taken it and not given it back.
    made : dict
        The layer in the form that the kernel takes; for each layer with these bytes.
    turn : int
        When it was last taken.
    """

    data: DeviceArray
    at: int | None = None
    copied: Event | None = None
    ready_in: set[Stream] = field(default_factory=set)
    used: dict[Stream, Event] = field(default_factory=dict)
    n_users: int = 0
    made: dict[tuple[int, ...], Any] = field(default_factory=dict)
    turn: int = 0


class LayerCache:
    """The layers in a device's memory that were needed last, for all workers there; others are copied when they are wanted.

    Layers that are the same have the same bytes, which are copied once. Copies have a stream of their own. A layer's copy
    begins when all work with the one that was in its place is done, and work with it when the copy is done; events see to both.

    Parameters
    ----------
    device : Device
    network : PackedNetwork
        Its bytes are pinned.
    make : callable
    n_slots : int
        Places for layers: `SLOTS_PER_WORKER` for each worker at least.
    """

    def __init__(self, device: Device, network: PackedNetwork, make: Make, n_slots: int) -> None:
        self._device, self._network, self._make = device, network, make
        self.copies = device.new_stream()
        with device.current(self.copies):
            self._slots = [Slot(device.empty(network.largest_layer_bytes, "uint8")) for _ in range(n_slots)]
        self._holders: dict[int, Slot] = {}
        self._keeps_all = n_slots >= network.n_different
        self._turn = 0
        self._lock = threading.Lock()
        self.n_copied, self.copied_bytes = 0, 0

    def take(self, number: int, stream: Stream) -> Any:
        """Return a layer, for work that is put into a stream from now on; the copy of the next one has begun."""
        layers = self._network.layers
        with self._lock:
            slot, layer = self._fetch(layers[number]), layers[number]
            slot.n_users += 1
            self._wait(slot, stream)
            if number + 1 < len(layers) and self._can_fetch(layers[number + 1]):
                self._fetch(layers[number + 1])
            if layer.identity not in slot.made:
                slot.made[layer.identity] = self._make(self._device, layer, slot.data[: layer.n_bytes])
            return slot.made[layer.identity]

    def give_back(self, number: int, stream: Stream) -> None:
        """Say that all work with a layer is in the stream."""
        with self._lock:
            slot = self._holders[self._network.layers[number].at]
            slot.n_users -= 1
            if not self._keeps_all:  # else no other layer takes its place
                slot.used[stream] = stream.record(slot.used.get(stream))

    def _wait(self, slot: Slot, stream: Stream) -> None:
        """Let a stream's work with a layer wait for its copy."""
        if stream not in slot.ready_in:
            stream.wait(slot.copied)
            slot.ready_in.add(stream)

    def _can_fetch(self, layer: PackedLayer) -> bool:
        return layer.at in self._holders or any(slot.n_users == 0 for slot in self._slots)

    def _fetch(self, layer: PackedLayer) -> Slot:
        """Return the place of a layer, whose copy is in the stream by now; if need be, that which nobody has needed longest."""
        self._turn += 1
        slot = self._holders.get(layer.at)
        if slot is None:
            slot = min((slot for slot in self._slots if slot.n_users == 0), key=lambda slot: slot.turn)
            self._copy(layer, slot)
        slot.turn = self._turn
        return slot

    def _copy(self, layer: PackedLayer, slot: Slot) -> None:
        """Put the copy of a layer into the stream of copies, in place of another one."""
        for event in slot.used.values():
            self.copies.wait(event)
        if slot.at is not None:
            del self._holders[slot.at]
        self._device.copy_in(self._network.store[layer.at : layer.at + layer.n_bytes], slot.data[: layer.n_bytes], self.copies)
        slot.at, slot.copied = layer.at, self.copies.record(slot.copied)
        slot.used, slot.ready_in, slot.made = {}, set(), {}
        self._holders[layer.at] = slot
        self.n_copied += 1
        self.copied_bytes += layer.n_bytes


class StreamedLayers(Layers):
    """The layers of a network that does not stay in a device's memory, for one worker.

    Parameters
    ----------
    cache : LayerCache
        That of the device.
    stream : Stream
        The worker's.
    """

    def __init__(self, cache: LayerCache, stream: Stream) -> None:
        self._cache, self._stream = cache, stream

    def take(self, number: int) -> Any:
        return self._cache.take(number, self._stream)

    def give_back(self, number: int) -> None:
        self._cache.give_back(number, self._stream)

    def tables(self) -> Tables | None:
        return None

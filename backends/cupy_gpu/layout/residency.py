"""Gives workers the layers: kept in the device's memory, or streamed there from pinned memory of the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from backends.cupy_gpu.device.interface import Device, DeviceArray, Event, Stream
from backends.cupy_gpu.layout.packing import PackedLayer, PackedNetwork

Make = Callable[[Device, PackedLayer, DeviceArray], Any]
"""Turns the bytes of a layer, on a device, into the form that a kernel takes."""


class Layers(Protocol):
    """The layers of a network, as one worker comes to them."""

    def take(self, number: int) -> Any:
        """Return a layer, for work that is put into the worker's stream from now on."""

    def give_back(self, number: int) -> None:
        """Say that all work with a layer is in the stream."""


class ResidentNetwork(Layers):
    """A whole network in the memory of a device, for all workers there."""

    def __init__(self, device: Device, network: PackedNetwork, make: Make, stream: Stream) -> None:
        self._device, self._network, self._make = device, network, make
        self._bytes = device.upload(network.store, stream)
        stream.synchronize()
        self._made: dict[int, Any] = {}
        self._lock = threading.Lock()

    def take(self, number: int) -> Any:
        with self._lock:
            if number not in self._made:
                layer = self._network.layers[number]
                self._made[number] = self._make(self._device, layer, self._bytes[layer.at : layer.at + layer.n_bytes])
            return self._made[number]

    def give_back(self, number: int) -> None:
        """Keep the layer: the whole network stays."""


class StreamedLayers(Layers):
    """Two layers of a network at a time in a device's memory, for one worker: one is used while the next is copied.

    Copies have a stream of their own. A layer's copy begins when all work with the one that was in its place is done, and work
    with it when the copy is done; events see to both.
    """

    def __init__(self, device: Device, network: PackedNetwork, make: Make, stream: Stream) -> None:
        self._device, self._network, self._make, self._stream = device, network, make, stream
        self._copies = device.new_stream()
        self._slots = [device.empty(network.largest_layer_bytes, "uint8") for _ in range(2)]
        self._holds: list[int | None] = [None, None]
        self._copied: list[Event | None] = [None, None]
        self._used: list[Event | None] = [None, None]
        self.n_copied, self.copied_bytes = 0, 0

    def take(self, number: int) -> Any:
        """Return a layer, for work that is put into the worker's stream from now on; the copy of the next one has begun."""
        slot = self._fetch(number)
        copied = self._copied[slot]
        assert copied is not None
        self._stream.wait(copied)
        if number + 1 < len(self._network.layers):
            self._fetch(number + 1)
        layer = self._network.layers[number]
        return self._make(self._device, layer, self._slots[slot][: layer.n_bytes])

    def give_back(self, number: int) -> None:
        self._used[number % 2] = self._stream.record()

    def _fetch(self, number: int) -> int:
        """Put a layer's copy into the stream of copies, unless it is there; return its place."""
        slot = number % 2
        if self._holds[slot] != number:
            used, layer = self._used[slot], self._network.layers[number]
            if used is not None:
                self._copies.wait(used)
            part = self._network.store[layer.at : layer.at + layer.n_bytes]
            self._device.copy_in(part, self._slots[slot][: layer.n_bytes], self._copies)
            self._holds[slot], self._copied[slot] = number, self._copies.record()
            self.n_copied += 1
            self.copied_bytes += layer.n_bytes
        return slot

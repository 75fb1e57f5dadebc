"""Brings rows of the inputs to devices: from pinned memory, without a copy on the host, and once while there is room."""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backends.common.positions import entries_at
from backends.cupy_gpu.device.interface import Device, DeviceArray, Event, Stream
from backends.cupy_gpu.run.worker import UPLOAD, Lane

WORTH_A_COPY = 2
"""Entries are gathered on the host where so many times as many lie between the first and the last of them."""


class HostInputs:
    """Instances of one csr matrix, as they are copied to devices.

    Parameters
    ----------
    inputs : csr_array, float32
    device : Device, optional
        Pins their memory for all devices; without one, what is copied is gathered on the host.

    Attributes
    ----------
    indptr : int64 array, shape (n_instances + 1,)
    indices : int32 array, shape (n_entries,)
        The matrix's own memory, if it has this dtype.
    values : float32 array, shape (n_entries,); or None, where all are the same
    value : float32
        That which all are; 0 where they are not.
    pinned : bool
    """

    def __init__(self, inputs: sp.csr_array, device: Device | None = None) -> None:
        self.indptr = np.asarray(inputs.indptr, np.int64)
        self.indices = np.ascontiguousarray(inputs.indices, np.int32)
        data = np.ascontiguousarray(inputs.data, np.float32)
        same = data.size > 0 and bool((data.view(np.int32) == data.view(np.int32)[0]).all())
        self.values = None if same else data
        self.value = np.float32(data[0] if same else 0)
        self.stays = device is not None
        self.pinned = False
        if device is not None:
            stack = ExitStack()
            arrays = [array.view(np.uint8) for array in (self.indices, self.values) if array is not None and array.size]
            pinned = [stack.enter_context(device.pin(array)) for array in arrays]
            self.pinned = all(pinned)
            weakref.finalize(self, stack.close)

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry on a device."""
        return 4 if self.values is None else 8


@dataclass(frozen=True, slots=True)
class DeviceEntries:
    """Entries of some instances on a device, one after the other.

    Attributes
    ----------
    indices : int32 array of the device, shape (n_entries,)
    values : float32 array of the device, shape (n_entries,); or None, where all are the same
    ready : Event
        From when on they are there.
    """

    indices: DeviceArray
    values: DeviceArray | None
    ready: Event


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """Instances on a device; see `fill_rows` in `kernels.cu`.

    Attributes
    ----------
    begins, ends : int64 arrays of the device, shape (n,)
        Where the entries of each begin and end.
    entries : DeviceEntries
    value : float32
        The value of all entries, where they have none.
    """

    begins: DeviceArray
    ends: DeviceArray
    entries: DeviceEntries
    value: np.float32


@dataclass(frozen=True, slots=True)
class InputRows:
    """Instances of the inputs, to be brought to a device.

    Attributes
    ----------
    inputs : csr_array, float32
    chosen : int64 array, shape (n,)
        Rows of `inputs`, ascending.
    host : HostInputs
    store : DeviceInputs
    """

    inputs: sp.csr_array
    chosen: NDArray[np.int64]
    host: HostInputs
    store: DeviceInputs

    @classmethod
    def all_of(cls, inputs: sp.csr_array) -> InputRows:
        """Return all rows of a small matrix, which is brought to no device for longer."""
        return cls(inputs, np.arange(inputs.shape[0]), HostInputs(inputs), DeviceInputs({}))

    @property
    def shape(self) -> tuple[int, int]:
        """Instances, and neurons."""
        return len(self.chosen), int(self.inputs.shape[1])

    def on(self, lane: Lane) -> LoadedRows:
        """Return them on a worker's device, for work that is put into its stream from now on."""
        return self.store.rows(self.host, self.chosen, lane)


class DeviceInputs:
    """The inputs of a process's row groups on its devices: what has been copied stays, while there is room.

    Parameters
    ----------
    room : dict of int to int
        For each device, by number, the bytes that they may take.
    """

    def __init__(self, room: dict[int, int]) -> None:
        self._room, self._left = room, dict(room)
        self._of: weakref.ref[sp.csr_array] | None = None
        self._host: HostInputs | None = None
        self._kept: dict[tuple[int, int, int], DeviceEntries] = {}
        self._streams: set[Stream] = set()
        self._lock = threading.RLock()
        self.uploaded_bytes = 0

    @property
    def pinned(self) -> bool | None:
        """Whether the inputs are pinned; None if there are none."""
        return None if self._host is None else self._host.pinned

    def take(self, inputs: sp.csr_array, device: Device) -> None:
        """Get ready for row groups of these inputs; others, and what devices have of them, are forgotten.

        When these are gone themselves, they are forgotten, too.
        """
        with self._lock:
            if self._of is None or self._of() is not inputs:
                self._forget()
                me = weakref.ref(self)

                def gone(of: Any) -> None:
                    store = me()
                    if store is not None:
                        store._forget(of)

                self._host, self._of = HostInputs(inputs, device), weakref.ref(inputs, gone)

    def choose(self, inputs: sp.csr_array, chosen: NDArray[np.int64]) -> InputRows:
        """Return rows of inputs; chosen : int64 (n,), ascending."""
        with self._lock:
            ours = self._of is not None and self._of() is inputs
            host = self._host if ours and self._host is not None else HostInputs(inputs)
        return InputRows(inputs, chosen, host, self)

    def rows(self, host: HostInputs, chosen: NDArray[np.int64], lane: Lane) -> LoadedRows:
        """Return instances on a worker's device, for work that is put into its stream from now on."""
        begins, ends = host.indptr[chosen], host.indptr[chosen + 1]
        first, last = (int(begins[0]), int(ends[-1])) if len(chosen) else (0, 0)
        if not host.stays or last - first > WORTH_A_COPY * int((ends - begins).sum()):
            entries, first = self._gathered(host, begins, ends, lane), 0
            bounds = np.concatenate([[0], np.cumsum(ends - begins)])
            begins, ends = bounds[:-1], bounds[1:]
        else:
            entries = self._side_by_side(host, first, last, lane)
        return LoadedRows(lane.upload(begins - first), lane.upload(ends - first), entries, host.value)

    def _side_by_side(self, host: HostInputs, first: int, last: int, lane: Lane) -> DeviceEntries:
        """Return entries that lie side by side: those of an earlier call, or copies that are in the worker's stream by now."""
        key = (lane.device.number, first, last)
        with self._lock:
            entries = self._kept.get(key)
            if entries is None:
                entries = self._copied(host, first, last, lane)
                n_bytes = host.entry_bytes * (last - first)
                if self._left.get(key[0], 0) >= n_bytes:
                    self._left[key[0]] -= n_bytes
                    self._kept[key] = entries
            else:
                lane.stream.wait(entries.ready)
        return entries

    def _copied(self, host: HostInputs, first: int, last: int, lane: Lane) -> DeviceEntries:
        self._streams.add(lane.stream)
        with lane.timing(UPLOAD):
            indices = self._copy(host.indices[first:last], lane)
            values = None if host.values is None else self._copy(host.values[first:last], lane)
        return DeviceEntries(indices, values, lane.stream.record())

    def _copy(self, part: NDArray[Any], lane: Lane) -> DeviceArray:
        target = lane.device.empty(part.size, part.dtype)
        if part.size:
            lane.device.copy_in(part.view(np.uint8), target.view(np.uint8), lane.stream)
            self.uploaded_bytes += part.nbytes
        return target

    def _gathered(self, host: HostInputs, begins: NDArray[np.int64], ends: NDArray[np.int64], lane: Lane) -> DeviceEntries:
        """Copy entries that lie apart, one instance after the other, on the host and then to the device."""
        at = entries_at(begins, ends)
        indices, values = host.indices[at], None if host.values is None else host.values[at]
        with lane.timing(UPLOAD):
            found = lane.upload(indices), None if values is None else lane.upload(values)
        with self._lock:
            self.uploaded_bytes += host.entry_bytes * len(at)
        return DeviceEntries(*found, lane.stream.record())

    def _forget(self, of: Any = None) -> None:
        with self._lock:
            if of is None or of is self._of:
                for stream in self._streams:  # of a run that has ended early
                    with suppress(Exception):
                        stream.synchronize()
                self._streams.clear()
                self._of = self._host = None
                self._kept.clear()
                self._left = dict(self._room)

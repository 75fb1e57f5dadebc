"""The seam: whatever stands for a device has all its calls, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from backends.cupy_gpu.device.cuda import CudaDevice, CudaStream
from backends.cupy_gpu.device.interface import Device, Event, Stream
from tests.gpu.host_device import HostDevice, HostEvent, HostStream


@pytest.mark.parametrize(
    ("protocol", "implementation"),
    [
        pytest.param(Device, CudaDevice, id="CUDA device"),
        pytest.param(Device, HostDevice, id="device on the host"),
        pytest.param(Stream, CudaStream, id="CUDA stream"),
        pytest.param(Stream, HostStream, id="stream on the host"),
        pytest.param(Event, HostEvent, id="event on the host"),
    ],
)
def test_signatures_are_those_of_the_seam(protocol: Any, implementation: Any) -> None:
    names = [name for name in vars(protocol) if not name.startswith("_") and callable(getattr(protocol, name))]
    assert names
    for name in names:
        expected = list(inspect.signature(getattr(protocol, name)).parameters)
        assert list(inspect.signature(getattr(implementation, name)).parameters) == expected, name

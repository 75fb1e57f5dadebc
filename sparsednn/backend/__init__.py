"""Owns the interface between the engine and the backends; import its names from here.

`sparsednn.backend.protocol` says what a backend is, `sparsednn.backend.optional` what some can do besides,
`sparsednn.backend.stored` how their packed networks get into files,
`sparsednn.backend.shared_memory` what executor and kernels share while they run, and `sparsednn.backend.registry` finds
backends by name.
"""

from __future__ import annotations

from sparsednn.backend.description import (
    DeviceUse,
    LayerReads,
    Optimizations,
    PlanDescription,
    UsedDevice,
    tolerance_of,
)
from sparsednn.backend.optional import (
    PLAIN_ENTRY_BYTES,
    CompactBackend,
    CostedBackend,
    CostKind,
    DeviceBackend,
    DirectBackend,
    DirectNetwork,
    DirectOutcome,
    DirectSize,
    InputsBackend,
    LayerSizes,
    MemoryBytes,
    ProfilingBackend,
    RunSize,
    SizedBackend,
)
from sparsednn.backend.protocol import LEGAL_OPTIONS, Backend, GroupResult, KernelOptions
from sparsednn.backend.registry import (
    ENTRY_POINT_GROUP,
    FORMER_KERNELS,
    backend_names,
    kernel_name,
    load_backend,
    require_clamps,
    require_in_memory,
    require_schedulable,
    workers_of,
)
from sparsednn.backend.shared_memory import (
    CALL,
    DONE,
    LINE,
    MEET_NS,
    MULTIPLY_ADDS,
    SCORE,
    STOP_FLAG,
    WORK,
    Control,
    Outcome,
    Team,
)
from sparsednn.backend.stored import StoredLayout, StoringBackend
from sparsednn.errors import DeviceError

__all__ = [
    "CALL",
    "DONE",
    "ENTRY_POINT_GROUP",
    "FORMER_KERNELS",
    "LEGAL_OPTIONS",
    "LINE",
    "MEET_NS",
    "MULTIPLY_ADDS",
    "PLAIN_ENTRY_BYTES",
    "SCORE",
    "STOP_FLAG",
    "WORK",
    "Backend",
    "CompactBackend",
    "Control",
    "CostKind",
    "CostedBackend",
    "DeviceBackend",
    "DeviceError",
    "DeviceUse",
    "DirectBackend",
    "DirectNetwork",
    "DirectOutcome",
    "DirectSize",
    "GroupResult",
    "InputsBackend",
    "KernelOptions",
    "LayerReads",
    "LayerSizes",
    "MemoryBytes",
    "Optimizations",
    "Outcome",
    "PlanDescription",
    "ProfilingBackend",
    "RunSize",
    "SizedBackend",
    "StoredLayout",
    "StoringBackend",
    "Team",
    "UsedDevice",
    "backend_names",
    "kernel_name",
    "load_backend",
    "require_clamps",
    "require_in_memory",
    "require_schedulable",
    "tolerance_of",
    "workers_of",
]

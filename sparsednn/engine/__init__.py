"""Puts partition, scheduler, executor and backend together: owns `infer`, and networks that are compiled for many calls."""

from __future__ import annotations

from sparsednn.engine.compiled import CompiledNetwork, compile
from sparsednn.engine.inference import infer
from sparsednn.engine.layouts import Description, NetworkLayout
from sparsednn.engine.loading import load
from sparsednn.engine.prepared import PreparedNetwork, RestoredNetwork
from sparsednn.engine.request import Request, default_threads, make_scheduler, reads_compact_rows

__all__ = [
    "CompiledNetwork",
    "Description",
    "NetworkLayout",
    "PreparedNetwork",
    "Request",
    "RestoredNetwork",
    "compile",
    "default_threads",
    "infer",
    "load",
    "make_scheduler",
    "reads_compact_rows",
]

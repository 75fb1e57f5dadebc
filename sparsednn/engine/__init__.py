"""Puts partition, scheduler, executor and backend together: owns `infer`, and networks that are compiled for many calls."""

from __future__ import annotations

from sparsednn.engine.compiled import CompiledNetwork, Description, NetworkLayout, compile
from sparsednn.engine.inference import PreparedNetwork, Request, default_threads, infer, make_scheduler

__all__ = [
    "CompiledNetwork",
    "Description",
    "NetworkLayout",
    "PreparedNetwork",
    "Request",
    "compile",
    "default_threads",
    "infer",
    "make_scheduler",
]

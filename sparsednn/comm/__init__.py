"""Owns the communication between the processes of a run."""

from __future__ import annotations

from sparsednn.comm.base import Communicator
from sparsednn.comm.local import LocalCommunicator

__all__ = ["Communicator", "LocalCommunicator"]

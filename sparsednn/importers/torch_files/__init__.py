"""Imports programs that torch.export has saved (.pt2), without PyTorch: nothing that a file holds is ever unpickled or run."""

from __future__ import annotations

from sparsednn.importers.torch_files.programs import from_program

__all__ = ["from_program"]

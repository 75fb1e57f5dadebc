"""Imports models that Keras has saved (.keras, .h5), without Keras: nothing that a file holds is ever run."""

from __future__ import annotations

from sparsednn.importers.keras_files.models import from_keras

__all__ = ["from_keras"]

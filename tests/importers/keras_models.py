"""Models and archives that tests of Keras's models share."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import sparsednn
from sparsednn.errors import SparseDnnError

needs_h5py = pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="needs h5py: the extra keras")
needs_keras = pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="needs Keras, to compare with")


def refused(path: Any, message: str) -> None:
    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.from_keras(path)
    assert "\n" not in str(caught.value)

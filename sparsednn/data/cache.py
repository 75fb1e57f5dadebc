"""The user's cache folder: files that can be rebuilt at any time, so none of them is ever trusted blindly."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "SPARSEDNN_CACHE"


def cache_folder() -> Path:
    """Return the folder for rebuilt data: the environment variable SPARSEDNN_CACHE, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("sparsednn"))

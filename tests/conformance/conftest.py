"""Fixtures that several files here use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def four_cores() -> Iterator[None]:
    """Teams of direct calls have as many threads as there are cores at most; here they are to have four anywhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sparsednn.engine.request.default_threads", lambda: 4)
        yield

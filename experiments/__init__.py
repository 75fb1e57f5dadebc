"""Owns the runs of configurations: launches, measures and reports them."""

import contextlib

from experiments.run import matplotlib_backend
from sparsednn.system.siblings import claim

matplotlib_backend.leave_out_unknown()
with contextlib.suppress(ImportError):  # it is said where a backend is needed; records can be read all the same
    claim("backends")

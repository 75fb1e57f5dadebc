"""Names the flags that `layout.reader.LayerReader` shares with the kernels that wait for layers, in int64 arrays."""

from __future__ import annotations

NOT_READY, READY, DAMAGED = 0, 1, -1
"""Whether a layer may be computed, in `LayerReader.ready`."""

AT_LAYER = 0
"""Entry of a worker's line of `LayerReader.at`: the layer that it has come to."""

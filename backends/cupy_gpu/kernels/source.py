"""Holds the CUDA source of the kernels, and says how to compile it."""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).with_name("kernels.cu")
OPTIONS = ("--std=c++17", "--fmad=false")
"""Options for NVRTC: it fuses no multiply and add, since results are to have the bits of the CPU kernels."""

LANES, MINIBATCH, OUTPUTS, WARPS = 32, 4, 4, 8
"""As in the source: threads of a warp, instances and outputs of a thread, warps of a block of threads."""

TILE = LANES * MINIBATCH
"""Instances that a block of threads takes at a time."""

SLICE = WARPS * OUTPUTS
"""Outputs that it computes."""

SHARED_BYTES = 48 * 2**10
"""Shared memory that a block of threads may use on every device without asking."""

INPUT_BYTES = 4 * TILE
"""Shared memory of one staged input."""


def source() -> str:
    """Return the text of all kernels."""
    return PATH.read_text(encoding="utf-8")


AHEAD = 4
"""Terms of which a thread of `shared_kernel` reads the ids at a time."""

EACH, ONE, NONE = range(3)
"""Weights of a layer: of each connection, one for all, and none within its sums."""

THREADS = 256
"""Threads of a block that takes instances through several layers."""

HELD = 2
"""Quads of outputs that each of them computes."""

MANY = "layers_staged"
"""The kernel of that."""

SHARED, ADDED = "layer_shared", "layer_shared_added_staged"
"""How the kernels' names begin for layers where the outputs of a thread have the same inputs; and that which only adds."""


def layer_kernel(*, wide: bool, uniform: bool, staged: bool) -> str:
    """Return the name of the fused kernel for ids of 4 bytes, one weight, inputs in shared memory."""
    return f"layer_{32 if wide else 16}{'_uniform' if uniform else ''}{'_staged' if staged else ''}"


def shared_kernel(*, uniform: bool) -> str:
    """Return the name of the fused kernel, inputs in shared memory, for outputs of a thread that have the same inputs."""
    return f"{SHARED}{'_uniform' if uniform else ''}_staged"

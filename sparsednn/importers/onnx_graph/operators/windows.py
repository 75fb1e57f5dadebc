"""Reads the windows of convolutions and pools from a node's attributes."""

from __future__ import annotations

from collections.abc import Sequence

from sparsednn.importers.lowering import WindowAxis
from sparsednn.importers.onnx_graph.operators.call import NodeCall

MOST_ELEMENTS = 2**26
"""Elements of all windows along one axis; more would only be a mistake, or meant to fill the memory."""


def window_axes(call: NodeCall, spatial: Sequence[int], kernel: Sequence[int], *, ceil: bool = False) -> list[WindowAxis]:
    """Return the windows along each axis.

    Raises
    ------
    ValueError
        If an attribute has not one number (pads: two) for each axis, a number is not legal, or a window is larger than what it
        looks at.
    """
    n = len(spatial)
    strides, dilations = (call.integers(name) or [1] * n for name in ("strides", "dilations"))
    auto = call.text("auto_pad", "NOTSET")
    given = call.integers("pads") if auto == "NOTSET" else None
    pads = [0] * 2 * n if given is None else given
    lengths = len(kernel) == len(strides) == len(dilations) == n and len(pads) == 2 * n
    if not lengths or min([*kernel, *strides, *dilations], default=0) < 1 or min(pads) < 0:
        raise call.error(f"kernel {list(kernel)}, strides {strides}, dilations {dilations} and pads {pads} do not fit {n} axes")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise call.error(f"auto_pad={auto} is unknown")
    axes = []
    for number, (size, k, stride, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
        span = dilation * (k - 1) + 1
        before, after = pads[number], pads[n + number]
        if auto.startswith("SAME"):
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        room = size + before + after - span
        out = (-(-room // stride) if ceil else room // stride) + 1
        if ceil and (out - 1) * stride >= size + before:
            out -= 1  # no window begins in the padding behind
        if room < 0 or out < 1:
            raise call.error(f"its windows of {span} are larger than what they look at, {size + before + after}")
        if out * k > MOST_ELEMENTS:
            raise call.error(f"has {out:,} windows of {k:,} elements along an axis; no more than {MOST_ELEMENTS:,} are taken")
        axes.append(WindowAxis(size, k, stride, dilation, before, after, out))
    return axes

"""Generates RadiX-Nets, the synthetic sparse networks of the Sparse DNN Graph Challenge, exactly.

Sources: Kepner and Robinett, "RadiX-Net: Structured Sparse Matrices for Deep Neural Networks", IPDPSW 2019; Kepner et
al., "Sparse Deep
Neural Network Graph Challenge", HPEC 2019. All 120 published layers of 1024 neurons are reproduced bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sparsednn.arguments.scalars import real_number, whole_number, whole_numbers
from sparsednn.errors import OptionError
from sparsednn.network import Challenge, Network, RepeatedLayer, clipped_relu
from sparsednn.system.memory import require
from sparsednn.system.parallel import in_threads

CHALLENGE_BIAS = {1024: -0.30, 4096: -0.35, 16384: -0.40, 65536: -0.45}
CHALLENGE_LAYERS = (120, 480, 1920)
CHALLENGE_DENSE_WIDTH = 16
CHALLENGE_WEIGHT = 1 / 16
CHALLENGE_SEED = 5489
MAXIMUM = 32.0
BYTES_PER_CONNECTION = 4


def radixnet(
    neurons: int,
    layers: int,
    *,
    radices: Sequence[int] | None = None,
    dense_width: int = CHALLENGE_DENSE_WIDTH,
    seed: int = CHALLENGE_SEED,
    weight: float = CHALLENGE_WEIGHT,
    bias: float | None = None,
) -> Network:
    """Generate a mixed-radix network.

    The layers come in blocks of ``len(radices)``. With m the product of the radices, layer p of a block has the m x m base
    pattern with ones at ``((c + k * v) mod m, c)`` for ``k < radices[p]``, where v is the product of the radices before
    p. A layer
    is ``kron(ones(dense_width, dense_width), base) * weight`` with its rows permuted; all layers of a block have the same
    permutation, the first block has none.

    Parameters
    ----------
    neurons : int
        ``dense_width`` times the product of the radices.
    layers : int
        A multiple of ``len(radices)``.
    radices : sequence of int, optional
        All 2 unless given, as the challenge has them.
    dense_width : int
    seed : int
        Of the Mersenne Twister stream that the permutations are drawn from.
    weight : float
        Of every connection.
    bias : float, optional
        The challenge's for 1024, 4096, 16384 and 65536 neurons; must be given for other sizes.

    Returns
    -------
    Network
        Activation ``min(max(z, 0), 32)``, bias only where ``Y @ W`` is nonzero.

    Raises
    ------
    TypeError
        If a size is no whole number, or a value no number.
    ValueError
        If the sizes do not go together, or no bias is given and none is published.
    MemoryError
        If the network does not fit.
    """
    neurons, layers = whole_number("neurons", neurons), whole_number("layers", layers)
    dense_width, seed = whole_number("dense_width", dense_width), whole_number("seed", seed, 0)
    if seed >= 2**32:
        raise OptionError(f"seed={seed}: must be from 0 to {2**32 - 1}")
    radices = _radices(neurons, dense_width) if radices is None else tuple(whole_numbers("radices", radices).tolist())
    weight = real_number("weight", weight)
    _check(neurons, layers, radices, dense_width, weight)
    bias = challenge_bias(neurons) if bias is None else real_number("bias", bias)
    if not abs(bias) <= float(np.finfo(np.float32).max):
        raise OptionError(f"bias={bias}: must be finite in float32")
    degree = dense_width * np.array(radices, np.int64)
    n_connections = int(neurons * degree.sum()) * (layers // len(radices))
    require(
        n_connections // dense_width * BYTES_PER_CONNECTION,
        f"a network of {n_connections:,} connections",
        "use fewer neurons or layers",
    )
    parts = list(_generate(neurons, layers, radices, dense_width, seed, np.float32(weight), np.float32(bias)))
    return Network.from_layers(parts, "nonzero", _challenge(neurons, layers, radices, dense_width, seed, weight, bias))


def challenge_bias(neurons: int) -> float:
    """Return the published bias, or raise ValueError for a size that has none."""
    if neurons not in CHALLENGE_BIAS:
        sizes = ", ".join(str(size) for size in CHALLENGE_BIAS)
        raise OptionError(f"neurons={neurons}: no bias is published for this size (only for {sizes}); give one: bias=...")
    return CHALLENGE_BIAS[neurons]


def _radices(neurons: int, dense_width: int) -> tuple[int, ...]:
    """All 2, as many as the size takes."""
    m = neurons // dense_width if dense_width > 0 else 0
    if m < 2 or m * dense_width != neurons or m & (m - 1):
        raise OptionError(
            f"neurons={neurons}: must be dense_width={dense_width} times a power of 2 (of at least 2), "
            "or give radices whose product times dense_width is the number of neurons"
        )
    return (2,) * int(math.log2(m))


def _check(neurons: int, layers: int, radices: Sequence[int], dense_width: int, weight: float) -> None:
    if dense_width < 1:
        raise OptionError(f"dense_width={dense_width}: must be at least 1")
    if not radices or min(radices) < 2:
        raise OptionError(f"radices={list(radices)}: at least one is needed, each at least 2")
    if math.prod(radices) * dense_width != neurons:
        raise OptionError(
            f"neurons={neurons}: the product of radices {list(radices)} times dense_width {dense_width} "
            f"is {math.prod(radices) * dense_width}"
        )
    if layers < 1 or layers % len(radices):
        near = max(round(layers / len(radices)), 1) * len(radices)
        raise OptionError(
            f"layers={layers}: networks of {neurons} neurons come in blocks of {len(radices)} layers; nearest legal: {near}"
        )
    if not abs(weight) <= float(np.finfo(np.float32).max) or np.float32(weight) == 0:
        raise OptionError(f"weight={weight}: must be finite in float32, and not 0")


def _challenge(
    neurons: int, layers: int, radices: Sequence[int], dense_width: int, seed: int, weight: float, bias: float
) -> Challenge | None:
    same = (
        CHALLENGE_BIAS.get(neurons) == bias
        and layers in CHALLENGE_LAYERS
        and set(radices) == {2}
        and (dense_width, seed, weight) == (CHALLENGE_DENSE_WIDTH, CHALLENGE_SEED, CHALLENGE_WEIGHT)
    )
    return Challenge(neurons, layers) if same else None


def _generate(
    neurons: int, layers: int, radices: Sequence[int], dense_width: int, seed: int, weight: np.float32, bias: np.float32
) -> Iterator[RepeatedLayer]:
    column = np.tile(np.arange(neurons // dense_width, dtype=np.int32), dense_width)
    activation = clipped_relu(MAXIMUM)
    patterns = [_distinct_columns(radices, p, dense_width) for p in range(len(radices))]
    ids = np.uint16 if neurons <= np.iinfo(np.uint16).max + 1 else np.int32

    def block(draws: NDArray[np.float64] | None) -> list[NDArray[np.uint16] | NDArray[np.int32]]:
        """The columns of a block's layers; all have the permutation that its draws stand for."""
        permutation = np.arange(neurons, dtype=ids) if draws is None else ascending_order(draws).astype(ids)
        return [np.sort(permutation[pattern], axis=1) for pattern in patterns]

    stream = np.random.RandomState(seed)
    draws = [None, *(stream.random_sample(neurons) for _ in range(layers // len(radices) - 1))]
    for made in in_threads(block, draws):
        for rows in made:
            yield RepeatedLayer(neurons, neurons, rows, column, weight, bias, activation)


def ascending_order(draws: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return what ``argsort(draws, kind="stable")`` does, sooner: only equal numbers need the sort that is stable."""
    order = np.argsort(draws)
    ascending = draws[order]
    return order if (ascending[:-1] < ascending[1:]).all() else np.argsort(draws, kind="stable")


def _distinct_columns(radices: Sequence[int], p: int, dense_width: int) -> NDArray[np.intp]:
    """Rows of the first m columns before they are permuted, shape (m, dense_width * radices[p]); c + m is as c."""
    m, value = math.prod(radices), math.prod(radices[:p])
    base = (np.arange(m)[:, None] + value * np.arange(radices[p])) % m
    return (np.arange(dense_width)[:, None] * m + base[:, None, :]).reshape(m, -1)

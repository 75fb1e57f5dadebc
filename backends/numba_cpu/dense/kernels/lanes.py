"""Takes at most 32 instances of a caller's dense array through layers that are packed in slices; instances lie in lanes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backends.common.jit import inline
from backends.common.kernels.arrays_at import floats_at, int32s_at
from backends.common.raw_memory import read_float, write_float
from backends.numba_cpu.dense.kernels.activating import activate_slices
from backends.numba_cpu.dense.kernels.event_driven import BY_ROWS, layer_part_by_rows, way_of_layer
from backends.numba_cpu.dense.kernels.slices import FAR_SLICE, MOST_LANES, SLICES
from backends.numba_cpu.layout.kernels.slices import (
    ACTIVATIONS_AT,
    COLUMNS,
    ENTRIES_AT,
    FIRST_SLICE,
    N_INPUTS,
    N_OUTPUTS,
    N_ZEROS,
    SAME_TERMS,
    SHIFT,
    TERMS,
)

_EXPONENT = np.int32(0x7F800000)


class Rows(NamedTuple):
    """The caller's arrays by address, with the bytes from one row and column to the next."""

    x: int
    x_row: int
    x_column: int
    out: int
    out_row: int
    out_column: int


def _slices_with(lanes, slice_of_columns):
    @inline
    def slices_of_layer(flat, x_at, y_at, net, layer, first, last):
        """Compute the slices first .. last of a layer.

        flat : float32 (floats,)
        net : SlicedNet
        """
        low, high = net.clamps[layer, 0], net.clamps[layer, 1]
        ids, weights, parts, order, bias, always = net.ids, net.weights, net.parts, net.order, net.bias, net.always
        for number in range(first, last):
            at, count, moved_at = parts[number, ENTRIES_AT], parts[number, TERMS], x_at + parts[number, SHIFT] * lanes
            same = parts[number, SAME_TERMS]
            slice_of_columns(
                flat, moved_at, y_at, ids, weights, at, same, count, order, bias, number * COLUMNS, always, low, high
            )

    return slices_of_layer


_layer1, _layer2, _layer4, _layer8, _layer16, _layer32 = [_slices_with(lanes, one) for lanes, one in SLICES.items()]
_far_layer1 = _slices_with(1, FAR_SLICE)


@inline
def lanes_for(n):
    """Fewest lanes that hold n instances."""
    lanes = 1
    while lanes < n and lanes < MOST_LANES:
        lanes *= 2
    return lanes


@inline
def taken_together(n):
    """How many of n instances are best taken next: at most 32; of 17 to 24 first 16, since two narrow passes are faster."""
    if n > 16 and n <= 24:
        return 16
    return min(n, MOST_LANES)


@inline
def layer_part(x_at, y_at, lanes, net, layer, first, last):
    """Compute the slices first .. last of a layer for `lanes` instances, and the rows of zeros for the next layer's padding.

    net : SlicedNet      its memory has the activations before the layer from `x_at` on, and gets those after it from `y_at` on
    """
    flat = net.memory.reshape(-1)
    if first == net.table[layer, FIRST_SLICE]:
        n_zeros = net.table[layer + 1, N_ZEROS] if layer + 1 < net.table.shape[0] else 1
        clear(flat, y_at + net.table[layer, N_OUTPUTS] * lanes, n_zeros * lanes)
    if lanes == 1 and net.far:
        _far_layer1(flat, x_at, y_at, net, layer, first, last)
    elif lanes == 1:
        _layer1(flat, x_at, y_at, net, layer, first, last)
    elif lanes == 2:
        _layer2(flat, x_at, y_at, net, layer, first, last)
    elif lanes == 4:
        _layer4(flat, x_at, y_at, net, layer, first, last)
    elif lanes == 8:
        _layer8(flat, x_at, y_at, net, layer, first, last)
    elif lanes == 16:
        _layer16(flat, x_at, y_at, net, layer, first, last)
    else:
        _layer32(flat, x_at, y_at, net, layer, first, last)
    if net.table[layer, ACTIVATIONS_AT] >= 0:
        activate_slices(flat, y_at, lanes, net, layer, first, last)


@inline
def clear(flat, at, n):
    """Write zeros.

    flat : float32 (floats,)
    """
    for number in range(n):
        flat[at + number] = np.float32(0)


@inline
def is_not_finite(bits):
    """Whether the bits of a float32, as int32, are those of NaN or of an infinity."""
    return (bits & _EXPONENT) == _EXPONENT


@inline
def all_finite(rows, n, n_inputs):
    """Whether all numbers of the caller's array are finite.

    rows : Rows
    """
    wrong = np.int32(0)
    for instance in range(n):
        row = rows.x + instance * rows.x_row
        if rows.x_column == 4:
            for bits in int32s_at(row, n_inputs):
                wrong |= is_not_finite(bits)
        else:
            for j in range(n_inputs):
                value = np.float32(read_float(row + j * rows.x_column))
                wrong |= value - value != 0
    return wrong == 0


@inline
def load_block(rows, first, n, lanes, net, at):
    """Bring instances first .. first + n of the caller's array into lanes; lanes without one, and rows after, are zero.

    rows : Rows
    net : SlicedNet
    """
    flat, n_inputs = net.memory.reshape(-1), net.table[0, N_INPUTS]
    for lane in range(n):
        row = rows.x + (first + lane) * rows.x_row
        if rows.x_column == 4:
            values = floats_at(row, n_inputs)
            for j in range(n_inputs):
                flat[at + j * lanes + lane] = values[j]
        else:
            for j in range(n_inputs):
                flat[at + j * lanes + lane] = read_float(row + j * rows.x_column)
    for lane in range(n, lanes):
        for j in range(n_inputs):
            flat[at + j * lanes + lane] = np.float32(0)
    clear(flat, at + n_inputs * lanes, net.table[0, N_ZEROS] * lanes)


@inline
def store_block(rows, first, n, lanes, net, at):
    """Bring the outputs of instances from their lanes into the caller's array; False if one is not finite.

    rows : Rows
    net : SlicedNet
    """
    flat, last, wrong = net.memory.reshape(-1), net.last, np.int32(0)
    for lane in range(n):
        row = rows.out + (first + lane) * rows.out_row
        if rows.out_column == 4:
            values, bits = floats_at(row, last.shape[0]), int32s_at(row, last.shape[0])
            for j in range(last.shape[0]):
                values[j] = flat[at + np.int64(last[j]) * lanes + lane]
            for j in range(last.shape[0]):
                wrong |= is_not_finite(bits[j])
        else:
            for j in range(last.shape[0]):
                value = flat[at + np.int64(last[j]) * lanes + lane]
                wrong |= value - value != 0
                write_float(row + j * rows.out_column, value)
    return wrong == 0


@inline
def instances_alone(rows, first, end, member, net):
    """Take instances first .. end through all layers, some at a time; False if an output is not finite.

    rows : Rows
    net : SlicedNet
    """
    right = True
    while first < end:
        n = taken_together(end - first)
        right &= block_alone(rows, first, n, member, net)
        first += n
    return right


@inline
def block_alone(rows, first, n, member, net):
    """Take instances first .. first + n through all layers, in the memory of a member; False if an output is not finite.

    rows : Rows
    net : SlicedNet
    """
    lanes, floats = lanes_for(n), net.memory.shape[2]
    x_at = member * 2 * floats
    y_at = x_at + floats
    load_block(rows, first, n, lanes, net, x_at)
    for layer in range(net.table.shape[0]):
        if way_of_layer(x_at, lanes, net, layer, member) == BY_ROWS:
            layer_part_by_rows(x_at, y_at, net, layer, member, 0, 1)
        else:
            layer_part(x_at, y_at, lanes, net, layer, net.cuts[layer, 1, 0], net.cuts[layer, 1, 1])
        x_at, y_at = y_at, x_at
    return store_block(rows, first, n, lanes, net, x_at)

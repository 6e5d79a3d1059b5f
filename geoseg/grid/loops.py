"""Compiled loops over pixels.

Sums are made in the order and in the type in which they are written: their bits do not depend on the machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Array, Bool, Float32, Float64, Int64, UInt8
from geoseg.compiled import compiled

__all__ = ["add_weighted", "lower_to_largest", "store_shares", "sum_valid", "sum_weighted"]

Taps = tuple[NDArray[np.intp], Float64]
"""Source pixel and weight of each tap: (target rows, taps) of rows, (taps, target columns) of columns."""


@compiled
def sum_valid(valid: Bool, whole: Bool, rows: Taps, cols: Taps, total: Float64) -> None:
    """``Σ w·valid`` over rows, then columns, tap after tap, written to ``total`` (target rows, columns).

    Args:
        valid: (h, w).
        whole: (h,), True where all of a row is valid.
    """
    (row_index, row_weight), (col_index, col_weight) = rows, cols
    width = valid.shape[1]
    down = np.empty(width)
    for i in range(len(row_index)):
        line = total[i]
        line[:] = 0.0
        is_whole = True
        for k in range(row_index.shape[1]):
            is_whole = is_whole and whole[row_index[i, k]]
        if is_whole:  # all columns have the sum of one
            one = 0.0
            for k in range(row_index.shape[1]):
                one += row_weight[i, k]
            for k in range(len(col_index)):
                for j in range(len(line)):
                    line[j] += one * col_weight[k, j]
            continue
        down[:] = 0.0
        for k in range(row_index.shape[1]):
            known, weight = valid[row_index[i, k]], row_weight[i, k]
            for j in range(width):
                down[j] += weight if known[j] else 0.0
        for k in range(len(col_index)):
            for j in range(len(line)):
                line[j] += down[col_index[k, j]] * col_weight[k, j]


@compiled
def sum_weighted(
    source: Array, valid: Bool, whole: Bool, rows: Taps, cols: Taps, total: Float64, values: Float32
) -> None:
    """``Σ w·valid·source / total``, written to ``values`` (target rows, columns); 0 where the total is 0.

    ``source`` (h, w) is of any type of real numbers; the others are as in :func:`sum_valid`.
    """
    (row_index, row_weight), (col_index, col_weight) = rows, cols
    width = valid.shape[1]
    down, line = np.empty(width), np.empty(values.shape[1])
    for i in range(len(row_index)):
        down[:] = 0.0  # from +0 on, what has no weight changes no sign of a zero
        for k in range(row_index.shape[1]):
            row, weight = row_index[i, k], row_weight[i, k]
            stored, known = source[row], valid[row]
            if weight == 0:
                continue
            if whole[row]:
                for j in range(width):
                    down[j] += stored[j] * weight
            else:
                for j in range(width):
                    down[j] += stored[j] * weight if known[j] else 0.0
        line[:] = 0.0
        for k in range(len(col_index)):
            for j in range(len(line)):
                line[j] += down[col_index[k, j]] * col_weight[k, j]
        for j in range(len(line)):
            values[i, j] = np.divide(line[j], total[i, j]) if total[i, j] > 0 else 0.0


@compiled
def add_weighted(
    sums: Float32, left: int, logits: Float32, place: tuple[int, int], down: Float32, across: Float32
) -> None:
    """``sums += weight · logits``, (channels, rows, columns), with the weights ``down · across``.

    ``left``: column of the sums where the first weight counts; ``place``: its row and column in the logits.
    """
    top, first = place
    cols = len(across)
    weight = np.empty(cols, np.float32)
    for i in range(len(down)):
        for j in range(cols):
            weight[j] = down[i] * across[j]
        for k in range(len(sums)):
            line, total = logits[k, top + i, first : first + cols], sums[k, i, left : left + cols]
            for j in range(cols):
                total[j] += weight[j] * line[j]


@compiled
def lower_to_largest(logits: Float32) -> None:
    """Take the largest logit of a pixel off all of its, (channels, rows, columns), in place; NaN stays."""
    channels, rows, cols = logits.shape
    largest = np.empty(cols, np.float32)
    for i in range(rows):
        line = logits[0, i]
        for j in range(cols):  # a copy of a whole row would take seconds to compile
            largest[j] = line[j]
        for k in range(1, channels):
            line = logits[k, i]
            for j in range(cols):
                largest[j] = max(largest[j], line[j])
        for k in range(channels):
            line = logits[k, i]
            for j in range(cols):
                line[j] -= largest[j]


_ROUNDED = np.float32(3 << 22)
"""Added to a small number and taken off again, it leaves it rounded, halves to even, as ``rint`` does."""


@compiled
def store_shares(
    raised: Float32, bands: Int64, border: bool, scale: np.float32, stored: UInt8, first: int
) -> None:
    """Encode each channel's share of a pixel's sum, from row ``first`` of ``stored`` on; 255 where it is NaN.

    Args:
        raised: exponentials, (channels, rows, columns), overwritten.
        bands: the channel of each band that is stored.
        border: whether the last channel counts for channel 1, too.
        scale: encoded value of all of the sum.
    """
    channels, rows, cols = raised.shape
    total = np.empty(cols, np.float32)
    for i in range(rows):
        line = raised[0, i]
        for j in range(cols):
            total[j] = line[j]
        for k in range(1, channels):
            line = raised[k, i]
            for j in range(cols):
                total[j] += line[j]
        if border:
            line, last = raised[1, i], raised[channels - 1, i]
            for j in range(cols):
                line[j] += last[j]
        for band in range(len(bands)):
            line, out = raised[bands[band], i], stored[band, first + i]
            for j in range(cols):
                share = np.divide(line[j], total[j]) * scale
                out[j] = np.int32((share + _ROUNDED) - _ROUNDED) if total[j] == total[j] else 255

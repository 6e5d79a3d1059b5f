"""Floods of a small window: what is connected, how far it is to the next border, which tops stand out.

Arrays are flat, of ``rows × columns`` pixels; the window's outermost pixels are never inside, at a top or of
a seed, so that a pixel that is has all of its neighbors in the window.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Float64, UInt8
from geoseg.compiled import compiled

__all__ = ["find_tops", "flood", "gaussian", "mark_connected", "number_seeds", "squared_distances"]

_LEVELS: Final = 256


@compiled
def mark_connected(value: UInt8, columns: int, start: int, least: float, most: int, inside: UInt8) -> None:
    """Set ``inside``, zeros, to 1 where values from ``least`` up to ``most`` lead to a pixel, 4-connected."""
    queue = np.empty(value.size, np.int32)
    queue[0], count = start, 1
    inside[start] = 1
    while count > 0:
        count -= 1
        pixel = queue[count]
        for step in (-columns, columns, -1, 1):
            other = pixel + step
            if not inside[other] and least <= value[other] <= most:
                inside[other] = 1
                queue[count] = other
                count += 1


@compiled
def squared_distances(is_zero: UInt8, columns: int, most: int, wanted: UInt8) -> Float64:
    """Squared distance from each wanted pixel to the nearest one of ``is_zero``, at most ``most``, exactly.

    0 where it is not wanted.
    """
    rows = is_zero.size // columns
    down = np.empty(is_zero.size, np.int64)  # rows to the nearest one in the same column
    for pixel in range(is_zero.size):
        above = rows + columns if pixel < columns else down[pixel - columns] + 1
        down[pixel] = 0 if is_zero[pixel] else above
    for pixel in range(is_zero.size - columns - 1, -1, -1):
        down[pixel] = min(down[pixel], down[pixel + columns] + 1)
    out = np.zeros(is_zero.size)
    for i in range(rows):
        for j in range(columns):
            pixel = i * columns + j
            if not wanted[pixel]:
                continue
            best = min(down[pixel] ** 2, most)
            across = 1
            while across * across < best:
                if across <= j:
                    best = min(best, across * across + down[pixel - across] ** 2)
                if j + across < columns:
                    best = min(best, across * across + down[pixel + across] ** 2)
                across += 1
            out[pixel] = best
    return out


@compiled
def _reflected(place: int, count: int) -> int:
    """The place in a line of ``count`` of one that may lie beyond its ends: 1 0 | 0 1 2 | 2 1."""
    place %= 2 * count
    return place if place < count else 2 * count - 1 - place


@compiled
def gaussian(values: Float64, columns: int, weights: Float64) -> None:
    """Smooth an image in place, by the center and one side of a symmetric kernel, the farthest first.

    In the order of additions of ``scipy.ndimage.gaussian_filter``, and so with its bits.
    """
    rows, reach = values.size // columns, weights.size - 1
    for way in range(2):
        lines, count, step = (columns, rows, columns) if way == 0 else (rows, columns, 1)
        line = np.empty(count + 2 * reach)
        for n in range(lines):
            first = n if way == 0 else n * columns
            for k in range(-reach, count + reach):
                line[k + reach] = values[first + _reflected(k, count) * step]
            for k in range(count):
                total = line[k + reach] * weights[reach]
                for away in range(reach, 0, -1):
                    total += (line[k + reach - away] + line[k + reach + away]) * weights[reach - away]
                values[first + k * step] = total


@compiled
def find_tops(level: UInt8, columns: int, depth: int, tops: UInt8) -> None:
    """Set ``tops``, zeros, to 1 at maxima that a pass at least so deep parts from any higher one.

    They are the regional maxima (8-connected) of what the level, lowered by the depth, is rebuilt to by
    dilation under the level (Vincent 1993); none at level 0. From the highest level down each pixel is raised
    once at most.
    """
    around = (-columns - 1, -columns, -columns + 1, -1, 1, columns - 1, columns, columns + 1)
    flat = np.zeros(level.size, np.uint8)
    following = np.empty(level.size, np.int32)
    raised, lowered = np.empty(_LEVELS, np.int32), np.empty(_LEVELS, np.int32)
    for height in range(_LEVELS):
        raised[height] = lowered[height] = -1
    links = np.empty(level.size, np.int32)
    for pixel in range(level.size - 1, -1, -1):
        if level[pixel] > depth:
            low = level[pixel] - depth
            flat[pixel] = low
            links[pixel], lowered[low] = lowered[low], pixel
    for height in range(_LEVELS - 1, 0, -1):
        while raised[height] >= 0 or lowered[height] >= 0:
            if raised[height] >= 0:
                pixel = raised[height]
                raised[height] = following[pixel]
            else:
                pixel = lowered[height]
                lowered[height] = links[pixel]
                if flat[pixel] > height:
                    continue
            for step in around:
                other = pixel + step
                to = min(height, level[other])
                if flat[other] < to:
                    flat[other] = to
                    following[other], raised[to] = raised[to], other
    # A plateau without a higher neighbor is a top; links now hold its pixels.
    seen = np.zeros(level.size, np.uint8)
    for first in range(level.size):
        if flat[first] == 0 or seen[first]:
            continue
        links[0], count, done, highest = first, 1, 0, True
        seen[first] = 1
        while done < count:
            pixel = links[done]
            done += 1
            for step in around:
                other = pixel + step
                if flat[other] > flat[first]:
                    highest = False
                elif flat[other] == flat[first] and not seen[other]:
                    seen[other] = 1
                    links[count] = other
                    count += 1
        if highest:
            for n in range(count):
                tops[links[n]] = 1


@compiled
def number_seeds(is_seed: UInt8, columns: int, diagonal: bool, least: int, labels: NDArray[np.int32]) -> int:
    """Number the connected seeds of at least so many pixels from 1, in the order of their first pixels.

    ``labels`` are zeros and get the numbers; ``is_seed`` is used up. Returns how many there are.
    """
    around = (-columns, columns, -1, 1, -columns - 1, -columns + 1, columns - 1, columns + 1)
    queue = np.empty(is_seed.size, np.int32)
    found = 0
    for first in range(is_seed.size):
        if not is_seed[first]:
            continue
        queue[0], count, done = first, 1, 0
        is_seed[first] = 0
        while done < count:
            pixel = queue[done]
            done += 1
            for n in range(8 if diagonal else 4):
                other = pixel + around[n]
                if is_seed[other]:
                    is_seed[other] = 0
                    queue[count] = other
                    count += 1
        if count >= least:
            found += 1
            for n in range(count):
                labels[queue[n]] = found
    return found


@compiled
def flood(cost: UInt8, inside: UInt8, columns: int, labels: NDArray[np.int32]) -> None:
    """Label every pixel inside by the seed that reaches it over the lowest pass; in place.

    Of equal passes the pixel first reached first: one queue for each level.
    """
    following = np.empty(labels.size, np.int32)
    head, tail = np.empty(_LEVELS, np.int32), np.empty(_LEVELS, np.int32)
    for level in range(_LEVELS):
        head[level] = -1
    for pixel in range(labels.size):
        following[pixel] = -1
        if labels[pixel]:
            level = cost[pixel]
            if head[level] < 0:
                head[level] = pixel
            else:
                following[tail[level]] = pixel
            tail[level] = pixel
    level = 0
    while level < _LEVELS:
        pixel = head[level]
        if pixel < 0:
            level += 1
            continue
        head[level] = following[pixel]
        for step in (-columns, columns, -1, 1):
            other = pixel + step
            if labels[other] or not inside[other]:
                continue
            labels[other] = labels[pixel]
            to = max(level, cost[other])
            if head[to] < 0:
                head[to] = other
            else:
                following[tail[to]] = other
            tail[to] = other

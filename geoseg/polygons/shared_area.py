r"""The area that pairs of polygons share, without making the shape that they share.

An edge of an outline stands for the trapezoid under it. Edges that lead to the left add theirs, those to the
right take theirs away: what is left is the polygon. So what two polygons share is the sum, over the pairs of
their edges, of what two trapezoids share, the area under the lower one of two lines:

    \            /               Nothing is put together, and no term is larger than the box that both
     \____      /                have in common: the sum is as exact as its roundings.
     :::::\____/
     :::::::::::\____
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely

from geoseg.arrays import Float64, Int64, Objects
from geoseg.compiled import compiled

__all__ = ["iou_of_pairs", "shared_areas"]

_MANY: Final = 1 << 14
"""Pairs of edges from which sorting them is worth it."""


def shared_areas(one: Objects, other: Objects) -> Float64:
    """Area of the intersection of each pair of valid shapely Polygons, in any planar unit; float64 (n,)."""
    if not len(one):
        return np.zeros(0)
    _, xy, (rings, first) = shapely.to_ragged_array(np.concatenate([one, other]), include_z=False)
    return _shared_areas(xy, rings.astype(np.int64), first.astype(np.int64))


def iou_of_pairs(one: Objects, other: Objects) -> Float64:
    """Intersection over union of each pair of valid shapely Polygons that have areas; float64 (n,)."""
    shared = shared_areas(one, other)
    iou: Float64 = shared / (shapely.area(one) + shapely.area(other) - shared)
    return iou


@compiled
def _winding(ring: Float64) -> float:
    """1 where a closed ring winds counter-clockwise in the plane of x and y, else -1."""
    area = 0.0
    for v in range(1, ring.shape[0] - 1):
        area += (ring[v, 0] - ring[0, 0]) * (ring[v + 1, 1] - ring[0, 1])
        area -= (ring[v, 1] - ring[0, 1]) * (ring[v + 1, 0] - ring[0, 0])
    return 1.0 if area > 0 else -1.0


@compiled
def _edges(xy: Float64, rings: Int64, low: Float64, high: Float64) -> Float64:
    """Edges over a box: x of the left and of the right end, y of the left one, slope, 1 or -1 as they add.

    ``rings``: where the rings of the polygon start, exterior first, and the end. Coordinates are from the
    corner of the box; edges beside and below it and upright ones are left out. Shape (m, 5).
    """
    out, used = np.empty((rings[-1] - rings[0], 5)), 0
    for r in range(rings.shape[0] - 1):
        ring = xy[rings[r] : rings[r + 1]]
        adds = _winding(ring) if r == 0 else -_winding(ring)
        for v in range(ring.shape[0] - 1):
            ax, ay, bx, by = ring[v, 0], ring[v, 1], ring[v + 1, 0], ring[v + 1, 1]
            if ax == bx or (ay <= low[1] and by <= low[1]):
                continue
            if min(ax, bx) >= high[0] or max(ax, bx) <= low[0]:
                continue
            slope = (by - ay) / (bx - ax)
            if ax < bx:
                out[used] = ax - low[0], bx - low[0], ay - low[1], slope, -adds
            else:
                out[used] = bx - low[0], ax - low[0], by - low[1], slope, adds
            used += 1
    return out[:used]


@compiled
def _above(left: float, right: float, width: float) -> float:
    """Area between a line of some width and 0, where the line is above it; its heights left and right."""
    if left >= 0 and right >= 0:
        return (left + right) / 2 * width
    if left <= 0 and right <= 0:
        return 0.0
    top = max(left, right)
    return top * top / (2 * abs(left - right)) * width


@compiled
def _under_both(a: float, b: float, c: float, d: float, width: float) -> float:
    """Area under two lines of some width and above 0: the heights of one left and right, and of the other."""
    before, after = a - c, b - d
    if before <= 0 and after <= 0:
        return _above(a, b, width)
    if before >= 0 and after >= 0:
        return _above(c, d, width)
    share = before / (before - after)
    y = a + share * (b - a)
    first, second = (a, d) if before < 0 else (c, b)
    return _above(first, y, share * width) + _above(y, second, (1 - share) * width)


@compiled
def _common(some: Float64, others: Float64) -> float:
    """Area that two polygons share, by their edges over what their boxes have in common."""
    is_sorted = some.shape[0] * others.shape[0] > _MANY
    begin, widest = 0, 0.0
    if is_sorted:
        some, others = some[np.argsort(some[:, 0])], others[np.argsort(others[:, 0])]
        widest = np.max(others[:, 1] - others[:, 0])
    total = 0.0
    for v in range(some.shape[0]):
        x0, x1, y, slope, adds = some[v]
        while is_sorted and begin < others.shape[0] and others[begin, 0] + widest < x0:
            begin += 1
        for w in range(begin, others.shape[0]):
            if others[w, 0] >= x1:
                if is_sorted:
                    break
            elif others[w, 1] > x0:
                z0, z1, z, lean, counts = others[w]
                left, right = max(x0, z0), min(x1, z1)
                a, b = y + (left - x0) * slope, y + (right - x0) * slope
                c, d = z + (left - z0) * lean, z + (right - z0) * lean
                total += _under_both(a, b, c, d, right - left) * adds * counts
    return total


@compiled
def _shared_areas(xy: Float64, rings: Int64, first: Int64) -> Float64:
    """Areas of pairs: polygon ``k`` and the one half of all polygons further on."""
    count = (first.shape[0] - 1) // 2
    out = np.zeros(count)
    low, high = np.empty(2), np.empty(2)
    for k in range(count):
        mine, theirs = rings[first[k] : first[k + 1] + 1], rings[first[count + k] : first[count + k + 1] + 1]
        if mine[0] == mine[-1] or theirs[0] == theirs[-1]:
            continue
        for axis in range(2):
            one, other = xy[mine[0] : mine[-1], axis], xy[theirs[0] : theirs[-1], axis]
            low[axis], high[axis] = max(one.min(), other.min()), min(one.max(), other.max())
        if low[0] < high[0] and low[1] < high[1]:
            out[k] = max(_common(_edges(xy, mine, low, high), _edges(xy, theirs, low, high)), 0.0)
    return out

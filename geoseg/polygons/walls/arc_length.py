"""A ring as a curve: positions along it, and integrals over any stretch of it.

The integrals of 1, x, y, x², xy and y² over arc length are exact for the polyline, so that what is fitted to
a stretch depends on its shape alone and not on how densely it carries vertices.
"""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64
from geoseg.compiled import compiled

__all__ = ["close_ring", "integrals", "locate", "nearest", "point_at", "stretch"]

Arc = tuple[Float64, Float64, Float64]
"""Vertices, closed, shape (M + 1, 2); arc length to each, (M + 1,); integrals to each, (M + 1, 5)."""


@compiled
def integrals(ax: float, ay: float, bx: float, by: float, length: float) -> tuple[float, ...]:
    """Integrals of x, y, x², xy and y² along the straight piece from a to b."""
    return (
        length * (ax + bx) / 2,
        length * (ay + by) / 2,
        length * (ax * ax + ax * bx + bx * bx) / 3,
        length * (2 * ax * ay + ax * by + bx * ay + 2 * bx * by) / 6,
        length * (ay * ay + ay * by + by * by) / 3,
    )


@compiled
def close_ring(ring: Float64) -> Arc:
    """The arc of a ring, starting at the vertex that is farthest from the center of the area.

    That vertex is a corner of nearly every building, and the same one after a rotation or a flip.

    Args:
        ring: float64, shape (M, 2), not closed, without repeated vertices, about the origin.
    """
    count = ring.shape[0]
    area = cx = cy = 0.0
    for k in range(count):
        after = (k + 1) % count
        cross = ring[k, 0] * ring[after, 1] - ring[after, 0] * ring[k, 1]
        area += cross
        cx += cross * (ring[k, 0] + ring[after, 0])
        cy += cross * (ring[k, 1] + ring[after, 1])
    cx, cy = cx / (3 * area), cy / (3 * area)
    start, farthest = 0, -1.0
    for k in range(count):
        distance = (ring[k, 0] - cx) ** 2 + (ring[k, 1] - cy) ** 2
        if distance > farthest + 1e-9:
            start, farthest = k, distance
    vertices = np.empty((count + 1, 2))
    along = np.zeros(count + 1)
    sums = np.zeros((count + 1, 5))
    vertices[0] = ring[start]
    for k in range(count):
        vertices[k + 1] = ring[(start + k + 1) % count]
        ax, ay, bx, by = vertices[k, 0], vertices[k, 1], vertices[k + 1, 0], vertices[k + 1, 1]
        length = np.hypot(bx - ax, by - ay)
        along[k + 1] = along[k] + length
        piece = integrals(ax, ay, bx, by, length)
        for i in range(5):
            sums[k + 1, i] = sums[k, i] + piece[i]
    return vertices, along, sums


@compiled
def locate(arc: Arc, position: float) -> tuple[int, float, float, float]:
    """The piece that holds a position in [0, length], the length on it, and the point."""
    vertices, along, _ = arc
    k = min(max(np.searchsorted(along, position, side="right") - 1, 0), along.shape[0] - 2)
    rest = position - along[k]
    share = rest / (along[k + 1] - along[k])
    x = vertices[k, 0] + share * (vertices[k + 1, 0] - vertices[k, 0])
    y = vertices[k, 1] + share * (vertices[k + 1, 1] - vertices[k, 1])
    return k, rest, x, y


@compiled
def point_at(arc: Arc, position: float) -> tuple[float, float]:
    """The point at any position; a lap more or less is the same point."""
    length = arc[1][-1]
    _, _, x, y = locate(arc, position - np.floor(position / length) * length)
    return x, y


@compiled
def _sums_to(arc: Arc, position: float) -> tuple[float, float, float, float, float]:
    vertices, along, sums = arc
    laps = np.floor(position / along[-1])
    k, rest, x, y = locate(arc, position - laps * along[-1])
    piece = integrals(vertices[k, 0], vertices[k, 1], x, y, rest)
    lap, to = sums[-1], sums[k]
    return (
        laps * lap[0] + to[0] + piece[0],
        laps * lap[1] + to[1] + piece[1],
        laps * lap[2] + to[2] + piece[2],
        laps * lap[3] + to[3] + piece[3],
        laps * lap[4] + to[4] + piece[4],
    )


@compiled
def stretch(arc: Arc, begin: float, end: float) -> tuple[float, float, float, float, float]:
    """Mean x and y, and integrals of x², xy and y² about them, over a stretch (begin < end)."""
    low, high = _sums_to(arc, begin), _sums_to(arc, end)
    length = end - begin
    x, y = (high[0] - low[0]) / length, (high[1] - low[1]) / length
    return (
        x,
        y,
        high[2] - low[2] - length * x * x,
        high[3] - low[3] - length * x * y,
        high[4] - low[4] - length * y * y,
    )


@compiled
def nearest(arc: Arc, x: float, y: float, begin: float, end: float) -> float:
    """The position between begin and end (at most a lap) that is nearest to a point."""
    vertices, along, _ = arc
    length, count = along[-1], along.shape[0] - 1
    laps = np.floor(begin / length)
    offset = laps * length
    k = locate(arc, begin - offset)[0]
    best, found = np.inf, begin
    while along[k] + offset < end:
        ax, ay = vertices[k, 0], vertices[k, 1]
        dx, dy = vertices[k + 1, 0] - ax, vertices[k + 1, 1] - ay
        piece = along[k + 1] - along[k]
        here = along[k] + offset
        t = ((x - ax) * dx + (y - ay) * dy) / piece
        t = min(max(t, begin - here, 0.0), end - here, piece)
        distance = (ax + dx * t / piece - x) ** 2 + (ay + dy * t / piece - y) ** 2
        if distance < best - 1e-9:
            best, found = distance, here + t
        k += 1
        if k == count:
            k, offset = 0, offset + length
    return found

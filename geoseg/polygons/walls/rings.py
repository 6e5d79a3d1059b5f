"""Rings as curves and as shapes: positions, integrals over stretches of them, areas, circles, boxes.

The integrals of 1, x, y, x², xy and y² over arc length are exact for the polyline, so that what is fitted to
a stretch depends on its shape alone and not on how densely it carries vertices. Coordinates are float64, in
pixels, x first.
"""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Int64
from geoseg.compiled import compiled, inner

__all__ = [
    "CIRCLE_VERTICES",
    "Curve",
    "box",
    "circle",
    "close_ring",
    "integrals",
    "locate",
    "nearest",
    "of_area",
    "open_ring",
    "point_at",
    "roundness",
    "signed_area",
    "stretch",
]

Curve = tuple[Float64, Float64, Float64, Int64]
"""Vertices, closed, shape (M + 1, 2); arc length to each, (M + 1,); integrals to each, (M + 1, 5); and the
piece that each of M equal parts of the whole length begins on, (M,)."""


@inner
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
def close_ring(ring: Float64) -> Curve:
    """The curve of a ring, starting at the vertex that is farthest from the center of the area.

    That vertex is a corner of nearly every building, and the same one after a rotation or a flip. The ring is
    float64, shape (M, 2), not closed, without repeated vertices, about the origin.
    """
    count = ring.shape[0]
    area = cx = cy = 0.0
    for k in range(count):
        after = k + 1 if k + 1 < count else 0
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
    for k in range(count + 1):
        vertex = start + k if start + k < count else start + k - count
        vertices[k, 0], vertices[k, 1] = ring[vertex, 0], ring[vertex, 1]
    for k in range(count):
        ax, ay, bx, by = vertices[k, 0], vertices[k, 1], vertices[k + 1, 0], vertices[k + 1, 1]
        length = np.hypot(bx - ax, by - ay)
        along[k + 1] = along[k] + length
        piece = integrals(ax, ay, bx, by, length)
        for i in range(5):
            sums[k + 1, i] = sums[k, i] + piece[i]
    piece_of = np.empty(count, np.int64)
    k = 0
    for part in range(count):
        while k < count - 1 and along[k + 1] <= along[count] / count * part:
            k += 1
        piece_of[part] = k
    return vertices, along, sums, piece_of


@inner
def locate(curve: Curve, position: float) -> tuple[int, float, float, float]:
    """The piece that holds a position in [0, length], the length on it, and the point."""
    vertices, along, piece_of = curve[0], curve[1], curve[3]
    count = along.shape[0] - 1
    k = piece_of[min(max(int(position / along[count] * count), 0), count - 1)]
    while k > 0 and along[k] > position:
        k -= 1
    while k < count - 1 and along[k + 1] <= position:
        k += 1
    rest = position - along[k]
    share = rest / (along[k + 1] - along[k])
    x = vertices[k, 0] + share * (vertices[k + 1, 0] - vertices[k, 0])
    y = vertices[k, 1] + share * (vertices[k + 1, 1] - vertices[k, 1])
    return k, rest, x, y


@inner
def point_at(curve: Curve, position: float) -> tuple[float, float]:
    """The point at any position; a lap more or less is the same point."""
    length = curve[1][-1]
    _, _, x, y = locate(curve, position - np.floor(position / length) * length)
    return x, y


@inner
def _sums_to(curve: Curve, position: float) -> tuple[float, float, float, float, float]:
    vertices, along, sums, _ = curve
    laps = np.floor(position / along[-1])
    k, rest, x, y = locate(curve, position - laps * along[-1])
    piece = integrals(vertices[k, 0], vertices[k, 1], x, y, rest)
    lap, to = sums[-1], sums[k]
    return (
        laps * lap[0] + to[0] + piece[0],
        laps * lap[1] + to[1] + piece[1],
        laps * lap[2] + to[2] + piece[2],
        laps * lap[3] + to[3] + piece[3],
        laps * lap[4] + to[4] + piece[4],
    )


@inner
def stretch(curve: Curve, begin: float, end: float) -> tuple[float, float, float, float, float]:
    """Mean x and y, and integrals of x², xy and y² about them, over a stretch (begin < end)."""
    low, high = _sums_to(curve, begin), _sums_to(curve, end)
    length = end - begin
    x, y = (high[0] - low[0]) / length, (high[1] - low[1]) / length
    return (
        x,
        y,
        high[2] - low[2] - length * x * x,
        high[3] - low[3] - length * x * y,
        high[4] - low[4] - length * y * y,
    )


@inner
def nearest(curve: Curve, x: float, y: float, begin: float, end: float) -> float:
    """The position between begin and end (at most a lap) that is nearest to a point."""
    vertices, along = curve[0], curve[1]
    length, count = along[-1], along.shape[0] - 1
    laps = np.floor(begin / length)
    offset = laps * length
    k = locate(curve, begin - offset)[0]
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


CIRCLE_VERTICES = 64
"""Vertices of a circle."""
_REPEATED = 1e-9  # px between vertices that are one


@compiled
def open_ring(ring: Float64, x: float, y: float) -> Float64:
    """A closed ring about (x, y) without its last vertex and repeated ones."""
    out = np.empty((ring.shape[0], 2))
    count = 0
    for k in range(ring.shape[0] - 1):
        px, py = ring[k, 0] - x, ring[k, 1] - y
        if count == 0 or abs(px - out[count - 1, 0]) + abs(py - out[count - 1, 1]) > _REPEATED:
            out[count] = px, py
            count += 1
    while count > 1 and abs(out[0, 0] - out[count - 1, 0]) + abs(out[0, 1] - out[count - 1, 1]) <= _REPEATED:
        count -= 1
    return out[:count]


@inner
def signed_area(ring: Float64) -> float:
    """Signed area of a ring that is not closed."""
    area = 0.0
    for k in range(ring.shape[0]):
        area += ring[k - 1, 0] * ring[k, 1] - ring[k, 0] * ring[k - 1, 1]
    return area / 2


@compiled
def of_area(ring: Float64, least: float, most: float) -> Float64:
    """A ring with its edges moved out or in together until its area lies between two bounds."""
    for _ in range(4):
        area = signed_area(ring)
        missing = min(max(abs(area), least), most) - abs(area)
        if missing == 0:
            break
        count = ring.shape[0]
        edges = np.empty((count, 2))
        length = 0.0
        for k in range(count):
            dx, dy = ring[(k + 1) % count, 0] - ring[k, 0], ring[(k + 1) % count, 1] - ring[k, 1]
            edge = np.hypot(dx, dy)
            edges[k] = dx / edge, dy / edge
            length += edge
        out = np.sign(area) * missing / length
        moved = np.empty((count, 2))
        for k in range(count):
            ax, ay = edges[k - 1]
            bx, by = edges[k]
            share = out / (1 + ax * bx + ay * by)
            moved[k] = ring[k, 0] + share * (ay + by), ring[k, 1] - share * (ax + bx)
        ring = moved
    return ring


@compiled
def roundness(points: Float64) -> tuple[float, float]:
    """Mean distance of points to their center, and its variance."""
    count = points.shape[0] - 1
    x, y = np.mean(points[:count, 0]), np.mean(points[:count, 1])
    radius = np.hypot(points[:count, 0] - x, points[:count, 1] - y)
    return float(np.mean(radius)), float(np.var(radius))


@compiled
def circle(ring: Float64) -> Float64:
    """The regular polygon of a ring's area and center."""
    area = signed_area(ring)
    x = y = 0.0
    for k in range(ring.shape[0]):
        cross = ring[k - 1, 0] * ring[k, 1] - ring[k, 0] * ring[k - 1, 1]
        x += cross * (ring[k - 1, 0] + ring[k, 0]) / (6 * area)
        y += cross * (ring[k - 1, 1] + ring[k, 1]) / (6 * area)
    radius = np.sqrt(abs(area) / (CIRCLE_VERTICES / 2 * np.sin(2 * np.pi / CIRCLE_VERTICES)))
    out = np.empty((CIRCLE_VERTICES, 2))
    for k in range(CIRCLE_VERTICES):
        angle = 2 * np.pi * k / CIRCLE_VERTICES
        out[k] = x + radius * np.cos(angle), y + radius * np.sin(angle)
    return out


@compiled
def box(ring: Float64, direction: float) -> Float64:
    """A rectangle of a ring's area and proportions."""
    c, s = np.cos(direction), np.sin(direction)
    u, v = c * ring[:, 0] + s * ring[:, 1], c * ring[:, 1] - s * ring[:, 0]
    wide, high = np.max(u) - np.min(u), np.max(v) - np.min(v)
    middle_u, middle_v = (np.max(u) + np.min(u)) / 2, (np.max(v) + np.min(v)) / 2
    half = np.sqrt(abs(signed_area(ring)) / (wide * high)) / 2
    out = np.empty((4, 2))
    for k, (right, up) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        p, q = middle_u + right * half * wide, middle_v + up * half * high
        out[k] = c * p - s * q, s * p + c * q
    return out

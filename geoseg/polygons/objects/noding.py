"""Vertices where the outlines of polygons cross or touch, for all pairs at once.

Polygons lie on :data:`STEPS` steps a pixel. So differences of their coordinates are whole numbers of steps,
and on which side of an edge a vertex lies is the sign of a whole number: it is found exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.compiled import compiled

__all__ = ["STEPS", "Crossings", "Outlines", "find_crossings", "ranges", "with_vertices"]

STEPS: Final = float(1 << 20)
"""Outlines lie on this many steps a pixel. Scenes lie millions of pixels from the origin of their CRS, where
a double still holds such a step; what is narrower is no shape on the ground."""
_NEAR: Final = 2.0**-16
"""Crossings lie on multiples of this, in pixels; one as near as this to an end of its edges is that vertex.
So those of three outlines that meet are one."""
_PARALLEL: Final = 1e-3
"""Sine below which the product of two directions is computed in whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Polygons as arrays; each vertex of a ring but its last one begins the edge of its number."""

    xy: Float64
    """Vertices of the closed rings in pixels, shape (m, 2)."""
    ring: Int64
    """Where each ring starts among them, and m."""
    polygon: Int64
    """Where each polygon's rings start, exterior first, and their number."""

    @classmethod
    def of(cls, polygons: Objects) -> Outlines:
        """Those of shapely Polygons, shape (n,), at least one."""
        _, xy, (ring, polygon) = shapely.to_ragged_array(polygons, include_z=False)
        return cls(xy, ring.astype(np.int64), polygon.astype(np.int64))

    @property
    def first(self) -> Int64:
        """Where each polygon's vertices start, and m."""
        return self.ring[self.polygon]


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """Where the outlines of pairs of polygons meet; a point may be there more than once."""

    xy: Float64
    """Points in pixels, at most :data:`_NEAR` off, shape (n, 2)."""
    edge: Int64
    """The edge of the first and of the second polygon that each lies on; -1: it is a vertex; shape (n, 2)."""
    start: Int64
    """Where the points of each pair start, and n."""


def find_crossings(outlines: Outlines, pairs: Int64) -> Crossings:
    """Where the outlines of pairs of polygons cross or touch; ``pairs``: their numbers, shape (k, 2).

    Where edges lie on each other these are the ends of the common piece.
    """
    begins = np.ones(len(outlines.xy), np.bool_)
    begins[outlines.ring[1:] - 1] = False
    return Crossings(*_find_crossings(outlines.xy, begins, outlines.first, pairs))


def with_vertices(
    polygons: Objects, outlines: Outlines, which: Int64, owner: Int64, edge: Int64, xy: Float64
) -> Objects:
    """Some polygons with further vertices in their edges, each itself where it would then cross itself.

    Args:
        polygons: valid shapely Polygons, and ``outlines`` the same.
        which: numbers of those wanted, shape (n,); the same polygon may come with different vertices.
        owner: whose vertex each point is, as a place in ``which``, shape (m,).
        edge: what edge it lies on; -1: it is a vertex already.
        xy: the points, shape (m, 2), on their edges but for roundings; the same may be there more than once.
    """
    inside = np.flatnonzero(edge >= 0)
    inside = inside[np.lexsort((edge[inside], xy[inside, 1], xy[inside, 0], owner[inside]))]
    same = (np.diff(xy[inside], axis=0) == 0).all(axis=1) & (np.diff(owner[inside]) == 0)
    inside = inside[np.append(True, ~same)[: inside.size]]
    owner, edge, xy = owner[inside], edge[inside], xy[inside]
    place = ((xy - outlines.xy[edge]) * (outlines.xy[edge + 1] - outlines.xy[edge])).sum(axis=1)
    order = np.lexsort((xy[:, 1], xy[:, 0], place, edge, owner))
    owner, edge, xy = owner[order], edge[order], xy[order]

    out = polygons[which]
    changed, number = np.unique(owner, return_inverse=True)
    if not changed.size:
        return out
    wanted = which[changed]
    of_ring, ring = ranges(outlines.polygon[wanted], np.diff(outlines.polygon)[wanted])
    of_vertex, vertex = ranges(outlines.ring[ring], np.diff(outlines.ring)[ring])
    first = np.searchsorted(of_ring[of_vertex], np.arange(changed.size))
    behind = first[number] + edge - outlines.first[wanted][number] + 1
    filled = np.insert(outlines.xy[vertex], behind, xy, axis=0)
    size = np.bincount(of_vertex) + np.bincount(of_vertex[behind - 1], minlength=ring.size)
    start = np.searchsorted(of_ring, np.arange(changed.size + 1))
    noded = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, filled, (np.concatenate([[0], np.cumsum(size)]), start)
    )
    sound = shapely.is_valid(noded)
    out[changed[sound]] = noded[sound]
    return out


def ranges(start: Int64, count: Int64) -> tuple[Int64, Int64]:
    """Ranges of numbers, one after the other: which range each number is of, and the numbers.

    >>> [values.tolist() for values in ranges(np.array([5, 0, 7]), np.array([2, 0, 1]))]
    [[0, 0, 2], [5, 6, 7]]
    """
    of = np.repeat(np.arange(count.size), count)
    return of, np.arange(of.size) + (start - np.cumsum(count) + count)[of]


@compiled
def _product(ax: float, ay: float, bx: float, by: float) -> float:
    """Cross product of two differences of vertices, to a few roundings, so with its true sign.

    They are multiples of a step, and one of the axes is shorter than 2^11 pixels, the other than 2^17.
    """
    one, other = ax * by, ay * bx
    if abs(one - other) > _PARALLEL * (abs(one) + abs(other)):
        return one - other
    # The difference of two products that are nearly equal fits into 64 bits even where they do not.
    steps = np.int64(ax * STEPS) * np.int64(by * STEPS) - np.int64(ay * STEPS) * np.int64(bx * STEPS)
    return float(steps / (STEPS * STEPS))


@compiled
def _meet(a: Float64, b: Float64, c: Float64, d: Float64, out: Float64) -> int:
    """Write the points where two edges, ab and cd, meet; returns how many, at most four."""
    of_c = _product(b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1])
    of_d = _product(b[0] - a[0], b[1] - a[1], d[0] - a[0], d[1] - a[1])
    if (of_c > 0 and of_d > 0) or (of_c < 0 and of_d < 0):
        return 0
    of_a = _product(d[0] - c[0], d[1] - c[1], a[0] - c[0], a[1] - c[1])
    of_b = _product(d[0] - c[0], d[1] - c[1], b[0] - c[0], b[1] - c[1])
    if (of_a > 0 and of_b > 0) or (of_a < 0 and of_b < 0):
        return 0
    if of_a != 0 and of_b != 0 and of_c != 0 and of_d != 0:
        share = of_a / (of_a - of_b)
        out[0] = a + share * (b - a)
        return 1
    found = 0
    # Of edges on one line the ends that lie on the other one.
    for side, end, p, q in ((of_c, c, a, b), (of_d, d, a, b), (of_a, a, c, d), (of_b, b, c, d)):
        on = min(p[0], q[0]) <= end[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= end[1] <= max(p[1], q[1])
        if side == 0 and on:
            out[found] = end
            found += 1
    return found


@compiled
def _settled(point: Float64, ends: tuple[Float64, Float64, Float64, Float64]) -> tuple[float, float]:
    """Where a crossing comes to lie: on the nearest end of its edges that is near, or on a multiple."""
    x, y = np.rint(point[0] / _NEAR) * _NEAR, np.rint(point[1] / _NEAR) * _NEAR
    nearest = np.inf
    for end in ends:
        apart = np.hypot(end[0] - point[0], end[1] - point[1])
        if apart <= _NEAR and apart < nearest:
            nearest, x, y = apart, end[0], end[1]
    return x, y


@compiled
def _is_end(x: float, y: float, one: Float64, other: Float64) -> bool:
    return bool((x == one[0] and y == one[1]) or (x == other[0] and y == other[1]))


@compiled
def _edges_within(xy: Float64, begins: Bool, vertices: Int64, low: Float64, high: Float64) -> Int64:
    """Edges whose boxes meet a box, in the order of their left ends; ``vertices``: their first and stop."""
    count = vertices[1] - vertices[0]
    out, left, found = np.empty(count, np.int64), np.empty(count), 0
    for v in range(vertices[0], vertices[1]):
        if not begins[v]:
            continue
        a, b = xy[v], xy[v + 1]
        across = min(a[0], b[0]) <= high[0] and max(a[0], b[0]) >= low[0]
        if across and min(a[1], b[1]) <= high[1] and max(a[1], b[1]) >= low[1]:
            out[found], left[found] = v, min(a[0], b[0])
            found += 1
    return out[:found][np.argsort(left[:found])]


@compiled
def _common(one: Float64, other: Float64) -> tuple[Float64, Float64]:
    """The lower and the upper corner of what the boxes of two polygons have in common."""
    low, high = np.empty(2), np.empty(2)
    for axis in range(2):
        low[axis] = max(one[:, axis].min(), other[:, axis].min())
        high[axis] = min(one[:, axis].max(), other[:, axis].max())
    return low, high


@compiled
def _find_crossings(xy: Float64, begins: Bool, first: Int64, pairs: Int64) -> tuple[Float64, Int64, Int64]:
    """Points, edges and starts of :class:`Crossings`; ``begins``: which vertices begin an edge."""
    points, edges, used = np.empty((256, 2)), np.empty((256, 2), np.int64), 0
    start = np.zeros(pairs.shape[0] + 1, np.int64)
    met = np.empty((4, 2))
    for k in range(pairs.shape[0]):
        p, q = pairs[k]
        low, high = _common(xy[first[p] : first[p + 1]], xy[first[q] : first[q + 1]])
        mine = _edges_within(xy, begins, first[p : p + 2], low, high)
        theirs = _edges_within(xy, begins, first[q : q + 2], low, high)
        widest = 0.0
        for w in theirs:
            widest = max(widest, abs(xy[w + 1, 0] - xy[w, 0]))
        begin = 0
        for v in mine:
            a, b = xy[v], xy[v + 1]
            left, right = min(a[0], b[0]), max(a[0], b[0])
            while begin < theirs.size and min(xy[theirs[begin], 0], xy[theirs[begin] + 1, 0]) + widest < left:
                begin += 1
            for w in theirs[begin:]:
                c, d = xy[w], xy[w + 1]
                if min(c[0], d[0]) > right:
                    break
                if max(c[1], d[1]) < min(a[1], b[1]) or min(c[1], d[1]) > max(a[1], b[1]):
                    continue
                for n in range(_meet(a, b, c, d, met)):
                    if used == points.shape[0]:
                        points = np.concatenate((points, np.empty_like(points)))
                        edges = np.concatenate((edges, np.empty_like(edges)))
                    x, y = _settled(met[n], (a, b, c, d))
                    points[used] = x, y
                    edges[used, 0] = -1 if _is_end(x, y, a, b) else v
                    edges[used, 1] = -1 if _is_end(x, y, c, d) else w
                    used += 1
        start[k + 1] = used
    return points[:used], edges[:used], start

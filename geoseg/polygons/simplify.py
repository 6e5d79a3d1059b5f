r"""Polygons with fewer vertices: rings of the same area, objects for small scales, coverages.

``collapse_rings`` is area-preserving segment collapse (Kronenfeld, Stanislawski, Buttenfield & Brockmeyer
2020, "Simplification of polylines by segment collapse: minimizing areal displacement while preserving area"):
an edge BC between A and D becomes a point E, so placed that A-E-D bounds the same area as A-B-C-D.

        B------C                 E
       /        \             .-'  '-.       E lies on the line of AB or of CD, and the triangle
      /          \         .-'        '-.    AED has the area of ABCD
     A            D       A              D
"""

from __future__ import annotations

import heapq

import numpy as np
import shapely

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.compiled import compiled

__all__ = ["collapse_rings", "simplified_coverage", "simplified_objects"]

_FEWEST = 4


@compiled
def _cross(ax: float, ay: float, bx: float, by: float) -> float:
    return ax * by - ay * bx


@compiled
def _collapse(a: Float64, b: Float64, c: Float64, d: Float64) -> tuple[float, float, float]:
    """The point that replaces b and c, and the area that is displaced; infinite where there is none."""
    ux, uy = d[0] - a[0], d[1] - a[1]
    base = np.hypot(ux, uy)
    if base < 1e-9:  # noqa: PLR2004 - px: a and d are one point
        return 0.0, 0.0, np.inf
    ux, uy = ux / base, uy / base
    high_b = _cross(ux, uy, b[0] - a[0], b[1] - a[1])
    high_c = _cross(ux, uy, c[0] - a[0], c[1] - a[1])
    # Twice the area over the base: the height of the triangle that replaces the quadrangle.
    twice = _cross(b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1])
    twice += _cross(c[0] - a[0], c[1] - a[1], d[0] - a[0], d[1] - a[1])
    height = -twice / base
    if abs(high_b) < 1e-12 and abs(high_c) < 1e-12:  # noqa: PLR2004 - px: all four on a line
        return (a[0] + d[0]) / 2, (a[1] + d[1]) / 2, 0.0
    # E lies on the line of AB or of CD: of the point farther out, or of the one on its own side of AD.
    on_first = abs(high_b) > abs(high_c) if high_b * high_c > 0 else high_b * height > 0
    start, end, level = (a, b, high_b) if on_first else (d, c, high_c)
    if abs(level) < 1e-12:  # noqa: PLR2004 - px: the line is AD's
        return 0.0, 0.0, np.inf
    t = height / level
    ex, ey = start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
    # What is gained on one side of BC is lost on the other, and the two triangles meet on BC.
    far = d if on_first else a
    near, other = (b, c) if on_first else (c, b)
    fx, fy, gx, gy = far[0] - ex, far[1] - ey, other[0] - near[0], other[1] - near[1]
    turn = _cross(fx, fy, gx, gy)
    share = 0.0 if turn == 0 else _cross(fx, fy, ex - near[0], ey - near[1]) / turn
    share = min(max(share, 0.0), 1.0)
    mx, my = near[0] + share * gx, near[1] + share * gy
    return ex, ey, abs(_cross(near[0] - ex, near[1] - ey, mx - ex, my - ey))


@compiled
def _collapse_ring(ring: Float64, most: float) -> Float64:
    """Collapse edges of a closed ring, the least displacing first, while one displaces at most ``most``."""
    count = ring.shape[0] - 1
    place = ring[:count] - ring[0]
    after = (np.arange(count) + 1) % count
    before = (np.arange(count) - 1) % count
    version = np.zeros(count, np.int64)
    alive = np.ones(count, np.bool_)
    heap = [(np.inf, np.int64(0), np.int64(0))]
    changed = np.arange(count)
    left = count
    while True:
        for i in changed:
            version[i] += 1
            j = after[i]
            _, _, cost = _collapse(place[before[i]], place[i], place[j], place[after[j]])
            if cost <= most:
                heapq.heappush(heap, (cost, np.int64(i), version[i]))
        i = j = np.int64(-1)
        while heap and i < 0:
            _, found, made = heapq.heappop(heap)
            if alive[found] and made == version[found]:
                i = found
        if i < 0 or left <= _FEWEST:
            break
        j = after[i]
        x, y, _ = _collapse(place[before[i]], place[i], place[j], place[after[j]])
        place[i] = x, y
        alive[j] = False
        after[i] = after[j]
        before[after[j]] = i
        left -= 1
        changed = np.array([before[before[i]], before[i], i, after[i]])
    out = np.empty((left + 1, 2))
    kept = 0
    for k in range(count):
        if alive[k]:
            out[kept] = place[k] + ring[0]
            kept += 1
    out[left] = out[0]
    return out


@compiled
def collapse_rings(coordinates: Float64, ring_offsets: Int64, most: Float64) -> tuple[Float64, Int64]:
    """Simplify closed rings, each of the area that it had.

    ``coordinates`` are float64, shape (vertices, 2); ``ring_offsets`` say where each ring begins among them,
    and the end, shape (rings + 1,); ``most`` is the largest area that the collapse of one edge may displace,
    for each ring, shape (rings,). What comes back is alike, with at least four vertices to a ring (fewer
    where fewer came).
    """
    out, used = np.empty_like(coordinates), 0
    offsets = np.zeros_like(ring_offsets)
    for r in range(most.shape[0]):
        ring = _collapse_ring(coordinates[ring_offsets[r] : ring_offsets[r + 1]], most[r])
        out[used : used + ring.shape[0]] = ring
        used += ring.shape[0]
        offsets[r + 1] = used
    return out[:used], offsets


def simplified_objects(polygons: Objects, tolerance: float, min_area: float) -> tuple[Objects, Bool]:
    """Objects that stand apart, each simplified by itself (Douglas and Peucker); small ones and holes go.

    The polygons are valid, shape (n,), in any planar unit. ``tolerance`` is about how far an outline may
    move, in their unit; objects and holes below ``min_area`` are left out, in their unit squared. Returns the
    polygons that stay, simplified and valid, shape (m,), and which they are, shape (n,). One whose outline
    would cross itself stays as it is.
    """
    kept = shapely.area(polygons) >= min_area
    chosen = _without_holes(polygons[kept], min_area)
    simple = shapely.simplify(chosen, tolerance, preserve_topology=True)
    sound = shapely.is_valid(simple) & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
    sound &= ~shapely.is_empty(simple)
    return np.where(sound, simple, chosen), kept


def simplified_coverage(polygons: Objects, tolerance: float) -> Objects:
    """Neighbors that share edges, simplified together (Visvalingam and Whyatt): no gap, no overlap.

    The polygons are a valid coverage, shape (n,), in any planar unit. Their outer boundary does not move, so
    that pieces of a coverage that are simplified apart still fit together. ``tolerance`` is the side of a
    square as large as the largest triangle that may go, in their unit.
    """
    if not polygons.size:
        return polygons
    simple: Objects = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    return simple


def _without_holes(polygons: Objects, min_area: float) -> Objects:
    """The polygons without their holes below an area."""
    if not (shapely.get_num_interior_rings(polygons) > 0).any():
        return polygons
    rings, owner = shapely.get_rings(polygons, return_index=True)
    first = np.searchsorted(owner, np.arange(len(polygons)))  # a polygon's outer ring comes before its holes
    enclosed: Float64 = np.asarray(shapely.area(shapely.polygons(rings)))
    stay = enclosed >= min_area
    stay[first] = False
    out: Objects = np.asarray(shapely.polygons(rings[first]))
    ends = np.append(first[1:], len(rings))
    for n in np.unique(owner[stay]).tolist():
        mine = slice(first[n], ends[n])
        out[n] = shapely.Polygon(rings[first[n]], rings[mine][stay[mine]].tolist())
    return out

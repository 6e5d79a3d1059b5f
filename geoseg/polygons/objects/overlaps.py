"""What a fit has taken from its neighbors or from beyond the scene, cut off again.

Of two fits that overlap one keeps the overlap and the other is cut along its outline. A cut alone leaves its
ends in one of both; the other's edge passes them at the distance of a rounding, and GIS software finds the
overlap of that width, and the missing vertices. So both get the points where their outlines cross (x) as
vertices first (p, q), and share the border between them to the bit:

    +-------+                +-------+
    | A +---x---+            | A +---p---+
    |   |   |   |     ->     |   |       |
    +---x---+   |            +---q   B   |
        |     B |                |       |
        +-------+                +-------+
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely
from scipy.spatial import cKDTree

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.grid.geobox import GeoBox

__all__ = [
    "crossings",
    "cut_overlaps",
    "snapped",
    "with_vertices",
    "within_area",
    "within_scene",
    "without_others",
]

_NEAR: Final = 2.0**-16
"""Crossings lie on multiples of this, in pixels; one as near as this to a vertex is that vertex. So those of
three outlines that meet are one."""
_NOTHING: Final = 1e-9
"""Overlaps of less area than this, in square pixels, are rounding."""
_COMPLEX: Final = np.array([1, 1j])
_STEPS: Final = float(1 << 20)
"""Outlines lie on this many steps a pixel. Scenes lie millions of pixels from the origin of their CRS, where
a double still holds such a step; what is narrower is no shape on the ground."""


def cut_overlaps(fits: Objects, contours: Objects, wanted: Bool) -> tuple[Objects, Bool]:
    """The wanted polygons without what belongs to their neighbors, and which of them lost something.

    Of two fits that overlap, the one whose contour holds more of the overlap keeps it; of equals the first.
    Who keeps what follows from the fits as they came, so neither the order nor what else is given matters.
    Who keeps an overlap gets the vertices of those that end there. Where a polygon falls apart its largest
    part is kept; where nothing is left, its contour.

    ``fits``, shape (n,), are all that may overlap the wanted ones; ``contours`` what each was fitted to:
    these do not overlap.
    """
    chosen = np.flatnonzero(wanted)
    cut, lost = fits[chosen], np.zeros(chosen.size, np.bool_)
    mine, other = shapely.STRtree(fits).query(fits[chosen], predicate="intersects")
    apart = chosen[mine] != other
    mine, other = mine[apart], other[apart]
    shared = shapely.intersection(cut[mine], fits[other])
    held = shapely.area(shared)
    real = held > _NOTHING
    mine, other, shared = mine[real], other[real], shared[real]
    own = shapely.area(shapely.intersection(shared, contours[chosen[mine]]))
    theirs = shapely.area(shapely.intersection(shared, contours[other]))
    loses = (theirs > own) | ((theirs == own) & (other < chosen[mine]))
    noded = _Noded(fits)
    for index in np.unique(mine).tolist():
        around = np.sort(other[mine == index])  # the tree's order depends on what else it holds
        cut[index] = noded.among(int(chosen[index]), around)
        taken = np.sort(other[loses & (mine == index)])
        if not taken.size:
            continue
        winners = np.array([noded.among(n, np.append(around, chosen[index])) for n in taken.tolist()])
        left = shapely.difference(cut[index], shapely.union_all(winners))
        part = _largest(left)
        if part.area > _NOTHING:
            cut[index] = shapely.normalize(part)
        else:
            cut[index] = contours[chosen[index]]
        lost[index] = True
    cut[lost] = snapped(cut[lost])
    return shapely.orient_polygons(cut), lost


class _Noded:
    """Fits with vertices where they cross."""

    def __init__(self, fits: Objects) -> None:
        self._fits = fits
        self._points: dict[tuple[int, int], Float64] = {}

    def among(self, index: int, others: Int64) -> shapely.Polygon:
        """One of them with the vertices where it crosses some others."""
        points = [self._crossings(*sorted((index, n))) for n in others.tolist() if n != index]
        return with_vertices(self._fits[index], np.unique(np.concatenate(points), axis=0))

    def _crossings(self, one: int, other: int) -> Float64:
        if (one, other) not in self._points:
            self._points[one, other] = crossings(self._fits[one], self._fits[other])
        return self._points[one, other]


def without_others(polygons: Objects, others: Objects) -> Objects:
    """Polygons without what others take of them, the largest part of each; shapely Polygons, shape (n,)."""
    out = polygons.copy()
    mine, other = shapely.STRtree(others).query(polygons, predicate="intersects")
    for index in np.unique(mine).tolist():
        takers = others[np.sort(other[mine == index])]
        out[index] = _largest(shapely.difference(polygons[index], shapely.union_all(takers)))
    oriented: Objects = shapely.orient_polygons(snapped(out))
    return oriented


def within_scene(polygons: Objects, box: GeoBox) -> tuple[Objects, Bool]:
    """Polygons, in pixels, without what lies beyond the scene's edge, and which of them lost something.

    Neighbors that share vertices do so to the bit, wherever their fits were computed.
    """
    return within_area(polygons, shapely.box(0, 0, box.width, box.height))


def within_area(polygons: Objects, area: shapely.Geometry) -> tuple[Objects, Bool]:
    """The same without what lies beyond an area, in pixels."""
    out = snapped(polygons)
    beyond = ~shapely.within(out, area)
    for index in np.flatnonzero(beyond).tolist():
        out[index] = shapely.normalize(_largest(shapely.intersection(out[index], area)))
    out[beyond] = snapped(out[beyond])
    return shapely.orient_polygons(out), beyond


def crossings(one: shapely.Polygon, other: shapely.Polygon) -> Float64:
    """Where the outlines of two polygons, in pixels, cross or touch.

    Points of shape (n, 2), at most :data:`_NEAR` off; exchanging the polygons may change the last bit.
    """
    points = shapely.get_coordinates(shapely.intersection(one.boundary, other.boundary))
    vertices = shapely.get_coordinates([one, other])
    if not len(points):
        return points
    apart, nearest = cKDTree(vertices).query(points)
    met = np.where(apart[:, None] <= _NEAR, vertices[nearest], np.round(points / _NEAR) * _NEAR)
    return np.unique(met, axis=0)


def with_vertices(polygon: shapely.Polygon, points: Float64) -> shapely.Polygon:
    """A valid polygon with further vertices in its nearest edges; itself where it would then cross itself.

    The points, shape (n, 2), lie on its outline but for roundings and :data:`_NEAR`; its vertices are left
    out.
    """
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    start = np.concatenate([ring[:-1] for ring in rings])
    end = np.concatenate([ring[1:] for ring in rings])
    points = points[~np.isin(points @ _COMPLEX, start @ _COMPLEX)]
    if not len(points):
        return polygon
    edges = shapely.STRtree(np.asarray(shapely.linestrings(np.stack([start, end], axis=1))))
    edge = np.asarray(edges.nearest(shapely.points(points)))
    place = ((points - start[edge]) * (end - start)[edge]).sum(axis=1)
    order = np.lexsort((place, edge))
    filled, before = [], 0
    for ring in rings:
        after = before + len(ring) - 1
        mine = order[(edge[order] >= before) & (edge[order] < after)]
        filled.append(np.insert(ring, edge[mine] - before + 1, points[mine], axis=0))
        before = after
    out = shapely.Polygon(filled[0], filled[1:])
    return out if out.is_valid else polygon


def _largest(shape: shapely.Geometry) -> shapely.Polygon:
    """The largest polygon of what an operation left; an empty one where it left none."""
    parts = shapely.get_parts(shape)
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return parts[int(np.argmax(shapely.area(parts)))] if len(parts) else shapely.Polygon()


def snapped(polygons: Objects) -> Objects:
    """Valid polygons in pixels, on the steps; of what falls apart the largest part.

    Without spikes and necks that are narrower, they stay valid on the ground.
    """
    # Adding 0 makes -0, which has other bits, 0.
    out: Objects = shapely.transform(polygons, lambda points: np.round(points * _STEPS) / _STEPS + 0.0)
    for index in np.flatnonzero(~shapely.is_valid(out)).tolist():
        out[index] = _largest(shapely.make_valid(out[index]))
    return out

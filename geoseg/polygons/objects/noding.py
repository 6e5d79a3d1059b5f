"""Vertices where outlines cross, given to both: what is cut there shares its border to the bit.

A cut alone leaves its ends in one of two neighbors. The other's edge passes them at the distance of a
rounding: on the ground both overlap by as much, and GIS software finds that, and the missing vertices.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["crossings", "largest", "settled", "with_vertices"]

_NEAR: Final = 2.0**-16
"""Crossings lie on multiples of this, in pixels; one as near as this to a vertex is that vertex. So those of
three outlines that meet are one."""
_COMPLEX: Final = np.array([1, 1j])
_STEPS: Final = float(1 << 20)
"""Outlines lie on this many steps a pixel. Scenes lie millions of pixels from the origin of their CRS, where
a double still holds such a step; what is narrower is no shape on the ground."""


def crossings(one: shapely.Polygon, other: shapely.Polygon) -> NDArray[np.float64]:
    """Where the outlines of two polygons cross or touch.

    Args:
        one: in pixels.
        other: the same; exchanging both may change the last bit.

    Returns:
        Points of shape (n, 2), at most :data:`_NEAR` off.
    """
    points = shapely.get_coordinates(shapely.intersection(one.boundary, other.boundary))
    vertices = shapely.get_coordinates([one, other])
    if not len(points):
        return points
    apart, nearest = cKDTree(vertices).query(points)
    met = np.where(apart[:, None] <= _NEAR, vertices[nearest], np.round(points / _NEAR) * _NEAR)
    return np.unique(met, axis=0)


def with_vertices(polygon: shapely.Polygon, points: NDArray[np.float64]) -> shapely.Polygon:
    """A polygon with further vertices in its nearest edges.

    Args:
        polygon: a valid polygon.
        points: on its outline but for roundings and :data:`_NEAR`, shape (n, 2); vertices of it are left out.

    Returns:
        It, or the polygon as it came where it would cross itself.
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


def largest(shape: shapely.Geometry) -> shapely.Polygon:
    """The largest polygon of what an operation left; an empty one where it left none."""
    parts = shapely.get_parts(shape)
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return parts[int(np.argmax(shapely.area(parts)))] if len(parts) else shapely.Polygon()


def settled(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons on the steps: without spikes and necks that are narrower, they stay valid on the ground.

    Args:
        polygons: valid shapely Polygons, in pixels, shape (n,).

    Returns:
        The same; of what falls apart the largest part.
    """
    out: NDArray[np.object_] = shapely.transform(polygons, _stepped)
    for index in np.flatnonzero(~shapely.is_valid(out)).tolist():
        out[index] = largest(shapely.make_valid(out[index]))
    return out


def _stepped(points: NDArray[np.float64]) -> NDArray[np.float64]:
    on_steps: NDArray[np.float64] = np.round(points * _STEPS) / _STEPS + 0.0  # no -0: it has other bits
    return on_steps

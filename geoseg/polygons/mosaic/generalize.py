"""Polygons for small scales: fewer vertices, and no more detail than a screen can show."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["simplified_coverage", "simplified_objects"]


def simplified_objects(
    polygons: NDArray[np.object_], tolerance: float, min_area: float
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Objects that stand apart, each simplified by itself (Douglas and Peucker); small ones and holes go.

    Args:
        polygons: valid polygons in any planar unit, shape (n,).
        tolerance: about how far an outline may move, in their unit.
        min_area: objects and holes below this area are left out, in their unit squared.

    Returns:
        The polygons that stay, simplified and valid, shape (m,); which ones they are, shape (n,). One whose
        outline would cross itself stays as it is.
    """
    kept = shapely.area(polygons) >= min_area
    chosen = _without_holes(polygons[kept], min_area)
    simple = shapely.simplify(chosen, tolerance, preserve_topology=True)
    sound = shapely.is_valid(simple) & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
    sound &= ~shapely.is_empty(simple)
    return np.where(sound, simple, chosen), kept


def simplified_coverage(polygons: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """Neighbors that share edges, simplified together (Visvalingam and Whyatt): no gap, no overlap.

    What lies on the outer boundary of the polygons given is not moved, so that parts of a coverage which are
    simplified apart still fit together.

    Args:
        polygons: a valid coverage in any planar unit, shape (n,).
        tolerance: side of a square as large as the largest triangle that may go, in their unit.

    Returns:
        The same polygons with fewer vertices, shape (n,).
    """
    if not polygons.size:
        return polygons
    simple: NDArray[np.object_] = shapely.coverage_simplify(polygons, tolerance, simplify_boundary=False)
    return simple


def _without_holes(polygons: NDArray[np.object_], min_area: float) -> NDArray[np.object_]:
    """The polygons without their holes below an area."""
    if not (shapely.get_num_interior_rings(polygons) > 0).any():
        return polygons
    rings, owner = shapely.get_rings(polygons, return_index=True)
    first = np.searchsorted(owner, np.arange(len(polygons)))  # a polygon's outer ring comes before its holes
    enclosed: NDArray[np.float64] = np.asarray(shapely.area(shapely.polygons(rings)))
    stay = enclosed >= min_area
    stay[first] = False
    out: NDArray[np.object_] = np.asarray(shapely.polygons(rings[first]))
    ends = np.append(first[1:], len(rings))
    for n in np.unique(owner[stay]).tolist():
        mine = slice(first[n], ends[n])
        out[n] = shapely.Polygon(rings[first[n]], rings[mine][stay[mine]].tolist())
    return out

"""What a fit has taken from neighbors or from beyond the scene, given back."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects.noding import crossings, largest, settled, with_vertices

__all__ = ["iou_of", "part_neighbors", "within_scene", "without"]

_NOTHING = 1e-9
"""Overlaps of less area than this, in square pixels, are rounding."""


def part_neighbors(
    fits: NDArray[np.object_], contours: NDArray[np.object_], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Polygons without what belongs to their neighbors.

    Of two fits that overlap, the one whose contour holds more of the overlap keeps it; of equals the first.
    Who keeps what follows from the fits as they came, so neither order nor company matters.

    Args:
        fits: shapely Polygons, shape (n,), all that may overlap the wanted ones.
        contours: what each was fitted to, shape (n,); these do not overlap.
        wanted: which ones to return.

    Returns:
        The wanted ones, parted, and which of them lost something, both of the length of the wanted. Who keeps
        an overlap gets the vertices of whoever ends there. Where a polygon falls apart its largest part is
        kept; where nothing is left, its contour.
    """
    chosen = np.flatnonzero(wanted)
    parted, lost = fits[chosen], np.zeros(chosen.size, np.bool_)
    mine, other = shapely.STRtree(fits).query(fits[chosen], predicate="intersects")
    apart = chosen[mine] != other
    mine, other = mine[apart], other[apart]
    shared = shapely.intersection(parted[mine], fits[other])
    held = shapely.area(shared)
    real = held > _NOTHING
    mine, other, shared = mine[real], other[real], shared[real]
    own = shapely.area(shapely.intersection(shared, contours[chosen[mine]]))
    theirs = shapely.area(shapely.intersection(shared, contours[other]))
    loses = (theirs > own) | ((theirs == own) & (other < chosen[mine]))
    noded = _Noded(fits)
    for index in np.unique(mine).tolist():
        around = np.sort(other[mine == index])  # the tree's order depends on its company
        parted[index] = noded.among(int(chosen[index]), around)
        taken = np.sort(other[loses & (mine == index)])
        if not taken.size:
            continue
        winners = np.array([noded.among(n, np.append(around, chosen[index])) for n in taken.tolist()])
        left = shapely.difference(parted[index], shapely.union_all(winners))
        part = largest(left)
        if part.area > _NOTHING:
            parted[index] = shapely.normalize(part)
        else:
            parted[index] = contours[chosen[index]]
        lost[index] = True
    parted[lost] = settled(parted[lost])
    return shapely.orient_polygons(parted), lost


class _Noded:
    """Fits with vertices where they cross."""

    def __init__(self, fits: NDArray[np.object_]) -> None:
        self._fits = fits
        self._points: dict[tuple[int, int], NDArray[np.float64]] = {}

    def among(self, index: int, others: NDArray[np.int64]) -> shapely.Polygon:
        """One of them with the vertices where it crosses some others."""
        points = [self._crossings(*sorted((index, n))) for n in others.tolist() if n != index]
        return with_vertices(self._fits[index], np.unique(np.concatenate(points), axis=0))

    def _crossings(self, one: int, other: int) -> NDArray[np.float64]:
        if (one, other) not in self._points:
            self._points[one, other] = crossings(self._fits[one], self._fits[other])
        return self._points[one, other]


def without(polygons: NDArray[np.object_], others: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons without what others take of them, the largest part of each; shapely Polygons, shape (n,)."""
    out = polygons.copy()
    mine, other = shapely.STRtree(others).query(polygons, predicate="intersects")
    for index in np.unique(mine).tolist():
        takers = others[np.sort(other[mine == index])]
        out[index] = largest(shapely.difference(polygons[index], shapely.union_all(takers)))
    oriented: NDArray[np.object_] = shapely.orient_polygons(settled(out))
    return oriented


def within_scene(polygons: NDArray[np.object_], box: GeoBox) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Polygons, in pixels, without what lies beyond the scene's edge, and which of them lost something.

    Neighbors that share vertices do so to the bit, wherever their fits were computed.
    """
    out = settled(polygons)
    scene = shapely.box(0, 0, box.width, box.height)
    beyond = ~shapely.within(out, scene)
    for index in np.flatnonzero(beyond).tolist():
        out[index] = shapely.normalize(largest(shapely.intersection(out[index], scene)))
    out[beyond] = settled(out[beyond])
    return shapely.orient_polygons(out), beyond


def iou_of(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.float64]:
    """Intersection over union of polygons with their counterparts, shape (n,)."""
    shared = shapely.area(shapely.intersection(one, other))
    iou: NDArray[np.float64] = shared / (shapely.area(one) + shapely.area(other) - shared)
    return iou

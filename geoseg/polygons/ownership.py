"""Neighbours that a fit has made overlap, parted again."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["part_neighbours"]

_NOTHING = 1e-9
"""Overlaps of less area than this, in square pixels, are rounding."""


def part_neighbours(
    fits: NDArray[np.object_], contours: NDArray[np.object_], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Polygons without what belongs to their neighbours.

    Of two fits that overlap, the one whose contour holds more of the overlap keeps it; of equals the first.
    Who keeps what follows from the fits as they came, so neither order nor company matters.

    Args:
        fits: shapely Polygons, shape (n,), all that may overlap the wanted ones.
        contours: what each was fitted to, shape (n,); these do not overlap.
        wanted: which ones to return.

    Returns:
        The wanted ones, parted, and which of them lost something, both of the length of the wanted. Where a
        polygon falls apart its largest part is kept; where nothing is left, its contour.
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
    for index in np.unique(mine[loses]).tolist():
        winners = fits[np.sort(other[loses & (mine == index)])]  # the tree's order depends on its company
        left = shapely.difference(parted[index], shapely.union_all(winners))
        parts = shapely.get_parts(left)
        parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        area = shapely.area(parts)
        if area.max(initial=0) > _NOTHING:
            parted[index] = shapely.normalize(parts[int(np.argmax(area))])
        else:
            parted[index] = contours[chosen[index]]
        lost[index] = True
    return shapely.orient_polygons(parted), lost

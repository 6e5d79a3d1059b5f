"""What is left of polygons beside others: how coverages of overlapping scenes join without overlaps."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["beside"]


def beside(
    polygons: NDArray[np.object_], taken: NDArray[np.object_], least: float
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Polygons without the ground that others cover.

    Args:
        polygons: valid polygons in any planar unit, shape (n,).
        taken: valid polygons that cover ground already, in the same unit, shape (m,).
        least: parts below this area are left out, in the unit squared: rounding makes slivers along shared
            edges.

    Returns:
        What is left, as single polygons in the order of those they come from, of one polygon the largest part
        first, shape (k,); which polygon each comes from, shape (k,). A polygon that none of ``taken`` covers
        comes back itself.
    """
    pairs = shapely.STRtree(taken).query(polygons, predicate="intersects")
    met, starts = np.unique(pairs[0][np.argsort(pairs[0], kind="stable")], return_index=True)
    others = np.split(pairs[1][np.argsort(pairs[0], kind="stable")], starts[1:])
    left: NDArray[np.object_] = polygons.copy()
    for n, neighbors in zip(met.tolist(), others, strict=False):
        left[n] = shapely.difference(polygons[n], shapely.union_all(taken[neighbors]))
    # What only touches its neighbors has lost nothing, whatever rounding did to its vertices.
    same = shapely.area(polygons) - shapely.area(left) < least
    left[same] = polygons[same]
    parts, source = shapely.get_parts(left, return_index=True)
    areas = shapely.area(parts)
    whole = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ((areas >= least) | same[source])
    parts, source, areas = parts[whole], source[whole], areas[whole]
    order = np.lexsort((-areas, source))
    return parts[order], source[order].astype(np.int64)

"""Intersection over union of polygons, pair by pair."""

from __future__ import annotations

import numpy as np
import shapely

from geoseg.arrays import Float64, Objects

__all__ = ["polygon_iou"]


def polygon_iou(one: Objects, other: Objects) -> Float64:
    """Intersection over union of each pair of valid polygons; symmetric.

    Args:
        one: Polygons, MultiPolygons, None or empty, in any planar unit, shape (n,).
        other: their counterparts, shape (n,).

    Returns:
        float64, shape (n,): 0 where one of a pair is missing, NaN where both are.
    """
    shared = np.nan_to_num(shapely.area(shapely.intersection(one, other)))
    union = np.nan_to_num(shapely.area(one)) + np.nan_to_num(shapely.area(other)) - shared
    out: Float64 = np.divide(shared, union, out=np.full(len(shared), np.nan), where=union > 0)
    return out

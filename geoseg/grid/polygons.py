"""Arrays of polygons: repair, affine maps, and intersection over union pair by pair."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine

from geoseg.arrays import Float64, Objects

__all__ = ["moved", "polygon_iou", "repaired"]


def polygon_iou(one: Objects, other: Objects) -> Float64:
    """Intersection over union of each pair of valid polygons, in any planar unit; symmetric.

    Of Polygons, MultiPolygons, None or empty, both of shape (n,). Float64, shape (n,): 0 where one of a pair
    is missing, NaN where both are.
    """
    shared = np.nan_to_num(shapely.area(shapely.intersection(one, other)))
    union = np.nan_to_num(shapely.area(one)) + np.nan_to_num(shapely.area(other)) - shared
    out: Float64 = np.divide(shared, union, out=np.full(len(shared), np.nan), where=union > 0)
    return out


def repaired(polygons: Objects) -> Objects:
    """Polygons (shape (n,), None too) with the invalid ones made valid; valid and missing ones as they came.

    By the method ``structure``; what has no area is dropped. An invalid polygon may become a MultiPolygon or
    empty.
    """
    valid = shapely.is_valid(polygons) | shapely.is_missing(polygons)
    if valid.all():
        return polygons
    out = polygons.copy()
    out[~valid] = shapely.make_valid(polygons[~valid], method="structure", keep_collapsed=False)
    return out


def moved(polygons: Objects, transform: Affine) -> Objects:
    """Polygons, shape (n,), with every vertex mapped; a mirroring map turns their rings round."""
    a, b, c, d, e, f = transform[:6]
    return np.asarray(
        shapely.transform(
            polygons,
            lambda xy: np.stack([a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f], axis=1),
        )
    )

"""Polygons of a scene on their way to a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from geoseg.arrays import Bool, Float64, Int64, Objects, UInt8
from geoseg.polygons.trace.regions import Regions
from geoseg.polygons.trace.table import Table

__all__ = ["Shapes"]


@dataclass(frozen=True, slots=True, eq=False)
class Shapes(Table):
    """Polygons and what is known of each, as equal-length arrays."""

    polygons: Objects
    """Shapely Polygons in pixel coordinates, exteriors counter-clockwise in the plane of (column, row)."""
    first: Int64
    """Flat index, ``row × width + column``, of the first pixel in raster order."""
    last_row: Int64
    """Row of the last pixel of its region, at which it was complete."""
    class_id: UInt8
    pixels: Int64
    score: Int64
    """Sum of their stored scores."""
    p10: UInt8
    """10th percentile of these."""
    contrast: Float64
    """How clearly it ends, 0 to 1: that of :class:`~geoseg.polygons.trace.regions.Detail`."""
    touches_edge: Bool
    """Whether a pixel lies at the scene's edge or beside missing data."""
    kind: Objects
    """What was made of its outline: ``exact``, ``contour``, or a kind of fit."""
    fit: Float64
    """IoU of the polygon with its contour; NaN where nothing was fitted."""

    @classmethod
    def of(cls, regions: Regions, kind: str) -> Self:
        """Complete regions with their detail, nothing fitted."""
        assert regions.detail is not None
        known = regions.components
        kinds = np.empty(len(regions), np.object_)
        kinds[:] = kind
        return cls(
            regions.polygons, known.first, known.last_row, known.class_id, known.pixels, known.score,
            regions.detail.p10, regions.detail.contrast, known.touches_edge, kinds,
            np.full(len(regions), np.nan),
        )  # fmt: skip

"""Polygons of a scene on their way to a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.trace.columns import Columns
from geoseg.polygons.trace.regions import Regions

__all__ = ["Shapes"]


@dataclass(frozen=True, slots=True, eq=False)
class Shapes(Columns):
    """Polygons and what is known of each, as equal-length arrays."""

    polygons: NDArray[np.object_]
    """Shapely Polygons in pixel coordinates, exteriors counter-clockwise in the plane of (column, row)."""
    first: NDArray[np.int64]
    """Flat index, ``row × width + column``, of the first pixel in raster order."""
    last_row: NDArray[np.int64]
    """Row of the last pixel of the region that it is of: when it was known."""
    class_id: NDArray[np.uint8]
    """Class."""
    pixels: NDArray[np.int64]
    """Number of pixels that the polygon was made from."""
    score: NDArray[np.int64]
    """Sum of their stored scores."""
    low: NDArray[np.uint8]
    """Stored score that a tenth of them do not pass."""
    contrast: NDArray[np.float64]
    """How clearly it ends, 0 to 1: :func:`geoseg.polygons.trace.subpixel.edge_contrast`."""
    touches_edge: NDArray[np.bool_]
    """Whether a pixel lies at the scene's edge or beside missing data."""
    kind: NDArray[np.object_]
    """What was made of its outline: ``exact``, ``contour``, or a kind of fit."""
    fit: NDArray[np.float64]
    """IoU of the polygon with its contour; NaN where nothing was fitted."""

    @classmethod
    def none(cls) -> Self:
        """No polygons."""
        number, byte = np.zeros(0, np.int64), np.zeros(0, np.uint8)
        real, thing = np.zeros(0), np.zeros(0, np.object_)
        return cls(
            thing, number, number, byte, number, number, byte, real, np.zeros(0, np.bool_), thing, real
        )

    @classmethod
    def of(
        cls, regions: Regions, polygons: NDArray[np.object_], contrast: NDArray[np.float64], kind: str
    ) -> Self:
        """Regions with their polygons, nothing fitted.

        Args:
            regions: complete regions with their detail.
            polygons: one for each.
            contrast: of each.
            kind: of all.
        """
        assert regions.detail is not None
        known = regions.components
        kinds = np.empty(len(regions), np.object_)
        kinds[:] = kind
        return cls(
            polygons, known.first, known.last_row, known.class_id, known.pixels, known.score,
            regions.detail.low, contrast, known.touches_edge, kinds, np.full(len(regions), np.nan),
        )  # fmt: skip

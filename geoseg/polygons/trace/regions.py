"""Rows of a scene, and the regions found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from affine import Affine

from geoseg.arrays import Bool, Float64, Int64, Objects, UInt8
from geoseg.grid.pixel_map import applied
from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.rings import Rings, joined_starts, polygons_of
from geoseg.polygons.trace.table import Table

__all__ = ["Detail", "Regions", "Strip", "to_ground"]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Some rows of a scene."""

    classes: UInt8
    """Class ids, shape (rows, width), 255 where there is no data."""
    scores: UInt8
    """Stored score of each pixel's class, 0 to 200, same shape."""
    stored: UInt8 | None = None
    """Stored scores of all bands, shape (bands, rows, width), for sub-pixel outlines; None: not wanted."""
    border: UInt8 | None = None
    """Stored score of the border between two objects of the only class, shape (rows, width); None: there
    are no borders."""


@dataclass(frozen=True, slots=True, eq=False)
class Detail(Table):
    """What the scores tell of complete components, beyond their sum."""

    p10: UInt8
    """10th percentile of the pixels' stored scores, shape (n,)."""
    max_score: UInt8
    """Highest stored score, shape (n,)."""
    contrast: Float64
    """How clearly each ends: twice the mean distance from one half of its probability at its outline, 0 (one
    half everywhere) to 1, shape (n,); NaN where it borders on missing data only."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Complete components with their outlines."""

    rings: Rings
    """Their outlines, those of a region one after the other, exterior first."""
    ring_start: Int64
    """Where each region's rings start, with their number at the end, shape (n + 1,)."""
    components: Components
    detail: Detail | None = None
    """Where the strips had all bands."""
    oldest: int | None = None
    """Row where the oldest region that goes on below begins; None: none does, or it was not traced."""

    def __len__(self) -> int:
        return len(self.components)

    @property
    def polygons(self) -> Objects:
        """Shapely Polygons in pixel coordinates (x: column, y: row), made anew, shape (n,)."""
        return polygons_of(self.rings, self.ring_start)

    @classmethod
    def join(cls, parts: Sequence[Regions]) -> Self:
        """All regions of several batches, one after the other; with details if all have them."""
        details = [part.detail for part in parts if part.detail is not None]
        return cls(
            Rings.join([part.rings for part in parts]),
            joined_starts([part.ring_start for part in parts]),
            Components.join(part.components for part in parts),
            Detail.join(details) if len(details) == len(parts) else None,
        )

    def choose(self, chosen: Bool) -> Self:
        """The regions of a mask, with their details."""
        rings = np.diff(self.ring_start)
        start = np.concatenate([[0], np.cumsum(rings[chosen])])
        detail = None if self.detail is None else self.detail.choose(chosen)
        return type(self)(
            self.rings.choose(np.repeat(chosen, rings)), start, self.components.choose(chosen), detail
        )


def to_ground(polygons: Objects, transform: Affine) -> Objects:
    """Polygons in pixel coordinates, laid on the ground by a map (column, row) → (x, y) that is not singular.

    Those of :class:`Regions` (exteriors counter-clockwise in the plane of column and row) become new
    ones in CRS units, in the axis order of rasters (x: easting or longitude): exteriors counter-clockwise,
    holes clockwise, whichever way the rows run.
    """
    col, row = shapely.get_coordinates(polygons).T
    moved = shapely.set_coordinates(polygons.copy(), np.stack(applied(transform, col, row), axis=1))
    return shapely.reverse(moved) if transform.determinant < 0 else moved

"""Rows of a scene, and the regions found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import shapely
from affine import Affine

from geoseg.arrays import Bool, Objects, UInt8
from geoseg.grid.pixel_map import applied
from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.edges import Edges

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
class Detail:
    """What the scores tell of complete components, beyond their sum."""

    edges: Edges
    """Unit edges of their outlines; ``region`` is the component's place, not falling."""
    p10: UInt8
    """10th percentile of the pixels' stored scores, shape (n,)."""
    max_score: UInt8
    """Highest stored score, shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Complete components with their polygons."""

    polygons: Objects
    """Shapely Polygons in pixel coordinates (x: column, y: row), shape (n,); see :func:`to_ground`."""
    components: Components
    detail: Detail | None = None
    """What their outlines are fitted to, where the strips had all bands."""
    oldest: int | None = None
    """Row where the oldest region that goes on below begins; None: none does, or it was not traced."""

    def __len__(self) -> int:
        return self.polygons.size

    @classmethod
    def join(cls, parts: Sequence[Regions]) -> Self:
        """All regions of several batches with details, one after the other."""
        start, edges, details = 0, [], [part.detail for part in parts if part.detail is not None]
        for part, detail in zip(parts, details, strict=True):
            edges.append(replace(detail.edges, region=detail.edges.region + start))
            start += len(part)
        detail = Detail(
            Edges.join(edges),
            np.concatenate([np.zeros(0, np.uint8), *(one.p10 for one in details)]),
            np.concatenate([np.zeros(0, np.uint8), *(one.max_score for one in details)]),
        )
        polygons = np.concatenate([np.zeros(0, np.object_), *(part.polygons for part in parts)])
        return cls(polygons, Components.join(part.components for part in parts), detail)

    def choose(self, chosen: Bool) -> Self:
        """The regions of a mask, with their details."""
        assert self.detail is not None
        edges = self.detail.edges.keep(chosen, np.cumsum(chosen) - 1)
        detail = Detail(edges, self.detail.p10[chosen], self.detail.max_score[chosen])
        return type(self)(self.polygons[chosen], self.components.choose(chosen), detail)


def to_ground(polygons: Objects, transform: Affine) -> Objects:
    """Polygons in pixel coordinates, laid on the ground by a map (column, row) → (x, y) that is not singular.

    Those of :func:`exact_polygons` (exteriors counter-clockwise in the plane of column and row) become new
    ones in CRS units, in the axis order of rasters (x: easting or longitude): exteriors counter-clockwise,
    holes clockwise, whichever way the rows run.
    """
    col, row = shapely.get_coordinates(polygons).T
    moved = shapely.set_coordinates(polygons.copy(), np.stack(applied(transform, col, row), axis=1))
    return shapely.reverse(moved) if transform.determinant < 0 else moved

"""Rows of a scene, and the regions found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.sides import Sides

__all__ = ["Detail", "Regions", "Strip", "to_ground"]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Some rows of a scene."""

    classes: NDArray[np.uint8]
    """Class ids, shape (rows, width), 255 where there is no data."""
    scores: NDArray[np.uint8]
    """Stored score of each pixel's class, 0 to 200, same shape."""
    stored: NDArray[np.uint8] | None = None
    """Stored scores of all bands, shape (bands, rows, width), for sub-pixel outlines; None: not wanted."""
    border: NDArray[np.uint8] | None = None
    """Stored score of the border between two objects of the only class, shape (rows, width); None: nobody
    knows of borders."""


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """What the scores say of complete components, beyond their sum."""

    sides: Sides
    """Unit sides of their outlines; ``region`` is the component's place, not falling."""
    low: NDArray[np.uint8]
    """Stored score that a tenth of the pixels do not pass, shape (n,)."""
    peak: NDArray[np.uint8]
    """Highest stored score, shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Complete components with their polygons."""

    polygons: NDArray[np.object_]
    """Shapely Polygons in pixel coordinates (x: column, y: row), shape (n,); see :func:`to_ground`."""
    components: Components
    """Their statistics, in the same order."""
    detail: Detail | None = None
    """What their outlines are fitted to, where the strips had all bands."""
    oldest: int | None = None
    """Row where the oldest region that goes on below begins; None: none does, or nobody asked."""

    def __len__(self) -> int:
        return self.polygons.size

    @classmethod
    def join(cls, parts: Sequence[Regions]) -> Self:
        """All regions of several batches with details, one after the other."""
        start, sides, details = 0, [], [part.detail for part in parts if part.detail is not None]
        for part, detail in zip(parts, details, strict=True):
            sides.append(detail.sides.of(detail.sides.region + start))
            start += len(part)
        detail = Detail(
            Sides.join(sides),
            np.concatenate([np.zeros(0, np.uint8), *(one.low for one in details)]),
            np.concatenate([np.zeros(0, np.uint8), *(one.peak for one in details)]),
        )
        polygons = np.concatenate([np.zeros(0, np.object_), *(part.polygons for part in parts)])
        return cls(polygons, Components.join(part.components for part in parts), detail)

    def choose(self, chosen: NDArray[np.bool_]) -> Self:
        """The regions of a mask, with their details."""
        assert self.detail is not None
        rank, sides = np.cumsum(chosen) - 1, self.detail.sides
        detail = Detail(
            sides.choose(chosen[sides.region]).renumber(rank),
            self.detail.low[chosen],
            self.detail.peak[chosen],
        )
        return type(self)(self.polygons[chosen], self.components.choose(chosen), detail)


def to_ground(polygons: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Polygons in pixel coordinates, laid on the ground.

    Args:
        polygons: as :func:`exact_polygons` makes them; exteriors counter-clockwise in the plane of
            (column, row).
        transform: (column, row) → (x, y) in CRS units; any that is not singular.

    Returns:
        New polygons in CRS units, in the axis order of rasters (x: easting or longitude): exteriors
        counter-clockwise, holes clockwise, whichever way the rows run.
    """
    col, row = shapely.get_coordinates(polygons).T
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    moved = shapely.set_coordinates(polygons.copy(), np.stack([x, y], axis=1))
    return shapely.reverse(moved) if transform.determinant < 0 else moved

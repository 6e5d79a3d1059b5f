"""A grid of pixels on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass

from affine import Affine

from geoseg.errors import GridError
from geoseg.grid.window import Window

__all__ = ["GeoBox"]


@dataclass(frozen=True, slots=True)
class GeoBox:
    """Shape, transform and CRS of a raster: where each pixel lies on the ground.

    Rotated, sheared, south-up and non-square transforms are all valid; a singular one is not.

    Raises:
        GridError: empty shape, singular or non-finite transform, no CRS.
    """

    height: int
    """Rows, at least 1."""
    width: int
    """Columns, at least 1."""
    transform: Affine
    """(column, row) in pixels → (x, y) in CRS units; pixel (0, 0) covers [0, 1) × [0, 1)."""
    crs: str
    """``EPSG:n`` (or another authority's code) where the CRS has one, else WKT2."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise GridError(f"a grid needs at least 1×1 pixel, got {self.height}×{self.width}")
        if not all(map(math.isfinite, self.transform[:6])) or self.transform.determinant == 0:
            raise GridError(f"the transform {tuple(self.transform[:6])} maps pixels to a line or to infinity")
        if not self.crs:
            raise GridError("a grid needs a CRS")

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.height, self.width

    @property
    def window(self) -> Window:
        """The window of all pixels."""
        return Window(0, 0, self.height, self.width)

    @property
    def pixel_corners(self) -> tuple[tuple[int, int], ...]:
        """Outer corners as (column, row): top left, top right, bottom right, bottom left."""
        return (0, 0), (self.width, 0), (self.width, self.height), (0, self.height)

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """Outer corners in CRS units, in the order of :attr:`pixel_corners`."""
        return tuple(self.transform @ corner for corner in self.pixel_corners)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(min x, min y, max x, max y)`` of the four corners, in CRS units."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def __getitem__(self, window: Window) -> GeoBox:
        """The grid of a window's pixels; ``box[a][b] == box[b shifted by a]``."""
        origin = Affine.translation(window.col, window.row)
        return GeoBox(window.height, window.width, self.transform @ origin, self.crs)

    def zoom(self, height: int, width: int) -> GeoBox:
        """The same footprint with another number of pixels: same CRS, origin and orientation."""
        if (height, width) == self.shape:
            return self
        scale = Affine.scale(self.width / width, self.height / height)
        return GeoBox(height, width, self.transform @ scale, self.crs)

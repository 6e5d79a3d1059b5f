"""Pixels of one grid among the pixels of another, in any CRS.

Positions are rounded to 1/65536 px: a pixel's center on an edge then falls on the same side whatever window
is asked for, since moving such a number by whole pixels loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from pyproj import Transformer

from geoseg.arrays import Bool, Float64, Int64
from geoseg.grid.crs import between
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window

__all__ = ["PixelMap", "applied", "may_overlap", "rounded"]

_LATTICE = 2.0**16


def applied(affine: Affine, x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """An affine transform of arrays of coordinates."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def rounded(position: Float64) -> Float64:
    """Positions in pixels, to 1/65536 px."""
    return np.rint(position * _LATTICE) / _LATTICE


@dataclass(frozen=True, slots=True)
class PixelMap:
    """From pixel centers of one grid to the pixels of another that hold them."""

    grid: GeoBox
    """The grid whose centers are looked up."""
    source: GeoBox
    """The grid that they are looked up in."""
    project: Transformer | None
    """From the grid's CRS to the source's; None: they are the same."""
    magnification: float
    """Source pixels per pixel, in area, at the grid's center."""

    @classmethod
    def between(cls, grid: GeoBox, source: GeoBox) -> PixelMap:
        """The map between two grids."""
        project = between(grid.crs, source.crs)
        if project is None:
            return cls(grid, source, None, abs(grid.transform.determinant / source.transform.determinant))
        center = Window(grid.height // 2, grid.width // 2, 1, 1)
        corners = np.array([~source.transform @ project.transform(x, y) for x, y in grid[center].corners])
        first, second = corners[1] - corners[0], corners[3] - corners[0]
        area = abs(float(first[0] * second[1] - first[1] * second[0]))
        return cls(grid, source, project, area if np.isfinite(area) and area > 0 else 1.0)

    def source_pixels(self, window: Window) -> tuple[Int64, Int64, Bool]:
        """Row and column of the source pixel under each center of a window, and whether there is one.

        Each has the window's shape. Where there is none, row or column may be -1.
        """
        row, col = np.mgrid[window.row : window.row_stop, window.col : window.col_stop] + 0.5
        step = ~self.source.transform
        if self.project is None:
            step = step @ self.grid.transform
        else:
            col, row = self.project.transform(*applied(self.grid.transform, col, row))
        col, row = applied(step, col, row)
        with np.errstate(invalid="ignore"):  # infinity, where the projection has no place, is outside
            row, col = np.floor(rounded(row)), np.floor(rounded(col))
            inside = (row >= 0) & (row < self.source.height) & (col >= 0) & (col < self.source.width)
        row, col = (np.where(inside, value, -1).astype(np.int64) for value in (row, col))
        return row, col, inside


def may_overlap(grid: GeoBox, other: GeoBox) -> bool:
    """Whether a grid's bounds meet another grid; True also where the projection has no bounds to compare."""
    bounds, project = grid.bounds, between(grid.crs, other.crs)
    if project is not None:
        bounds = project.transform_bounds(*bounds)
    if not np.isfinite(bounds).all():
        return True
    min_x, min_y, max_x, max_y = bounds
    corners = [~other.transform @ (x, y) for x in (min_x, max_x) for y in (min_y, max_y)]
    cols, rows = zip(*corners, strict=True)
    return bool(min(cols) < other.width and max(cols) > 0 and min(rows) < other.height and max(rows) > 0)

"""Images that are stored as a mirror shows the ground, read as they look from above.

Rows of a south-up image run northwards: pixel by pixel it is a mirror image, which no turn makes right, and
no network was trained on such ground. Everything works on :attr:`Orientation.grid` instead, the same pixels
with rows or columns in the other order::

    south-up: rows run north     east-west flipped: columns run west     as seen from above
        0  d e f                     0  c b a                                0  a b c
        1  a b c                     1  f e d                                1  d e f
        flip the rows                flip the columns

A grid that is turned by any angle is no mirror image and stays as it is. One that is turned and mirrored has
its rows flipped, or its columns where both its diagonal terms are negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Self

import numpy as np
from affine import Affine
from pyproj.exceptions import CRSError, ProjError

from geoseg.arrays import Array
from geoseg.grid.crs import LONGITUDE_LATITUDE, transformer
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window

__all__ = ["Orientation"]


@dataclass(frozen=True, slots=True)
class Orientation:
    """How an image is stored, and the same image as seen from above; :meth:`of` makes one."""

    stored: GeoBox
    """Where its pixels lie, in the order in which they are stored."""
    grid: GeoBox
    """Where they lie in the order in which they are read: no mirror image."""
    flipped: Literal["nothing", "rows", "columns"]
    """What is read in the other order."""

    @classmethod
    def of(cls, stored: GeoBox) -> Self:
        """The orientation of a grid as stored."""
        if not _is_mirrored(stored):
            return cls(stored, stored, "nothing")
        a, b, c, d, e, f = stored.transform[:6]
        if a < 0 and e < 0:
            moved = Affine(0.0 - a, b, _end(c, a, stored.width), 0.0 - d, e, _end(f, d, stored.width))
            return cls(stored, GeoBox(*stored.shape, moved, stored.crs), "columns")
        moved = Affine(a, 0.0 - b, _end(c, b, stored.height), d, 0.0 - e, _end(f, e, stored.height))
        return cls(stored, GeoBox(*stored.shape, moved, stored.crs), "rows")

    def window(self, window: Window) -> Window:
        """The window of one of both grids that holds the same pixels as one of the other."""
        if self.flipped == "rows":
            return Window(self.grid.height - window.row_stop, window.col, *window.shape)
        if self.flipped == "columns":
            return Window(window.row, self.grid.width - window.col_stop, *window.shape)
        return window

    def pixels(self, pixels: Array) -> Array:
        """A view of an array (…, rows, columns) in the order of the other grid; lazy arrays stay lazy."""
        if self.flipped == "rows":
            return pixels[..., ::-1, :]
        if self.flipped == "columns":
            return pixels[..., ::-1]
        return pixels


def _end(origin: float, step: float, count: int) -> float:
    """``origin + count · step``, exactly, rounded to what the sum's terms can tell.

    The origin is such a sum itself, rounded: the round number that it was made from comes back to the bit.
    """
    unit = Fraction(math.ulp(max(abs(origin), abs(count * step))))
    return float(round((Fraction(origin) + count * Fraction(step)) / unit) * unit)


def _is_mirrored(box: GeoBox) -> bool:
    """Whether rows follow columns the wrong way round, on the ground: some CRS count south and west.

    Where the grid's center has no place on the globe, the sign of the determinant decides: x east, y north.
    """
    col, row = box.width / 2, box.height / 2
    xs, ys = zip(*(box.transform @ end for end in ((col, row), (col + 1, row), (col, row + 1))), strict=True)
    by_sign = box.transform.determinant > 0
    try:
        lons, lats = np.radians(transformer(box.crs, LONGITUDE_LATITUDE).transform(xs, ys))
    except (CRSError, ProjError):
        return by_sign
    if not np.isfinite([lons, lats]).all() or np.abs(lats).max() > math.pi / 2:
        return by_sign
    # Points on the unit sphere: unlike longitudes they neither jump at 180° nor meet at the poles.
    sphere = np.stack([np.cos(lats) * np.cos(lons), np.cos(lats) * np.sin(lons), np.sin(lats)], 1)
    center, right, below = sphere
    upward = float(np.dot(np.cross(right - center, below - center), center))
    return upward > 0 if upward else by_sign

"""How well outlines are met: IoU of what lies along them (Cheng et al. 2021, "Boundary IoU", CVPR).

The mask IoU of a large object hardly notices ragged outlines: most of its pixels lie far from them. Boundary
IoU compares, for each class, only the pixels of a mask that are within a distance of its contour::

    |(G_d ∩ G) ∩ (P_d ∩ P)| / |(G_d ∩ G) ∪ (P_d ∩ P)|

As in the authors' code, distance is that of ``d`` erosions by 3×3 pixels (a square, not a disk). Unlike
there, the edge of the image is no contour, nor is that of the labeled area: a roof that is cut off by them
ends where the picture does, not where the roof does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from geoseg.arrays import Array, Bool, UInt8
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution

__all__ = ["DEFAULT_WIDTH", "BoundaryWidth", "Reach", "near_contour"]

_WIDTH = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(px|m|%)\s*")


@dataclass(frozen=True, slots=True)
class Reach:
    """The distance as whole pixels of a grid, at least one each; two numbers, as pixels may not be square."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class BoundaryWidth:
    """How far from a contour its boundary reaches.

    Raises:
        GridError: not above zero, or an unknown unit.

    >>> BoundaryWidth.parse("1.5 m")
    BoundaryWidth(value=1.5, unit='m')
    """

    value: float
    unit: Literal["px", "m", "%"]
    """Pixels of the map, meters on the ground, or per cent of the map's diagonal (the paper's 2 %)."""

    def __post_init__(self) -> None:
        if self.unit not in get_args(Literal["px", "m", "%"]) or not 0 < self.value < math.inf:
            raise GridError(f"a boundary's width is such as 5 px, 1.5 m or 2 %, got {self.value} {self.unit}")

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The width that a text such as ``1.5 m`` names.

        Raises:
            GridError: the text is not a number with a unit.
        """
        found = _WIDTH.fullmatch(text)
        if found is None:
            raise GridError(f"a boundary's width (--boundary) is such as 5 px, 1.5 m or 2 %, got {text!r}")
        return cls(float(found[1]), found[2])  # type: ignore[arg-type] # the pattern has these units alone

    def reach(self, grid: GeoBox) -> Reach:
        """The width in whole pixels of a map, rounded, at least one.

        Raises:
            GridError: meters were asked for where the CRS has no place on the globe.
        """
        if self.unit == "px":
            rows = cols = self.value
        elif self.unit == "%":
            rows = cols = self.value / 100 * math.hypot(*grid.shape)
        else:
            ground = ground_resolution(grid)
            rows, cols = self.value / ground.down, self.value / ground.across
        return Reach(max(1, round(rows)), max(1, round(cols)))


DEFAULT_WIDTH = BoundaryWidth(5, "px")
"""1.5 m at 0.3 m. The paper's 2 % of the diagonal is 15 px of its images of 640×480 px, whose objects are
larger; of a whole scene it would be wider than a house."""


def near_contour(ids: Array, counted: Bool, reach: Reach) -> Bool:
    """Which pixels lie in the boundary of their own class: another class is within reach.

    For all classes at once, since a pixel is in its class's boundary exactly when the lowest or the highest
    class id around it is not its own. Right for pixels that have the reach around them, or the scene's edge.

    Args:
        ids: uint8, shape (H, W): class ids.
        counted: bool, shape (H, W): pixels that have a class; the others are neither near nor a contour.
    """
    lowest = _around(np.where(counted, ids, 255).astype(np.uint8), reach, np.minimum, 255)
    highest = _around(np.where(counted, ids, 0).astype(np.uint8), reach, np.maximum, 0)
    return np.asarray(counted & ((lowest < ids) | (highest > ids)))


def _around(values: UInt8, reach: Reach, choose: np.ufunc, outside: int) -> UInt8:
    """The extreme of each pixel's surroundings, by doubling: a few passes over bytes for any reach."""
    for axis, pixels in enumerate((reach.rows, reach.cols)):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (pixels, pixels)
        spread = np.moveaxis(np.pad(values, pad, constant_values=outside), axis, 0)
        span, wanted = 1, 2 * pixels + 1
        while span < wanted:
            step = min(span, wanted - span)
            spread = choose(spread[:-step], spread[step:])
            span += step
        values = np.moveaxis(spread, 0, axis)
    return values

"""Meters on the ground, whatever the CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyproj import Geod

from geoseg.errors import GridError
from geoseg.grid.crs import LONGITUDE_LATITUDE, transformer
from geoseg.grid.geobox import GeoBox

__all__ = ["GroundResolution", "ground_resolution", "model_grid"]

_GEOD = Geod(ellps="WGS84")
_FINEST = 1e-4
"""Meters on the ground that a pixel is at least wide; coordinates in degrees, taken for meters, make less."""


@dataclass(frozen=True, slots=True)
class GroundResolution:
    """Size of a pixel on the ground, in meters, at a scene's center."""

    across: float  # from one column to the next
    down: float

    @property
    def mean(self) -> float:
        """Geometric mean of both, in meters."""
        return math.sqrt(self.across * self.down)


def ground_resolution(box: GeoBox) -> GroundResolution:
    """Geodesic size of the center pixel: EPSG:3857 by cos(latitude), degrees and feet by their length."""
    col, row = box.width / 2, box.height / 2
    ends = [box.transform @ end for end in ((col, row), (col + 1, row), (col, row + 1))]
    project = transformer(box.crs, LONGITUDE_LATITUDE)
    lons, lats = project.transform([x for x, _ in ends], [y for _, y in ends])
    if not all(map(math.isfinite, (*lons, *lats))):
        raise GridError(f"the scene's center {ends[0]} has no longitude and latitude in {box.crs[:60]}")
    across = _GEOD.inv(lons[0], lats[0], lons[1], lats[1])[2]
    down = _GEOD.inv(lons[0], lats[0], lons[2], lats[2])[2]
    if not (across > 0 and down > 0):
        raise GridError(f"the scene's center {ends[0]} has no place in {box.crs[:60]}; meters for degrees?")
    if min(across, down) < _FINEST:
        raise GridError(f"pixels of {min(across, down):.1g} m in {box.crs[:60]}; degrees for meters?")
    return GroundResolution(across, down)


def model_grid(box: GeoBox, resolution: float, tolerance: float = 0.0) -> GeoBox:
    """The grid a network of a given ground resolution sees: same CRS, origin and footprint.

    It has the whole number of pixels nearest to the resolution (in meters); where the scene's own differ by
    no more than the tolerance (relative, per axis), these are used unchanged.
    """
    ground = ground_resolution(box)
    factors = ground.down / resolution, ground.across / resolution
    if all(1 / (1 + tolerance) - 1e-9 <= factor <= 1 + tolerance + 1e-9 for factor in factors):
        return box
    height, width = (max(1, round(n * factor)) for n, factor in zip(box.shape, factors, strict=True))
    return box.zoom(height, width)

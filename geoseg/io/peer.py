"""The package buildingregulariser as a way to regularize, for comparison; it is in the extra ``peers``."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas
import numpy as np
import shapely
from buildingregulariser import regularize_geodataframe
from numpy.typing import NDArray

from geoseg.polygons.objects.objects import Fitted

__all__ = ["Peer"]

_METERS = "EPSG:32631"
"""It asks for a CRS in meters; any will do."""
_EAST, _NORTH = 500_000, 5_000_000


@dataclass(frozen=True, slots=True)
class Peer:
    """Its defaults, on contours in meters."""

    pixel: float
    """Meters of a pixel."""

    def __call__(self, contours: NDArray[np.object_]) -> Fitted:
        """Regularize contours in pixels, shape (n,)."""
        origin = np.array([_EAST, _NORTH])
        meters = shapely.transform(contours, lambda xy: xy * self.pixel + origin)
        frame = geopandas.GeoDataFrame({"number": np.arange(len(meters))}, geometry=meters, crs=_METERS)
        found = regularize_geodataframe(frame, num_cores=1)
        back = shapely.transform(found.geometry.to_numpy(), lambda xy: (xy - origin) / self.pixel)
        polygons, kind = contours.copy(), np.full(len(contours), "free", np.object_)
        for number, polygon in zip(found["number"], back, strict=True):
            # What it gives back broken, in parts or not at all stays as it was.
            if polygon.geom_type == "Polygon" and polygon.is_valid and not polygon.is_empty:
                polygons[number], kind[number] = polygon, "buildingregulariser"
        shared = shapely.area(shapely.intersection(polygons, contours))
        iou = shared / (shapely.area(polygons) + shapely.area(contours) - shared)
        return Fitted(polygons, kind, iou, np.full(len(polygons), np.nan))

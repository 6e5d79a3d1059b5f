"""Pixels as they lie on the ground, where shapes have angles and lengths.

A building's walls meet at right angles on the ground, not in degrees, and not in pixels that are not square.
Each object gets the linear map from pixels to meters at its own place, for any CRS and transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.geodesic import ellipsoid

__all__ = ["Frames", "ground_frames"]

_SQUARE = 1e-3
"""Pixels this close to square are taken as square: fits keep angles to 0.03 degrees."""
_STEP = 0.5
"""Pixels to each side over which the map is measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Pixels at n places, as they lie on the ground."""

    pixel_area: NDArray[np.float64]
    """Area of a pixel in m², shape (n,)."""
    shape: NDArray[np.float64]
    """Symmetric map from pixels to a frame that is the ground's up to turning and a scale, in which a pixel
    has area 1; shape (n, 2, 2)."""
    square: NDArray[np.bool_]
    """Where that map changes nothing, shape (n,)."""

    def choose(self, chosen: slice | NDArray[np.int64]) -> Self:
        """Those of some of the places."""
        return type(self)(self.pixel_area[chosen], self.shape[chosen], self.square[chosen])

    def to_frame(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """Polygons in pixels, shape (n,), each in the frame of its place."""
        return self._moved(polygons, self.shape)

    def to_pixels(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """The way back."""
        return self._moved(polygons, np.linalg.inv(self.shape).astype(np.float64))

    def _moved(self, polygons: NDArray[np.object_], maps: NDArray[np.float64]) -> NDArray[np.object_]:
        out = polygons.copy()
        skew = ~self.square
        if skew.any():
            points, owner = shapely.get_coordinates(polygons[skew], return_index=True)
            out[skew] = shapely.set_coordinates(
                polygons[skew].copy(), np.einsum("nij,nj->ni", maps[skew][owner], points)
            )
        return out


def ground_frames(box: GeoBox, places: NDArray[np.float64]) -> Frames:
    """The pixels at some places of a grid.

    Args:
        box: the grid; any CRS that leads to longitude and latitude.
        places: columns and rows, float64 (n, 2).

    Raises:
        GridError: a place has no longitude and latitude.
    """
    geod, project = ellipsoid(box.crs)
    ends = places[:, None] + np.array([[-_STEP, 0], [_STEP, 0], [0, -_STEP], [0, _STEP], [0, 0]])
    t = box.transform
    x, y = ends @ np.array([t.a, t.b]) + t.c, ends @ np.array([t.d, t.e]) + t.f
    lon, lat = project.transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise GridError(f"an object has no longitude and latitude in {box.crs[:60]}")
    phi = np.radians(lat[:, 4])
    bend = np.sqrt(1 - geod.es * np.sin(phi) ** 2)
    north, east = geod.a * (1 - geod.es) / bend**3, geod.a * np.cos(phi) / bend
    by_lon = (np.radians(lon[:, 1::2][:, :2] - lon[:, 0:4:2]) + np.pi) % (2 * np.pi) - np.pi
    by_lat = np.radians(lat[:, 1::2][:, :2] - lat[:, 0:4:2])
    meters = np.stack([east[:, None] * by_lon, north[:, None] * by_lat], axis=1) / (2 * _STEP)
    area = np.abs(np.linalg.det(meters))
    # The symmetric root of the metric: what is left of the map once turning and scale are taken out.
    metric = np.einsum("nki,nkj->nij", meters, meters) / area[:, None, None]
    root = metric + np.eye(2)
    root /= np.sqrt(np.trace(metric, axis1=1, axis2=2) + 2)[:, None, None]
    square = np.abs(root - np.eye(2)).max(axis=(1, 2), initial=0) < _SQUARE
    return Frames(area, root, square)

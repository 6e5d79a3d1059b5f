"""Polygons and pixels on the ellipsoid, in any CRS: areas, perimeters, and frames in which angles are true.

A building's walls meet at right angles on the ground, not in degrees, and not in pixels that are not square:
:func:`ground_frames` gives each object the linear map from pixels to meters at its own place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Self

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer

from geoseg.arrays import Bool, Float64, Int64, Objects
from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.pixel_map import applied
from geoseg.polygons.trace.table import Table

__all__ = ["AreaMeter", "Frames", "ground_frames"]

_TOLERANCE = 2.5e-7
"""Relative error allowed to the bend of edges: a quarter of the promised 1e-6."""
_CELLS = 4
"""The grid is sampled along the sides and diagonals of this many cells each way."""
_EDGES = np.array([[[0, 0], [0, 2]], [[0, 0], [2, 0]], [[0, 0], [2, 2]], [[2, 0], [0, 2]]])
"""Ends of a cell's upper and left side and of its diagonals: row, column, in half cells from its corner."""
_POLE = 90 + 1e-9
_FINEST = 64
"""Edges are never cut shorter than a pixel's side over this."""
_SQUARE = 1e-3
"""Pixels this close to square are taken as square: fits keep angles to 0.03 degrees."""


@dataclass(frozen=True, slots=True)
class AreaMeter:
    """Measures polygons of one grid in meters and square meters, on the ellipsoid of the grid's CRS.

    A straight edge of a CRS is not the geodesic between its ends, so long edges are cut until the strip
    between both is less than a millionth of the polygon's area (Geod measures geodesic polygons). How far to
    cut follows from how much the CRS bends straight lines here, which is measured once from the grid: an area
    does not depend on the polygons around it.
    """

    crs: str
    meters: tuple[float, float]
    """Shortest and longest length on the ground, in meters, of one CRS unit, over places and directions."""
    bend: float
    """Largest curvature of straight lines of the CRS against geodesics, in 1/m."""
    finest: float
    """Shortest piece that an edge is cut to, in CRS units."""

    @staticmethod
    def check(box: GeoBox) -> None:
        """Raise the GridError of :meth:`of` where there is one, at a fraction of its cost."""
        _lattice(box)

    @classmethod
    def of(cls, box: GeoBox) -> Self:
        """Measure how a grid's CRS bends and scales.

        A grid, parts of which have no longitude and latitude, is a GridError.
        """
        ground, globe = _lattice(box)
        cells = np.array(list(product(range(0, 2 * _CELLS, 2), repeat=2)))
        start, stop = (cells[:, None, None] + _EDGES).reshape(-1, 2, 2).transpose(1, 2, 0)
        middle = (start + stop) // 2
        geod, _ = _ellipsoid(box.crs)
        azimuths, _, lengths = geod.inv(*globe[:, *start], *globe[:, *stop])
        to_middles, _, halves = geod.inv(*globe[:, *start], *globe[:, *middle])
        straight = map(math.dist, ground[:, *start].T.tolist(), ground[:, *stop].T.tolist())
        meters, bends = [], [1e-12]
        edges = (each.tolist() for each in (azimuths, to_middles, lengths, halves))
        for azimuth, to_middle, length, half, units in zip(*edges, straight, strict=True):
            if length > 0:
                meters.append(length / units)
                bends.append(8 * half * abs(math.sin(math.radians(to_middle - azimuth))) / length**2)
        sides = (math.hypot(box.transform.a, box.transform.d), math.hypot(box.transform.b, box.transform.e))
        return cls(box.crs, (min(meters), max(meters)), max(bends), min(sides) / _FINEST)

    def measure(self, polygons: Objects) -> Float64:
        """Areas in m², float64 of shape (n,); see :meth:`sizes`."""
        return self.sizes(polygons)[0]

    def sizes(self, polygons: Objects) -> tuple[Float64, Float64]:
        """Areas in m² and perimeters in m, holes' outlines included: positive, float64, shape (n,).

        The polygons are valid, in the CRS, x first, shape (n,). One without longitude and latitude is a
        GridError.
        """
        if not len(polygons):
            return np.zeros(0), np.zeros(0)
        geod, project = _ellipsoid(self.crs)
        narrow = self.meters[0] * shapely.area(polygons) / shapely.length(polygons)
        piece = np.sqrt(12 * _TOLERANCE * narrow / self.bend) / self.meters[1]
        rings, owner = shapely.get_rings(polygons, return_index=True)
        points, starts = _cut(rings, np.maximum(piece, self.finest)[owner])
        lon, lat = project.transform(points[:, 0], points[:, 1])
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise GridError(f"a polygon has no longitude and latitude in {self.crs[:60]}")
        measured = [
            geod.polygon_area_perimeter(lon[start:stop], lat[start:stop])
            for start, stop in pairwise(starts.tolist())
        ]
        areas, lengths = np.abs(np.array(measured)).T
        is_hole = np.ones(len(rings), np.bool_)
        is_hole[np.searchsorted(owner, np.arange(len(polygons)))] = False
        signed = np.where(is_hole, -areas, areas)
        total = (np.bincount(owner, values, minlength=len(polygons)) for values in (signed, lengths))
        area, perimeter = (values.astype(np.float64) for values in total)
        return area, perimeter


def _lattice(box: GeoBox) -> tuple[Float64, Float64]:
    """Corners and middles of a grid's cells, in its CRS and as longitude and latitude: (2, rows, columns).

    One without longitude and latitude is a GridError.
    """
    steps = np.linspace(0, 1, 2 * _CELLS + 1)
    col, row = np.meshgrid(steps * box.width, steps * box.height)
    ground = np.stack(applied(box.transform, col, row))
    lon, lat = _ellipsoid(box.crs)[1].transform(*ground)
    # PROJ passes degrees through unchecked.
    wrong = ~(np.isfinite(lon) & (np.abs(lat) <= _POLE))
    wrong[-1, 1::2] = wrong[1::2, -1] = False  # the outer sides of the last row and column are not measured
    if wrong.any():
        near = float(col[wrong][0]), float(row[wrong][0])
        raise GridError(f"the pixels near {near} have no longitude and latitude in {box.crs[:60]}")
    return ground, np.stack([lon, lat])


def _cut(rings: Objects, piece: Float64) -> tuple[Float64, Int64]:
    """Points along closed rings, each edge cut evenly into pieces no longer than its ring's.

    Those of all rings, each without its closing one, shape (m, 2); and where each ring starts, and m.
    """
    ends, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, way, ring = ends[:-1][inside], np.diff(ends, axis=0)[inside], ring[:-1][inside]
    pieces = np.maximum(1, np.ceil(np.hypot(way[:, 0], way[:, 1]) / piece[ring])).astype(np.int64)
    edge = np.repeat(np.arange(pieces.size), pieces)
    nth = np.arange(edge.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    points = start[edge] + way[edge] * (nth / pieces[edge])[:, None]
    return points, np.searchsorted(ring[edge], np.arange(len(rings) + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Frames(Table):
    """Pixels at n places, as they lie on the ground."""

    pixel_area: Float64
    """Area of a pixel in m², shape (n,)."""
    shape: Float64
    """Symmetric map from pixels to a frame that is the ground's up to turning and a scale, in which a pixel
    has area 1; shape (n, 2, 2)."""
    square: Bool
    """Where that map changes nothing, shape (n,)."""

    def to_frame(self, polygons: Objects) -> Objects:
        """Polygons in pixels, shape (n,), each in the frame of its place."""
        return self._moved(polygons, self.shape)

    def to_pixels(self, polygons: Objects) -> Objects:
        """Polygons in the frame of their places, back in pixels."""
        return self._moved(polygons, np.linalg.inv(self.shape).astype(np.float64))

    def _moved(self, polygons: Objects, maps: Float64) -> Objects:
        out = polygons.copy()
        skew = ~self.square
        if skew.any():
            points, owner = shapely.get_coordinates(polygons[skew], return_index=True)
            out[skew] = shapely.set_coordinates(
                polygons[skew].copy(), np.einsum("nij,nj->ni", maps[skew][owner], points)
            )
        return out


def ground_frames(box: GeoBox, places: Float64) -> Frames:
    """The pixels at some places of a grid: columns and rows, float64 (n, 2).

    A place without longitude and latitude is a GridError.
    """
    geod, project = _ellipsoid(box.crs)
    # Left, right, upper and lower neighbor of each place, half a pixel away, and itself.
    ends = places[:, None] + np.array([[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5], [0, 0]])
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
    meters = np.stack([east[:, None] * by_lon, north[:, None] * by_lat], axis=1)
    area = np.abs(np.linalg.det(meters))
    # The symmetric root of the metric: what is left of the map once turning and scale are taken out.
    metric = np.einsum("nki,nkj->nij", meters, meters) / area[:, None, None]
    root = metric + np.eye(2)
    root /= np.sqrt(np.trace(metric, axis1=1, axis2=2) + 2)[:, None, None]
    square = np.abs(root - np.eye(2)).max(axis=(1, 2), initial=0) < _SQUARE
    return Frames(area, root, square)


@lru_cache(maxsize=64)
def _ellipsoid(crs: str) -> tuple[Geod, Transformer]:
    """A CRS's ellipsoid, and the transformer to longitude and latitude on it."""
    parsed = CRS.from_user_input(crs).to_2d()
    geodetic, geod = parsed.geodetic_crs, parsed.get_geod()
    if geodetic is None or geod is None:
        raise GridError(f"the CRS {crs[:60]!r} lies on no ellipsoid, so areas cannot be measured")
    return geod, Transformer.from_crs(parsed, geodetic, always_xy=True)

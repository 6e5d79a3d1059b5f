"""Where a grid lies on the globe, in longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import shapely
from pyproj.exceptions import ProjError
from shapely.affinity import translate

from geoseg.errors import GridError
from geoseg.grid.crs import LONGITUDE_LATITUDE, transformer
from geoseg.grid.geobox import GeoBox

__all__ = ["footprint"]

_POINTS_PER_EDGE = 16
_DECIMALS = 7  # about a centimeter
_STRAIGHT = 1e-5  # a bend of less than this part of the extent is left out
_TURN = 360.0


def footprint(box: GeoBox) -> tuple[dict[str, Any], list[float]]:
    """The outline of a grid in longitude and latitude (WGS 84), for a STAC item.

    Edges get points between their ends, since a straight line of a projection is none on the globe. What
    crosses the antimeridian is cut there into several polygons (RFC 7946 §3.1.9), and its box has west > east
    (§5.2); what holds a pole reaches up to it over all longitudes.

    Returns:
        GeoJSON geometry (Polygon or MultiPolygon, outer rings counter-clockwise), and
        ``[west, south, east, north]``.

    Raises:
        GridError: a point of the outline has no longitude and latitude.
    """
    ring = _unwrapped(_ring(box))
    outline = shapely.make_valid(shapely.Polygon(_up_to_the_pole(ring)))
    extent = max(outline.bounds[2] - outline.bounds[0], outline.bounds[3] - outline.bounds[1])
    outline = outline.simplify(_STRAIGHT * extent)
    west, south, east, north = outline.bounds
    pieces = [
        translate(outline, turn).intersection(shapely.box(-180.0, -90.0, 180.0, 90.0))
        for turn in (-_TURN, 0.0, _TURN)
    ]
    polygons = [part for part in shapely.get_parts(shapely.union_all(pieces)) if part.area > 0]
    shape = shapely.orient_polygons(polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons))
    around = east - west >= _TURN
    bounds = (-180.0, south, 180.0, north) if around else (_in_turn(west), south, _in_turn(east), north)
    mapping = shapely.geometry.mapping(shape)
    return (
        {"type": mapping["type"], "coordinates": _rounded(mapping["coordinates"])},
        [round(value, _DECIMALS) for value in bounds],
    )


def _ring(box: GeoBox) -> list[tuple[float, float]]:
    """(longitude, latitude) around the grid; the first point is the last one, too."""
    steps = [i / _POINTS_PER_EDGE for i in range(_POINTS_PER_EDGE)]
    top = [(t * box.width, 0.0) for t in steps]
    right = [(box.width, t * box.height) for t in steps]
    bottom = [((1 - t) * box.width, box.height) for t in steps]
    left = [(0.0, (1 - t) * box.height) for t in steps]
    xs, ys = zip(
        *(box.transform @ pixel for pixel in (*top, *right, *bottom, *left, (0.0, 0.0))), strict=True
    )
    try:
        lons, lats = transformer(box.crs, LONGITUDE_LATITUDE).transform(xs, ys)
    except ProjError as error:
        raise GridError(f"its outline has no longitude and latitude in {box.crs[:60]}: {error}") from error
    if not all(map(math.isfinite, (*lons, *lats))):
        raise GridError(f"part of its outline has no longitude and latitude in {box.crs[:60]}")
    return list(zip(lons, lats, strict=True))


def _unwrapped(ring: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same points without jumps from 180° to -180°: longitudes may leave that range."""
    points = [ring[0]]
    for lon, lat in ring[1:]:
        before = points[-1][0]
        points.append((lon + _TURN * round((before - lon) / _TURN), lat))
    return points


def _up_to_the_pole(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A ring that runs once around the globe holds a pole: closed over it."""
    start, end = ring[0][0], ring[-1][0]
    if abs(end - start) < _TURN / 2:
        return ring
    pole = math.copysign(90.0, sum(lat for _, lat in ring))
    return [*ring, (end, pole), (start, pole)]


def _in_turn(lon: float) -> float:
    return lon if abs(lon) <= _TURN / 2 else (lon + _TURN / 2) % _TURN - _TURN / 2


def _rounded(coordinates: Any) -> Any:
    if isinstance(coordinates, int | float):
        return round(coordinates, _DECIMALS)
    return [_rounded(part) for part in coordinates]

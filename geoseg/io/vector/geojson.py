"""GeoJSON by RFC 7946: longitude and latitude on WGS 84, whatever the scene's CRS.

The standard knows no other CRS, and web maps take nothing else. Coordinates have nine decimals (0.1 mm),
outer rings run counterclockwise, a polygon across the antimeridian is two. Areas and lengths are attributes,
measured on the ellipsoid, so they stay. A reader holds the whole file in memory: it is for small maps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from shapely.affinity import translate

from geoseg.arrays import Array, Float64, Objects
from geoseg.errors import OutputError
from geoseg.grid.crs import LONGITUDE_LATITUDE, between
from geoseg.grid.geobox import GeoBox
from geoseg.grid.polygons import repaired
from geoseg.io.crs import written_crs
from geoseg.io.files import output_error
from geoseg.io.vector.features import Features, Table

__all__ = ["CRS", "SUFFIX", "from_degrees", "to_degrees", "write"]

SUFFIX: Final = ".geojson"
CRS: Final = LONGITUDE_LATITUDE
_DECIMALS: Final = 9
_HALF: Final = 180.0
_WORLD: Final = shapely.box(-_HALF, -90, _HALF, 90)


def write(temporary: Path, path: Path, table: Table, groups: Iterable[Features], description: str) -> int:
    """Write a layer; returns the number of features.

    ``temporary`` is written; ``path`` is its final name, which errors speak of.

    Raises:
        OutputError: features do not fit the layer or have no place on WGS 84, or the disk is full.
    """
    count = 0
    head = json.dumps({"type": "FeatureCollection", "name": table.layer, "description": description})
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(f'{head[:-1]}, "features": [')
            for group in groups:
                columns = [_values(column) for column in table.columns(group, path)]
                places = shapely.to_geojson(to_degrees(group.geometry, table.geobox, path))
                for place, *row in zip(places, *columns, strict=True):
                    known = json.dumps(dict(zip(table.schema, row, strict=True)), ensure_ascii=False)
                    file.write("," if count else "")
                    file.write(f'\n{{"type": "Feature", "properties": {known}, "geometry": {place}}}')
                    count += 1
            file.write("\n]}\n")
    except OSError as error:
        raise output_error(path, error) from error
    return count


def to_degrees(shapes: Objects, geobox: GeoBox, path: Path) -> Objects:
    """Polygons of a grid's CRS as the format has them; OutputError where one has no place on WGS 84."""
    project = between(written_crs(geobox.crs), CRS)
    middle = geobox.transform @ (geobox.width / 2, geobox.height / 2)
    here = middle[0] if project is None else project.transform(*middle)[0]

    def place(xy: Float64) -> Float64:
        x, y = xy.T if project is None else project.transform(*xy.T)
        if not np.isfinite((x, y)).all():
            raise OutputError(
                f"{path}: objects have no longitude and latitude, which GeoJSON needs; write .gpkg"
            )
        near = here + (x - here + _HALF) % (2 * _HALF) - _HALF  # nothing is torn at the antimeridian
        return np.round(np.column_stack((near, y)), _DECIMALS)

    moved = np.asarray(shapely.transform(shapes, place), object)
    crossing = ~shapely.is_valid(moved)
    moved[crossing] = repaired(moved[crossing])
    bounds = shapely.bounds(moved)
    for n in np.flatnonzero((bounds[:, 0] < -_HALF) | (bounds[:, 2] > _HALF)).tolist():
        parts = [translate(moved[n], turn).intersection(_WORLD) for turn in (-2 * _HALF, 0.0, 2 * _HALF)]
        moved[n] = shapely.union_all([part for part in parts if part.area > 0])
    return np.asarray(shapely.orient_polygons(moved), object)


def from_degrees(shapes: Objects, geobox: GeoBox) -> Objects:
    """The same back in a grid's CRS."""
    project = between(CRS, written_crs(geobox.crs))
    if project is None:
        return shapes
    moved = shapely.transform(shapes, lambda xy: np.column_stack(project.transform(*xy.T)))
    return np.asarray(moved, object)


def _values(column: Array) -> list[object]:
    """As JSON has them: what is not a number is null."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if np.isnan(value) else value for value in column.tolist()]

"""GeoJSON by RFC 7946: longitude and latitude whatever the scene's CRS, all else as elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.config.vectorize import Vectorize
from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.features import Features
from geoseg.io.vector.frame import read_frame
from geoseg.io.vector.geojson import from_degrees
from geoseg.io.vector.reader import layer_info, read_pieces, read_within
from geoseg.io.vector.writer import write_features

SCHEMA = {"name": "text", "size": "integer", "area": "real", "whole": "boolean", "unknown": "real"}
PLACES = {
    "EPSG:26914": (0.3, 621_000.0, 3_350_000.0),
    "EPSG:4326": (1e-5, 17.7, 30.2),
    "EPSG:2193": (0.3, 1_750_000.0, 5_920_000.0),
    "EPSG:32760": (10.0, 813_800.0, 7_797_000.0),  # its right edge is beyond the antimeridian
    "+proj=aea +lat_0=30 +lon_0=-98 +lat_1=29 +lat_2=31 +datum=WGS84": (1.0, 0.0, 0.0),
}


def box_of(crs: str) -> GeoBox:
    pixel, west, north = PLACES[crs]
    return GeoBox(60, 80, Affine(pixel, 0, west, 0, -pixel, north), crs)


def features(box: GeoBox, count: int) -> Features:
    """Clockwise squares with a hole, in rows of the grid."""
    numbers = np.arange(count)
    x, y = box.transform @ np.stack([numbers % 8 * 10.0, numbers // 8 * 10.0])
    side = 8 * abs(box.transform.a)
    outer = shapely.box(x, y - side, x + side, y, ccw=False)
    inner = shapely.box(x + side / 4, y - side / 2, x + side / 2, y - side / 4)
    names = np.array([None if n % 3 == 0 else f'é "{n}"' for n in numbers], object)
    return Features(
        np.asarray(shapely.difference(outer, inner), object),
        {
            "name": names,
            "size": numbers * 10**10,
            "area": numbers / 3,
            "whole": numbers % 2 == 0,
            "unknown": np.full(count, np.nan),
        },
    )


@settings(max_examples=20)
@given(st.sampled_from(sorted(PLACES)), st.integers(1, 40))
def test_features_come_back_on_their_ground_with_their_attributes(crs: str, count: int) -> None:
    box = box_of(crs)
    made = features(box, count)
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.geojson")
        assert write_features(path, "things", [made], geobox=box, schema=SCHEMA) == count
        text: Any = json.loads(path.read_text(encoding="utf-8"))
        table = geopandas.read_file(path)
        ours = read_frame(path, "things")
        (piece,) = read_pieces(path, "things", list(SCHEMA))
        assert layer_info(path, "things").count == count
    assert "crs" not in text
    for found in (table, ours):
        assert (len(found), found.crs.to_epsg()) == (count, 4326)
        assert list(found.columns) == [*SCHEMA, "geometry"]
    west, south, east, north = table.total_bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    for one in text["features"]:
        polygons = one["geometry"]["coordinates"]
        for outer, *inner in [polygons] if one["geometry"]["type"] == "Polygon" else polygons:
            assert shapely.LinearRing(outer).is_ccw
            assert not any(shapely.LinearRing(ring).is_ccw for ring in inner)
    for name in SCHEMA:
        assert [one["properties"][name] for one in text["features"]] == [
            None if isinstance(value, float) and np.isnan(value) else value
            for value in made.attributes[name].tolist()
        ]
    pixel = abs(box.transform.a)
    back = from_degrees(piece.features.geometry, box)
    off = shapely.area(shapely.symmetric_difference(back, made.geometry)) / pixel**2
    assert (off < 0.1).all(), "of 60 pixels"


def test_a_polygon_across_the_antimeridian_is_two(tmp_path: Path) -> None:
    box = box_of("EPSG:32760")
    whole = shapely.box(*box.bounds)
    made = Features(np.array([whole]), {"size": np.array([1])})
    write_features(tmp_path / "x.geojson", "x", [made], geobox=box, schema={"size": "integer"})
    (shape,) = geopandas.read_file(tmp_path / "x.geojson").geometry
    left, right = sorted(shape.geoms, key=lambda part: part.bounds[0])
    assert (left.bounds[0], right.bounds[2]) == (-180, 180)
    assert shape.bounds[0] == -180
    assert left.bounds[2] < -179 < 179 < right.bounds[0]


def test_an_empty_layer_is_a_collection_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.geojson"
    assert write_features(path, "x", [], geobox=box_of("EPSG:26914"), schema=SCHEMA) == 0
    assert json.loads(path.read_text())["features"] == []
    assert list(read_pieces(path, "x", list(SCHEMA))) == []
    assert read_within(path, "x", [], (0, 0, 1, 1)).numbers.size == 0
    assert layer_info(path, "x").count == 0


def test_what_has_no_longitude_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    box = GeoBox(10, 10, Affine(1e7, 0, 0, 0, -1e7, 0), "EPSG:2193")
    made = Features(np.array([shapely.box(0, -1e9, 1e9, 0)]), {"size": np.array([1])})
    with pytest.raises(
        OutputError, match=r"x\.geojson: objects have no longitude and latitude.*write \.gpkg"
    ):
        write_features(tmp_path / "x.geojson", "x", [made], geobox=box, schema={"size": "integer"})
    assert list(tmp_path.iterdir()) == []


def test_layers_in_degrees_are_not_merged() -> None:
    with pytest.raises(ValueError, match=r"merge joins .* use format gpkg, fgb or parquet, or merge: false"):
        Vectorize(merge=True, format="geojson")

"""Layers in every format: the same laws for GeoPackage, FlatGeobuf and GeoParquet; overviews."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import same_crs
from geoseg.io.files import sha256_of
from geoseg.io.qgis.style import ClassStyle, at_scales, polygons_qml
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.frame import read_frame
from geoseg.io.vector.reader import layer_info, read_pieces, read_within
from geoseg.io.vector.writer import FORMATS, Overview, layer_files, overview_layer, write_features
from geoseg.polygons.simplify import simplified_coverage, simplified_objects

BOX = GeoBox(60, 80, Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000), "EPSG:26914")
SCHEMA = {"name": "text", "size": "integer", "area": "real", "whole": "boolean"}
STYLE = LayerStyle(polygons_qml([ClassStyle(1, "Building", "#d62728")]))


IN_DEGREES = ".geojson"
"""The one format that keeps no CRS: see test_geojson.py."""
endings = pytest.mark.parametrize("ending", [end for end in FORMATS.values() if end != IN_DEGREES])


def squares(start: int, stop: int, box: GeoBox = BOX) -> Features:
    """Features numbered from start, in rows of squares of the grid's CRS."""
    numbers = np.arange(start, stop)
    x, y = box.transform @ np.stack([numbers % 80, numbers // 80])
    geometry = shapely.box(x, y, x + box.transform.a / 2, y + abs(box.transform.e) / 2)
    names = np.array([None if n % 3 == 0 else f"é {n}" for n in numbers], dtype=object)
    return Features(
        geometry, {"name": names, "size": numbers * 10**10, "area": numbers / 3, "whole": numbers % 2 == 0}
    )


def whole(path: Path) -> tuple[NDArray[np.object_], dict[str, list[object]]]:
    """Geometry and attributes of a file, in the order of its field ``size``."""
    pieces = list(read_pieces(path, "Things", list(SCHEMA)))
    geometry = np.concatenate([piece.features.geometry for piece in pieces])
    values = {name: np.concatenate([p.features.attributes[name] for p in pieces]) for name in SCHEMA}
    order = np.argsort(values["size"])
    return geometry[order], {name: found[order].tolist() for name, found in values.items()}


@endings
def test_what_is_written_is_read_again_by_us_and_by_others(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    count = 40_000  # more than one append, one piece, one row group
    batches = (squares(start, min(start + 700, count)) for start in range(0, count, 700))
    written = write_features(
        path,
        "Things",
        batches,
        geobox=BOX,
        schema=SCHEMA,
        style=STYLE,
        description="é",
    )
    geometry, values = whole(path)
    expected = squares(0, count)
    assert written == len(geometry) == count
    assert shapely.equals_exact(geometry, expected.geometry, normalize=True).all()
    assert values == {name: found.tolist() for name, found in expected.attributes.items()}
    info = layer_info(path, "Things")
    assert (info.count, info.kinds) == (count, SCHEMA)
    assert same_crs(info.crs, BOX)
    assert sorted(tmp_path.iterdir()) == sorted(layer_files(path))
    if ending == ".gpkg":
        table = geopandas.read_file(path, layer="Things")
    else:
        assert path.with_suffix(".qml").read_text(encoding="utf-8") == STYLE.qml
        table = geopandas.read_parquet(path) if ending == ".parquet" else geopandas.read_file(path)
    assert (len(table), table.crs.to_epsg()) == (count, 26914)
    assert [name for name in table.columns if name not in ("geometry", "bbox")] == list(SCHEMA)


@endings
def test_an_empty_layer_has_its_fields_and_crs(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    assert write_features(path, "Things", [], geobox=BOX, schema=SCHEMA, style=STYLE) == 0
    info = layer_info(path, "Things")
    assert (info.count, info.kinds, same_crs(info.crs, BOX)) == (0, SCHEMA, True)
    assert list(read_pieces(path, "Things", list(SCHEMA))) == []
    assert read_within(path, "Things", ["name"], BOX.bounds).numbers.size == 0


@endings
@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4326",
        "EPSG:2193",
        "ESRI:54009",
        "+proj=aea +lat_0=30 +lon_0=-98 +lat_1=29 +lat_2=31 +datum=WGS84",
    ],
)
def test_every_format_keeps_the_crs_and_x_before_y(tmp_path: Path, ending: str, crs: str) -> None:
    box = GeoBox(60, 80, Affine(1e-5, 0, 17.7, 0, -1e-5, 30.2), crs)
    path = tmp_path / f"x{ending}"
    write_features(path, "Things", [squares(0, 3, box)], geobox=box, schema=SCHEMA)
    assert same_crs(layer_info(path, "Things").crs, box)
    assert whole(path)[0][0].bounds[:2] == (17.7, 30.2)


@endings
def test_features_within_bounds_are_those_of_the_whole_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    write_features(path, "Things", [squares(0, 4000)], geobox=BOX, schema=SCHEMA)
    pieces = list(read_pieces(path, "Things", ["size"]))
    numbers = np.concatenate([piece.numbers for piece in pieces])
    sizes = np.concatenate([piece.features.attributes["size"] for piece in pieces])
    assert len(set(numbers.tolist())) == 4000
    x, y = BOX.transform @ (10.7, 20)
    found = read_within(path, "Things", ["size"], (x, y - 3.05, x + 3, y))
    assert 0 < found.numbers.size < 400
    by_number = dict(zip(numbers.tolist(), sizes.tolist(), strict=True))
    assert [by_number[n] for n in found.numbers.tolist()] == found.features.attributes["size"].tolist()
    boxes = shapely.bounds(np.concatenate([piece.features.geometry for piece in pieces]))
    inside = (boxes[:, 0] <= x + 3) & (boxes[:, 2] >= x) & (boxes[:, 1] <= y) & (boxes[:, 3] >= y - 3.05)
    assert sorted(found.numbers.tolist()) == sorted(numbers[inside].tolist())


@endings
def test_what_ends_badly_leaves_the_older_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    write_features(path, "Things", [squares(0, 2)], geobox=BOX, schema=SCHEMA)
    before = sha256_of(path)

    def interrupted() -> Iterator[Features]:
        yield squares(0, 20_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(path, "Things", interrupted(), geobox=BOX, schema=SCHEMA, style=STYLE)
    bow_tie = Features(
        np.array([shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])], object), squares(0, 1).attributes
    )
    with pytest.raises(OutputError, match="1 of 1 outlines that are no valid polygons"):
        write_features(path, "Things", [bow_tie], geobox=BOX, schema=SCHEMA, style=STYLE)
    parts = Features(np.array([shapely.MultiPolygon()], object), squares(0, 1).attributes)
    with pytest.raises(OutputError, match=re.escape(f"{path}: the layer holds single polygons only")):
        write_features(path, "Things", [parts], geobox=BOX, schema=SCHEMA, style=STYLE)
    assert list(tmp_path.iterdir()) == [path]
    assert sha256_of(path) == before


@endings
def test_a_full_disk_is_named_and_left_clean(tmpfs: Callable[[str], Path], ending: str) -> None:
    place = tmpfs("size=1m")
    numbers = np.random.default_rng(0).permutation(60_000)
    with pytest.raises(OutputError, match=rf"x\{ending} cannot be written: disk full: .* run again$"):
        write_features(
            place / f"x{ending}", "Things", [squares(0, 60_000)[numbers]], geobox=BOX, schema=SCHEMA
        )
    assert list(place.iterdir()) == []


def test_another_ending_or_an_overview_that_has_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"needed an ending of \.gpkg, \.parquet, \.fgb"):
        write_features(tmp_path / "x.shp", "Things", [], geobox=BOX, schema=SCHEMA)
    with pytest.raises(OutputError, match="only a GeoPackage holds an overview"):
        write_features(
            tmp_path / "x.fgb", "Things", [], geobox=BOX, schema=SCHEMA, overview=Overview(1.0, 1.0)
        )


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "x.parquet"
    needed = pytest.raises(OutputError, match=r"needs pyarrow.*pip install 'geoseg\[parquet\]'")
    with needed:
        write_features(path, "Things", [], geobox=BOX, schema=SCHEMA)
    with needed:
        read_frame(path, "Things")
    assert list(tmp_path.iterdir()) == []


@endings
def test_a_frame_that_cannot_be_read_is_an_output_error(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    refused = pytest.raises(OutputError, match=re.escape(f"{path}: cannot be read"))
    with refused:
        read_frame(path, "Things")
    path.write_bytes(b"no layer at all")
    with refused:
        read_frame(path, "Things")


def test_a_frame_of_a_layer_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    write_features(path, "Others", [], geobox=BOX, schema=SCHEMA)
    with pytest.raises(OutputError, match=re.escape(f"{path}: cannot be read")):
        read_frame(path, "Things")


def test_geoparquet_says_what_its_standard_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_features(path, "Things", [squares(0, 100)], geobox=BOX, schema=SCHEMA)
    import json  # noqa: PLC0415 - only here

    from pyarrow import parquet  # noqa: PLC0415

    stored = parquet.read_metadata(path).metadata
    geo = json.loads(stored[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 26914}
    assert column["covering"] == {"bbox": {s: ["bbox", s] for s in ("xmin", "ymin", "xmax", "ymax")}}
    table = geopandas.read_parquet(path)
    assert column["bbox"] == pytest.approx(table.total_bounds)
    some = geopandas.read_parquet(path, bbox=tuple(table.geometry.iloc[7].bounds))
    assert 0 < len(some) < 100


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".gpkg", ".fgb"])
def test_memory_does_not_grow_with_the_layer(tmp_path: Path, ending: str) -> None:
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2]); import test_vector_formats as t\n"
        "from pathlib import Path\n"
        "def write(n):\n"
        "    batches = (t.squares(i, i + 5000) for i in range(0, n, 5000))\n"
        "    t.write_features(Path(sys.argv[1]), 'Things', batches, geobox=t.BOX, schema=t.SCHEMA)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "a = write(40000); b = write(200000); print(b - a)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / f"x{ending}"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 60  # MB, for 160 000 more features, which as objects would take 150


# --- overviews ------------------------------------------------------------------------------------------


@st.composite
def cells(draw: st.DrawFn) -> NDArray[np.object_]:
    """A valid coverage: Voronoi cells of random points, cut off by a square."""
    points = draw(
        st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=40, unique=True)
    )
    frame = shapely.box(-5, -5, 45, 45)
    found = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=frame))

    def bend(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.round(xy + 0.4 * np.stack([np.sin(xy[:, 1]), np.cos(xy[:, 0])], axis=1), 6)

    polygons = np.asarray(shapely.transform(shapely.segmentize(found, 3.0), bend))
    assume(shapely.coverage_is_valid(polygons) and shapely.is_valid(polygons).all())
    return polygons


@given(cells(), st.floats(0.1, 6))
def test_a_simplified_coverage_has_no_gap_and_no_overlap_whatever_its_parts(
    polygons: NDArray[np.object_], tolerance: float
) -> None:
    whole_area = shapely.area(polygons).sum()
    parts = [simplified_coverage(some, tolerance) for some in np.array_split(polygons, 3)]
    simple = np.concatenate(parts)
    assert shapely.is_valid(simple).all()
    assert shapely.coverage_is_valid(simple)
    assert shapely.area(simple).sum() == pytest.approx(whole_area, rel=1e-9)
    assert shapely.get_num_coordinates(simple).sum() <= shapely.get_num_coordinates(polygons).sum()


@given(cells(), st.floats(0.1, 6), st.floats(0, 60))
def test_simplified_objects_are_valid_near_and_large_enough(
    polygons: NDArray[np.object_], tolerance: float, min_area: float
) -> None:
    holed = shapely.difference(polygons, shapely.buffer(shapely.centroid(polygons), 1.0))
    holed = holed[shapely.get_type_id(holed) == shapely.GeometryType.POLYGON]
    simple, kept = simplified_objects(holed, tolerance, min_area)
    assert (kept == (shapely.area(holed) >= min_area)).all()
    assert shapely.is_valid(simple).all()
    assert (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON).all()
    small_holes = shapely.get_num_interior_rings(simple) if min_area > np.pi else np.zeros(1)
    assert not small_holes.any()
    outer = shapely.get_exterior_ring(simple), shapely.get_exterior_ring(holed[kept])
    assert (shapely.hausdorff_distance(*outer, densify=0.05) <= 2 * tolerance + 0.2).all()


def test_an_overview_stands_in_the_same_file_with_its_own_style_and_scales(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    qml = at_scales(STYLE.qml, 20_000, None)
    overview = Overview(0.1, 0.01, style=LayerStyle(qml))
    near = LayerStyle(at_scales(STYLE.qml, None, 20_000))
    count = write_features(
        path, "Things", [squares(0, 500)], geobox=BOX, schema=SCHEMA, style=near, overview=overview
    )
    name = overview_layer("Things")
    assert pyogrio.list_layers(path)[:2, 0].tolist() == ["Things", name]
    assert (count, layer_info(path, name).count) == (500, 500)
    assert layer_info(path, name).kinds == SCHEMA
    with closing(sqlite3.connect(path)) as database:
        styles = dict(database.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall())
    assert styles == {"Things": near.qml, name: qml}
    assert 'minScale="20000" maxScale="0"' in near.qml
    assert 'maxScale="20000"' in qml
    assert len(overview_layer("a" * 63)) == 63
    write_features(path, "Things", [], geobox=BOX, schema=SCHEMA, overview=overview)
    assert layer_info(path, name).count == 0

"""Labels in the files that people have, and what a layer without a polygon on the scene says."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rasters import write_raster
from support.vectors import write_layer

from geoseg.config.stac.refs import LabelRef
from geoseg.errors import LabelError
from geoseg.grid.geobox import GeoBox
from geoseg.io.labels.reader import LabelReader, label_kind
from geoseg.io.qgis.style import ClassStyle, polygons_qml
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.writer import FORMATS as FILES
from geoseg.io.vector.writer import Overview, write_features

UTM = "EPSG:26914"
GRID = GeoBox(40, 50, Affine(1, 0, 617_000, 0, -1, 3_344_000), UTM)
SHAPES = [
    shapely.box(617_005, 3_343_970, 617_015, 3_343_990),
    shapely.box(617_020, 3_343_965, 617_040, 3_343_980),
]
KINDS = ["Häuser", "Scheune"]
FRAME = gpd.GeoDataFrame({"kind": KINDS, "id": [1, 2]}, geometry=SHAPES, crs=UTM)


def shapefile(encoding: str, *, keep_cpg: bool = True) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        FRAME.to_file(folder / "roofs.shp", encoding=encoding)
        if not keep_cpg:
            (folder / "roofs.cpg").unlink()
        return folder / "roofs.shp"

    return write


def zipped(folder: Path) -> Path:
    shapefile("UTF-8")(folder)
    with zipfile.ZipFile(folder / "roofs (1).zip", "w") as archive:
        archive.writestr("__MACOSX/data/._roofs.shp", b"")
        for file in sorted(folder.glob("roofs.*")):
            archive.write(file, f"data/{file.name}")
    return folder / "roofs (1).zip"


def lines(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        FRAME.to_crs(4326).to_file(folder / "roofs.geojsonl", driver="GeoJSONSeq")
        return (folder / "roofs.geojsonl").rename(folder / f"roofs{ending}")

    return write


def parquet(folder: Path) -> Path:
    FRAME.rename_geometry("outline").to_parquet(folder / "roofs.parquet")
    return folder / "roofs.parquet"


def by_gdal(ending: str, driver: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        FRAME.to_file(folder / f"roofs{ending}", driver=driver)
        return folder / f"roofs{ending}"

    return write


FORMATS = {
    "gpkg": by_gdal(".gpkg", "GPKG"),
    "fgb": by_gdal(".fgb", "FlatGeobuf"),
    "geojson": by_gdal(".geojson", "GeoJSON"),
    "geojsonl": lines(".geojsonl"),
    "geojsons": lines(".geojsons"),
    "ndjson": lines(".ndjson"),
    "shp utf-8": shapefile("UTF-8"),
    "shp latin 1": shapefile("ISO-8859-1"),
    "shp cp1252": shapefile("CP1252"),
    "shp without .cpg": shapefile("ISO-8859-1", keep_cpg=False),
    "zipped shp": zipped,
    "parquet": parquet,
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_polygons_and_their_words_are_the_same_in_every_format(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path)
    assert label_kind(path) == "vector"
    expected = np.zeros(GRID.shape, np.uint8)
    expected[10:30, 5:15], expected[20:35, 20:40] = 1, 2
    label = LabelRef(str(path), attribute="kind", names=((KINDS[0], 1), (KINDS[1], 2)))
    assert np.array_equal(LabelReader(label, GRID).read(GRID.window), expected)
    assert np.array_equal(LabelReader(LabelRef(str(path), attribute="id"), GRID).read(GRID.window), expected)
    with pytest.raises(LabelError, match=r"no attribute 'floors'; it has kind, id"):
        LabelReader(LabelRef(str(path), attribute="floors"), GRID)
    far = GeoBox(40, 50, Affine(1, 0, 700_000, 0, -1, 3_344_000), UTM)
    with pytest.raises(LabelError, match="do not overlap"):
        LabelReader(LabelRef(str(path)), far)


def test_an_archive_of_two_layers_asks_which_and_one_without_any_says_so(tmp_path: Path) -> None:
    zipped(tmp_path)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name in ("roofs", "walls"):
            for ending in ("shp", "shx", "dbf", "prj", "cpg"):
                archive.write(tmp_path / f"roofs.{ending}", f"{name}.{ending}")
    with pytest.raises(LabelError, match=r"2 layers \(roofs, walls\); .*geoseg:layer.*--layer"):
        LabelReader(LabelRef(str(tmp_path / "two.zip")), GRID)
    assert LabelReader(LabelRef(str(tmp_path / "two.zip"), layer="walls"), GRID).features == 2
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("roofs.txt", "roofs")
    with pytest.raises(LabelError, match=r"without a Shapefile \(\.shp\); unzip it"):
        LabelReader(LabelRef(str(tmp_path / "none.zip")), GRID)
    whole = (tmp_path / "two.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabelError, match="no vector file that can be read"):
        LabelReader(LabelRef(str(tmp_path / "cut.zip")), GRID)


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_layer_without_features_is_background(
    tmp_path: Path, write: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "FRAME", FRAME.iloc[:0])
    path = write(tmp_path)
    if not path.stat().st_size:  # what GDAL makes of no lines at all
        path.write_text('{"type": "FeatureCollection", "features": []}')
    reader = LabelReader(LabelRef(str(path), attribute="kind", names=(("Häuser", 1),)), GRID)
    assert reader.features == 0
    assert not reader.read(GRID.window).any()


def test_an_empty_geojson_without_crs_is_background_and_an_empty_area_is_none(tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    reader = LabelReader(LabelRef(str(tmp_path / "none.geojson")), GRID, GRID)
    assert not reader.read(GRID.window).any()
    path = write_layer(tmp_path / "labels.gpkg", SHAPES, UTM, "roofs")
    write_layer(path, [], UTM, "labelled_area")
    with pytest.raises(LabelError, match="labelled_area: does not overlap the scene"):
        LabelReader(LabelRef(str(path)), GRID, GRID)


PLACES = st.tuples(st.integers(-300, 300), st.integers(-300, 300))


@settings(max_examples=25)
@given(st.lists(PLACES, min_size=1, max_size=3), st.sampled_from([UTM, "EPSG:4326", "EPSG:3857"]))
def test_only_a_layer_that_lies_elsewhere_is_a_mistake(places: list[tuple[int, int]], crs: str) -> None:
    shapes = [shapely.box(617_000 + x, 3_344_000 + y, 617_008 + x, 3_344_008 + y) for x, y in places]
    west, south, east, north = shapely.total_bounds(np.array(shapes))
    left, bottom, right, top = GRID.bounds
    gap = max(west - right, left - east, south - top, bottom - north)
    with TemporaryDirectory() as folder:
        path = write_layer(Path(folder, "town.gpkg"), shapes, UTM, to_crs=crs)
        if gap > 20:  # beyond what the bounds of a turned box may be off
            with pytest.raises(LabelError, match=r"town\.gpkg: do not overlap the scene"):
                LabelReader(LabelRef(str(path)), GRID)
        elif gap < 0:
            labels = LabelReader(LabelRef(str(path)), GRID).read(GRID.window)
            assert set(np.unique(labels)) <= {0, 1}
            assert labels.any() or not any(
                s.intersection(shapely.box(*GRID.bounds)).area > 12 for s in shapes
            )


def test_geoseg_s_own_polygons_are_labels_as_they_are(tmp_path: Path) -> None:
    """With the style inside and an overview, as a run writes and merges them."""
    batch = Features(np.array(SHAPES), {"class_id": np.array([1, 1])})
    style = LayerStyle(polygons_qml([ClassStyle(1, "Building", "#d7301f")]))
    for ending in FILES.values():
        path, general = tmp_path / f"buildings{ending}", Overview(0.1, 0) if ending == ".gpkg" else None
        write_features(
            path,
            "buildings",
            [batch],
            geobox=GRID,
            schema={"class_id": "integer"},
            style=style,
            overview=general,
        )
        labels = LabelReader(LabelRef(str(path)), GRID)
        assert labels.features == 2
        assert np.count_nonzero(labels.read(GRID.window)) == 20 * 10 + 15 * 20


def test_tables_without_geometry_and_overviews_are_no_candidates(tmp_path: Path) -> None:
    path = write_layer(tmp_path / "corrected.gpkg", SHAPES, UTM, "buildings")
    write_layer(path, SHAPES[:1], UTM, "buildings_overview")
    write_layer(path, [shapely.box(*GRID.bounds)], UTM, "labelled_area")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute('CREATE TABLE "layer_styles" ("id" INTEGER PRIMARY KEY, "styleQML" TEXT)')
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"
        )
    assert LabelReader(LabelRef(str(path)), GRID).features == 2
    shutil.copy(path, tmp_path / "two.gpkg")
    write_layer(tmp_path / "two.gpkg", SHAPES, UTM, "trees")
    with pytest.raises(LabelError, match=r"2 layers \(buildings, trees\)"):
        LabelReader(LabelRef(str(tmp_path / "two.gpkg")), GRID)


@pytest.mark.parametrize("kind", ["polygons", "raster"])
def test_labels_without_a_datum_are_not_placed_on_a_scene_that_has_one(kind: str, tmp_path: Path) -> None:
    bare = "+proj=utm +zone=14 +ellps=intl +units=m +no_defs"
    if kind == "polygons":
        path = tmp_path / "roofs.gpkg"
        FRAME.set_crs(bare, allow_override=True).to_file(path)
    else:
        path = write_raster(
            tmp_path / "roofs.tif", np.ones((40, 50), np.uint8), crs=bare, transform=GRID.transform
        )
    with pytest.raises(LabelError, match=r"names an ellipsoid but no datum.* -a_srs EPSG:n"):
        LabelReader(LabelRef(str(path)), GRID)
    LabelReader(LabelRef(str(path)), GeoBox(40, 50, GRID.transform, bare))

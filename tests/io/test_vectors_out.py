"""Layers, styles and items that are written: complete, named safely, described, or not there at all."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pyogrio.raw
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.stac import stac_validator

from geoseg.config.model.contract import BundleSpec, ClassSpec, DataSource, Scaling, Training, WeightsFile
from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.crs import same_crs, written_crs
from geoseg.io.files import sha256_of, write_json, write_text
from geoseg.io.qgis.style import ClassStyle, classes_qml, palette, polygons_qml, probability_qml
from geoseg.io.raster.cog import write_cog
from geoseg.io.raster.maps import read_strips
from geoseg.io.stac.write import scene_item
from geoseg.io.vector.features import Features, LayerStyle, features_of
from geoseg.io.vector.writer import write_features
from geoseg.polygons.attributes import FIELDS, Provenance
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip

UTM = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
BOX = GeoBox(60, 80, UTM, "EPSG:26914")
SCHEMA = {"name": "text", "size": "integer", "area": "real", "whole": "boolean"}


def squares(start: int, stop: int, box: GeoBox = BOX) -> Features:
    """Features numbered from start, in a row of squares of the grid's CRS."""
    numbers = np.arange(start, stop)
    geometry = np.array(
        [
            shapely.Polygon([box.transform @ p for p in ((n, 0), (n, 1), (n + 0.5, 1), (n + 0.5, 0))])
            for n in numbers
        ],
        dtype=object,
    )
    names = np.array([None if n % 3 == 0 else f"é {n}" for n in numbers], dtype=object)
    return Features(
        geometry,
        {"name": names, "size": numbers * 10**10, "area": numbers / 3, "whole": numbers % 2 == 0},
    )


def read(path: Path, layer: str) -> tuple[dict[str, Any], NDArray[Any], dict[str, NDArray[Any]]]:
    about, _, geometry, values = pyogrio.raw.read(path, layer=layer)
    fields = dict(zip(about["fields"], values, strict=True))
    return about, shapely.from_wkb(geometry), fields


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- layers ---------------------------------------------------------------------------------------------


def test_features_come_back_in_order_from_any_batches(tmp_path: Path) -> None:
    whole = squares(0, 20)
    for cuts in ([0, 20], [0, 1, 7, 7, 20]):
        batches = (squares(a, b) for a, b in pairwise(cuts))
        path = tmp_path / "new" / "x.gpkg"
        assert write_features(path, "Things_1", batches, geobox=BOX, schema=SCHEMA, description="é") == 20
        about, geometry, fields = read(path, "Things_1")
        assert visible(path.parent) == ["x.gpkg"]
        assert list(fields) == list(SCHEMA)
        assert shapely.to_wkb(geometry).tolist() == shapely.to_wkb(whole.geometry).tolist()
        for name, values in whole.attributes.items():
            assert fields[name].tolist() == values.tolist(), name
        assert (about["crs"], about["geometry_type"]) == ("EPSG:26914", "Polygon")
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (10200,)
            assert database.execute("SELECT description FROM gpkg_contents").fetchone() == ("é",)
            assert database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone() == ("geom",)


def test_a_layer_without_features_has_all_its_fields(tmp_path: Path) -> None:
    style = LayerStyle(polygons_qml([ClassStyle(1, "Building", "#d62728")]))
    count = write_features(tmp_path / "x.gpkg", "objects", [], geobox=BOX, schema=FIELDS, style=style)
    info = pyogrio.read_info(tmp_path / "x.gpkg", layer="objects")
    assert (count, info["features"], info["fields"].tolist()) == (0, 0, list(FIELDS))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(1e-5, 0, -97.7, 0, -1e-5, 30.2)),
        ("EPSG:2193", Affine(1, 0, 1_750_000, 0, 1, 5_430_000)),  # north comes first in both
        ("EPSG:3031", Affine(100, 0, -5e5, 0, -100, 7e5)),
        ("EPSG:25832+7837", UTM),
        ("ESRI:54009", UTM),
        ("+proj=aea +lat_0=30 +lon_0=-98 +lat_1=29 +lat_2=31 +datum=WGS84 +units=us-ft", UTM),
        ("+proj=longlat +a=6378000 +b=6370000", Affine(1e-3, 0, 10, 0, -1e-3, 50)),
    ],
)
def test_coordinates_stay_x_then_y_in_the_scene_s_crs(tmp_path: Path, crs: str, transform: Affine) -> None:
    box = GeoBox(60, 80, transform, crs)
    path = tmp_path / "x.gpkg"
    write_features(path, "x", [squares(0, 3, box)], geobox=box, schema=SCHEMA)
    about, geometry, _ = read(path, "x")
    assert shapely.get_coordinates(geometry[:1])[0].tolist() == [transform.c, transform.f]
    assert same_crs(about["crs"], box)
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT srs_name FROM gpkg_spatial_ref_sys JOIN gpkg_geometry_columns USING (srs_id)"
        (name,) = database.execute(query).fetchone()
    assert name.lower() not in {"", "unknown", "unnamed", "undefined"}


@pytest.mark.parametrize(
    ("crs", "text"),
    [
        ("EPSG:26914", "EPSG:26914"),
        ("+proj=utm +zone=14 +datum=NAD83", "EPSG:26914"),
        ("+proj=longlat +datum=WGS84", "EPSG:4326"),
        (pyproj.CRS.from_epsg(26914).to_wkt(), "EPSG:26914"),
        ("EPSG:26914+5703", "EPSG:26914"),
        (
            "+proj=aea +lat_1=29 +lat_2=31 +datum=WGS84",
            'PROJCRS["custom Albers Equal Area",BASEGEOGCRS["WGS 84"',
        ),
        ("+proj=longlat +a=6378000 +b=6370000", 'GEOGCRS["custom Geographic 2D CRS"'),
        ('LOCAL_CS["unnamed",UNIT["metre",1]]', 'ENGCRS["custom Engineering CRS"'),
    ],
)
def test_a_crs_has_a_name(crs: str, text: str) -> None:
    assert written_crs(crs).startswith(text)


def test_a_crs_nobody_knows_is_refused() -> None:
    with pytest.raises(OutputError, match=r"EPSG:999999.* cannot be written"):
        written_crs("EPSG:999999")


def test_what_does_not_fit_the_layer_is_refused(tmp_path: Path) -> None:
    fits = squares(0, 2)
    parts = Features(np.array([shapely.MultiPolygon(list(fits.geometry))] * 2), fits.attributes)
    for batch, schema, message in [
        (fits, {"name": "text"}, "differ in the fields"),
        (fits, {**SCHEMA, "more": "text"}, "differ in the fields"),
        (parts, SCHEMA, "single polygons only"),
        (fits, {"name": "text", "NAME": "text"}, "differ by case only"),
        (fits, {"name": "date"}, "needed one of text, integer"),
    ]:
        with pytest.raises(OutputError, match=message):
            write_features(tmp_path / "x.gpkg", "x", [batch], geobox=BOX, schema=schema)
        assert visible(tmp_path) == []


def test_the_style_is_stored_as_qgis_reads_it(tmp_path: Path) -> None:
    style = LayerStyle("<qgis/>", name="mine", description="it's mine")
    write_features(tmp_path / "x.gpkg", "x", [squares(0, 2)], geobox=BOX, schema=SCHEMA, style=style)
    with closing(sqlite3.connect(tmp_path / "x.gpkg")) as database:
        rows = database.execute(
            "SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, "
            "useAsDefault, description FROM layer_styles"
        ).fetchall()
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert rows == [("", "", "x", "geom", "mine", "<qgis/>", 1, "it's mine")]


def test_ctrl_c_between_batches_keeps_the_older_layer(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    write_features(path, "x", [squares(0, 2)], geobox=BOX, schema=SCHEMA)
    before = sha256_of(path)

    def interrupted() -> Iterator[Features]:
        yield squares(0, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(path, "x", interrupted(), geobox=BOX, schema=SCHEMA)
    assert visible(tmp_path) == ["x.gpkg"]
    assert sha256_of(path) == before


def test_a_full_disk_leaves_no_layer_that_lacks_features(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=2m")
    refusals, whole = [], 0
    for free in (0, 8, 60, 100, 140, 200, 300, 400, 500, 600, 700, 2048):
        ballast = place / "ballast"
        ballast.write_bytes(bytes((2048 - free) * 1024))
        batches = (squares(n * 500, n * 500 + 500) for n in range(4))
        try:
            write_features(place / "x.gpkg", "x", batches, geobox=BOX, schema=SCHEMA)
        except OutputError as error:
            refusals.append(str(error))
            assert visible(place) == ["ballast"]
        else:
            whole += 1
            assert pyogrio.read_info(place / "x.gpkg", layer="x")["features"] == 2000
            (place / "x.gpkg").unlink()
        ballast.unlink()
    assert whole
    assert len(refusals) > 3
    assert all(re.search(r"x\.gpkg cannot be written: disk full: .* run again$", one) for one in refusals)


def test_a_read_only_disk_is_refused(tmpfs: Callable[[str], Path]) -> None:
    place = tmpfs("size=2m,ro")
    with pytest.raises(OutputError, match=r"x\.gpkg cannot be written: the file system is read-only"):
        write_features(place / "x.gpkg", "x", [], geobox=BOX, schema=SCHEMA)
    with pytest.raises(OutputError, match=r"x\.qml cannot be written: the file system is read-only"):
        write_text(place / "x.qml", "x")


# --- a scene's outputs ----------------------------------------------------------------------------------


COVER = (
    ClassSpec(id=0, name="ground", title="Bare ground", color="#c2a878", background=True),
    ClassSpec(id=1, name="building", title='"Building" & <more>', color="#d62728"),
    ClassSpec(id=2, name="road", title="Road", color="#7f7f86"),
)
STYLES = tuple(ClassStyle(c.id, c.title, c.color, c.background) for c in COVER)
MODEL = BundleSpec(
    name="cover-test",
    version="1.2",
    title="Land cover",
    description="For tests.",
    license="CC-BY-4.0",
    architecture="mininet-1",
    arguments={"bands": 1, "classes": 3},
    bands=("red",),
    scaling=Scaling(mean=(0.0,), std=(1.0,)),
    value_dtype="uint8",
    classes=COVER,
    resolution=0.3,
    alignment=4,
    receptive_field_radius=16,
    halo=16,
    halo_agreement=1,
    training=Training(
        data=(DataSource(name="none", attribution="Nobody", license="CC0-1.0"),), seed=0, procedure="None."
    ),
    weights=WeightsFile(
        sha256="ab" * 32,
        size=1,
        parameters=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        geoseg="0",
        torch="0",
    ),
)


def write_rasters(folder: Path, ids: NDArray[np.uint8], box: GeoBox) -> tuple[Path, Path]:
    random = np.random.default_rng(1)
    store = random.integers(0, 201, (3, *ids.shape)).astype(np.uint8)
    store[:, ids == 255] = 255
    all_of_it = Window(0, 0, *ids.shape)
    classes, probability = folder / "classes.tif", folder / "probability.tif"
    write_cog(classes, box, ["class"], [(all_of_it, ids[None])], colormap=palette(STYLES))
    names = [c.title for c in COVER]
    write_cog(probability, box, names, [(all_of_it, store)], scale=1 / 200, overviews="average")
    return classes, probability


@pytest.fixture(scope="module")
def ids() -> NDArray[np.uint8]:
    random = np.random.default_rng(2)
    found = (random.random((60, 80)) * 3.2).astype(np.uint8)
    found[found == 3] = 255
    found[20:40, 20:50] = 1
    return found


def test_rasters_become_the_same_features_in_any_strips(tmp_path: Path, ids: NDArray[np.uint8]) -> None:
    classes, probability = write_rasters(tmp_path, ids, BOX)
    provenance = Provenance("Scene 1", "scene-1", "cover-test 1.2", "ab" * 32, "run-1", "2024-05-31")
    digests = []
    for rows in (512, 1, 7, 60):
        strips = (
            Strip(found, np.where(found == 2, scores[1], scores[0]), scores[[0, 0, 1]])
            for (found,), scores in zip(
                read_strips(classes, [1], rows), read_strips(probability, [2, 3], rows), strict=True
            )
        )
        traced = trace_regions(strips, BOX.width, [1, 2], deformed=False)
        shapes = (Shapes.of(regions, "exact") for regions in traced)
        features = features_of(shapes, BOX, {1: "building", 2: "road"}, provenance)
        write_features(tmp_path / "x.gpkg", "cover", features, geobox=BOX, schema=FIELDS)
        _, geometry, fields = read(tmp_path / "x.gpkg", "cover")
        digests.append(
            (shapely.to_wkb(geometry).tolist(), {k: v.astype(str).tolist() for k, v in fields.items()})
        )
    assert digests[1:] == digests[:1] * 3
    wkb, found = digests[0]
    assert list(found) == list(FIELDS)
    assert len(set(found["id"])) == len(wkb)
    area, perimeter = (np.array(found[name], float) for name in ("area_m2", "perimeter_m"))
    assert area.sum() == pytest.approx(np.isin(ids, (1, 2)).sum() * 0.09, rel=1e-3)
    assert perimeter == pytest.approx(shapely.length(shapely.from_wkb(wkb)), rel=1e-3)
    assert (set(found["class_id"]), set(found["class_name"])) == ({"1", "2"}, {"building", "road"})
    assert set(found["scene"] + found["acquired"]) == {"Scene 1", "2024-05-31"}


# --- styles ---------------------------------------------------------------------------------------------


titles = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1)


@given(st.lists(titles, min_size=1, max_size=4))
def test_styles_are_xml_whatever_the_titles(names: list[str]) -> None:
    classes = [ClassStyle(n, name, f"#00{n:02d}ff", background=n == 0) for n, name in enumerate(names)]
    polygons = ET.fromstring(polygons_qml(classes))  # noqa: S314 our own text
    labels = [one.get("label") for one in polygons.iter("category")]
    assert labels == (names if len(names) > 1 else [])
    assert len(list(polygons.iter("symbol"))) == len(names)
    entries = list(ET.fromstring(classes_qml(classes)).iter("paletteEntry"))  # noqa: S314 same
    assert [one.get("label") for one in entries] == names
    assert [one.get("alpha") for one in entries] == ["0", *["255"] * (len(names) - 1)]
    shader = ET.fromstring(probability_qml(2)).find(".//rasterrenderer")  # noqa: S314 same
    assert shader is not None
    assert shader.get("band") == "2"


def test_classes_that_cannot_be_shown_are_refused() -> None:
    assert palette(STYLES) == {0: (194, 168, 120), 1: (214, 39, 40), 2: (127, 127, 134)}
    for color in ("red", "#fff", "#12345g", "#1234567"):
        with pytest.raises(OutputError, match="needed one like #d62728"):
            ClassStyle(1, "x", color)
    with pytest.raises(OutputError, match="control characters"):
        ClassStyle(1, "a\x01b", "#ffffff")


# --- item -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validate(shared_data: Path) -> Callable[[dict[str, Any]], None]:
    """Core and extension schemas, offline."""
    validator = stac_validator(shared_data.parent / "schemas")

    def check(item: dict[str, Any]) -> None:
        from pystac import STACObjectType  # noqa: PLC0415 - only where the schemas are

        validator.validate_core(item, STACObjectType.ITEM, "1.1.0", None)
        for uri in item["stac_extensions"]:
            assert uri in validator.schema_cache, uri
            validator.validate_extension(item, STACObjectType.ITEM, "1.1.0", uri, None)

    return check


def made_item(folder: Path, ids: NDArray[np.uint8], box: GeoBox, acquired: str | None) -> dict[str, Any]:
    classes, probability = write_rasters(folder, ids, box)
    write_features(folder / "cover.gpkg", "cover", [], geobox=box, schema=FIELDS)
    write_text(folder / "classes.qml", classes_qml(STYLES))
    outputs = [classes, probability, folder / "cover.gpkg", folder / "classes.qml"]
    return scene_item(
        scene="Scene 1",
        geobox=box,
        acquired=acquired,
        outputs=outputs,
        folder=folder,
        model=MODEL,
        properties={"geoseg:fingerprint": "cd" * 32, "geoseg:run_id": "cd" * 8},
        now=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("box", "acquired"),
    [
        (BOX, "2024-05-31"),
        (GeoBox(60, 80, Affine(1e-3, 0, 179.97, 0, -1e-3, -17), "EPSG:4326"), None),
        (
            GeoBox(60, 80, Affine(9, 2, 0, 2, -8, 0), "+proj=aea +lat_1=29 +lat_2=31 +datum=WGS84"),
            "2024-05-31T10:00:00+02:00",
        ),
    ],
)
def test_the_item_is_valid_stac(
    tmp_path: Path,
    ids: NDArray[np.uint8],
    box: GeoBox,
    acquired: str | None,
    validate: Callable[[dict[str, Any]], None],
) -> None:
    item = made_item(tmp_path, ids, box, acquired)
    write_json(tmp_path / "item.json", item)
    validate(json.loads((tmp_path / "item.json").read_text(encoding="utf-8")))


def test_the_item_tells_files_classes_model_and_run(tmp_path: Path, ids: NDArray[np.uint8]) -> None:
    item = made_item(tmp_path, ids, BOX, "2024-05-31")
    properties, assets = item["properties"], item["assets"]
    assert list(assets) == ["classes", "probability", "cover", "classes_style"]
    for asset in assets.values():
        path = tmp_path / asset["href"]
        assert asset["file:checksum"] == "1220" + sha256_of(path)
        assert asset["file:size"] == path.stat().st_size
    assert assets["classes"]["classification:classes"][1] == {
        "value": 1, "name": "building", "description": '"Building" & <more>', "color_hint": "D62728"
    }  # fmt: skip
    assert [band["scale"] for band in assets["probability"]["raster:bands"]] == [1 / 200] * 3
    assert assets["probability"]["raster:bands"][2]["name"] == "Road"
    assert assets["classes"]["proj:shape"] == [60, 80]
    assert (properties["proj:code"], properties["proj:transform"]) == ("EPSG:26914", list(UTM[:6]))
    assert properties["geoseg:model"] == {"name": "cover-test", "version": "1.2", "sha256": "ab" * 32}
    assert properties["geoseg:fingerprint"] == "cd" * 32
    assert properties["geoseg:attribution"] == "Nobody (CC0-1.0)"
    assert {"geoseg", "torch", "GDAL"} <= set(properties["processing:software"])
    assert properties["processing:datetime"] == "2026-05-04T03:02:01Z"


@pytest.mark.parametrize(
    ("acquired", "expected"),
    [
        ("2024-05-31", (None, "2024-05-31T00:00:00Z", "2024-05-31T23:59:59Z", None)),
        ("2024-05-31T10:00:00+02:00", ("2024-05-31T08:00:00Z", None, None, None)),
        ("2024-05-31T10:00:00.5", ("2024-05-31T10:00:00.500000Z", None, None, None)),
        (
            "2024-05-01T00:00:00Z/2024-06-01T00:00:00Z",
            (None, "2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z", None),
        ),
        ("2024-05-01/2024-05-03", (None, "2024-05-01T00:00:00Z", "2024-05-03T23:59:59Z", None)),
        (None, (None, "1900-01-01T00:00:00Z", "2026-05-04T03:02:01Z", "unknown")),
    ],
)
def test_dates_are_said_as_far_as_they_are_known(
    tmp_path: Path, ids: NDArray[np.uint8], acquired: str | None, expected: tuple[str | None, ...]
) -> None:
    properties = made_item(tmp_path, ids, BOX, acquired)["properties"]
    keys = ("datetime", "start_datetime", "end_datetime", "geoseg:datetime_source")
    assert tuple(properties.get(key) for key in keys) == expected
    assert "datetime" in properties


def test_items_of_what_is_not_there_are_refused(tmp_path: Path, ids: NDArray[np.uint8]) -> None:
    with pytest.raises(OutputError, match="not ISO 8601"):
        made_item(tmp_path, ids, BOX, "May 2024")
    with pytest.raises(OutputError, match="no place on the globe"):
        made_item(tmp_path, ids, GeoBox(60, 80, Affine(1e9, 0, 1e9, 0, -1e9, 1e9), "EPSG:32632"), None)
    (tmp_path / "classes.tif").write_text("no raster")
    for name in ("absent.tif", "classes.tif"):
        with pytest.raises(OutputError, match=name):
            scene_item(
                scene="s", geobox=BOX, acquired=None, outputs=[tmp_path / name], folder=tmp_path, model=MODEL,
                properties={},
            )  # fmt: skip

"""Catalogs made of folders: footprints, dates, valid STAC, and nothing lost."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pystac import STACObjectType
from rasterio.enums import ColorInterp
from support.commands import load_script
from support.rasters import write_raster
from support.stac import stac_validator

from geoseg.errors import CatalogError, GridError
from geoseg.grid.footprint import footprint
from geoseg.grid.geobox import GeoBox
from geoseg.io.files import sha256_of
from geoseg.io.raster.dates import date_properties, parse_moment
from geoseg.io.stac.folder import make_catalog
from geoseg.io.stac.read import load_catalog

UTM = Affine(0.3, 0, 621000, 0, -0.3, 3349000)

# Footprints


def _shape(box: GeoBox) -> tuple[Any, list[float]]:
    geometry, bbox = footprint(box)
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid
    assert not shape.is_empty
    west, _, east, _ = shape.bounds
    assert -180 <= west <= east <= 180
    for part in shapely.get_parts(shape):
        assert shapely.is_ccw(part.exterior)
    return shape, bbox


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.1, 100),
    st.floats(-180, 180),
    st.sampled_from([-1, 1]),
    st.sampled_from(
        [(26914, 621000.0, 3349000.0), (32760, 500000.0, 8100000.0), (3857, 9519391.0, 3203475.0)]
    ),
)
def test_a_footprint_holds_what_the_grid_holds(  # noqa: PLR0917 drawn by Hypothesis
    height: int, width: int, size: float, turn: float, up: int, place: tuple[int, float, float]
) -> None:
    epsg, x, y = place
    scale = Affine.scale(size, size * up)
    box = GeoBox(height, width, Affine.translation(x, y) @ Affine.rotation(turn) @ scale, f"EPSG:{epsg}")
    shape, bbox = _shape(box)
    to_globe = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    tolerance = 1e-6 + 1e-4 * max(shape.bounds[2] - shape.bounds[0], shape.bounds[3] - shape.bounds[1])
    for col, row in ((0, 0), (1, 0), (0.5, 0.5), (1, 1), (0, 1)):
        point = shapely.Point(to_globe.transform(*(box.transform @ (col * width, row * height))))
        assert shape.distance(point) <= tolerance
        assert shapely.box(bbox[0], bbox[1], bbox[2], bbox[3]).distance(point) <= tolerance
    ground = abs(shapely.Polygon(box.corners).area)
    geod = pyproj.Geod(ellps="WGS84")
    scale_factor = math.cos(math.radians(shape.centroid.y)) ** 2 if epsg == 3857 else 1.0
    if height * width * size**2 > 100:
        assert abs(geod.geometry_area_perimeter(shape)[0]) == pytest.approx(ground * scale_factor, rel=0.02)


@pytest.mark.parametrize(
    ("box", "kind", "bbox"),
    [
        (GeoBox(10, 10, Affine(1, 0, 175, 0, -1, 5), "EPSG:4326"), "MultiPolygon", [175, -5, -175, 5]),
        (GeoBox(10, 10, Affine(1, 0, 170, 0, -1, 5), "EPSG:4326"), "Polygon", [170, -5, 180, 5]),
        (GeoBox(10, 10, Affine(1, 0, 185, 0, -1, 5), "EPSG:4326"), "Polygon", [-175, -5, -165, 5]),
        (GeoBox(180, 360, Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"), "Polygon", [-180, -90, 180, 90]),
        (GeoBox(180, 360, Affine(1, 0, 0, 0, -1, 90), "EPSG:4326"), "Polygon", [-180, -90, 180, 90]),
        (
            GeoBox(100, 100, Affine(1e4, 0, -5e5, 0, -1e4, 5e5), "EPSG:3413"),
            "Polygon",
            [-180, 83.479261, 180, 90],
        ),
        (
            GeoBox(100, 100, Affine(1e4, 0, -1e5, 0, -1e4, 8e5), "EPSG:3031"),
            "Polygon",
            [-180, -90, 180, -78.9503176],
        ),
    ],
)
def test_footprints_at_the_antimeridian_and_the_poles(box: GeoBox, kind: str, bbox: list[float]) -> None:
    shape, found = _shape(box)
    assert shape.geom_type == kind
    assert found == pytest.approx(bbox, abs=1e-6)


def test_a_utm_scene_across_the_antimeridian_is_cut() -> None:
    shape, bbox = _shape(GeoBox(1000, 1000, Affine(500, 0, 700000, 0, -500, 8100000), "EPSG:32760"))
    assert shape.geom_type == "MultiPolygon"
    assert bbox[0] > bbox[2]
    assert shapely.get_parts(shape)[0].bounds[2] - shapely.get_parts(shape)[0].bounds[0] < 10


def test_a_grid_off_the_globe_has_no_footprint() -> None:
    with pytest.raises(GridError, match="no longitude and latitude"):
        footprint(GeoBox(10, 10, Affine(1e6, 0, 5e8, 0, -1e6, 5e8), "EPSG:3035"))


# Dates


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022:09:04 15:46:03", (datetime(2022, 9, 4, 15, 46, 3, tzinfo=UTC), True)),
        ("2022-09-04T15:46:03Z", (datetime(2022, 9, 4, 15, 46, 3, tzinfo=UTC), True)),
        ("S2A_MSIL2A_20180716T060623_N0208.tif", (datetime(2018, 7, 16, 6, 6, 23, tzinfo=UTC), True)),
        ("lyon_2018-07-16.tif", (datetime(2018, 7, 16, tzinfo=UTC), False)),
        ("lyon_20180716_12.tif", (datetime(2018, 7, 16, tzinfo=UTC), False)),
        ("20180231_20180301.tif", (datetime(2018, 3, 1, tzinfo=UTC), False)),
        ("22978945_15.tif", None),
        ("120180716.tif", None),
        ("0000:00:00 00:00:00", None),
        ("", None),
    ],
)
def test_dates_in_text(text: str, moment: tuple[datetime, bool] | None) -> None:
    assert parse_moment(text) == moment


def test_the_best_date_wins_and_none_is_said_to_be_unknown() -> None:
    tags = {"TIFFTAG_DATETIME": "2022:01:01 00:00:00", "ACQUISITIONDATETIME": "2018-07-16 06:06:23"}
    assert date_properties(tags, "x_20200101.tif", 0) == {
        "datetime": "2018-07-16T06:06:23Z",
        "geoseg:datetime_source": "ACQUISITIONDATETIME",
    }
    del tags["ACQUISITIONDATETIME"]
    assert date_properties(tags, "x_20200101.tif", 0) == {
        "datetime": None,
        "start_datetime": "2020-01-01T00:00:00Z",
        "end_datetime": "2020-01-01T23:59:59Z",
        "geoseg:datetime_source": "file name",
    }
    assert date_properties(tags, "x.tif", 0)["geoseg:datetime_source"] == "TIFFTAG_DATETIME"
    assert date_properties({}, "x.tif", 86400) == {
        "datetime": None,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "1970-01-02T00:00:00Z",
        "geoseg:datetime_source": "unknown",
    }


# Folders


def tif(path: Path, *, bands: int = 3, crs: Any = "EPSG:26914", transform: Affine = UTM, **more: Any) -> Path:
    names = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    pixels = np.ones((bands, 20, 30), more.pop("dtype", "uint8"))
    shown = names[:bands] if bands in (3, 4) else None
    return write_raster(path, pixels, crs=crs, transform=transform, interpretation=shown, **more)


@pytest.fixture(scope="session")
def schemas(root: Path) -> Path | None:
    """The folder of STAC extension schemas beside the checkout, where it is."""
    folder = root.parent / "shared" / "schemas"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def validate(schemas: Path | None) -> Callable[[Path], int]:
    """Check a catalog's items with the schemas at hand, none of them fetched; returns how many it checked."""
    validator = stac_validator(schemas)

    def check(path: Path) -> int:
        said = json.loads(path.read_text())
        assert said["type"] == "FeatureCollection"
        for item in said["features"]:
            at_hand = [uri for uri in item["stac_extensions"] if uri in validator.schema_cache]
            validator.validate(item, STACObjectType.ITEM, item["stac_version"], at_hand)
            assert schemas is None or len(at_hand) >= 1
        return len(said["features"])

    return check


def test_a_folder_becomes_a_valid_catalog(tmp_path: Path, validate: Callable[[Path], int]) -> None:
    images = tmp_path / "images"
    tif(images / "a_20180716.tif", tags={"TIFFTAG_DATETIME": "2022:01:01 00:00:00"})
    tif(images / "deep/b.TIFF", bands=1, dtype="uint16", nodata=0, transform=UTM @ Affine.rotation(30))
    tif(images / "c.tif", bands=4, crs="+proj=tmerc +lat_0=1 +lon_0=-98 +ellps=WGS84 +units=m", transform=UTM)
    tif(
        images / "d.tif",
        bands=2,
        dtype="float32",
        nodata=float("nan"),
        crs="EPSG:4326",
        transform=Affine(1, 0, 175, 0, -1, 5),
    )
    tif(images / ".hidden/e.tif")
    (images / "notes.txt").write_text("not an image")
    output = tmp_path / "catalogs/x.json"

    catalog = make_catalog(images, output)

    assert validate(output) == 4
    assert catalog == load_catalog(output)
    assert catalog.refusals == ()
    scenes = {ref.id: ref for ref in catalog.scenes}
    assert list(scenes) == ["a_20180716", "c", "d", "b"]
    assert [band.name for band in scenes["a_20180716"].bands] == ["b1", "b2", "b3"]
    assert scenes["a_20180716"].acquired == "2018-07-16"
    assert scenes["a_20180716"].bands[0].checksum == "1220" + sha256_of(images / "a_20180716.tif")
    assert [band.name for band in scenes["c"].bands] == ["b1", "b2", "b3", "alpha"]
    assert scenes["b"].bands[0].href == str(images / "deep/b.TIFF")
    assert {band.nodata for band in scenes["b"].bands} == {0}
    assert {band.nodata for band in scenes["d"].bands} == {None}
    items = {item["id"]: item for item in json.loads(output.read_text())["features"]}
    assert items["a_20180716"]["assets"]["data"]["href"] == "../images/a_20180716.tif"
    assert items["a_20180716"]["assets"]["data"]["file:size"] == (images / "a_20180716.tif").stat().st_size
    assert items["a_20180716"]["properties"]["proj:code"] == "EPSG:26914"
    assert items["c"]["properties"]["proj:code"] is None
    assert items["c"]["properties"]["proj:wkt2"].startswith("PROJCRS[")
    assert items["b"]["properties"]["proj:transform"] == pytest.approx(list((UTM @ Affine.rotation(30))[:6]))
    assert items["d"]["geometry"]["type"] == "MultiPolygon"
    assert items["b"]["properties"]["geoseg:datetime_source"] == "unknown"
    assert scenes["b"].acquired is None


def test_scale_and_offset_of_the_file_come_along(tmp_path: Path) -> None:
    path = tif(tmp_path / "a.tif", bands=1, dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.1,)
        dataset.set_band_description(1, "NIR")
    (ref,) = make_catalog(tmp_path, tmp_path / "c.json").scenes
    assert (ref.bands[0].name, ref.bands[0].scale, ref.bands[0].offset) == ("nir", 0.0001, -0.1)
    (item,) = json.loads((tmp_path / "c.json").read_text())["features"]
    assert item["assets"]["data"]["bands"][0]["eo:common_name"] == "nir"
    assert any("/raster/v2.0.0/" in uri for uri in item["stac_extensions"])


def test_files_that_cannot_be_described_are_listed(tmp_path: Path) -> None:
    tif(tmp_path / "good.tif")
    tif(tmp_path / "nocrs.tif", crs=None)
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty.tif").touch()
    catalog = make_catalog(tmp_path, tmp_path / "c.json")
    assert [ref.id for ref in catalog.scenes] == ["good"]
    assert [refusal.id for refusal in catalog.refusals] == ["empty", "nocrs", "text"]
    for refusal in catalog.refusals:
        assert f"{tmp_path}/{refusal.id}.tif" in refusal.reason
        assert "\n" not in refusal.reason


def test_a_folder_with_nothing_to_describe(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no such folder"):
        make_catalog(tmp_path / "nowhere", tmp_path / "c.json")
    with pytest.raises(CatalogError, match="holds no GeoTIFF"):
        make_catalog(tmp_path, tmp_path / "c.json")
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(
        CatalogError, match=r"none of its 1 GeoTIFFs can be described:\n  scene text: .*text.tif"
    ):
        make_catalog(tmp_path, tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_names_that_other_programs_stumble_over(tmp_path: Path) -> None:
    names = ["$HOME.tif", "a:b.tif", "http:x.tif", "mit Leerzeichen.tif", "Zürich.tif", "x%20y.tif", "-f.tif"]
    for name in names:
        tif(tmp_path / name)
    catalog = make_catalog(tmp_path, tmp_path / "c.json")
    assert catalog.refusals == ()
    assert {Path(ref.bands[0].href).name for ref in catalog.scenes} == set(names)


def test_files_that_share_a_name_get_distinct_ids(tmp_path: Path) -> None:
    for name in ("x/a.tif", "y/a.tif", "y/B.tif", "z/b.tif", "w/c.tif", "w/c.tiff", "d.tif"):
        tif(tmp_path / name)
    catalog = make_catalog(tmp_path, tmp_path / "c.json")
    assert catalog.refusals == ()
    assert sorted(ref.id for ref in catalog.scenes) == [
        "d",
        "w/c.tif",
        "w/c.tiff",
        "x/a",
        "y/B",
        "y/a",
        "z/b",
    ]


def test_odd_files_are_described_or_listed(
    shared_data: Path, tmp_path: Path, validate: Callable[[Path], int]
) -> None:
    catalog = make_catalog(shared_data / "odd", tmp_path / "odd.json")
    assert validate(tmp_path / "odd.json") == len(catalog.scenes) == 12
    assert {refusal.id for refusal in catalog.refusals} == {
        *[
            "bad_crs_projfail",
            "corrupt",
            "gcps_only_uint16",
            "jpeg_named_tif_auxxml",
            "nocrs_rgb_drone",
            "rpc_nocrs",
        ]
    }


# The shipped catalogs


@pytest.fixture(scope="module")
def maker(root: Path) -> ModuleType:
    return load_script(root / "examples" / "make_catalogs.py")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("austin", "synthetic_austin"),
        ("inria_austin", "inria_austin"),
        ("open_buildings", "open_buildings"),
    ],
)
def test_the_shipped_catalogs_are_current_and_valid(
    root: Path, maker: ModuleType, validate: Callable[[Path], int], name: str, make: str
) -> None:
    file = root / f"catalogs/{name}.json"
    assert validate(file) == {"austin": 1, "inria_austin": 36, "open_buildings": 4}[name]
    function = getattr(maker, make)
    made = function(root / "catalogs") if name == "austin" else function()
    committed = json.loads(file.read_text())
    assert json.loads(json.dumps(made.to_dict())) == committed, "run python examples/make_catalogs.py"
    assert re.search(r'"roles": \["data"\]', file.read_text()), "short lists stay on one line"

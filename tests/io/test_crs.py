"""A scene's CRS is kept with its datum, or the user is told: a guess is never written."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rioxarray
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.crs import CRS as RasterCRS  # noqa: N811 - two libraries, one name
from support.rasters import write_raster

from geoseg.config.stac.refs import LabelRef, SceneRef
from geoseg.errors import LabelError, SceneError, SceneWarning
from geoseg.flow.vectorize import vectorize
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import _datum_doubts, crs_text, is_code, written_crs
from geoseg.io.labels.reader import LabelReader
from geoseg.io.raster.data_array import geobox_of
from geoseg.io.raster.scene import Scene, describe

UTM = Affine(0.5, 0, 617_100, 0, -0.5, 3_353_000)
GAUSS = Affine(0.5, 0, 3_500_000, 0, -0.5, 5_500_000)

ELLIPSOIDS = ["GRS80", "intl", "bessel", "clrk66", "WGS84", "krass", "airy"]
PROJECTIONS = {
    "+proj=utm +zone=14": (617_100, 3_353_000),
    "+proj=utm +zone=32": (500_100, 5_353_000),
    "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000": (3_500_100, 5_500_000),
    "+proj=merc": (1_000_000, 5_000_000),
    "+proj=lcc +lat_1=49 +lat_2=44 +lat_0=46.5 +lon_0=3 +x_0=700000 +y_0=6600000": (700_100, 6_600_000),
    "+proj=longlat": (9, 50),
}
SHIFTS = ["", "+towgs84=-87,-98,-121", "+towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"]


def moved(one: str, other: str, place: tuple[float, float]) -> float:
    """Meters between what two CRS mean by the same coordinates."""
    points = [
        Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*place) for crs in (one, other)
    ]
    return float(pyproj.Geod(ellps="WGS84").inv(*points[0], *points[1])[2])


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_datum_is_never_guessed(projection: str) -> None:
    """ED50 for any +ellps=intl lies 171 m off; what is written lies where PROJ puts the scene."""
    for ellipsoid, shift in product(ELLIPSOIDS, SHIFTS):
        crs = CRS.from_user_input(f"{projection} +ellps={ellipsoid} {shift} +no_defs +type=crs").to_wkt()
        written = written_crs(crs_text(crs))
        assert not is_code(written)
        assert moved(crs, written, PROJECTIONS[projection]) < 1e-3
        assert bool(_datum_doubts(CRS(written), "x")) == (not shift)


def test_a_code_is_written_only_where_it_is_the_same_place() -> None:
    coded = 0
    for (projection, place), datum in product(list(PROJECTIONS.items())[:3], ("WGS84", "NAD83", "potsdam")):
        crs = CRS.from_user_input(f"{projection} +datum={datum} +no_defs +type=crs").to_wkt()
        written = written_crs(crs_text(crs))
        # PROJ has several shifts from one datum to WGS 84, and chooses a better one for a CRS that it knows.
        assert moved(crs, written, place) < 2
        coded += is_code(written)
    assert 3 <= coded <= 5


@pytest.mark.parametrize(
    ("crs", "code"),
    [
        ("+proj=utm +zone=14 +datum=NAD83", "EPSG:26914"),
        ("+proj=utm +zone=32 +datum=WGS84", "EPSG:32632"),
        ("+proj=utm +zone=14 +datum=NAD27", "EPSG:26714"),
        ("+proj=longlat +datum=WGS84", "EPSG:4326"),
        ("+proj=longlat +datum=NAD83", "EPSG:4269"),
        ("+proj=tmerc +lon_0=9 +x_0=3500000 +datum=potsdam", "EPSG:5677"),
        ("OGC:CRS84", "EPSG:4326"),
        ("EPSG:26914+5703", "EPSG:26914"),
        ("EPSG:7415", "EPSG:28992"),
        ("EPSG:4979", "EPSG:4326"),
        (CRS(32614).to_3d().to_wkt(), "EPSG:32614"),
        ("ESRI:54009", "ESRI:54009"),
        *[(CRS(n).to_wkt("WKT1_ESRI"), f"EPSG:{n}") for n in (26914, 25832, 2277, 3857, 4326, 2154, 27700)],
        *[(CRS(n).to_wkt("WKT1_ESRI"), f"EPSG:{n}") for n in (3035, 31467, 2193)],  # northing first at EPSG
    ],
)
def test_another_spelling_of_a_code_is_that_code(crs: str, code: str) -> None:
    assert crs_text(crs) == written_crs(crs) == code
    assert not _datum_doubts(CRS(code), "x")


def file(path: Path, crs: str, transform: Affine = UTM, pixels: NDArray[np.uint8] | None = None) -> Path:
    data = np.ones((1, 40, 40), np.uint8) if pixels is None else pixels
    return write_raster(path, data, crs=RasterCRS.from_wkt(CRS(crs).to_wkt()), transform=transform)


def described(path: Path) -> Scene:
    return describe(SceneRef("s", (), href=str(path)))


SQUARES = np.kron(np.eye(4), np.ones((10, 10))).astype(np.uint8)[None]


def test_a_file_keeps_its_crs_in_the_layer_and_says_where_the_datum_is_unknown(tmp_path: Path) -> None:
    for name, crs, code, warned in (
        ("compound", "EPSG:26914+5703", "EPSG:26914", False),
        ("esri", CRS(26914).to_wkt("WKT1_ESRI"), "EPSG:26914", False),
        ("custom", "+proj=utm +zone=14 +ellps=GRS80 +units=m", None, True),
        ("hayford", "+proj=utm +zone=32 +ellps=intl +units=m", None, True),
        ("shifted", "+proj=utm +zone=32 +ellps=intl +towgs84=-87,-98,-121", None, False),
        ("feet", "EPSG:2277", "EPSG:2277", False),
    ):
        place = Affine(0.5, 0, 3_100_000, 0, -0.5, 10_000_000) if name == "feet" else UTM
        path = file(tmp_path / f"{name}.tif", crs, place, SQUARES)
        scene = described(path)
        assert [("no datum" in text, "gdal_edit.py -a_srs" in text) for text in scene.warnings] == [
            (True, True)
        ] * warned
        made = vectorize(path, tmp_path / f"{name}.gpkg", {"vectorize.mode": "exact"})
        assert made.warnings == scene.warnings
        layer = pyogrio.read_dataframe(made.file, layer=made.layer)
        assert layer.crs is not None
        assert code is None or scene.geobox.crs == code == ":".join(layer.crs.to_authority())
        assert moved(crs, layer.crs.to_wkt(), (place.c, place.f)) < 1e-3, name
        unit = CRS(scene.geobox.crs).axis_info[0].unit_conversion_factor if code else 1.0
        assert scene.resolution.mean == pytest.approx(0.5 * unit, rel=2e-3)
        assert layer.area_m2.to_numpy() == pytest.approx(layer.geometry.area * unit**2, rel=3e-3)
        assert shapely.box(*layer.total_bounds).equals(shapely.box(*scene.geobox.bounds))


def test_labels_of_an_unknown_datum_are_not_moved_by_a_guess(tmp_path: Path) -> None:
    crs = "+proj=utm +zone=32 +ellps=intl +units=m"
    image = described(file(tmp_path / "image.tif", crs))
    labels = file(tmp_path / "labels.tif", crs, pixels=SQUARES)
    found = LabelReader(LabelRef(str(labels)), image.geobox).read(image.geobox.window)
    assert np.array_equal(found, SQUARES[0])


@pytest.mark.parametrize(
    ("crs", "said"),
    [
        ('LOCAL_CS["site grid",UNIT["metre",1]]', "is in the local CRS 'site grid', which has no place on"),
        ("EPSG:4978", "is in the geocentric CRS WGS 84"),
        ("IAU_2015:49900", ".*is on another body than the Earth"),
    ],
)
def test_a_crs_without_a_place_on_the_globe_is_refused_in_words(tmp_path: Path, crs: str, said: str) -> None:
    path = file(tmp_path / "odd.tif", crs)
    with pytest.raises(
        SceneError, match=rf"^scene s: .*odd\.tif {said}.*: assign the right CRS with gdal_edit"
    ):
        described(path)
    with pytest.raises(SceneError, match=rf"^the array {said}.*; set the right CRS with array\.rio"):
        geobox_of(array_of(path))
    scene = described(file(tmp_path / "scene.tif", "EPSG:26914"))
    with pytest.raises(
        LabelError, match=rf"^labels .*odd\.tif: {said}.*: assign the right CRS with gdal_edit"
    ):
        LabelReader(LabelRef(str(path)), scene.geobox)


def array_of(path: Path) -> xr.DataArray:
    found = rioxarray.open_rasterio(path)
    assert isinstance(found, xr.DataArray)
    return found


def test_an_array_has_the_crs_of_its_file_and_warns_of_an_unknown_datum(tmp_path: Path) -> None:
    for crs, place in (
        ("EPSG:26914+5703", UTM),
        (CRS(31467).to_wkt("WKT1_ESRI"), GAUSS),
        ("+proj=utm +zone=14 +datum=NAD83", UTM),
    ):
        path = file(tmp_path / "known.tif", crs, place)
        assert geobox_of(array_of(path)) == described(path).geobox
    path = file(tmp_path / "unknown.tif", "+proj=utm +zone=14 +ellps=GRS80 +units=m")
    with pytest.warns(SceneWarning, match=r"no datum.*array\.rio\.write_crs"):
        box = geobox_of(array_of(path))
    assert box == described(path).geobox


def test_a_point_that_places_a_pixel_is_its_center(tmp_path: Path) -> None:
    """AREA_OR_POINT=Point: the corner that the file stores is half a pixel inside."""
    path = file(tmp_path / "point.tif", "EPSG:26914")
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(AREA_OR_POINT="Point")
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=True), rasterio.open(path) as raster:
        assert raster.transform == UTM @ Affine.translation(0.5, 0.5)
    assert described(path).geobox == GeoBox(40, 40, UTM, "EPSG:26914")


@pytest.mark.parametrize(
    ("crs", "place", "said"),
    [
        ("EPSG:26914", Affine(5e-6, 0, -97, 0, -5e-6, 30), "degrees for meters?"),
        ("EPSG:4326", UTM, "meters for degrees?"),
        ("EPSG:4326", Affine(5e-6, 0, 30, 0, -5e-6, -97), "has no place in EPSG:4326"),  # latitude first
        ("EPSG:26914", UTM @ Affine.translation(1e8, 0), "has no longitude and latitude in EPSG:26914"),
    ],
)
def test_coordinates_of_another_unit_are_refused(tmp_path: Path, crs: str, place: Affine, said: str) -> None:
    path = file(tmp_path / "unit.tif", crs, place)
    with pytest.raises(SceneError, match="without a size on the ground") as caught:
        described(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("crs", "x", "y", "far"),
    [
        ("EPSG:32139", 3_100_000, 10_000_000, True),  # feet for meters
        ("EPSG:2277", 700_000, 3_000_000, True),  # meters for feet
        ("EPSG:2277", 3_100_000, 10_000_000, False),
        ("EPSG:32614", 3_353_000, 617_100, True),  # northing first
        ("EPSG:32614", -150_000, 3_353_000, False),  # from the zone to the west
        ("EPSG:32614", 617_100, -3_353_000, False),  # as Landsat has the south
        ("EPSG:2193", 1_750_000, 5_430_000, False),  # across the antimeridian
        ("EPSG:3857", -10_000_000, 3_000_000, False),
    ],
)
def test_a_place_far_from_where_the_crs_is_used_is_a_warning(
    tmp_path: Path, crs: str, x: int, y: int, *, far: bool
) -> None:
    found = described(file(tmp_path / "far.tif", crs, Affine(0.5, 0, x, 0, -0.5, y))).warnings
    assert [("far from where" in text, "gdal_edit.py -a_srs" in text) for text in found] == [
        (True, True)
    ] * far

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject
from support.rasters import write_raster
from support.vectors import write_layer

from geoseg.config.stac.refs import LabelRef
from geoseg.errors import LabelError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.labels.reader import LabelReader, label_kind

UTM = "EPSG:26914"
SOUTH_UP = Affine(0.3, 0, 617000, 0, 0.3, 3344000)
NORTH_UP = Affine(0.3, 0, 617000, 0, -0.3, 3344000)
ROTATED = Affine.translation(617000, 3344000) @ Affine.rotation(23) @ Affine.scale(0.3, -0.4)
GRID = GeoBox(90, 120, NORTH_UP, UTM)


@dataclass
class Labels:
    """Labels of a whole grid."""

    classes: NDArray[np.uint8]
    repaired: int
    features: int


def read_labels(label: LabelRef, grid: GeoBox, scene_grid: GeoBox | None = None) -> Labels:
    reader = LabelReader(label, grid, scene_grid)
    return Labels(reader.read(grid.window), reader.repaired, reader.features)


def on_ground(grid: GeoBox, shape: shapely.Geometry) -> shapely.Geometry:
    """A shape in (column, row) taken to the grid's CRS."""
    return shapely.transform(shape, lambda xy: np.array([grid.transform @ (x, y) for x, y in xy]))


def in_degrees(scene: GeoBox, size: int, step: float) -> GeoBox:
    """A north-up grid in longitude and latitude, centered on the scene."""
    center = scene.transform @ (scene.width / 2, scene.height / 2)
    lon, lat = Transformer.from_crs(scene.crs, "EPSG:4326", always_xy=True).transform(*center)
    corner = Affine(step, 0, lon - step * size / 2, 0, -step, lat + step * size / 2)
    return GeoBox(size, size, corner, "EPSG:4326")


def blob(rng: np.random.Generator, grid: GeoBox) -> shapely.Polygon:
    """A random star-shaped polygon, often past the grid's edges."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    radius = rng.uniform(2, 40, len(angles))
    center = rng.uniform((-10, -10), (grid.width + 10, grid.height + 10))
    points = center + radius[:, None] * np.column_stack((np.cos(angles), np.sin(angles)))
    return shapely.Polygon(points).buffer(0)


@pytest.mark.parametrize("transform", [NORTH_UP, SOUTH_UP, ROTATED], ids=["north-up", "south-up", "rotated"])
@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb"])
def test_polygons_burn_as_gdal_burns_them(tmp_path: Path, transform: Affine, suffix: str) -> None:
    grid = GeoBox(90, 120, transform, UTM)
    rng = np.random.default_rng(3)
    shapes = [on_ground(grid, shape) for _ in range(25) if not (shape := blob(rng, grid)).is_empty]
    driver = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".fgb": "FlatGeobuf"}[suffix]
    kind = np.arange(len(shapes), dtype=np.int32) % 4
    path = write_layer(tmp_path / f"labels{suffix}", shapes, driver=driver, kind=kind)

    labels = read_labels(LabelRef(str(path), attribute="kind"), grid)

    written = pyogrio.raw.read(path, columns=["kind"])
    pairs = zip(shapely.from_wkb(written[2]), written[3][0].tolist(), strict=True)
    expected = rasterize(pairs, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
    assert labels.features == len(shapes)
    # GDAL burns in ground coordinates, geoseg in pixels kept to 1/65536: a center on an edge may differ.
    assert (labels.classes != expected).mean() <= 2e-4


def test_layer_in_longitude_and_latitude_lands_on_the_grid_x_before_y(tmp_path: Path) -> None:
    expected = np.zeros(GRID.shape, np.uint8)
    expected[10:40, 20:70] = 1
    back = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    square = on_ground(GRID, shapely.box(20, 10, 70, 40))
    degrees = shapely.transform(square, lambda xy: np.column_stack(back.transform(*xy.T)))
    path = write_layer(tmp_path / "labels.gpkg", [degrees], "EPSG:4326", "buildings")

    labels = read_labels(LabelRef(str(path)), GRID)

    assert labels.classes.dtype == np.uint8
    np.testing.assert_array_equal(labels.classes, expected)
    assert (labels.features, labels.repaired) == (1, 0)


def test_overlapping_polygons_take_the_later_class_and_shared_edges_leave_no_gap(tmp_path: Path) -> None:
    # Edges run exactly through pixel centers: each center belongs to exactly one of two neighbors.
    left, right = shapely.box(10.5, 10.5, 30.5, 50.5), shapely.box(30.5, 10.5, 60.5, 50.5)
    top = shapely.box(20, 20, 25, 25)
    shapes = [on_ground(GRID, shape) for shape in (left, right, top)]
    path = write_layer(tmp_path / "labels.gpkg", shapes, kind=np.array([1, 2, 3]))
    classes = read_labels(LabelRef(str(path), attribute="kind"), GRID).classes
    assert [int((classes == index).sum()) for index in (1, 2, 3)] == [20 * 40 - 25, 30 * 40, 25]


def test_invalid_polygons_are_repaired_and_counted(tmp_path: Path) -> None:
    bowtie = shapely.Polygon([(10, 10), (50, 50), (50, 10), (10, 50)])
    flat = shapely.Polygon([(60, 60), (80, 60), (60, 60)])
    far = shapely.Polygon([(1010, 10), (1050, 50), (1050, 10), (1010, 50)])
    shapes = [on_ground(GRID, shape) for shape in (bowtie, flat, far, shapely.box(60, 10, 70, 20))]
    path = write_layer(tmp_path / "labels.gpkg", shapes)
    labels = read_labels(LabelRef(str(path)), GRID)
    assert labels.repaired == 2, "the bowtie and the flat one; the far one is not on the grid"
    assert labels.features == 2, "nothing is left of the flat one"
    assert labels.classes[30, 12] == labels.classes[30, 48] == 1, "both wings of the bowtie"
    assert labels.classes[15, 30] == 0


def test_a_layer_called_labelled_area_bounds_the_labels(tmp_path: Path) -> None:
    path = write_layer(
        tmp_path / "labels.gpkg", [on_ground(GRID, shapely.box(5, 5, 60, 60))], layer="buildings"
    )
    write_layer(path, [on_ground(GRID, shapely.box(0, 0, 30, 90))], layer="labelled_area")
    classes = read_labels(LabelRef(str(path)), GRID).classes
    assert (classes[:, 30:] == 255).all()
    assert (classes[5:60, 5:30] == 1).all()
    assert (classes == 1).sum() == 55 * 25


def test_an_area_of_its_own_file_and_an_area_window_intersect(tmp_path: Path) -> None:
    path = write_layer(
        tmp_path / "labels.gpkg", [on_ground(GRID, shapely.box(5, 5, 60, 60))], layer="buildings"
    )
    area = write_layer(
        tmp_path / "area.geojson", [on_ground(GRID, shapely.box(0, 0, 30, 90))], driver="GeoJSON"
    )
    label = LabelRef(str(path), area_href=str(area), area_window=(0, 20, 90, 100))
    inside = read_labels(label, GRID, GRID).classes != 255
    assert inside[:, 20:30].all()
    assert inside.sum() == 90 * 10


def test_an_area_without_buildings_is_background(tmp_path: Path) -> None:
    path = write_layer(
        tmp_path / "labels.gpkg", [on_ground(GRID, shapely.box(900, 5, 960, 60))], layer="buildings"
    )
    write_layer(path, [on_ground(GRID, shapely.box(0, 0, 30, 90))], layer="labelled_area")
    labels = read_labels(LabelRef(str(path)), GRID)
    assert (labels.classes[:, :30] == 0).all()
    assert labels.features == 0


@given(data=st.data())
def test_an_area_window_counts_scene_pixels_on_any_grid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "mask.tif"
    if not path.exists():
        write_raster(path, np.ones(GRID.shape, np.uint8), GRID)
    row, col = data.draw(st.integers(-20, 80)), data.draw(st.integers(-20, 100))
    height, width = data.draw(st.integers(21, 90)), data.draw(st.integers(21, 120))
    label = LabelRef(str(path), area_window=(row, col, height, width))
    expected = np.zeros(GRID.shape, bool)
    expected[max(row, 0) : row + height, max(col, 0) : col + width] = True
    labels = read_labels(label, GRID, GRID)
    np.testing.assert_array_equal(labels.classes != 255, expected)
    twice = read_labels(label, GRID.zoom(180, 240), GRID)
    np.testing.assert_array_equal(twice.classes != 255, np.kron(expected, np.ones((2, 2), bool)))


@dataclass(frozen=True)
class Case:
    label: LabelRef
    grid: GeoBox
    scene: GeoBox


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """References of every kind on a grid that is rotated against them or scaled by no whole number."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(7)
    scene = GeoBox(90, 120, ROTATED, UTM)
    shapes = [on_ground(scene, shape) for _ in range(30) if not (shape := blob(rng, scene)).is_empty]
    halves = [on_ground(scene, shapely.box(i + 0.5, 3.5, i + 2.5, 80.5)) for i in range(0, 100, 4)]
    kind = np.arange(len(shapes) + len(halves), dtype=np.int32) % 5
    layer = write_layer(folder / "labels.gpkg", shapes + halves, layer="buildings", kind=kind)
    write_layer(layer, [on_ground(scene, shapely.box(3, 2, 111, 88))], layer="labelled_area")
    mask = write_raster(folder / "mask.tif", rng.integers(0, 4, scene.shape).astype(np.uint8), scene)
    png = write_raster(folder / "mask.png", rng.integers(0, 4, scene.shape).astype(np.uint8))
    other = GeoBox(70, 80, Affine(0.7, 0, 617000, 0, -0.7, 3344020), UTM)
    degrees = in_degrees(scene, 100, 4e-6)
    labels = [
        LabelRef(str(layer), layer="buildings", attribute="kind"),
        LabelRef(str(layer), area_window=(4, 9, 60, 70)),
        LabelRef(str(mask)),
        LabelRef(str(png), classes=((3, 1), (2, 255), (1, 0))),
        LabelRef(
            str(write_raster(folder / "other.tif", rng.integers(0, 4, (70, 80)).astype(np.int16), other))
        ),
        LabelRef(
            str(write_raster(folder / "wgs.tif", rng.integers(0, 4, (100, 100)).astype(np.uint8), degrees))
        ),
    ]
    return [
        Case(label, grid, scene)
        for label in labels
        for grid in (scene, scene.zoom(67, 151), scene.zoom(180, 240))
    ]


def test_every_case_has_labels(cases: list[Case]) -> None:
    for case in cases:
        classes = read_labels(case.label, case.grid, case.scene).classes
        assert len(np.unique(classes)) >= 2, case


@given(data=st.data())
def test_a_windows_labels_equal_the_wholes(cases: list[Case], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases))
    row = data.draw(st.integers(0, case.grid.height - 1))
    col = data.draw(st.integers(0, case.grid.width - 1))
    height = data.draw(st.integers(1, case.grid.height - row))
    width = data.draw(st.integers(1, case.grid.width - col))
    window = Window(row, col, height, width)
    reader = LabelReader(case.label, case.grid, case.scene)
    whole = reader.read(case.grid.window)
    np.testing.assert_array_equal(reader.read(window), whole[window.slices])
    apart = read_labels(case.label, case.grid[window], case.scene)
    np.testing.assert_array_equal(apart.classes, whole[window.slices])
    past = reader.read(window.pad(11))
    padded = np.pad(whole, 11 + max(case.grid.shape), constant_values=255)
    shifted = window.shift(11 + max(case.grid.shape), 11 + max(case.grid.shape)).pad(11)
    np.testing.assert_array_equal(past, padded[shifted.slices])


def test_rasters_on_another_grid_are_read_as_gdal_warps_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    source = GeoBox(140, 160, ROTATED @ Affine.translation(-20, -20), UTM)
    values = rng.integers(0, 5, source.shape).astype(np.uint8)
    path = write_raster(tmp_path / "labels.tif", values, source)
    for grid in (
        GRID,
        GRID.zoom(45, 61),
        in_degrees(source, 99, 3e-6),
    ):
        expected = np.full(grid.shape, 255, np.uint8)
        reproject(
            values,
            expected,
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            resampling=Resampling.nearest,
            tolerance=0,
            init_dest_nodata=False,
        )
        assert (expected != 255).any()
        classes = read_labels(LabelRef(str(path)), grid).classes
        # GDAL's warper picks by its own rounding where a center falls on an edge or at the rim.
        assert (classes != expected).mean() < 2e-3


def test_a_raster_on_the_same_grid_is_copied_though_its_transform_differs_in_the_last_digits(
    tmp_path: Path,
) -> None:
    values = np.random.default_rng(1).integers(0, 2, GRID.shape).astype(np.uint8) * 255
    path = write_raster(tmp_path / "mask.tif", values, GRID)
    nearly = GeoBox(90, 120, Affine(0.29999999999997673, 0, 617000, 0, -0.30000000000009314, 3344000), UTM)
    labels = read_labels(LabelRef(str(path), classes=((255, 1),)), nearly)
    np.testing.assert_array_equal(labels.classes, values // 255)


def test_nodata_of_a_raster_is_not_labeled_unless_its_value_is_named(tmp_path: Path) -> None:
    values = np.random.default_rng(1).choice([0, 1, 9], GRID.shape).astype(np.int16)
    tagged = write_raster(tmp_path / "tagged.tif", values, GRID, nodata=9)
    zero = write_raster(tmp_path / "zero.tif", values, GRID, nodata=0)
    floats = write_raster(
        tmp_path / "float.tif", np.where(values == 9, np.nan, values).astype(np.float32), GRID
    )
    for path in (tagged, floats):
        classes = read_labels(LabelRef(str(path)), GRID).classes
        np.testing.assert_array_equal(classes, np.where(values == 9, 255, values))
    as_classes = ((0, 0), (1, 1), (9, 2))
    classes = read_labels(LabelRef(str(zero), classes=as_classes), GRID).classes
    np.testing.assert_array_equal(classes, np.where(values == 9, 2, values))
    for named in (((0, 255), (1, 1), (9, 2)), ((1, 0), (9, 2))):
        classes = read_labels(LabelRef(str(zero), classes=named), GRID).classes
        one = dict(named)[1]
        np.testing.assert_array_equal(classes, np.select([values == 9, values == 1], [2, one], 255))


@pytest.mark.parametrize(
    ("pixels", "nodata", "classes"),
    [
        ((0, 1), 0, ()),
        ((0, 1), 1, ()),
        ((0, 1), 0, ((1, 1),)),
        ((0, 255), 0, ((255, 1),)),
        ((0.0, 1.0), 0, ()),
    ],
)
def test_a_value_is_not_nodata_and_a_class_at_once(
    pixels: tuple[float, float], nodata: float, classes: tuple[tuple[float, int], ...], tmp_path: Path
) -> None:
    stored = np.random.default_rng(1).choice(pixels, GRID.shape)
    dtype = np.float32 if isinstance(pixels[0], float) else np.uint8
    path = write_raster(tmp_path / "mask.tif", stored.astype(dtype), GRID, nodata=nodata)
    said = rf"mask.tif: declare {nodata} as nodata, and {nodata} is also a class.*-unsetnodata.*{nodata}=255"
    with pytest.raises(LabelError, match=said):
        read_labels(LabelRef(str(path), classes=classes), GRID)
    named = tuple((value, index) for index, value in enumerate(pixels))
    labels = read_labels(LabelRef(str(path), classes=named), GRID).classes
    np.testing.assert_array_equal(labels, stored == pixels[1])


@pytest.mark.parametrize("nodata", [None, 9])
@pytest.mark.parametrize("classes", [(), ((0, 0), (1, 1), (7, 1))])
def test_where_the_alpha_of_a_raster_is_0_nothing_is_labeled(
    classes: tuple[tuple[float, int], ...], nodata: float | None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    values = rng.choice(np.array([0, 1] if nodata is None else [0, 1, 9], np.uint8), GRID.shape)
    alpha = rng.choice(np.array([0, 1, 255], np.uint8), GRID.shape)
    values[alpha == 0] = rng.choice(np.array([0, 1, 200, 255], np.uint8), (alpha == 0).sum())
    kinds = (ColorInterp.gray, ColorInterp.alpha)
    stack = np.stack([values, alpha])
    path = write_raster(tmp_path / "alpha.tif", stack, GRID, interpretation=kinds, nodata=nodata)
    found = read_labels(LabelRef(str(path), classes=classes), GRID).classes
    np.testing.assert_array_equal(found, np.where((alpha == 0) | (values == 9), 255, values))
    plain = write_raster(tmp_path / "two.tif", stack, GRID, interpretation=(ColorInterp.gray,) * 2)
    with pytest.raises(LabelError, match=r"has 2 bands, needed one band.*gdal_translate -b 1"):
        read_labels(LabelRef(str(plain), classes=classes), GRID)


def refusals(folder: Path) -> dict[str, tuple[LabelRef, GeoBox | None]]:
    square = on_ground(GRID, shapely.box(5, 5, 60, 60))
    mask = np.zeros(GRID.shape, np.uint8)
    two = write_layer(folder / "two.gpkg", [square], layer="buildings", kind=[1.5], name=["x"])
    write_layer(two, [square], layer="roofs")
    (folder / "text.gpkg").write_text("no such thing")
    (folder / "broken.geojson").write_text('{"type": "FeatureCollection", "features": [')
    (folder / "broken.tif").write_bytes(b"II*\0\x08\0\0\0" + bytes(20))
    (folder / "mosaic.vrt").write_text("<VRTDataset/>")
    cut = write_raster(folder / "cut.tif", np.random.default_rng(0).integers(0, 9, GRID.shape), GRID)
    cut.write_bytes(cut.read_bytes()[:-5000])
    full = write_raster(folder / "mask.tif", mask + 255, GRID)
    zero = write_raster(folder / "zero.tif", mask, GRID)
    far = GeoBox(90, 120, Affine(0.3, 0, 700000, 0, -0.3, 3344000), UTM)
    roofs = LabelRef(str(two), layer="roofs")
    return {
        "cannot be opened": (LabelRef(str(folder / "absent.gpkg")), None),
        "neither a raster": (LabelRef(str(folder / "text.gpkg")), None),
        "mosaic.vrt: neither": (LabelRef(str(folder / "mosaic.vrt")), None),
        "no vector file": (LabelRef(str(folder / "broken.geojson")), None),
        "broken.tif: cannot be read": (LabelRef(str(folder / "broken.tif")), None),
        "cut.tif: cannot be read": (LabelRef(str(cut)), None),
        r"2 layers \(buildings, roofs\); name": (LabelRef(str(two)), None),
        "no layer 'walls'": (LabelRef(str(two), layer="walls"), None),
        "no attribute 'kind'": (LabelRef(str(two), layer="roofs", attribute="kind"), None),
        "values such as 1.5 are no class": (LabelRef(str(two), layer="buildings", attribute="kind"), None),
        "needed class ids": (LabelRef(str(two), layer="buildings", attribute="name"), None),
        "holds point, needed polygons": (
            LabelRef(str(write_layer(folder / "p.gpkg", [shapely.centroid(square)]))),
            None,
        ),
        "two.gpkg: do not overlap": (LabelRef(str(two), layer="buildings"), far),
        "hold the values 255": (LabelRef(str(full)), None),
        "hold the values 255.*name": (LabelRef(str(full), classes=((1, 1),)), None),
        "to become class 300": (LabelRef(str(full), classes=((255, 300),)), None),
        "needed one band": (
            LabelRef(str(write_raster(folder / "rgb.tif", np.stack([mask] * 3), GRID))),
            None,
        ),
        "cannot lie on the scene": (
            LabelRef(str(write_raster(folder / "x.png", mask[1:]))),
            None,
        ),
        "zero.tif: do not overlap": (LabelRef(str(zero)), far),
        "window .* is outside": (LabelRef(str(zero), area_window=(95, 0, 4, 4)), GRID),
        "4×0 pixels is empty": (LabelRef(str(zero), area_window=(5, 0, 4, 0)), GRID),
        "needed the scene": (LabelRef(str(zero), area_window=(5, 0, 4, 4)), None),
        "area .*: a raster": (LabelRef(str(zero), area_href=str(zero)), None),
        "area .*roofs: does not": (LabelRef(str(zero), area_href=roofs.href, area_layer="roofs"), far),
    }


def test_every_refusal_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    for pattern, (label, scene) in refusals(tmp_path).items():
        with pytest.raises(LabelError, match=pattern) as caught:
            read_labels(label, scene or GRID, scene)
        text = str(caught.value)
        assert "\n" not in text
        assert str(tmp_path) in text


def test_a_layer_without_crs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.gpkg"
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        pyogrio.raw.write(
            path,
            geometry=np.array(shapely.to_wkb([shapely.box(0, 0, 1, 1)]), object),
            field_data=[],
            fields=[],
            geometry_type="Polygon",
            driver="GPKG",
            crs=None,
        )
    assert label_kind(path) == "vector"
    with pytest.raises(LabelError, match="has no CRS"):
        read_labels(LabelRef(str(path)), GRID)


def scene_grid(path: Path) -> GeoBox:
    with rasterio.open(path) as source:
        return GeoBox(source.height, source.width, source.transform, source.crs.to_string())


@pytest.mark.parametrize(
    ("scene", "reference", "options", "features", "repaired", "labeled", "building"),
    [
        (
            "austin_inria/austin_sample.tif",
            "austin_sample_mask.tif",
            {"classes": ((255, 1),)},
            0,
            0,
            1.0,
            0.142,
        ),
        ("banepa/banepa.tif", "banepa_labels.gpkg", {}, 1932, 0, 0.222, 0.369),
        ("kampala_a/kampala_a.tif", "kampala_a_labels.gpkg", {}, 108, 1, 1.0, 0.242),
        ("massachusetts/22978945_15.tif", "22978945_15.gpkg", {}, 405, 0, 1.0, 0.057),
        ("atlanta_spacenet/atlanta_rgbnir.tif", "atlanta_buildings.geojson", {}, 18, 0, 1.0, 0.048),
        ("zanzibar_a/zanzibar_a.tif", "zanzibar_a_labels.gpkg", {}, 121, 0, 1.0, 0.085),
    ],
)
def test_real_references(  # noqa: PLR0917 - a row of the table is its arguments
    shared_data: Path,
    scene: str,
    reference: str,
    options: dict[str, Any],
    features: int,
    repaired: int,
    labeled: float,
    building: float,
) -> None:
    image = shared_data / "buildings" / scene
    own = scene_grid(image)
    label = LabelRef(str(image.parent / reference), **options)
    # A quarter of the pixels is enough for shares; a network's grid is no whole fraction of the scene's.
    grid = own.zoom(own.height // 2 + 1, own.width // 2 + 1)
    reader = LabelReader(label, grid, own)
    classes = reader.read(grid.window)
    assert (reader.features, reader.repaired) == (features, repaired)
    assert (classes != 255).mean() == pytest.approx(labeled, abs=2e-3)
    assert (classes == 1).sum() / (classes != 255).sum() == pytest.approx(building, abs=2e-3)
    window = Window(grid.height // 3, grid.width // 5, 130, 170)
    np.testing.assert_array_equal(read_labels(label, grid[window], own).classes, classes[window.slices])


def test_austin_is_split_at_column_500(shared_data: Path) -> None:
    folder = shared_data / "buildings" / "austin_inria"
    own = scene_grid(folder / "austin_sample.tif")
    label = LabelRef(
        str(folder / "austin_sample_mask.tif"), classes=((255, 1),), area_window=(0, 500, 1000, 500)
    )
    classes = read_labels(label, own, own).classes
    with rasterio.open(folder / "austin_sample_mask.tif") as source:
        expected = source.read(1) // 255
    assert (classes[:, :500] == 255).all()
    np.testing.assert_array_equal(classes[:, 500:], expected[:, 500:])


def test_real_masks_of_land_cover_fit_their_scenes(shared_data: Path) -> None:
    folder = shared_data / "landcover" / "houston_uav"
    mask = min((folder / "masks").iterdir())
    own = scene_grid(next(path for path in (folder / "images").iterdir() if path.stem == mask.stem))
    classes = LabelReader(LabelRef(str(mask)), own, own).read(Window(100, 200, 256, 256))
    assert classes.max() <= 26

"""Exact polygons are the pixels: nothing more, nothing less, however the scene was cut into strips."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from scipy import ndimage
from support.rasters import cut_strips
from support.vectors import burned

from geoseg.arrays import UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.attributes import FIELDS, Provenance, object_attributes
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.exact import exact_polygons, trace_regions
from geoseg.polygons.trace.regions import Regions, Strip, to_ground

CLASSES = (0, 1, 2)
SHAPES = [(1, 1), (1, 17), (17, 1), (2, 2), (7, 5), (16, 16), (23, 19)]


@st.composite
def masks(draw: st.DrawFn) -> UInt8:
    """Class ids 0 to 3 (3 is never asked for) and nodata, in patches, rings, checkers and noise."""
    height, width = draw(st.sampled_from(SHAPES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "checker", "constant", "patches", "rings"]))
    rows, cols = np.mgrid[:height, :width]
    if kind == "checker":
        ids = (rows + cols) % 2
    elif kind == "constant":
        ids = np.full((height, width), draw(st.sampled_from([0, 1, 3, NODATA])))
    elif kind == "patches":
        ids = np.digitize(ndimage.gaussian_filter(random.standard_normal((height, width)), 1.5), [-0.1, 0.1])
    elif kind == "rings":
        ids = np.maximum(abs(rows - height // 2), abs(cols - width // 2)) % 2
    else:
        ids = random.integers(0, draw(st.integers(2, 4)), (height, width))
    holes = random.random((height, width)) < draw(st.sampled_from([0.0, 0.05, 0.3]))
    return np.where(holes, NODATA, ids).astype(np.uint8)


transforms = st.sampled_from(
    [
        Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000),
        Affine(0.5, 0, 10, 0, 0.25, 20),  # south-up, not square
        Affine(-1, 0, 0, 0, -1, 7),
        Affine.translation(5e5, 4e6) @ Affine.rotation(33) @ Affine.scale(0.7, -0.4),
        Affine.translation(5e5, 4e6) @ Affine.rotation(201) @ Affine.scale(0.3, 0.3),
        Affine(1e-5, 2e-6, 179.99, -1e-6, -1.1e-5, -17),
    ]
)


def scores_of(ids: UInt8) -> UInt8:
    """Some stored score for each pixel with data."""
    random = np.random.default_rng(ids.size)
    return np.where(ids == NODATA, NODATA, random.integers(0, 201, ids.shape)).astype(np.uint8)


def regions_of(ids: UInt8, heights: list[int] | None = None) -> Regions:
    """All regions of a scene in one batch."""
    strips = cut_strips(heights or [len(ids)], ids, scores_of(ids))
    return Regions.join([*exact_polygons(((ids, scores) for ids, scores in strips), ids.shape[1], CLASSES)])


@given(masks(), transforms)
def test_polygons_rasterize_back_to_the_classes(ids: UInt8, transform: Affine) -> None:
    regions = regions_of(ids)
    ground = to_ground(regions.polygons, transform)
    asked = np.where(np.isin(ids, CLASSES), ids, NODATA)
    np.testing.assert_array_equal(burned(ground, regions.components.class_id, ids.shape, transform), asked)


@given(masks())
def test_areas_are_pixel_counts_exactly(ids: UInt8) -> None:
    regions = regions_of(ids)
    np.testing.assert_array_equal(shapely.area(regions.polygons), regions.components.pixels)
    assert regions.components.pixels.sum() == np.isin(ids, CLASSES).sum()


@given(masks(), transforms)
def test_polygons_are_valid_single_oriented_and_without_idle_vertices(ids: UInt8, transform: Affine) -> None:
    polygons = regions_of(ids).polygons
    ground = to_ground(polygons, transform)
    assert (shapely.get_type_id(ground) == shapely.GeometryType.POLYGON).all()
    assert shapely.is_valid(ground).all()
    assert not shapely.is_empty(ground).any()
    rings, owner = shapely.get_rings(ground, return_index=True)
    is_shell = np.diff(owner, prepend=-1) > 0
    np.testing.assert_array_equal(shapely.is_ccw(rings), is_shell)
    for ring in shapely.get_rings(polygons):
        points = shapely.get_coordinates(ring)
        np.testing.assert_array_equal(points[0], points[-1])
        edges = np.diff(points, axis=0)
        turns = edges * np.roll(edges, 1, axis=0)  # each edge is square to the one before it
        assert (turns == 0).all()
        assert (np.abs(edges).sum(axis=1) > 0).all()


@given(masks(), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_nothing_depends_on_the_strips(ids: UInt8, heights: list[int]) -> None:
    whole, cut = regions_of(ids), regions_of(ids, heights)
    assert shapely.to_wkb(whole.polygons).tolist() == shapely.to_wkb(cut.polygons).tolist()
    for field in fields(Components):
        np.testing.assert_array_equal(
            getattr(whole.components, field.name), getattr(cut.components, field.name)
        )


@given(masks(), st.integers(1, 9))
def test_statistics_equal_scipy_on_the_whole_scene(ids: UInt8, height: int) -> None:
    expected = {}
    scores = scores_of(ids)
    missing = np.pad(ids == NODATA, 1, constant_values=True)
    beside = np.zeros(ids.shape, bool)
    for rows, cols in ((slice(2, None), slice(1, -1)), (slice(None, -2), slice(1, -1))):
        beside |= missing[rows, cols] | missing[cols, rows].reshape(ids.shape)
    for class_id in CLASSES:
        labels, count = ndimage.label(ids == class_id)
        for label in range(1, count + 1):
            own = labels == label
            places = np.flatnonzero(own)
            expected[int(places[0])] = (
                class_id,
                places.size,
                int(scores[own].sum(dtype=np.int64)),
                bool(beside[own].any()),
                int(places[-1]) // ids.shape[1],
                int((places % ids.shape[1]).min()),
                int((places % ids.shape[1]).max()),
            )
    found = regions_of(ids, [height]).components
    names = ("class_id", "pixels", "score", "touches_edge", "last_row", "left", "right")
    rest = zip(*(getattr(found, name) for name in names), strict=True)
    assert dict(zip(found.first.tolist(), rest, strict=True)) == expected


@given(masks())
def test_gdal_draws_the_same_polygons(ids: UInt8) -> None:
    drawn = [
        shapely.geometry.shape(geometry)
        for geometry, value in rasterio.features.shapes(ids, connectivity=4)
        if value in CLASSES
    ]
    ours = regions_of(ids).polygons
    assert sorted(shapely.to_wkb(shapely.normalize(drawn))) == sorted(shapely.to_wkb(shapely.normalize(ours)))


@given(masks())
def test_polygons_start_at_their_first_pixel_and_come_by_last_row_then_first_pixel(ids: UInt8) -> None:
    regions = regions_of(ids, [3])
    order = list(zip(regions.components.last_row, regions.components.first, strict=True))
    assert order == sorted(order)
    starts = [polygon.exterior.coords[0] for polygon in regions.polygons]
    assert starts == [(first % ids.shape[1], first // ids.shape[1]) for first in regions.components.first]


def test_a_region_that_touches_itself_is_a_shell_and_a_hole() -> None:
    ids = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint8)
    (shape,) = exact_polygons([(ids, ids)], 3, [1])
    assert shape.polygons[0].wkt == "POLYGON ((0 0, 3 0, 3 2, 2 2, 2 3, 0 3, 0 0), (2 1, 1 1, 1 2, 2 2, 2 1))"


@pytest.mark.parametrize(
    ("ids", "scores", "classes", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.full((2, 3), NODATA, np.uint8), [0], "a class but no score"),
        (np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8), [0], "3 wide"),
        (np.zeros((2, 3), np.uint8), np.zeros((1, 3), np.uint8), [0], "same height"),
        (np.zeros((2, 3), np.int16), np.zeros((2, 3), np.uint8), [0], "int16"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8), [255], "out of range"),
    ],
)
def test_strips_that_do_not_fit_are_refused(ids: Any, scores: Any, classes: list[int], message: str) -> None:
    with pytest.raises(GridError, match=message):
        list(exact_polygons([(ids, scores)], 3, classes))


MEMORY = """
import resource, sys
import numpy as np
from geoseg.polygons.trace.exact import exact_polygons

width, height, count = 12_000, 256, int(sys.argv[1])
rows, cols = np.mgrid[:height, :width]
ids = (((rows // 8) % 8 == 3) & ((cols // 8) % 8 == 5)).astype(np.uint8)
ids[:, 120:124] = 1  # open from the first row to the last
scores = np.full_like(ids, 200)
found = sum(len(one) for one in exact_polygons(((ids, scores) for _ in range(count)), width, [1]))
assert found == count * (height // 64) * (width // 64) + 1, found
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_scene() -> None:
    def peak(strips: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(strips)], check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    small, large = peak(4), peak(40)  # 12 and 123 million pixels
    assert large - small < 20_000, f"{small} kB became {large} kB"


# --- areas and attributes -------------------------------------------------------------------------------


GRIDS = {
    "meters": ("EPSG:26914", Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)),
    "meters, turned": (
        "EPSG:32632",
        Affine.translation(7e5, 5.5e6) @ Affine.rotation(33) @ Affine.scale(0.5, -0.7),
    ),
    "feet": ("EPSG:2263", Affine(1, 0, 980_000, 0, -1, 200_000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 10, 0, -1e-4, 60)),
    "degrees, south-up": ("EPSG:4326", Affine(3e-6, 0, -70, 0, 3e-6, -33)),
    "mercator": ("EPSG:3857", Affine(10, 0, 9.5e6, 0, -10, 8.2e6)),
    "custom": ("+proj=lcc +lat_0=40 +lon_0=3 +lat_1=35 +lat_2=45 +ellps=intl", Affine(5, 0, 9e4, 0, -5, 8e4)),
    "80 degrees north": ("EPSG:3413", Affine(10, 0, 9e5, 0, -10, -6e5)),
    "antimeridian": ("EPSG:4326", Affine(1e-4, 0, 179.98, 0, -1e-4, -17)),
    "antimeridian, meters": ("EPSG:32760", Affine(10, 0, 829_000, 0, -10, 8_100_000)),
}


def equal_area(polygon: shapely.Polygon, crs: str, step: float) -> float:
    """m² by another way: dense edges, an equal-area projection of the same ellipsoid, a plane polygon."""
    source = CRS.from_user_input(crs)
    geodetic = source.geodetic_crs
    assert geodetic is not None
    assert geodetic.ellipsoid is not None
    x, y = polygon.centroid.coords[0]
    lon, lat = Transformer.from_crs(source, geodetic, always_xy=True).transform(x, y)
    size = f"+a={geodetic.ellipsoid.semi_major_metre} +b={geodetic.ellipsoid.semi_minor_metre}"
    plane = Transformer.from_crs(
        source, CRS.from_proj4(f"+proj=laea +lat_0={lat} +lon_0={lon} {size}"), always_xy=True
    )
    dense = shapely.segmentize(polygon, step)
    flat = shapely.transform(dense, lambda p: np.stack(plane.transform(p[:, 0], p[:, 1]), axis=1))
    return float(flat.area)


@pytest.mark.parametrize("name", GRIDS)
def test_areas_are_exact_to_a_millionth(name: str) -> None:
    crs, transform = GRIDS[name]
    random = np.random.default_rng(5)
    field = ndimage.gaussian_filter(random.standard_normal((400, 400)), 12)
    ids = np.digitize(field, [-0.01, 0.01]).astype(np.uint8)
    ids[200:202, 5:395] = 1  # long and thin: the worst for edges that are not geodesics
    polygons = to_ground(regions_of(ids).polygons, transform)
    areas = AreaMeter.of(GeoBox(400, 400, transform, crs)).measure(polygons)
    step = min(abs(transform.a) + abs(transform.b), abs(transform.d) + abs(transform.e))
    for n in np.argsort(-shapely.length(polygons))[:12]:
        expected = equal_area(polygons[n], crs, step)
        assert areas[n] == pytest.approx(expected, rel=1e-6, abs=1e-5), (name, n)


def test_an_area_does_not_depend_on_its_neighbors() -> None:
    crs, transform = GRIDS["degrees"]
    polygons = to_ground(np.array([shapely.box(col, 5, col + 3, 90) for col in range(0, 40, 4)]), transform)
    meter = AreaMeter.of(GeoBox(100, 100, transform, crs))
    alone = np.concatenate([meter.measure(polygons[n : n + 1]) for n in range(len(polygons))])
    np.testing.assert_array_equal(meter.measure(polygons), alone)
    assert meter.measure(polygons[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.1, 0, 0, 0, -0.1, 90)),  # up to the pole
        ("EPSG:4326", Affine(3, 0, -180, 0, -1.5, 90)),  # the whole globe
        ("EPSG:3031", Affine(1000, 0, -6e4, 0, -1000, 6e4)),  # around the pole
    ],
)
def test_poles_and_the_globe_have_areas(crs: str, transform: Affine) -> None:
    polygons = to_ground(np.array([shapely.box(0, 0, 3, 2), shapely.box(60, 60, 61, 61)]), transform)
    areas = AreaMeter.of(GeoBox(120, 120, transform, crs)).measure(polygons)
    assert (areas > 0).all()
    for polygon, area in zip(polygons, areas, strict=True):
        step = max(abs(transform.a), abs(transform.e)) / 200
        assert area == pytest.approx(equal_area(polygon, crs, step), rel=1e-4)


def test_a_grid_off_the_globe_is_refused() -> None:
    with pytest.raises(GridError, match="no longitude and latitude"):
        AreaMeter.of(GeoBox(10, 10, Affine(1e9, 0, 1e9, 0, -1e9, 1e9), "EPSG:32632"))


@given(
    crs=st.sampled_from(["EPSG:4326", "EPSG:32632", "EPSG:3857", "EPSG:3035"]),
    place=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    zoom=st.floats(-6, 0),
    shape=st.sampled_from([(1, 1), (7, 300), (90, 90)]),
)
def test_a_grid_is_refused_where_an_edge_that_is_measured_leaves_the_globe(
    crs: str, place: tuple[float, float], zoom: float, shape: tuple[int, int]
) -> None:
    reach = 100 if crs == "EPSG:4326" else 3e7
    pixel = reach / 100 * 10**zoom
    box = GeoBox(*shape, Affine(pixel, 0, place[0] * reach, 0, -pixel, place[1] * reach), crs)
    rows, cols = (np.linspace(0, side, 9) for side in shape)
    measured = [(i, j) for i in range(9) for j in range(9) if not (8 in (i, j) and (i % 2 or j % 2))]
    x, y = zip(*(box.transform @ (cols[j], rows[i]) for i, j in measured), strict=True)
    geographic = CRS(crs).geodetic_crs
    assert geographic is not None
    lon, lat = Transformer.from_crs(crs, geographic, always_xy=True).transform(x, y)
    if np.isfinite(lon).all() and (np.abs(lat) <= 90 + 1e-9).all():
        AreaMeter.check(box)
        return
    for measure in (AreaMeter.check, AreaMeter.of):
        with pytest.raises(GridError, match="no longitude and latitude"):
            measure(box)


def test_attributes_say_what_and_where_from() -> None:
    ids = np.array([[1, 1, 0, 2], [0, 1, 0, 2], [0, 0, 0, 2]], np.uint8)
    scores = np.where(ids == 1, 190, 100).astype(np.uint8)
    ids, scores = np.pad(ids, ((0, 1), (0, 0))), np.pad(scores, ((0, 1), (0, 0)))
    stored = np.where(ids == np.arange(3)[:, None, None], scores, 200 - scores).astype(np.uint8)
    (regions,) = trace_regions([Strip(ids, scores, stored)], 4, [1, 2], deformed=False)
    shapes = Shapes.of(regions, "exact")
    box = GeoBox(4, 4, Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000), "EPSG:26914")
    polygons = to_ground(regions.polygons, box.transform)
    found = object_attributes(
        shapes,
        polygons,
        width=4,
        meter=AreaMeter.of(box),
        names={1: "building", 2: "road"},
        provenance=Provenance("Scene 1", "scene-1", "m 1", "ab" * 32, "run"),
    )
    assert list(found) == list(FIELDS)
    assert found["id"].tolist() == ["scene-1-0-0", "scene-1-0-3"]
    assert found["class_name"].tolist() == ["building", "road"]
    assert found["conf_mean"].tolist() == [0.95, 0.5]
    assert found["conf_p10"].tolist() == [0.95, 0.5]
    assert found["conf_edge"] == pytest.approx([0.45, 0.125])
    assert found["shape"].tolist() == ["exact", "exact"]
    assert np.isnan(found["reg_iou"]).all()
    assert found["perimeter_m"] == pytest.approx([2.4, 2.4], rel=1e-3)
    assert found["area_m2"] == pytest.approx([0.27, 0.27], rel=1e-3)
    assert found["touches_edge"].tolist() == [True, True]
    assert found["acquired"].tolist() == [None, None]

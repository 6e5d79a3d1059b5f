"""Objects: valid, apart, the same for any strips, split where buildings touch, measured on the ground."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from support.rasters import cut_strips
from support.towns import town
from synthetic.rooftops import make_rooftops

from geoseg.arrays import UInt8
from geoseg.config.vectorize import Regularization
from geoseg.engine.vectorize import realignment, regularization
from geoseg.grid.encoding import NODATA
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.geodesic import AreaMeter, ground_frames
from geoseg.polygons.objects import objects as module
from geoseg.polygons.objects.objects import ObjectOptions, find_objects
from geoseg.polygons.objects.overlaps import cut_overlaps
from geoseg.polygons.objects.watershed import RowBuffer, Seeds
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.regions import Strip, to_ground
from geoseg.polygons.walls.fit import fit_walls

METERS = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)


def strips(stored: UInt8, rows: int, level: float = 99.5) -> Iterator[Strip]:
    classes = np.where(stored == NODATA, NODATA, stored > level).astype(np.uint8)
    scores = np.where(classes == 0, 200 - stored, stored).astype(np.uint8)
    return (Strip(*strip) for strip in cut_strips([rows], classes, scores, stored[None]))


def box_of(stored: UInt8, transform: Affine = METERS, crs: str = "EPSG:26914") -> GeoBox:
    return GeoBox(*stored.shape, transform, crs)


def found(stored: UInt8, rows: int = 64, box: GeoBox | None = None, **options: Any) -> Shapes:
    given = ObjectOptions(**{"regularize": fit_walls, "seeds": Seeds(190, 10)} | options)
    return Shapes.join(find_objects(strips(stored, rows), box or box_of(stored), [1], 99.5, given))


@pytest.mark.parametrize(
    ("seed", "holes", "align"), [(0, 0.0, "0 px"), (1, 0.0, "30 px"), (2, 0.01, "0 px"), (3, 0.0, "60 px")]
)
def test_strips_of_any_height_give_the_same_bits(
    seed: int, holes: float, align: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the scene were a hundred times larger: what is held, released, and too tall to be fitted.
    monkeypatch.setattr(module, "TALLEST", 40)
    monkeypatch.setattr(module, "_PIECE", 16)
    stored = town(seed, 300, 200, holes, roofs=28)
    recipe = Regularization.model_validate({"align": align})
    options = {"realign": realignment(recipe, 0.3), "reach": recipe.align.value}
    whole = found(stored, len(stored), **options)
    assert (np.diff(whole.last_row[whole.kind != "contour"]) >= 0).all()
    assert (whole.kind == "contour").any(), "one is too tall"
    assert (whole.kind != "contour").any()
    for rows in (1, 7, 33):
        parts = found(stored, rows, **options)
        assert (shapely.to_wkb(whole.polygons) == shapely.to_wkb(parts.polygons)).all()
        for name in ("first", "pixels", "score", "p10", "kind"):
            assert np.array_equal(getattr(whole, name), getattr(parts, name))
        for name in ("contrast", "fit"):
            assert np.array_equal(getattr(whole, name), getattr(parts, name), equal_nan=True)


def test_parallel_neighbors_correct_each_other_the_same_in_any_strips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TALLEST", 170)
    monkeypatch.setattr(module, "_PIECE", 64)
    street = make_rooftops(5, "hard", seed=1, street=20.0)
    stored = np.rint(200 * street.probability).astype(np.uint8)
    recipe = Regularization.model_validate({"align": "330 px"})
    options = {"realign": realignment(recipe, 0.3), "reach": 330.0, "seeds": None, "min_area": 8.0}
    alone = found(stored, seeds=None, min_area=8.0)
    together = found(stored, len(stored), **options)
    assert np.array_equal(together.first, alone.first)
    changed = shapely.to_wkb(together.polygons) != shapely.to_wkb(alone.polygons)
    assert changed.sum() > 10
    for rows in (50, 97):
        assert (
            shapely.to_wkb(found(stored, rows, **options).polygons) == shapely.to_wkb(together.polygons)
        ).all()

    def score(shapes: Shapes) -> float:
        mine, true = shapely.STRtree(street.truth).query(shapes.polygons, predicate="intersects")
        shared = shapely.area(shapely.intersection(shapes.polygons[mine], street.truth[true]))
        return float(np.sum(shared / shapely.area(shapely.union(shapes.polygons[mine], street.truth[true]))))

    assert score(together) > score(alone)


@settings(max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02]), st.sampled_from([None, Seeds(190, 10)]))
def test_objects_are_valid_apart_and_where_their_pixels_are(
    seed: int, holes: float, seeds: Seeds | None
) -> None:
    stored = town(seed, 90, 90, holes)
    shapes = found(stored, seeds=seeds)
    assert shapely.is_valid(shapes.polygons).all()
    assert (shapely.get_type_id(shapes.polygons) == shapely.GeometryType.POLYGON).all()
    assert shapely.within(shapes.polygons, shapely.box(0, 0, 90, 90)).all()
    one, other = shapely.STRtree(shapes.polygons).query(shapes.polygons, predicate="intersects")
    apart = one != other
    shared = shapely.intersection(shapes.polygons[one[apart]], shapes.polygons[other[apart]])
    assert shapely.area(shared).max(initial=0) < 1e-6
    # Contours are of the pixels themselves: each pixel of the mask lies in one, and no other pixel does.
    contours = found(stored, seeds=None, regularize=None).polygons
    row, col = np.nonzero((stored != NODATA) & (stored >= 100))
    assert row.size == shapes.pixels.sum()
    point, _ = shapely.STRtree(contours).query(shapely.points(col + 0.5, row + 0.5), predicate="within")
    assert np.array_equal(point, np.arange(row.size))
    row, col = np.nonzero((stored == NODATA) | (stored < 100))
    point, _ = shapely.STRtree(contours).query(shapely.points(col + 0.5, row + 0.5), predicate="within")
    assert not point.size


@pytest.mark.parametrize("method", ["walls", "rectangle", "none"])
def test_every_method_gives_valid_polygons_near_their_contours(method: str) -> None:
    stored = town(3)
    chosen = regularization(Regularization.model_validate({"method": method}), 0.3)
    shapes = found(stored, regularize=chosen, min_area=5.0)
    contours = found(stored, regularize=None, min_area=5.0)
    assert len(shapes) == len(contours)
    assert shapely.is_valid(shapes.polygons).all()
    shared = shapely.area(shapely.intersection(shapes.polygons, contours.polygons))
    assert (shared > 0.5 * shapely.area(contours.polygons)).all()
    fitted = np.isfinite(shapes.fit)
    assert fitted.any() == (method != "none")
    both = shapely.area(shapely.union(shapes.polygons, contours.polygons))
    assert shapes.fit[fitted] == pytest.approx((shared / both)[fitted], abs=1e-6)


def test_small_objects_and_holes_go_and_faint_ones_too() -> None:
    stored = np.zeros((60, 60), np.uint8)
    stored[5:25, 5:25] = 200
    stored[10:12, 10:12] = 0  # 4 px, a hole of 0.36 m2
    stored[14:20, 14:20] = 0
    stored[40:42, 40:42] = 200
    stored[40:50, 5:15] = 120
    shapes = found(stored, regularize=None, seeds=None)
    assert len(shapes) == 3
    assert shapely.get_num_interior_rings(shapes.polygons).max() == 2
    kept = found(stored, regularize=None, seeds=None, min_area=2.0, min_hole=1.0, least_max_score=150)
    assert len(kept) == 1
    (polygon,) = kept.polygons
    assert len(polygon.interiors) == 1
    assert shapely.Polygon(polygon.interiors[0]).area > 30
    assert len(found(stored, regularize=None, seeds=None, min_pixels=50.0)) == 2


def test_buildings_that_touch_are_told_apart() -> None:
    stored = np.zeros((40, 70), np.uint8)
    stored[10:30, 5:30] = 200
    stored[10:30, 31:60] = 200
    stored[10:30, 30] = 150  # one pixel of doubt
    assert len(found(stored, seeds=None)) == 1
    two = found(stored)
    assert two.kind.tolist() == ["rectangle", "rectangle"]
    assert two.pixels.sum() == np.count_nonzero(stored)
    assert sorted(two.first % 70) in ([5, 30], [5, 31])
    assert shapely.area(two.polygons) == pytest.approx([510, 590], abs=25)


@pytest.mark.parametrize(("neck", "parts"), [(2.0, 2), (4.0, 2), (7.0, 1)])
def test_a_neck_parts_what_is_wider_on_both_sides(neck: float, parts: int) -> None:
    stored = np.zeros((40, 70), np.uint8)
    stored[10:30, 5:30] = 200
    stored[10:30, 38:60] = 200
    stored[17:24, 30:38] = 200  # half as wide as 3.5 px, where the houses' are 10
    shapes = found(stored, seeds=Seeds(0, 1, neck))
    assert len(shapes) == parts
    assert shapes.pixels.sum() == np.count_nonzero(stored)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:26914", METERS),
        ("EPSG:26914", METERS @ Affine.rotation(31)),
        ("EPSG:26914", METERS @ Affine.scale(1, 1.7)),
        ("EPSG:4326", Affine(3e-6, 0, 11.3, 0, -3e-6, 59.9)),
        ("EPSG:2263", Affine(1, 0, 985_000, 0, -1, 200_000)),
        ("EPSG:3857", Affine(0.6, 0, 1_258_000, 0, -0.6, 8_370_000)),
        ("EPSG:3413", Affine(0.5, 0.1, 1000, 0.1, -0.5, -1_000_000)),
        ("EPSG:4326", Affine(3e-6, 0, 179.9998, 0, -3e-6, -17)),
    ],
)
def test_frames_have_the_grounds_lengths_and_angles(crs: str, transform: Affine) -> None:
    box = GeoBox(80, 100, transform, crs)
    place = np.array([[50.0, 40.0]])
    frames = ground_frames(box, place)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    ends = [transform @ at for at in ((50, 40), (60, 40), (50, 50))]
    lon, lat = to_degrees.transform(*zip(*ends, strict=True))
    azimuth, _, length = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    frame = shapely.get_coordinates(
        frames.to_frame(np.array([shapely.Polygon([(0, 0), (10, 0), (10, 10), (0, 10)])]))
    )
    ours = np.hypot(*frame[1]), np.hypot(*frame[3])
    unit = np.sqrt(frames.pixel_area[0])
    assert np.array(ours) * unit == pytest.approx(length, rel=2e-3)
    angle = np.degrees(np.arccos(frame[1] @ frame[3] / (ours[0] * ours[1])))
    assert angle == pytest.approx(abs((azimuth[1] - azimuth[0] + 180) % 360 - 180), abs=0.1)
    back = frames.to_pixels(frames.to_frame(np.array([shapely.box(3, 4, 9, 30)])))
    assert shapely.equals_exact(back[0], shapely.box(3, 4, 9, 30), 1e-9)


@pytest.mark.parametrize(
    ("crs", "origin", "unit"),
    [("EPSG:26914", (621_000, 3_350_000), 1.0), ("EPSG:2263", (985_000, 200_000), 1 / 0.3048006096)],
)
def test_a_roof_has_the_same_area_and_angles_in_any_pixels(
    crs: str, origin: tuple[float, float], unit: float
) -> None:
    """A roof of 12 by 8 m, turned by 25 degrees, on pixels of 0.3 by 0.3 and of 0.3 by 0.5 m."""
    for down in (0.3, 0.5):
        transform = Affine(0.3 * unit, 0, origin[0], 0, -down * unit, origin[1])
        rows, cols = np.mgrid[: int(30 / down), :100]
        east, north = (cols + 0.5) * 0.3 - 15, -(rows + 0.5) * down + 15
        angle = np.radians(25)
        u, v = (
            east * np.cos(angle) + north * np.sin(angle),
            north * np.cos(angle) - east * np.sin(angle),
        )
        signed = np.minimum(6 - abs(u), 4 - abs(v)) / 0.35
        stored = np.rint(200 / (1 + np.exp(-4 * signed))).astype(np.uint8)
        box = box_of(stored, transform, crs)
        shapes = found(stored, box=box)
        assert shapes.kind.tolist() == ["rectangle"]
        area, perimeter = AreaMeter.of(box).sizes(to_ground(shapes.polygons, box.transform))
        assert area[0] == pytest.approx(96, rel=0.01)
        assert perimeter[0] == pytest.approx(40, rel=0.01)


def test_of_two_fits_the_one_whose_contour_has_more_of_the_overlap_keeps_it() -> None:
    contours = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10), shapely.box(40, 0, 50, 9)])
    fits = np.array([shapely.box(0, 0, 12, 10), shapely.box(9.5, 0, 20, 10), shapely.box(40, 0, 50, 10)])
    everyone = np.ones(3, np.bool_)
    parted, lost = cut_overlaps(fits, contours, everyone)
    assert lost.tolist() == [True, False, False]
    assert shapely.area(shapely.intersection(parted[0], parted[1])) == 0
    assert shapely.area(shapely.union_all(parted[:2])) == 200
    for order in ([2, 1, 0], [1, 0, 2]):
        again, _ = cut_overlaps(fits[order], contours[order], everyone)
        assert shapely.equals(again, parted[order]).all()
    (alone,), _ = cut_overlaps(fits, contours, np.array([True, False, False]))
    assert shapely.equals(alone, parted[0])


def test_rows_that_have_gone_are_not_made_up() -> None:
    rows = RowBuffer(4, 6)
    numbers = np.arange(20, dtype=np.uint8)
    for first in range(0, 20, 5):
        rows.append(np.repeat(numbers[first : first + 5, None], 4, axis=1))
    (window,) = rows.crop(14, -1, 22, 3)
    assert window[:, 1].tolist() == [14, 15, 16, 17, 18, 19, NODATA, NODATA]
    assert (window[:, 0] == NODATA).all()
    with pytest.raises(IndexError, match="row 13 is no longer held"):
        rows.crop(13, 0, 15, 2)


def test_nothing_gives_nothing_and_everything_gives_the_scene() -> None:
    assert not len(found(np.zeros((20, 30), np.uint8)))
    assert not len(found(np.full((20, 30), NODATA, np.uint8)))
    whole = found(np.full((20, 30), 200, np.uint8))
    assert shapely.equals(whole.polygons[0], shapely.box(0, 0, 30, 20))
    assert whole.touches_edge.all()
    assert len(found(np.full((1, 9), 200, np.uint8))) == 1

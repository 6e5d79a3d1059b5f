"""Land cover without gaps: one polygon for each region, outlines shared bit for bit, nothing lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from support.coverages import deformed, scenes
from support.rasters import cut_scene
from support.vectors import burned
from synthetic.landcover_fields import FINER, make_landcover

from geoseg.arrays import Float64, UInt8
from geoseg.grid.encoding import NODATA
from geoseg.polygons.coverage.coverage import find_coverage
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip

Scene = tuple[UInt8, UInt8]
tolerances = st.sampled_from([0.0, 0.5, 1.0])


def covered(
    scene: Scene, tolerance: float = 0, heights: list[int] | None = None, min_pixels: int = 1
) -> Shapes:
    """The polygons of a scene."""
    classes, scores = scene
    cut = heights or [len(classes)]
    found = find_coverage(
        lambda: cut_scene(scene, cut),
        classes.shape[1],
        range(len(scores)),
        None,
        min_pixels=min_pixels,
        tolerance=tolerance,
    )
    return Shapes.join(found)


@given(scenes())
def test_outlines_are_the_ones_walked_side_by_side(scene: Scene) -> None:
    slow = deformed(*scene)
    found = list(trace_regions(cut_scene(scene, [5]), scene[0].shape[1], range(len(scene[1]))))
    rings = [regions.rings for regions in found]
    whole = [
        np.concatenate([getattr(one, name) for one in rings]) for name in ("xy", "node", "fixed") if rings
    ]
    if not rings:
        assert not len(slow.rings)
        return
    np.testing.assert_array_equal(whole[0], slow.rings.xy)
    np.testing.assert_array_equal(whole[1], slow.rings.node)
    np.testing.assert_array_equal(whole[2] & ~whole[1], slow.rings.fixed & ~slow.rings.node)
    sizes = np.concatenate([np.diff(one.start) for one in rings])
    np.testing.assert_array_equal(sizes, np.diff(slow.rings.start))


@given(scenes(), tolerances)
def test_every_region_is_one_valid_polygon_around_its_own_pixels(scene: Scene, tolerance: float) -> None:
    classes, _ = scene
    found = covered(scene, tolerance)
    polygons = found.polygons
    assert shapely.is_valid(polygons).all()
    assert not shapely.is_empty(polygons).any()
    rings, owner = shapely.get_rings(polygons, return_index=True)
    np.testing.assert_array_equal(shapely.is_ccw(rings), np.diff(owner, prepend=-1) > 0)
    # Which polygon covers which pixel is what the exact polygons say.
    exact = deformed(*scene).exact
    number = np.arange(len(polygons))
    np.testing.assert_array_equal(
        burned(polygons, number, classes.shape, fill=-1), burned(exact, number, classes.shape, fill=-1)
    )
    np.testing.assert_array_equal(found.class_id, classes.reshape(-1)[found.first])


@given(scenes(), tolerances)
def test_polygons_share_the_scene_without_gap_or_overlap(scene: Scene, tolerance: float) -> None:
    classes, _ = scene
    polygons = covered(scene, tolerance).polygons
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == np.count_nonzero(classes != NODATA)
    rows, cols = np.nonzero(classes != NODATA)
    pixels = shapely.union_all(shapely.box(cols, rows, cols + 1, rows + 1))
    assert shapely.union_all(polygons).symmetric_difference(pixels).area == pytest.approx(0, abs=1e-9)


@given(scenes(), tolerances, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_nothing_depends_on_the_strips(scene: Scene, tolerance: float, heights: list[int]) -> None:
    whole, cut = covered(scene, tolerance), covered(scene, tolerance, heights)
    assert shapely.to_wkb(whole.polygons).tolist() == shapely.to_wkb(cut.polygons).tolist()
    for name in ("class_id", "first", "pixels", "score"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


@given(scenes(), st.integers(0, 3), st.booleans())
def test_outlines_turn_with_the_scene(scene: Scene, quarters: int, mirrored: bool) -> None:  # noqa: FBT001 - drawn
    def turn(array: UInt8) -> UInt8:
        flipped = array[..., ::-1] if mirrored else array
        return np.ascontiguousarray(np.rot90(flipped, quarters, axes=(-2, -1)))

    def turn_points(xy: Float64) -> Float64:
        x, y = xy.T
        height, width = scene[0].shape
        if mirrored:
            x = width - x
        for _ in range(quarters):
            x, y, width, height = y, width - x, height, width
        return np.stack([x, y], axis=1)

    there = covered((turn(scene[0]), turn(scene[1]))).polygons
    here = shapely.transform(covered(scene).polygons, turn_points)
    canonical = [shapely.to_wkb(shapely.normalize(polygons)) for polygons in (here, there)]
    assert sorted(canonical[0]) == sorted(canonical[1])


@given(scenes(), tolerances, st.randoms(use_true_random=False))
def test_the_numbers_of_classes_do_not_matter(scene: Scene, tolerance: float, random: Any) -> None:
    classes, scores = scene
    order = list(range(len(scores)))
    random.shuffle(order)
    renamed = np.array([*order, *[NODATA] * (256 - len(order))], np.uint8)[classes]
    shuffled = np.empty_like(scores)
    shuffled[order] = scores
    before, after = covered(scene, tolerance), covered((renamed, shuffled), tolerance)
    assert shapely.to_wkb(before.polygons).tolist() == shapely.to_wkb(after.polygons).tolist()


def test_a_scene_of_one_class_is_its_frame() -> None:
    scene = np.zeros((4, 9), np.uint8), np.full((1, 4, 9), 200, np.uint8)
    (polygon,) = covered(scene, 0.5).polygons
    assert polygon.normalize().wkt == "POLYGON ((0 0, 0 4, 9 4, 9 0, 0 0))"


def test_missing_data_keeps_its_pixels() -> None:
    land = make_landcover(60, 60, seed=2, blank=0.3)
    polygons = covered((land.classes, land.scores), 0.75).polygons
    rows, cols = np.nonzero(land.classes == NODATA)
    holes = shapely.union_all(shapely.box(cols, rows, cols + 1, rows + 1))
    missing = shapely.box(0, 0, 60, 60).difference(shapely.union_all(polygons))
    assert missing.symmetric_difference(holes).area == pytest.approx(0, abs=1e-9)


def test_the_outline_is_where_the_scores_cross() -> None:
    # Scores fall linearly to the right and rise the other way; they are equal at x = 2.25.
    falling = np.round(100 - 40 * (np.arange(5) + 0.5 - 2.25)).astype(np.uint8)
    scores = np.stack([np.tile(falling, (3, 1)), np.tile(200 - falling, (3, 1))])
    found = covered((scores.argmax(0).astype(np.uint8), scores), 0.5)
    assert [polygon.bounds for polygon in found.polygons] == [(0, 0, 2.25, 3), (2.25, 0, 5, 3)]
    assert found.class_id.tolist() == [0, 1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_error_of_stairs_is_halved_with_fewer_vertices(seed: int) -> None:
    land = make_landcover(300, 300, 6, seed=seed)
    scene = land.classes, land.scores
    found = covered(scene, 0.5, [64])
    stairs = np.kron(land.classes, np.ones((FINER, FINER), np.uint8))
    error = (burned(found.polygons, found.class_id, land.truth.shape, finer=FINER) != land.truth).mean()
    assert error <= 0.4 * (stairs != land.truth).mean()
    exact = [
        shapely.get_num_coordinates(regions.polygons).sum()
        for regions in trace_regions(cut_scene(scene, [300]), 300, range(6))
    ]
    assert shapely.get_num_coordinates(found.polygons).sum() <= 0.65 * sum(exact)


def test_simplified_outlines_turn_with_a_scene_without_ties() -> None:
    land = make_landcover(120, 120, seed=4)
    here = covered((land.classes, land.scores), 0.5).polygons
    turned = np.ascontiguousarray(land.classes[:, ::-1]), np.ascontiguousarray(land.scores[..., ::-1])
    there = covered(turned, 0.5).polygons
    mirrored = shapely.transform(here, lambda xy: xy * (-1, 1) + (120, 0))
    one, other = ({p.wkb for p in shapely.normalize(polygons)} for polygons in (mirrored, there))
    assert len(one & other) >= 0.95 * len(one)


@given(scenes(), st.sampled_from([2, 4, 20]), st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_small_regions_leave_no_gap(scene: Scene, least: int, heights: list[int]) -> None:
    found = covered(scene, 0.5, heights, least)
    valid = scene[0] != NODATA
    assert shapely.coverage_is_valid(found.polygons)
    assert shapely.area(found.polygons).sum() == np.count_nonzero(valid)
    islands, _ = ndimage.label(valid)
    own_island = np.bincount(islands.flat)[islands.flat[found.first]]
    assert ((found.pixels >= least) | (found.pixels == own_island)).all()


@given(scenes(), tolerances)
def test_chosen_classes_are_those_of_all(scene: Scene, tolerance: float) -> None:
    found = covered(scene, tolerance)
    chosen = Shapes.join(
        find_coverage(
            lambda: cut_scene(scene, [7]), scene[0].shape[1], [0, 2], None, min_pixels=1, tolerance=tolerance
        )
    )
    wanted = np.isin(found.class_id, [0, 2])
    assert shapely.to_wkb(chosen.polygons).tolist() == shapely.to_wkb(found.polygons[wanted]).tolist()


def test_one_band_tells_two_classes() -> None:
    # The probability falls by 40 steps a pixel and passes the level at x = 2.25; a speck is too small.
    stored = np.tile(np.round(100 - 40 * (np.arange(5) + 0.5 - 2.25)), (4, 1))[None].clip(0, 200)
    stored[0, 1, 4] = 150
    stored = stored.astype(np.uint8)
    classes = np.where(stored[0] > 100, 1, 0).astype(np.uint8)
    strip = Strip(classes, np.where(classes, stored[0], 200 - stored[0]), stored)
    found = Shapes.join(find_coverage(lambda: iter([strip]), 5, [0, 1], 100, min_pixels=3, tolerance=0.5))
    assert found.class_id.tolist() == [1, 0]
    assert [polygon.bounds for polygon in found.polygons] == [(0, 0, 2.25, 4), (2.25, 0, 5, 4)]

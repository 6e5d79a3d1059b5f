"""Land cover without gaps: one polygon for each region, outlines shared bit for bit, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from coverage_support import deformed, scenes
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.polygons.arcs import simplify_rings
from geoseg.polygons.exact import NODATA, Strip, trace_regions
from geoseg.polygons.subpixel import outline, polygons_of
from geoseg.testing.landcover_fields import FINER, make_landcover

UInt8 = NDArray[np.uint8]
Scene = tuple[UInt8, UInt8]
tolerances = st.sampled_from([None, 0.5, 1.0])


def strips(scene: Scene, heights: list[int]) -> Iterator[Strip]:
    """The scene cut into strips of these heights, over and over."""
    classes, scores = scene
    own = np.take_along_axis(scores, np.minimum(classes, len(scores) - 1)[None], axis=0)[0]
    row, n = 0, 0
    while row < len(classes):
        stop = row + heights[n % len(heights)]
        yield Strip(classes[row:stop], own[row:stop], scores[:, row:stop])
        row, n = stop, n + 1


def covered(
    scene: Scene, tolerance: float | None = None, heights: list[int] | None = None
) -> tuple[NDArray[Any], UInt8, NDArray[np.int64]]:
    """Polygons, class ids and first pixels."""
    polygons, class_ids, first = [np.zeros(0, object)], [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    width = scene[0].shape[1]
    for regions in trace_regions(strips(scene, heights or [len(scene[0])]), width, range(len(scene[1]))):
        rings, region_start = outline(regions, width)
        if tolerance is not None:
            rings = simplify_rings(rings, tolerance)
        polygons.append(polygons_of(rings, region_start))
        class_ids.append(regions.components.class_id)
        first.append(regions.components.first)
    return np.concatenate(polygons), np.concatenate(class_ids), np.concatenate(first)


def burnt(polygons: NDArray[Any], values: NDArray[Any], shape: tuple[int, ...], finer: int = 1) -> Any:
    """Values of the polygons that cover the centres of pixels, or of parts of pixels; elsewhere -1."""
    pairs = list(zip(polygons, values.tolist(), strict=True))
    if not pairs:
        return np.full(shape, -1)
    scale = Affine.scale(1 / finer)
    return rasterio.features.rasterize(pairs, shape, fill=-1, transform=scale, dtype="int32")


@given(scenes())
def test_outlines_are_the_ones_walked_side_by_side(scene: Scene) -> None:
    slow = deformed(*scene)
    found = list(trace_regions(strips(scene, [5]), scene[0].shape[1], range(len(scene[1]))))
    rings = [outline(regions, scene[0].shape[1])[0] for regions in found]
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
def test_every_region_is_one_valid_polygon_around_its_own_pixels(
    scene: Scene, tolerance: float | None
) -> None:
    classes, _ = scene
    polygons, class_ids, first = covered(scene, tolerance)
    assert shapely.is_valid(polygons).all()
    assert not shapely.is_empty(polygons).any()
    rings, owner = shapely.get_rings(polygons, return_index=True)
    np.testing.assert_array_equal(shapely.is_ccw(rings), np.diff(owner, prepend=-1) > 0)
    # Which polygon covers which pixel is what the exact polygons say.
    exact = deformed(*scene).exact
    number = np.arange(len(polygons))
    np.testing.assert_array_equal(burnt(polygons, number, classes.shape), burnt(exact, number, classes.shape))
    np.testing.assert_array_equal(class_ids, classes.reshape(-1)[first])


@given(scenes(), tolerances)
def test_polygons_share_the_scene_without_gap_or_overlap(scene: Scene, tolerance: float | None) -> None:
    classes, _ = scene
    polygons, _, _ = covered(scene, tolerance)
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == np.count_nonzero(classes != NODATA)
    rows, cols = np.nonzero(classes != NODATA)
    pixels = shapely.union_all(shapely.box(cols, rows, cols + 1, rows + 1))
    assert shapely.union_all(polygons).symmetric_difference(pixels).area == pytest.approx(0, abs=1e-9)


@given(scenes(), tolerances, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_nothing_depends_on_the_strips(scene: Scene, tolerance: float | None, heights: list[int]) -> None:
    whole, cut = covered(scene, tolerance), covered(scene, tolerance, heights)
    assert shapely.to_wkb(whole[0]).tolist() == shapely.to_wkb(cut[0]).tolist()
    np.testing.assert_array_equal(whole[1], cut[1])


@given(scenes(), st.integers(0, 3), st.booleans())
def test_outlines_turn_with_the_scene(scene: Scene, quarters: int, mirrored: bool) -> None:  # noqa: FBT001 - drawn
    def turn(array: UInt8) -> UInt8:
        flipped = array[..., ::-1] if mirrored else array
        return np.ascontiguousarray(np.rot90(flipped, quarters, axes=(-2, -1)))

    def turn_points(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        height, width = scene[0].shape
        if mirrored:
            x = width - x
        for _ in range(quarters):
            x, y, width, height = y, width - x, height, width
        return np.stack([x, y], axis=1)

    there, _, _ = covered((turn(scene[0]), turn(scene[1])))
    here = shapely.transform(covered(scene)[0], turn_points)
    canonical = [shapely.to_wkb(shapely.normalize(polygons)) for polygons in (here, there)]
    assert sorted(canonical[0]) == sorted(canonical[1])


@given(scenes(), tolerances, st.randoms(use_true_random=False))
def test_the_numbers_of_classes_do_not_matter(scene: Scene, tolerance: float | None, random: Any) -> None:
    classes, scores = scene
    order = list(range(len(scores)))
    random.shuffle(order)
    renamed = np.array([*order, *[NODATA] * (256 - len(order))], np.uint8)[classes]
    shuffled = np.empty_like(scores)
    shuffled[order] = scores
    before, after = covered(scene, tolerance), covered((renamed, shuffled), tolerance)
    assert shapely.to_wkb(before[0]).tolist() == shapely.to_wkb(after[0]).tolist()


def test_a_scene_of_one_class_is_its_frame() -> None:
    scene = np.zeros((4, 9), np.uint8), np.full((1, 4, 9), 200, np.uint8)
    (polygon,), _, _ = covered(scene, 0.5)
    assert polygon.normalize().wkt == "POLYGON ((0 0, 0 4, 9 4, 9 0, 0 0))"


def test_missing_data_keeps_its_pixels() -> None:
    land = make_landcover(60, 60, seed=2, blank=0.3)
    polygons, _, _ = covered((land.classes, land.scores), 0.75)
    rows, cols = np.nonzero(land.classes == NODATA)
    holes = shapely.union_all(shapely.box(cols, rows, cols + 1, rows + 1))
    missing = shapely.box(0, 0, 60, 60).difference(shapely.union_all(polygons))
    assert missing.symmetric_difference(holes).area == pytest.approx(0, abs=1e-9)


def test_the_outline_is_where_the_scores_cross() -> None:
    # Scores fall linearly to the right and rise the other way; they are equal at x = 2.25.
    falling = np.round(100 - 40 * (np.arange(5) + 0.5 - 2.25)).astype(np.uint8)
    scores = np.stack([np.tile(falling, (3, 1)), np.tile(200 - falling, (3, 1))])
    polygons, class_ids, _ = covered((scores.argmax(0).astype(np.uint8), scores), 0.5)
    assert [polygon.bounds for polygon in polygons] == [(0, 0, 2.25, 3), (2.25, 0, 5, 3)]
    assert class_ids.tolist() == [0, 1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_error_of_stairs_is_halved_with_fewer_vertices(seed: int) -> None:
    land = make_landcover(300, 300, 6, seed=seed)
    scene = land.classes, land.scores
    polygons, class_ids, _ = covered(scene, 0.5, [64])
    stairs = np.kron(land.classes, np.ones((FINER, FINER), np.uint8))
    error = (burnt(polygons, class_ids, land.truth.shape, FINER) != land.truth).mean()
    assert error <= 0.4 * (stairs != land.truth).mean()
    exact = [
        shapely.get_num_coordinates(regions.polygons).sum()
        for regions in trace_regions(strips(scene, [300]), 300, range(6))
    ]
    assert shapely.get_num_coordinates(polygons).sum() <= 0.65 * sum(exact)


def test_simplified_outlines_turn_with_a_scene_without_ties() -> None:
    land = make_landcover(120, 120, seed=4)
    here, _, _ = covered((land.classes, land.scores), 0.5)
    there, _, _ = covered(
        (np.ascontiguousarray(land.classes[:, ::-1]), np.ascontiguousarray(land.scores[..., ::-1])), 0.5
    )
    mirrored = shapely.transform(here, lambda xy: xy * (-1, 1) + (120, 0))
    one, other = ({p.wkb for p in shapely.normalize(polygons)} for polygons in (mirrored, there))
    assert len(one & other) >= 0.95 * len(one)

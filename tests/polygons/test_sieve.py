"""Small regions go to the class that the scores speak for, whatever the strips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from support.coverages import scenes
from support.rasters import cut_scene
from synthetic.landcover_fields import make_landcover

from geoseg.arrays import Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.coverage.sieve import plan_sieve, sieved
from geoseg.polygons.trace.regions import Strip

Scene = tuple[UInt8, UInt8]
sizes = st.sampled_from([1, 2, 3, 5, 9, 30, 1000])
heights = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def own_scores(classes: UInt8, scores: UInt8) -> UInt8:
    own: UInt8 = np.take_along_axis(scores, np.minimum(classes, len(scores) - 1)[None], axis=0)[0]
    return own


def clean(scene: Scene, least: int, heights: list[int] | None = None) -> UInt8:
    cut = heights or [len(scene[0])]
    found = sieved(lambda: cut_scene(scene, cut), scene[0].shape[1], least)
    return np.concatenate([strip.classes for strip in found])


def regions_of(classes: UInt8) -> Int64:
    """Number of the 4-connected region of each pixel, 0 without data, by first pixel."""
    left = {pixel: class_id for pixel, class_id in np.ndenumerate(classes) if class_id != NODATA}
    regions = np.zeros(classes.shape, np.int64)
    count = 0
    while left:
        first = next(iter(left))
        class_id, pending = left.pop(first), [first]
        count += 1
        while pending:
            row, col = pending.pop()
            regions[row, col] = count
            for pixel in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                if left.get(pixel) == class_id:
                    del left[pixel]
                    pending.append(pixel)
    return regions


def by_definition(scene: Scene, least: int) -> UInt8:
    """The smallest region that has a neighbor, one at a time, all numbered again each time."""
    classes, scores = scene[0].copy(), scene[1].astype(int)
    while True:
        labels = regions_of(classes)
        pixels = np.bincount(labels.flat)
        for region in sorted(range(1, pixels.size), key=lambda r: (pixels[r], r)):
            own = labels == region
            beside = set(classes[ndimage.binary_dilation(own) & ~own].tolist()) - {NODATA}
            if 0 < pixels[region] < least and beside:
                classes[own] = max(sorted(beside), key=lambda c: scores[c][own].sum())
                break
        else:
            return classes


@given(scenes(), sizes, heights)
def test_the_result_is_the_definition(scene: Scene, least: int, heights: list[int]) -> None:
    np.testing.assert_array_equal(clean(scene, least, heights), by_definition(scene, least))


@given(scenes(), sizes)
def test_no_region_is_small_but_islands(scene: Scene, least: int) -> None:
    after = clean(scene, least)
    labels = regions_of(after)
    islands, _ = ndimage.label(after != NODATA)
    size = np.bincount(labels.flat)[labels]
    island_size = np.bincount(islands.flat)[islands]
    assert ((size >= least) | (size == island_size))[after != NODATA].all()


@given(scenes(), sizes)
def test_missing_data_stays_and_large_regions_keep_their_pixels(scene: Scene, least: int) -> None:
    before, after = scene[0], clean(scene, least)
    np.testing.assert_array_equal(before == NODATA, after == NODATA)
    labels = regions_of(before)
    large = np.bincount(labels.flat)[labels] >= least
    np.testing.assert_array_equal(after[large], before[large])
    assert set(after.flat) <= set(before.flat)


@given(scenes(), sizes)
def test_a_second_time_nothing_changes(scene: Scene, least: int) -> None:
    after = clean(scene, least)
    np.testing.assert_array_equal(clean((after, scene[1]), least), after)


@given(scenes(), sizes, heights, heights)
def test_both_passes_may_be_cut_differently(
    scene: Scene, least: int, first: list[int], second: list[int]
) -> None:
    plan = plan_sieve(cut_scene(scene, first), scene[0].shape[1], least)
    found = list(plan.apply(cut_scene(scene, second)))
    classes = np.concatenate([strip.classes for strip in found])
    np.testing.assert_array_equal(classes, clean(scene, least))
    own = np.concatenate([strip.scores for strip in found])
    np.testing.assert_array_equal(own, own_scores(classes, scene[1]))
    assert (np.diff(plan.top) > 0).all()


def test_one_band_tells_two_classes() -> None:
    classes = np.zeros((5, 5), np.uint8)
    classes[2, 2] = 1
    stored = np.where(classes == 1, 130, 20).astype(np.uint8)
    strip = Strip(classes, np.where(classes == 1, stored, 200 - stored), stored[None])
    (after,) = sieved(lambda: iter([strip]), 5, 2, level=100)
    assert not after.classes.any()
    assert after.scores[2, 2] == 70
    assert after.stored is strip.stored


def test_the_scores_decide_not_the_size_of_neighbors() -> None:
    classes = np.array([[0, 0, 0, 0, 2, 1, 1, 1]], np.uint8)
    scores = np.zeros((3, 1, 8), np.uint8)
    scores[:, 0, 4] = 40, 60, 100
    assert clean((classes, scores), 2).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_a_plan_holds_what_changes_only() -> None:
    land = make_landcover(200, 300, 6, seed=1)
    scene = land.classes, land.scores
    plan = plan_sieve(cut_scene(scene, [64]), 300, 12)
    after = clean(scene, 12)
    changed = after != scene[0]
    assert 0 < changed.mean() < 0.05
    assert plan.top.size < changed.sum() / 2
    assert changed.reshape(-1)[plan.top].all()


@pytest.mark.parametrize(
    ("classes", "stored", "message"),
    [
        (np.zeros((2, 3), np.uint8), None, "without bands"),
        (np.zeros((2, 4), np.uint8), np.zeros((3, 2, 4), np.uint8), "3 wide"),
        (np.zeros((2, 3), np.uint8), np.zeros((3, 1, 3), np.uint8), "as many in both"),
        (np.full((2, 3), 7, np.uint8), np.zeros((3, 2, 3), np.uint8), "class 7"),
        (np.zeros((2, 3), np.uint8), np.full((3, 2, 3), NODATA, np.uint8), "no score"),
    ],
)
def test_strips_that_do_not_fit_are_refused(classes: UInt8, stored: Any, message: str) -> None:
    with pytest.raises(GridError, match=message):
        plan_sieve([Strip(classes, classes, stored)], 3, 5)


def test_no_strips_are_no_plan() -> None:
    assert plan_sieve([], 4, 5).top.size == 0

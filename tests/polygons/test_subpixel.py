"""Sub-pixel outlines keep what the pixels say: topology, centers, nothing between, however a scene is cut."""

from __future__ import annotations

from typing import Any

import contourpy
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from support.rasters import cut_scene

from geoseg.arrays import Objects, UInt8
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.exact import exact_polygons, trace_regions
from geoseg.polygons.trace.regions import Regions


@st.composite
def stores(draw: st.DrawFn) -> tuple[UInt8, UInt8]:
    """Stored scores of two to four classes, smooth or noisy, with and without holes, and their classes."""
    height, width = draw(st.sampled_from([(1, 1), (1, 19), (13, 1), (2, 2), (9, 14), (31, 24)]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = draw(st.sampled_from([0, 0.7, 1.5, 4]))
    fields = [
        ndimage.gaussian_filter(random.standard_normal((height, width)), smooth)
        for _ in range(draw(st.integers(2, 4)))
    ]
    share = np.exp(np.stack(fields) / (np.std(fields) + 1e-9))
    stored = np.rint(200 * share / share.sum(axis=0)).astype(np.uint8)
    classes = stored.argmax(axis=0).astype(np.uint8)
    hole = random.random((height, width)) < draw(st.sampled_from([0.0, 0.03, 0.3, 1.0]))
    classes[hole], stored[:, hole] = NODATA, NODATA
    return classes, stored


def traced(classes: UInt8, stored: UInt8, rows: int, **options: Any) -> tuple[Regions, Objects, UInt8]:
    """Regions, sub-pixel polygons and their classes."""
    wanted = range(len(stored)) if options.get("level") is None else [1]
    found = list(trace_regions(cut_scene((classes, stored), [rows]), classes.shape[1], wanted, **options))
    regions = Regions.join(found)
    return regions, regions.polygons, regions.components.class_id


@given(stores())
def test_a_coverage_has_no_gap_no_overlap_and_every_pixel_center(store: tuple[UInt8, UInt8]) -> None:
    classes, stored = store
    _, polygons, ids = traced(classes, stored, len(classes))
    valid = classes != NODATA
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == pytest.approx(np.count_nonzero(valid), rel=1e-12)
    row, col = np.nonzero(valid)
    point, polygon = shapely.STRtree(polygons).query(shapely.points(col + 0.5, row + 0.5), predicate="within")
    assert np.array_equal(point, np.arange(row.size))
    assert np.array_equal(ids[polygon], classes[row, col])
    exact = list(
        exact_polygons(
            [(s.classes, s.scores) for s in cut_scene(store, [99])], classes.shape[1], range(len(stored))
        )
    )
    assert len(polygons) == sum(map(len, exact))


@given(stores(), st.integers(1, 7))
def test_strips_of_any_height_give_the_same_bits(store: tuple[UInt8, UInt8], rows: int) -> None:
    whole, parts = traced(*store, len(store[0])), traced(*store, rows)
    assert (shapely.to_wkb(whole[1]) == shapely.to_wkb(parts[1])).all()
    for name in ("p10", "max_score", "contrast"):
        np.testing.assert_array_equal(getattr(whole[0].detail, name), getattr(parts[0].detail, name))


@given(stores())
def test_statistics_are_those_of_the_regions_pixels(store: tuple[UInt8, UInt8]) -> None:
    classes, stored = store
    for class_id in range(len(stored)):
        labels, count = ndimage.label(classes == class_id)
        strips = cut_scene((classes, stored), [3])
        found = Regions.join([*trace_regions(strips, classes.shape[1], [class_id])])
        assert found.detail is not None
        assert len(found) == count
        around = np.pad(classes, 1, constant_values=NODATA)
        scores = np.pad(stored[class_id].astype(int), 1)
        known = zip(
            found.components.first,
            found.detail.p10,
            found.detail.max_score,
            found.detail.contrast,
            strict=True,
        )
        for pixel, least, most, contrast in known:
            inside = np.sort(stored[class_id][labels == labels.flat[pixel]])
            assert most == inside[-1]
            assert least == inside[-(-len(inside) // 10) - 1]
            own = np.argwhere(labels == labels.flat[pixel]) + 1
            off = [
                (abs(scores[tuple(one)] - 100) + abs(scores[other] - 100)) // 2
                for one in own
                for other in map(tuple, one + np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]))
                if around[other] not in (class_id, NODATA)
            ]
            np.testing.assert_array_equal(contrast, sum(off) / (100 * len(off)) if off else np.nan)


@pytest.mark.parametrize("seed", range(4))
def test_one_class_on_a_background_has_the_iso_line_of_marching_squares(seed: int) -> None:
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.standard_normal((60, 80)), 2.5)
    stored = np.rint(100 + 90 * field / np.abs(field).max()).astype(np.uint8)
    stored[0] = stored[-1] = stored[:, 0] = stored[:, -1] = 0
    _, polygons, _ = traced((stored >= 100).astype(np.uint8), stored[None], 60, level=99.5, touching=False)
    lines = contourpy.contour_generator(z=stored.astype(float), name="serial").lines(99.5)
    oracle = shapely.multilinestrings([shapely.linestrings(np.asarray(line) + 0.5) for line in lines])
    ours = shapely.union_all(shapely.boundary(polygons))
    # contourpy joins diagonal pixels at some saddles; everywhere else both are the same line, to 1/512 px.
    near = shapely.buffer(oracle, 1.5 / 256)
    assert shapely.length(shapely.intersection(ours, near)) > 0.98 * shapely.length(ours)
    assert shapely.length(ours) == pytest.approx(shapely.length(oracle), rel=0.02)


@given(stores())
def test_turning_a_scene_turns_its_outlines(store: tuple[UInt8, UInt8]) -> None:
    classes, stored = store
    height = classes.shape[0]
    _, polygons, ids = traced(classes, stored, height)
    _, turned, turned_ids = traced(classes[::-1].copy(), stored[:, ::-1].copy(), height)
    back = shapely.transform(turned, lambda xy: np.stack([xy[:, 0], height - xy[:, 1]], axis=1))
    for class_id in range(len(stored)):
        one, other = (
            shapely.union_all(polygons[ids == class_id]),
            shapely.union_all(back[turned_ids == class_id]),
        )
        # A crossing half-way between two steps is rounded to the even one from either side.
        assert shapely.area(shapely.symmetric_difference(one, other)) <= shapely.length(one) / 256


def test_regions_that_meet_at_a_point_share_it_or_keep_away() -> None:
    stored = np.array([[0, 0, 0, 0], [0, 180, 20, 0], [0, 20, 180, 0], [0, 0, 0, 0]], np.uint8)
    classes = (stored >= 100).astype(np.uint8)
    _, apart, _ = traced(classes, stored[None], 4, level=99.5, touching=False)
    assert shapely.distance(*apart) > 0.2
    _, together, _ = traced(classes, stored[None], 4, level=99.5, touching=True)
    assert shapely.intersection(*together) == shapely.Point(2, 2)

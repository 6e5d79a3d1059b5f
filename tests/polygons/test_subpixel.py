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
from geoseg.polygons.trace.components import Components
from geoseg.polygons.trace.edges import Edges
from geoseg.polygons.trace.exact import exact_polygons, trace_regions
from geoseg.polygons.trace.regions import Detail, Regions
from geoseg.polygons.trace.subpixel import edge_contrast, outline, polygons_of

NONE = np.zeros(0, np.uint8)
EMPTY = Regions(np.zeros(0, np.object_), Components.none(), Detail(Edges.none(), NONE, NONE))


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


def traced(classes: UInt8, stored: UInt8, rows: int, **options: Any) -> tuple[list[Regions], Objects, UInt8]:
    """Regions, sub-pixel polygons and their classes."""
    wanted = range(len(stored)) if options.get("level") is None else [1]
    found = list(trace_regions(cut_scene((classes, stored), [rows]), classes.shape[1], wanted, **options))
    polygons = [polygons_of(*outline(regions, classes.shape[1])) for regions in found if len(regions)]
    found = found or [EMPTY]
    ids = [regions.components.class_id for regions in found]
    return found, np.concatenate([np.zeros(0, np.object_), *polygons]), np.concatenate(ids)


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
    for name in ("p10", "max_score"):
        values = [np.concatenate([getattr(r.detail, name) for r in found]) for found in (whole[0], parts[0])]
        assert np.array_equal(*values)
    contrast = [np.concatenate([edge_contrast(r) for r in found]) for found in (whole[0], parts[0])]
    assert np.array_equal(*contrast, equal_nan=True)


@given(stores())
def test_statistics_are_those_of_the_regions_pixels(store: tuple[UInt8, UInt8]) -> None:
    classes, stored = store
    for class_id in range(len(stored)):
        labels, count = ndimage.label(classes == class_id)
        found = [EMPTY, *trace_regions(cut_scene((classes, stored), [3]), classes.shape[1], [class_id])]
        first = np.concatenate([regions.components.first for regions in found])
        low = np.concatenate([regions.detail.p10 for regions in found if regions.detail])
        peak = np.concatenate([regions.detail.max_score for regions in found if regions.detail])
        assert len(first) == count
        for pixel, least, most in zip(first.tolist(), low.tolist(), peak.tolist(), strict=True):
            inside = np.sort(stored[class_id][labels == labels.flat[pixel]])
            assert most == inside[-1]
            assert least == inside[-(-len(inside) // 10) - 1]


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

"""Measures between predicted and true polygons, against shapely and by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import affinity
from support.vectors import geoms

from geoseg.errors import GridError
from geoseg.score.objects.shapes import right_angles, shape_measures

STEP = 0.05

sizes = st.floats(1, 20)
places = st.floats(-5, 5)


@st.composite
def shapes(draw: st.DrawFn) -> shapely.Geometry:
    """A turned rectangle, an L, a rectangle with a hole, or two apart."""
    width, height = draw(sizes), draw(sizes)
    kind = draw(st.sampled_from(["rectangle", "L", "hole", "two"]))
    shape: shapely.Geometry = shapely.box(0, 0, width, height)
    if kind == "L":
        shape = shape.difference(shapely.box(width / 2, height / 2, width + 1, height + 1))
    elif kind == "hole":
        shape = shape.difference(shapely.box(width / 4, height / 4, width / 2, height / 2))
    elif kind == "two":
        shape = shape.union(shapely.box(2 * width, 0, 3 * width, height))
    turned = affinity.rotate(shape, draw(st.floats(0, 180)), origin=(0, 0))
    return affinity.translate(turned, draw(places), draw(places))


def polis_by_hand(one: shapely.Geometry, other: shapely.Geometry) -> float:
    def way(a: shapely.Geometry, b: shapely.Geometry) -> float:
        rings = shapely.get_rings(shapely.get_parts(a))
        corners = np.concatenate([shapely.get_coordinates(ring)[:-1] for ring in rings])
        return float(shapely.distance(shapely.points(corners), b.boundary).mean())

    return (way(one, other) + way(other, one)) / 2


def tangent_by_hand(one: shapely.Geometry, other: shapely.Geometry, count: int) -> list[float]:
    """Angles at even points of a simple polygon, each to the other's nearest edge."""
    ends = shapely.get_coordinates(other)
    edges = [shapely.LineString(pair) for pair in pairwise(ends)]
    ring, found = one.exterior, []
    for place in (np.arange(count) + 0.5) * ring.length / count:
        point = ring.interpolate(place)
        before, after = ring.interpolate(place - 1e-6), ring.interpolate(place + 1e-6)
        edge = min(edges, key=point.distance)
        (x0, y0), (x1, y1) = edge.coords
        angle = math.atan2(after.y - before.y, after.x - before.x) - math.atan2(y1 - y0, x1 - x0)
        turned = math.degrees(angle) % 180
        found.append(min(turned, 180 - turned))
    return found


@pytest.mark.slow
@given(shapes(), shapes())
def test_distances_and_iou_are_those_of_shapely(one: shapely.Geometry, other: shapely.Geometry) -> None:
    found = shape_measures(geoms(one), geoms(other), step=STEP)
    assert found.iou[0] == pytest.approx(one.intersection(other).area / one.union(other).area, abs=1e-9)
    assert found.polis[0] == pytest.approx(polis_by_hand(one, other), rel=1e-9, abs=1e-12)
    fine = [shapely.segmentize(shape.boundary, STEP / 4) for shape in (one, other)]
    assert found.hausdorff[0] == pytest.approx(shapely.hausdorff_distance(*fine), abs=STEP)


@given(shapes(), shapes())
def test_iou_polis_and_hausdorff_are_symmetric(one: shapely.Geometry, other: shapely.Geometry) -> None:
    there = shape_measures(geoms(one), geoms(other), step=STEP)
    back = shape_measures(geoms(other), geoms(one), step=STEP)
    assert there.iou == pytest.approx(back.iou, abs=1e-12)
    assert there.polis == pytest.approx(back.polis, rel=1e-12)
    assert there.hausdorff == pytest.approx(back.hausdorff, rel=1e-12)


@given(shapes())
def test_a_perfect_polygon_has_perfect_measures(shape: shapely.Geometry) -> None:
    found = shape_measures(geoms(shape), geoms(shape.reverse()), step=STEP).summary()
    assert found.iou == pytest.approx(1)
    assert found.c_iou == pytest.approx(1)
    assert found.polis == pytest.approx(0, abs=1e-12)
    assert found.hausdorff == pytest.approx(0, abs=1e-9)
    assert found.tangent_error == pytest.approx(0, abs=1e-5)
    assert found.n_ratio == 1
    assert found.right_angles == 1
    assert found.area_bias == pytest.approx(0, abs=1e-12)
    assert found.invalid == found.missing == 0


@given(shapes(), shapes(), st.floats(0.5, 100))
def test_distances_scale_with_the_unit_and_the_rest_does_not(
    one: shapely.Geometry, other: shapely.Geometry, scale: float
) -> None:
    meters = shape_measures(geoms(one), geoms(other), step=STEP)
    feet = shape_measures(
        *(geoms(affinity.scale(shape, scale, scale, origin=(0, 0))) for shape in (one, other)),
        step=STEP * scale,
    )
    assert feet.polis == pytest.approx(meters.polis * scale, rel=1e-6)
    assert feet.hausdorff == pytest.approx(meters.hausdorff * scale, rel=1e-6, abs=STEP * scale)
    assert feet.iou == pytest.approx(meters.iou, abs=1e-9)


@given(st.lists(st.tuples(shapes(), shapes()), min_size=1, max_size=5))
def test_each_pair_is_measured_as_if_it_were_alone(
    pairs: list[tuple[shapely.Geometry, shapely.Geometry]],
) -> None:
    one, other = (geoms(*shapes) for shapes in zip(*pairs, strict=True))
    together = shape_measures(one, other, step=0.5)
    for place in range(len(pairs)):
        alone = shape_measures(one[[place]], other[[place]], step=0.5)
        for name in alone.__dataclass_fields__:
            assert getattr(together, name)[place] == pytest.approx(getattr(alone, name)[0], nan_ok=True)


@given(st.floats(3, 20), st.floats(3, 20), st.floats(1, 40))
def test_the_tangent_error_is_that_of_a_slow_loop(width: float, height: float, turn: float) -> None:
    true = shapely.box(0, 0, width, height)
    drawn = affinity.rotate(true, turn)
    step = true.length / 40
    found = shape_measures(geoms(drawn), geoms(true), step=step).tangent_error[0]
    count = math.ceil(drawn.length / step - 1e-9)
    sides = np.hypot(*np.diff(shapely.get_coordinates(drawn), axis=0).T)
    places = (np.arange(count) + 0.5) * drawn.length / count
    assume(np.abs(places - np.cumsum(sides)[:, None]).min() > 1e-5)  # at a corner two directions are right
    assert found == pytest.approx(np.quantile(tangent_by_hand(drawn, true, count), 0.95), abs=1e-3)


def test_a_hausdorff_distance_in_the_middle_of_an_edge_is_found() -> None:
    square = shapely.box(0, 0, 10, 10)
    notched = shapely.Polygon([(0, 0), (10, 0), (10, 10), (5, 6), (0, 10)])
    # Vertices alone would see 4 from the notch, and no more from the square's corners.
    found = shape_measures(geoms(square), geoms(notched), step=0.01).hausdorff[0]
    assert found == pytest.approx(4, abs=0.01)
    edge = shapely.Polygon([(0, 0), (10, 0), (10, 10), (0, 10)])
    frame = shapely.Polygon([(0, 0), (10, 0), (10, 10), (6, 10), (6, 1), (4, 1), (4, 10), (0, 10)])
    between = shape_measures(geoms(edge), geoms(frame), step=0.01).hausdorff[0]
    assert between == pytest.approx(4, abs=0.01)  # (4, 5), in the middle of the slit's side
    assert shapely.hausdorff_distance(edge.boundary, frame.boundary) < 2


def test_c_iou_takes_superfluous_vertices_off() -> None:
    true = shapely.box(0, 0, 8, 8)
    same = shapely.segmentize(true, 4)  # 8 vertices
    assert shape_measures(geoms(same), geoms(true), step=1).c_iou[0] == pytest.approx(1 - 4 / 12)


def test_right_angles_are_counted_within_a_degree_and_at_holes_and_notches() -> None:
    square, hole = shapely.box(0, 0, 8, 8), shapely.box(2, 2, 4, 4)
    notch = square.difference(shapely.box(6, 6, 9, 9))
    skewed = affinity.skew(square, 1.5)
    nearly = affinity.skew(square, 0.5)
    stair = shapely.segmentize(square, 4)  # every second vertex is straight
    found = right_angles(
        geoms(square.difference(hole), notch, skewed, nearly, stair, shapely.Point(0, 0).buffer(1))
    )
    assert found.tolist() == [1, 1, 0, 1, 0.5, 0]
    assert right_angles(geoms(skewed), tolerance=2).tolist() == [1]


def test_missing_polygons_count_in_the_iou_alone() -> None:
    square = shapely.box(0, 0, 10, 10)
    found = shape_measures(geoms(square, None, shapely.Polygon()), geoms(square, square, square), step=STEP)
    assert found.iou.tolist() == found.c_iou.tolist() == [1, 0, 0]
    assert np.isnan(found.polis[1:]).all()
    assert np.isnan(found.hausdorff[1:]).all()
    assert np.isnan(found.tangent_error[1:]).all()
    together = found.summary()
    assert (together.pairs, together.missing, together.invalid) == (3, 2, 0)
    assert together.iou == pytest.approx(1 / 3)
    assert (together.polis, together.n_ratio, together.area_bias) == (0, 1, 0)
    nothing = found.chosen(found.present & (found.iou < 1)).summary()
    assert nothing.pairs == 0
    assert np.isnan(nothing.iou)


def test_invalid_polygons_are_counted_and_repaired_for_the_iou() -> None:
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    found = shape_measures(geoms(bow), geoms(shapely.box(0, 0, 10, 10)), step=STEP)
    assert found.summary().invalid == 1
    assert found.iou[0] == pytest.approx(0.5)


def test_what_has_no_area_or_no_partner_is_refused() -> None:
    square = geoms(shapely.box(0, 0, 1, 1))
    with pytest.raises(GridError, match="pairs"):
        shape_measures(square, geoms(), step=1)
    with pytest.raises(GridError, match="got linestring"):
        shape_measures(square, geoms(shapely.LineString([(0, 0), (1, 1)])), step=1)
    with pytest.raises(GridError, match="above zero, got 0"):
        shape_measures(square, square, step=0)
    assert shape_measures(geoms(), geoms(), step=1).summary().pairs == 0

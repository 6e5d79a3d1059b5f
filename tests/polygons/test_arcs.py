"""Simplified outlines keep every pixel center, every node and both neighbors of an arc together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.coverages import Deformed, deformed, polygons_of, scenes
from support.vectors import burned
from synthetic.landcover_fields import FINER, LandCover, make_landcover

from geoseg.arrays import UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.coverage.arcs import simplify_rings
from geoseg.polygons.trace.rings import Rings

tolerances = st.sampled_from([0.0, 0.1, 0.5, 0.75, 3.0])


def simplified(found: Deformed, tolerance: float) -> NDArray[Any]:
    return polygons_of(simplify_rings(found.rings, tolerance), found.first_ring)


@given(scenes(), tolerances)
def test_a_simplified_coverage_is_a_coverage_of_the_same_pixels(
    scene: tuple[UInt8, UInt8], tolerance: float
) -> None:
    classes, scores = scene
    found = deformed(classes, scores)
    polygons = simplified(found, tolerance)
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == np.count_nonzero(classes != NODATA)
    np.testing.assert_array_equal(burned(polygons, found.class_id, classes.shape), classes)
    np.testing.assert_array_equal(
        shapely.get_num_interior_rings(polygons), shapely.get_num_interior_rings(found.exact)
    )


@given(scenes(), tolerances)
def test_nothing_moves_further_than_the_tolerance_and_nodes_not_at_all(
    scene: tuple[UInt8, UInt8], tolerance: float
) -> None:
    rings = deformed(*scene).rings
    less = simplify_rings(rings, tolerance)
    assert len(less) == len(rings)
    np.testing.assert_array_equal(less.xy[less.node], rings.xy[rings.node])
    np.testing.assert_array_equal(less.xy * 256, np.rint(less.xy * 256))
    for n in range(len(rings)):
        before = shapely.LinearRing(rings.xy[rings.start[n] : rings.start[n + 1]])
        after = shapely.LinearRing(less.xy[less.start[n] : less.start[n + 1]])
        assert shapely.hausdorff_distance(before, after, densify=0.2) <= tolerance + 1e-9


def turned(rings: Rings, shift: int) -> Rings:
    """The same rings, walked the other way from another vertex."""
    order = [
        np.roll(np.arange(a, b)[::-1], shift) for a, b in zip(rings.start[:-1], rings.start[1:], strict=True)
    ]
    taken = np.concatenate([np.zeros(0, np.int64), *order])
    return Rings(rings.xy[taken], rings.start, rings.node[taken], rings.fixed[taken])


def as_sets(rings: Rings) -> list[set[tuple[float, float]]]:
    points = list(map(tuple, rings.xy.tolist()))
    return [set(points[a:b]) for a, b in zip(rings.start[:-1], rings.start[1:], strict=True)]


@given(scenes(), tolerances, st.integers(0, 9))
def test_a_ring_is_simplified_the_same_from_either_side(
    scene: tuple[UInt8, UInt8], tolerance: float, shift: int
) -> None:
    rings = deformed(*scene).rings
    one, other = simplify_rings(rings, tolerance), simplify_rings(turned(rings, shift), tolerance)
    assert as_sets(one) == as_sets(other)


@given(scenes(), tolerances)
def test_where_a_scene_lies_does_not_matter(scene: tuple[UInt8, UInt8], tolerance: float) -> None:
    rings = deformed(*scene).rings
    offset = np.array([123_457.0, 987_654.0])
    moved = simplify_rings(Rings(rings.xy + offset, rings.start, rings.node, rings.fixed), tolerance)
    np.testing.assert_array_equal(moved.xy - offset, simplify_rings(rings, tolerance).xy)


@given(scenes())
def test_without_tolerance_outlines_stay(scene: tuple[UInt8, UInt8]) -> None:
    found = deformed(*scene)
    before, after = polygons_of(found.rings, found.first_ring), simplified(found, 0)
    assert shapely.equals(before, after).all()
    np.testing.assert_array_equal(shapely.area(before), shapely.area(after))


def test_a_straight_edge_of_missing_data_has_no_vertices() -> None:
    square = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [2, 3], [2, 0], [1, 0]], float)
    rings = Rings(square, np.array([0, 7]), np.zeros(7, bool), np.ones(7, bool))
    assert simplify_rings(rings, 0.5).xy.tolist() == [[0, 0], [0, 3], [2, 3], [2, 0]]


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(GridError, match="tolerance"):
        simplify_rings(
            Rings(np.zeros((0, 2)), np.zeros(1, int), np.zeros(0, bool), np.zeros(0, bool)), tolerance
        )


# --- how well it does, where the truth is known -----------------------------------------------------------


@pytest.fixture(scope="module")
def land() -> tuple[LandCover, Deformed]:
    scene = make_landcover(240, 240, seed=3)
    return scene, deformed(scene.classes, scene.scores)


def off(polygons: NDArray[Any], found: Deformed, scene: LandCover) -> float:
    """Share of the true places that lie in a polygon of another class."""
    return float((burned(polygons, found.class_id, scene.truth.shape, finer=FINER) != scene.truth).mean())


def test_outlines_halve_the_error_of_stairs_with_fewer_vertices(land: tuple[LandCover, Deformed]) -> None:
    scene, found = land
    polygons = simplified(found, 0.5)
    assert off(polygons, found, scene) <= 0.4 * off(found.exact, found, scene)
    vertices = shapely.get_num_coordinates
    assert vertices(polygons).sum() <= 0.6 * vertices(found.exact).sum()


def test_shapely_needs_more_vertices_for_a_larger_error(land: tuple[LandCover, Deformed]) -> None:
    scene, found = land
    ours = simplified(found, 0.5)
    theirs = shapely.coverage_simplify(
        polygons_of(found.rings, found.first_ring), 0.5, simplify_boundary=False
    )
    assert off(ours, found, scene) < off(theirs, found, scene)
    assert shapely.get_num_coordinates(ours).sum() < 0.9 * shapely.get_num_coordinates(theirs).sum()
    # Nothing holds pixel centers there.
    assert (burned(theirs, found.class_id, scene.classes.shape) != scene.classes).any()

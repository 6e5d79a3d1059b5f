"""What two polygons share is what exact arithmetic says, for any rings."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.affinity import rotate, translate

from geoseg.polygons.shared_area import iou_of_pairs, shared_areas

Line = tuple[Fraction, Fraction, Fraction, Fraction, int]


def star(random: np.random.Generator, points: int, size: float) -> shapely.Polygon:
    """A polygon of many corners round a point near the origin, with a hole."""
    angles = np.sort(random.uniform(0, 2 * np.pi, points))
    angles[:3] = 0, 2, 4
    out = []
    for low, high in ((0.4, 1.0), (0.1, 0.3)):
        radius = random.uniform(low, high, points) * size
        ring = np.stack([np.cos(np.sort(angles)), np.sin(np.sort(angles))], axis=1) * radius[:, None]
        out.append(np.round((ring + random.uniform(-1, 1, 2)) * 1024) / 1024)
    whole = shapely.make_valid(shapely.Polygon(out[0])).difference(
        shapely.make_valid(shapely.Polygon(out[1]))
    )
    return max(shapely.get_parts(whole), key=shapely.area)


def lines(polygon: shapely.Polygon) -> list[Line]:
    """Its edges from left to right, in fractions, and whether the polygon is below (1) or above (-1)."""
    out = []
    oriented = shapely.orient_polygons(polygon)
    for ring in (oriented.exterior, *oriented.interiors):
        points = [(Fraction(x), Fraction(y)) for x, y in ring.coords]
        for a, b in pairwise(points):
            if a[0] != b[0]:
                out.append((a[0], b[0], a[1], b[1], -1) if a < b else (b[0], a[0], b[1], a[1], 1))
    return out


def exact(one: shapely.Polygon, other: shapely.Polygon) -> Fraction:
    """The area of the intersection: over every slab between two neighboring breaks the lower line counts."""
    total = Fraction(0)
    for x0, x1, y0, y1, sign in lines(one):
        for z0, z1, w0, w1, other_sign in lines(other):
            left, right = max(x0, z0), min(x1, z1)
            if left >= right:
                continue
            at = [y0 + (x - x0) * (y1 - y0) / (x1 - x0) for x in (left, right)]
            there = [w0 + (x - z0) * (w1 - w0) / (z1 - z0) for x in (left, right)]
            before, after = at[0] - there[0], at[1] - there[1]
            breaks = [Fraction(0), Fraction(1)]
            if before * after < 0:
                breaks.insert(1, before / (before - after))
            for a, b in pairwise(breaks):
                low = [min(at[0] + t * (at[1] - at[0]), there[0] + t * (there[1] - there[0])) for t in (a, b)]
                total += sign * other_sign * (low[0] + low[1]) / 2 * (b - a) * (right - left)
    return total


@given(st.integers(0, 1 << 30), st.integers(3, 12))
def test_the_area_is_that_of_exact_arithmetic(seed: int, points: int) -> None:
    random = np.random.default_rng(seed)
    pair = star(random, points, 8), star(random, points, 8)
    far = [translate(one, 5000 + 3 * n, 9000) for n, one in enumerate(pair)]
    for one, other in (pair, far):
        truth = float(exact(one, other))
        (area,) = shared_areas(np.array([one]), np.array([other]))
        assert abs(area - truth) < 1e-12
        (iou,) = iou_of_pairs(np.array([one]), np.array([other]))
        assert iou == pytest.approx(truth / (one.area + other.area - truth), abs=1e-13)


@given(st.integers(0, 1 << 30))
def test_outlines_of_many_edges_share_what_geos_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    one = np.array([star(random, n, 30) for n in (3, 20, 100, 200, 400)])
    other = np.array([star(random, n, 30) for n in (300, 300, 300, 300, 400)])
    area = shared_areas(one, other)
    assert np.abs(area - shapely.area(shapely.intersection(one, other))).max() < 1e-9
    assert np.abs(area - shared_areas(other, one)).max() < 1e-10


def test_neither_winding_nor_start_matters() -> None:
    random = np.random.default_rng(3)
    one, other = star(random, 9, 5), star(random, 9, 5)
    turned = shapely.Polygon(one.exterior.coords[::-1], [hole.coords for hole in one.interiors])
    assert one.interiors
    areas = shared_areas(np.array([one, shapely.reverse(one), turned]), np.repeat(other, 3))
    assert np.ptp(areas) < 1e-13


def test_what_lies_apart_or_is_nothing_shares_nothing() -> None:
    box = shapely.box(0, 0, 4, 2)
    others = [
        shapely.box(4, 0, 6, 2), shapely.box(0, 2, 4, 3), shapely.box(9, 9, 10, 10), shapely.Polygon(), box,
        shapely.box(1, -5, 2, 9), rotate(shapely.box(1, 0, 3, 2), 45),
        shapely.Polygon([(0, 0), (8, 0), (0, 4)]),
    ]  # fmt: skip
    areas = shared_areas(np.repeat(box, len(others)), np.array(others))
    assert areas.tolist()[:6] == [0, 0, 0, 0, 8, 2]
    assert areas[6] == pytest.approx(4 - 2 * (np.sqrt(2) - 1) ** 2)
    assert areas[7] == 8  # its slope leads through the corner
    nothing: NDArray[np.object_] = np.zeros(0, np.object_)
    assert shared_areas(nothing, nothing).shape == (0,)

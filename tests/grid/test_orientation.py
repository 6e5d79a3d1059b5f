"""Laws of the way a mirrored grid is read as seen from above."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.geobox import GeoBox
from geoseg.grid.orientation import Orientation
from geoseg.grid.window import Window

UTM = "EPSG:26914"


def rows_flipped(box: GeoBox) -> GeoBox:
    """A grid as a file has it whose rows come in the other order; rounded as other programs do."""
    flip = Affine(1, 0, 0, 0, -1, box.height)
    return GeoBox(box.height, box.width, box.transform @ flip, box.crs)


def columns_flipped(box: GeoBox) -> GeoBox:
    flip = Affine(-1, 0, box.width, 0, 1, 0)
    return GeoBox(box.height, box.width, box.transform @ flip, box.crs)


@st.composite
def boxes(draw: st.DrawFn, *, turned: bool = False) -> GeoBox:
    x, y = draw(st.integers(100_000, 900_000)), draw(st.integers(0, 9_000_000))
    size = draw(st.sampled_from([0.05, 0.3, 0.5, 1 / 3, 10.0, 30.0]))
    place = Affine.translation(x, y)
    if turned:
        place @= Affine.rotation(draw(st.floats(-180, 180)))
    height, width = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    return GeoBox(height, width, place @ Affine.scale(size, -size), UTM)


@given(boxes())
def test_a_mirrored_grid_becomes_the_one_that_it_was_mirrored_from(box: GeoBox) -> None:
    """To the bit: the corner of the original is a float, however the sum of its pixels was rounded."""
    assert Orientation.of(box) == Orientation(box, box, "nothing")
    for mirror, what in ((rows_flipped, "rows"), (columns_flipped, "columns")):
        stored = mirror(box)
        found = Orientation.of(stored)
        assert (found.stored, found.flipped) == (stored, what)
        assert found.grid == box
        signs = [math.copysign(1, value) for value in found.grid.transform[:6] if value == 0]
        assert set(signs) <= {1.0}, "no -0.0, which is another text in a file"


@given(boxes(turned=True))
def test_a_turned_grid_stays_and_a_turned_mirror_image_is_flipped_once(box: GeoBox) -> None:
    assert Orientation.of(box).grid is box
    for mirror in (rows_flipped, columns_flipped):
        stored = mirror(box)
        found = Orientation.of(stored)
        a, e = stored.transform.a, stored.transform.e
        assert found.flipped == ("columns" if a < 0 and e < 0 else "rows")
        assert found.grid.transform.determinant < 0
        assert Orientation.of(found.grid).flipped == "nothing"
        np.testing.assert_allclose(sorted(found.grid.corners), sorted(stored.corners), rtol=0, atol=1e-6)


@given(boxes(turned=True), st.sampled_from([rows_flipped, columns_flipped]), st.data())
def test_windows_of_both_orders_hold_the_same_ground(
    box: GeoBox, mirror: object, data: st.DataObject
) -> None:
    assert callable(mirror)
    found = Orientation.of(mirror(box))
    row, col = data.draw(st.integers(-9, box.height)), data.draw(st.integers(-9, box.width))
    window = Window(row, col, data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50)))
    there = found.window(window)
    assert found.window(there) == window
    one, other = sorted(found.grid[window].corners), sorted(found.stored[there].corners)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("crs", "transform", "flipped"),
    [
        ("EPSG:4326", Affine(1e-6, 0, -97.7, 0, -1e-6, 30.2), "nothing"),
        ("EPSG:4326", Affine(1e-6, 0, 179.99995, 0, 1e-6, -17), "rows"),  # across the antimeridian
        ("EPSG:3413", Affine(10, 0, -500, 0, -10, 500), "nothing"),  # around the pole
        ("EPSG:3413", Affine(10, 0, -500, 0, 10, -500), "rows"),
        ("EPSG:3031", Affine(-10, 0, 500, 0, -10, 500), "columns"),
        ("EPSG:2053", Affine(-0.3, 0, 1000, 0, 0.3, 3_353_000), "nothing"),  # x is west, y is south
        ("EPSG:2053", Affine(-0.3, 0, 1000, 0, -0.3, 3_353_000), "columns"),
        ("EPSG:5513", Affine(0, 0.3, 1_043_000, -0.3, 0, 743_000), "nothing"),  # x is south, y is west
        ("EPSG:5513", Affine(0, -0.3, 1_043_000, -0.3, 0, 743_000), "rows"),
        ("EPSG:26914", Affine(-0.3, 0, 617_100, 0, 0.3, 3_353_000), "nothing"),  # turned by half
        ("EPSG:4326", Affine(1, 0, -180, 0, -1, 300), "nothing"),  # no place on the globe: by its sign
        ("EPSG:4326", Affine(1, 0, -180, 0, 1, 200), "rows"),
    ],
)
def test_the_ground_decides_what_is_a_mirror_image(crs: str, transform: Affine, flipped: str) -> None:
    assert Orientation.of(GeoBox(100, 100, transform, crs)).flipped == flipped

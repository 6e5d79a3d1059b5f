"""Pixels of one grid among the pixels of another."""

from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid.crs import equal_crs
from geoseg.grid.geobox import GeoBox
from geoseg.grid.pixel_map import PixelMap, may_overlap
from geoseg.grid.window import Window

BOX = GeoBox(40, 50, Affine(0.3, 0, 621000, 0, -0.3, 3349000), "EPSG:26914")


@given(st.integers(-60, 60), st.integers(-60, 60))
def test_a_center_is_in_the_pixel_that_holds_it(row: int, col: int) -> None:
    window = Window(row, col, 20, 30)
    rows, cols, inside = PixelMap.between(BOX, BOX).source_pixels(window)
    places = np.mgrid[row : window.row_stop, col : window.col_stop]
    wanted = (places >= 0).all(axis=0) & (places[0] < 40) & (places[1] < 50)
    assert np.array_equal(inside, wanted)
    assert np.array_equal(rows[inside], places[0][wanted])
    assert np.array_equal(cols[inside], places[1][wanted])


def test_another_crs_finds_the_same_ground() -> None:
    globe = GeoBox(400, 400, Affine(1e-6, 0, -97.7422, 0, -1e-6, 30.2667), "EPSG:4326")
    there = PixelMap.between(globe, BOX)
    rows, cols, inside = there.source_pixels(globe.window)
    assert inside.any()
    assert not inside.all()
    assert there.magnification < 1
    for row, col in np.argwhere(inside)[::997]:
        x, y = globe.transform @ (col + 0.5, row + 0.5)
        assert there.project is not None
        found = ~BOX.transform @ there.project.transform(x, y)
        assert (int(found[1]), int(found[0])) == (rows[row, col], cols[row, col])
    assert may_overlap(globe, BOX) == bool(inside.any())


def test_the_order_of_axes_makes_no_other_crs() -> None:
    assert equal_crs("EPSG:4326", "OGC:CRS84")
    assert not equal_crs("EPSG:26914", "EPSG:32614")

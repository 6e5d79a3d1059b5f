"""Laws of windows, grids on the ground, tiling and blend weights."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import GridError
from geoseg.grid.blend import BLENDS, AxisWeights
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution, model_grid
from geoseg.grid.tiling import WindowAxis, tile_grid
from geoseg.grid.window import Window, mirrored, shown

windows = st.builds(
    Window, st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 40), st.integers(1, 40)
)


def axes() -> st.SearchStrategy[WindowAxis]:
    return st.builds(
        lambda length, alignment, stride, halo, less: WindowAxis(
            length, stride * alignment, halo * alignment, max(0, halo - less) * alignment, alignment
        ),
        st.integers(1, 90),
        st.sampled_from([1, 2, 4, 16]),
        st.integers(1, 9),
        st.integers(0, 5),
        st.integers(0, 5),
    )


def blendable(axis: WindowAxis, blend: str) -> bool:
    return blend == "crop" or axis.stride >= 2 * axis.halo or len(axis) == 1


@given(windows, windows)
def test_intersection_holds_exactly_the_common_pixels(a: Window, b: Window) -> None:
    def pixels(w: Window) -> set[tuple[int, int]]:
        return {(r, c) for r in range(w.row, w.row_stop) for c in range(w.col, w.col_stop)}

    common = a.intersect(b)
    assert (pixels(common) if common else set()) == pixels(a) & pixels(b)
    assert a.contains(b) == (pixels(b) <= pixels(a))


@given(windows, st.integers(1, 9), st.integers(1, 9))
def test_what_a_window_shows_is_the_mirrored_image(window: Window, height: int, width: int) -> None:
    image = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    inside, place = mirrored(window, (height, width))
    pixels = image[:, *inside.slices]
    assert np.array_equal(shown(pixels, place), pixels[:, *place])
    assert np.array_equal(shown(pixels[0], place), pixels[0][place])


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 0), (-3, 4)])
def test_an_empty_window_cannot_exist(height: int, width: int) -> None:
    with pytest.raises(GridError, match="at least 1×1"):
        Window(0, 0, height, width)


@given(windows, windows, st.floats(-80, 80), st.floats(0.1, 3), st.floats(0.1, 3))
def test_a_window_of_a_window_is_the_shifted_window(
    a: Window, b: Window, angle: float, x: float, y: float
) -> None:
    transform = Affine.translation(5e5, 3e6) @ Affine.rotation(angle) @ Affine.scale(x, -y)
    box = GeoBox(50, 60, transform, "EPSG:26914")
    direct = box[b.shift(a.row, a.col)]
    assert np.allclose(box[a][b].transform, direct.transform, rtol=0, atol=1e-6)
    assert box[a][b].shape == direct.shape
    assert pickle.loads(pickle.dumps(direct)) == direct  # noqa: S301 - our own bytes
    assert hash(direct) == hash(GeoBox(*direct.shape, direct.transform, direct.crs))


@given(st.integers(1, 50), st.integers(1, 50))
def test_zooming_keeps_the_corners(height: int, width: int) -> None:
    box = GeoBox(37, 53, Affine(0.3, 0.1, 1000, 0.05, -0.4, 2000), "EPSG:26914")
    assert np.allclose(box.zoom(height, width).corners, box.corners)


@pytest.mark.parametrize(
    "transform", [Affine(1, 2, 0, 2, 4, 0), Affine(math.nan, 0, 0, 0, 1, 0), Affine(0, 0, 0, 0, 0, 0)]
)
def test_a_transform_without_area_is_refused(transform: Affine) -> None:
    with pytest.raises(GridError, match="line or to infinity"):
        GeoBox(2, 2, transform, "EPSG:26914")


@pytest.mark.parametrize(
    ("crs", "x", "y", "pixel", "meters"),
    [
        ("EPSG:26914", 621000, 3349000, 0.3, 0.3),
        ("EPSG:3857", 0, 8399737.89, 1.0, 0.5),  # 60° N: cos(60°) = 1/2
        ("EPSG:4326", 10.0, 0.0, 1 / 3600, 30.9),  # a second of arc at the equator
        ("EPSG:2263", 985000, 200000, 1.0, 0.3048),  # US survey feet
    ],
)
def test_ground_resolution_is_meters_on_the_ground(
    crs: str, x: float, y: float, pixel: float, meters: float
) -> None:
    box = GeoBox(10, 10, Affine(pixel, 0, x, 0, -pixel, y), crs)
    assert ground_resolution(box).mean == pytest.approx(meters, rel=7e-3)


def test_the_model_grid_keeps_the_footprint_and_meets_the_resolution() -> None:
    box = GeoBox(8704, 11264, Affine(0.149, 0, 9.5e6, 0, -0.149, 3.2e6), "EPSG:3857")
    grid = model_grid(box, 0.3, tolerance=0.1)
    assert np.allclose(grid.corners, box.corners)
    assert ground_resolution(grid).across == pytest.approx(0.3, rel=1e-3)
    assert model_grid(box, 0.14, tolerance=0.1) is box


@given(axes())
def test_cores_partition_the_axis_on_the_alignment(axis: WindowAxis) -> None:
    edges = [axis.core(i) for i in range(len(axis))]
    assert edges[0][0] == 0
    assert edges[-1][1] == axis.length
    assert all(a[1] == b[0] for a, b in pairwise(edges))
    assert {axis.start(i) % axis.alignment for i in range(len(axis))} == {0}
    assert all(axis.core(i)[0] < axis.core(i)[1] for i in range(len(axis)))


@given(axes())
def test_cores_have_the_halo_round_them_and_the_edge_where_the_scene_ends(axis: WindowAxis) -> None:
    for index in range(len(axis)):
        (first, stop), start = axis.core(index), axis.start(index)
        assert first - start == (axis.halo if index else axis.edge)
        context = start + axis.window - stop
        assert context >= axis.edge if index == len(axis) - 1 else context == axis.halo


@pytest.mark.parametrize("edge", [-4, 12, 2])
def test_an_edge_beyond_the_halo_or_off_the_alignment_is_refused(edge: int) -> None:
    with pytest.raises(GridError, match="edge"):
        WindowAxis(100, 16, 8, edge, 4)


@given(axes(), st.sampled_from(BLENDS))
def test_weights_sum_to_one(axis: WindowAxis, blend: str) -> None:
    if not blendable(axis, blend):
        with pytest.raises(GridError, match="blending"):
            AxisWeights(axis, blend)
        return
    weights = AxisWeights(axis, blend)
    total = np.zeros(axis.length)
    count = np.zeros(axis.length, int)
    for index in range(len(axis)):
        lo, hi = weights.support(index)
        total[lo:hi] += weights.weights(index)
        count[lo:hi] += 1
        assert (weights.weights(index) > 0).all()
    assert np.allclose(total, 1, rtol=0, atol=1e-6)
    assert (total[count == 1] == 1).all()
    assert count.max() <= 2


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 20),
    st.sampled_from([1, 4, 16]),
    st.none() | st.integers(0, 30),
)
def test_windows_are_no_larger_than_asked_and_cover_the_scene(
    height: int, width: int, halo: int, alignment: int, edge: int | None
) -> None:
    tiles = tile_grid((height, width), 128, halo, alignment, edge)
    last = tiles.window(len(tiles.rows) - 1, len(tiles.cols) - 1)
    assert last.row < height <= last.row_stop
    assert last.col < width <= last.col_stop
    assert max(tiles.rows.window, tiles.cols.window) <= 128
    assert tiles.rows.halo >= halo
    assert tiles.rows.edge >= min(halo, halo if edge is None else edge)
    whole = tile_grid((height, width), 128, halo, alignment)
    assert len(tiles) <= len(whole)
    assert tiles.overhead >= 1


@given(st.integers(1, 300), st.integers(1, 9))
def test_bands_partition_the_window_rows(height: int, size: int) -> None:
    tiles = tile_grid((height, 10), 32, 4, 4)
    rows = [row for band in tiles.window_rows(size) for row in range(band.first, band.stop)]
    assert rows == list(range(len(tiles.rows)))


def test_a_window_that_its_halos_fill_is_refused() -> None:
    with pytest.raises(GridError, match="at least 208 px"):
        tile_grid((1000, 1000), 190, 96, 16)

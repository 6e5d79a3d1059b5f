"""Laws of resampling: position decides a value, constants stay, means stay, equal grids are one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.resample import Axis, Resampler, Taps
from geoseg.grid.window import Window

CRS = "EPSG:32633"


@st.composite
def axes(draw: st.DrawFn, *, shifted: bool = True) -> Axis:
    source, target = draw(st.integers(1, 40)), draw(st.integers(1, 60))
    drift = draw(st.sampled_from([0.0, 0.0, 0.25, -0.5, 0.999])) if shifted else 0.0
    return Axis(source, target, float(source), drift)


@st.composite
def windows(draw: st.DrawFn, resampler: Resampler) -> Window:
    row, col = (
        draw(st.integers(0, resampler.rows.target - 1)),
        draw(st.integers(0, resampler.cols.target - 1)),
    )
    return Window(
        row,
        col,
        draw(st.integers(1, resampler.rows.target - row)),
        draw(st.integers(1, resampler.cols.target - col)),
    )


def picture(seed: int, resampler: Resampler) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    shape = resampler.rows.source, resampler.cols.source
    pixels = rng.normal(0, 100, (2, *shape)).astype(np.float32)
    valid = rng.random(shape) < rng.choice([0.3, 0.9, 1.0])
    pixels[0, ~valid] = np.nan
    return pixels, valid


def read(
    resampler: Resampler, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    place = resampler.source_window(window).slices
    return resampler.values([band[place] for band in pixels], valid[place], window)


def whole(resampler: Resampler) -> Window:
    return Window(0, 0, resampler.rows.target, resampler.cols.target)


def dense(axis: Axis) -> NDArray[np.float64]:
    """The weights of an axis as a matrix, from the definition instead of taps."""
    matrix = np.zeros((axis.target, axis.source))
    ratio = axis.span / axis.target
    for i in range(axis.target):
        if ratio > 1:
            low, high = i * ratio + axis.offset, (i + 1) * ratio + axis.offset
            for j in range(int(np.floor(low)), int(np.ceil(high))):
                overlap = max(0.0, min(high, j + 1) - max(low, j)) / ratio
                matrix[i, min(max(j, 0), axis.source - 1)] += overlap
        else:
            center = (i + 0.5) * ratio + axis.offset - 0.5
            for j in range(axis.source):
                unit = np.zeros(axis.source)
                unit[j] = 1
                matrix[i, j] = np.interp(center, np.arange(axis.source), unit)
    return matrix


@given(st.builds(Resampler, axes(), axes()), st.data(), st.integers(0, 9))
def test_a_value_does_not_depend_on_its_window(resampler: Resampler, data: st.DataObject, seed: int) -> None:
    pixels, valid = picture(seed, resampler)
    values, known = read(resampler, pixels, valid, whole(resampler))
    window = data.draw(windows(resampler))
    part, part_known = read(resampler, pixels, valid, window)
    assert (part_known == known[window.slices]).all()
    inside = values[(slice(None), *window.slices)]
    assert part[:, part_known].tobytes() == inside[:, part_known].tobytes()


@given(st.builds(Resampler, axes(), axes()), st.integers(0, 9))
def test_values_follow_the_definition(resampler: Resampler, seed: int) -> None:
    pixels, valid = picture(seed, resampler)
    values, known = read(resampler, pixels, valid, whole(resampler))
    down, across = dense(resampler.rows), dense(resampler.cols)
    weight = down @ valid.astype(float) @ across.T
    total = down @ np.where(valid, pixels, 0).astype(float) @ across.T
    assert known[weight >= 0.5].all()
    assert not known[weight < 0.5 - 1e-6].any()
    assert (known == resampler.covered(valid, whole(resampler))).all()
    np.testing.assert_allclose(values[:, known], (total[:, known] / weight[known]), rtol=1e-5, atol=1e-3)


def summed(source: NDArray[Any], rows: Taps, cols: Taps) -> NDArray[np.float64]:
    """The same sums by numpy: float64 from +0 on, over rows, then columns, tap after tap."""
    down = np.zeros((len(rows.pixel), source.shape[1]))
    for k in range(rows.pixel.shape[1]):
        down += source[rows.pixel[:, k]] * rows.weight[:, k, None]
    across = np.zeros((len(rows.pixel), len(cols.pixel)))
    for k in range(cols.pixel.shape[1]):
        across += down[:, cols.pixel[:, k]] * cols.weight[:, k]
    return across


@given(
    st.builds(Resampler, axes(), axes()),
    st.sampled_from(["u1", "u2", "i1", "i2", "u4", ">i2", "f4", ">f4", "f8"]),
    st.integers(0, 9),
)
def test_sums_have_the_bits_of_numpys_for_every_type(resampler: Resampler, dtype: str, seed: int) -> None:
    pixels, valid = picture(seed, resampler)
    bands = np.nan_to_num(pixels).astype(np.float64).clip(0 if "u" in dtype else -99, 99).astype(dtype)
    if "f" in dtype:
        bands[0, ~valid] = np.nan
    if resampler.identity:
        return
    values, known = read(resampler, bands, valid, whole(resampler))
    rows = resampler.rows.taps(0, resampler.rows.target)
    cols = resampler.cols.taps(0, resampler.cols.target)
    total = summed(valid.astype(float), rows, cols)
    assert (known == (total >= 0.5 - 1e-9)).all()
    for band, found in zip(bands, values, strict=True):
        exact = summed(np.where(valid, band, 0).astype(float), rows, cols)[known] / total[known]
        assert found[known].tobytes() == exact.astype(np.float32).tobytes()


@given(
    st.builds(Resampler, axes(), axes()),
    st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    st.integers(0, 9),
)
def test_a_constant_stays_that_constant(resampler: Resampler, constant: float, seed: int) -> None:
    _, valid = picture(seed, resampler)
    pixels = np.where(valid, np.float32(constant), np.float32(np.nan))[None]
    values, known = read(resampler, pixels, valid, whole(resampler))
    assert np.all(values[:, known] == np.float32(constant))


@given(axes(shifted=False), axes(shifted=False), st.integers(0, 9))
def test_area_averages_keep_the_mean(rows: Axis, cols: Axis, seed: int) -> None:
    resampler = Resampler(
        Axis(rows.source, min(rows.source, rows.target), rows.span),
        Axis(cols.source, min(cols.source, cols.target), cols.span),
    )
    pixels = np.random.default_rng(seed).integers(0, 255, (1, rows.source, cols.source)).astype(np.float32)
    values, _ = read(resampler, pixels, np.ones(pixels.shape[1:], np.bool_), whole(resampler))
    assert values.mean(dtype=float) == pytest.approx(pixels.mean(dtype=float), rel=1e-6)


def test_equal_grids_give_the_same_bits() -> None:
    box = GeoBox(3, 5, Affine(0.3, 0, 617100, 0, -0.3, 3344400), CRS)
    resampler = Resampler.between(box, box)
    pixels = np.array([[-0.0, np.nan, np.inf, 1e-42, 7.0]] * 3, np.float32)
    values, known = resampler.values([pixels], np.ones((3, 5), np.bool_), box.window)
    assert resampler.identity
    assert values[0].tobytes() == pixels.tobytes()
    assert known.all()


@given(axes(), axes(), st.data())
def test_nearest_is_the_pixel_under_the_center(rows: Axis, cols: Axis, data: st.DataObject) -> None:
    resampler = Resampler(rows, cols)
    source = np.arange(rows.source * cols.source).reshape(rows.source, cols.source)
    window = data.draw(windows(resampler))
    found = resampler.nearest(source[resampler.nearest_window(window).slices], window)
    for i, j in {(0, 0), (window.height - 1, window.width - 1)}:
        y = (window.row + i + 0.5) * rows.span / rows.target + rows.offset
        x = (window.col + j + 0.5) * cols.span / cols.target + cols.offset
        row, col = min(max(int(y // 1), 0), rows.source - 1), min(max(int(x // 1), 0), cols.source - 1)
        assert found[i, j] == source[row, col]


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0.3, 0, 617100, 0, -0.3, 3344400),
        Affine(0.3, 0, 617100, 0, 0.3, 3344400),
        Affine(1.00006, -0.00017, 251130.5, -0.00011, -1.00007, 2703061.4),
        Affine.translation(500000, 5e6) @ Affine.rotation(33) @ Affine.scale(0.6, -0.6),
    ],
    ids=["north-up", "south-up", "skewed", "rotated"],
)
def test_a_zoomed_grid_covers_the_source_exactly(transform: Affine) -> None:
    box = GeoBox(8704, 11264, transform, CRS)
    resampler = Resampler.between(box, box.zoom(3820, 4970))
    assert resampler == Resampler(Axis(8704, 3820, 8704.0), Axis(11264, 4970, 11264.0))
    assert Resampler.between(box.zoom(3820, 4970), box) == Resampler(
        Axis(3820, 8704, 3820.0), Axis(4970, 11264, 4970.0)
    )


def test_half_a_pixel_between_the_bands_of_landsat_is_kept() -> None:
    pan = GeoBox(15521, 15401, Affine(15, 0, 352492.5, 0, -15, 4899307.5), "EPSG:32618")
    blue = GeoBox(7761, 7701, Affine(30, 0, 352485, 0, -30, 4899315), "EPSG:32618")
    resampler = Resampler.between(blue, pan)
    assert resampler.rows == Axis(7761, 15521, 7760.5, 0.25)
    assert resampler.cols.offset == 0.25


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (Affine(0.3, 0, 617100, 0, 0.3, 3344370), "mirrored"),
        (Affine(0, 0.3, 617100, 0.3, 0, 3344400), "rotated or mirrored"),
        (Affine(0.3, 0, 617100, 0, -0.3, 3344400) @ Affine.rotation(1), "rotated"),
        (Affine(0.3, 0, 617101, 0, -0.3, 3344400), "different ground"),
        (Affine(0.6, 0, 617100, 0, -0.6, 3344400), "different ground"),
    ],
)
def test_grids_that_are_no_zoom_of_each_other_are_refused(transform: Affine, words: str) -> None:
    box = GeoBox(100, 100, Affine(0.3, 0, 617100, 0, -0.3, 3344400), CRS)
    with pytest.raises(GridError, match=words):
        Resampler.between(box, GeoBox(100, 100, transform, CRS))

"""What an image is compared with: a model's contract, by its header and by a sample of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.rasters import CRS, TRANSFORM, write_raster

from geoseg.config.model.contract import BundleSpec
from geoseg.config.stac.refs import SceneRef
from geoseg.engine.contract import (
    CALL,
    Image,
    check_header,
    check_values,
    examine,
    fitting_stretch,
    sample_side,
)
from geoseg.errors import SceneError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.raster.reader import ArrayReader
from geoseg.io.raster.sample import Sample, sample_windows, take_sample
from geoseg.io.raster.scene import Reading
from geoseg.io.raster.validity import Nodata
from geoseg.models.bundle import load_bundle

RGB = ("red", "green", "blue")


def contract(**changes: Any) -> BundleSpec:
    return load_bundle("buildings-mininet2").spec.model_copy(update=changes)


def sampled(values: NDArray[Any], **changes: Any) -> Sample:
    """A sample of these valid pixels, (bands, pixels)."""
    return Sample(**{"pixels": values.shape[1], "values": values.astype(np.float32)} | changes)


def never() -> Sample:
    raise AssertionError("no pixel is needed")


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([16, 100, 256]))
def test_a_sample_lies_inside_without_overlaps_and_is_never_large(rows: int, cols: int, side: int) -> None:
    windows = sample_windows((rows, cols), side)
    whole = Window(0, 0, rows, cols)
    assert len(windows) <= 9
    assert all(whole.contains(window) and max(window.shape) <= side for window in windows)
    seen = np.zeros((rows, cols), np.uint8)
    for window in windows:
        seen[window.slices] += 1
    assert seen.max() == 1, "each pixel counts once"
    if rows <= 3 * side and cols <= 3 * side:
        assert seen.all(), "a small image is sampled whole"


@given(st.integers(0, 1199), st.integers(0, 1199))
def test_a_single_valid_pixel_is_found(row: int, col: int) -> None:
    pixels = np.zeros((1, 1200, 1200), np.uint8)
    pixels[0, row, col] = 7
    grid = GeoBox(1200, 1200, TRANSFORM, CRS)
    reader = ArrayReader(pixels, grid, nodata=Nodata.of(["uint8"], [0.0]))
    assert take_sample(reader, 16).range() == (7, 7)
    blind = take_sample(reader, 16, search=False)
    assert blind.valid or not blind.whole, "what was not read is not known to be empty"


def test_an_image_without_a_valid_pixel_is_known_to_have_none() -> None:
    grid = GeoBox(1100, 60, TRANSFORM, CRS)
    reader = ArrayReader(
        np.zeros((3, *grid.shape), np.uint8), grid, nodata=Nodata.of(["uint8"] * 3, [0.0] * 3)
    )
    sample = take_sample(reader, 16)
    assert (sample.valid, sample.whole, sample.pixels) == (0, True, grid.window.pixels)
    with pytest.raises(SceneError, match=r"0 % of its 66000 pixels .* scenes\.nodata"):
        check_values(sample, contract(), None)


def test_samples_of_fine_images_read_no_more_pixels_than_of_others() -> None:
    fine, grid = GeoBox(6000, 6000, TRANSFORM, CRS), GeoBox(600, 600, TRANSFORM, CRS)
    assert sample_side(grid, fine) == 26
    assert sample_side(fine, grid) == sample_side(grid, grid) == 256


@pytest.mark.parametrize(
    ("resolution", "outcome"),
    [
        (0.05, "ok"),
        (0.3, "ok"),
        (0.42, "ok"),
        (0.423, "ok"),
        (0.5, "warned"),
        (0.84, "warned"),
        (0.9, "refused"),
        (76.0, "refused"),
    ],
)
def test_coarse_ground_is_warned_of_and_refused_beyond_twice(resolution: float, outcome: str) -> None:
    image = Image(RGB, "uint8", "uint8", resolution)

    def checked(**changes: Any) -> tuple[str, ...]:
        options: dict[str, Any] = {"stretch": None, "any_resolution": False, "sample": never} | changes
        return check_header(image, contract(), **options)

    if outcome == "refused":
        with pytest.raises(SceneError, match=rf"{resolution:.3g} m .* 0\.42 m.*scenes\.resolution: any"):
            checked()
        with pytest.raises(SceneError, match='resolution="any"'):
            checked(settings=CALL)
    assert bool(checked(any_resolution=True)) == (outcome != "ok"), "it is said even where it is mapped"
    if outcome == "warned":
        (warning,) = checked()
        assert f"{resolution:.3g} m" in warning
        assert "0.42 m" in warning
    unknown = contract(coarsest_resolution=None)
    assert check_header(image, unknown, stretch=None, any_resolution=False, sample=never) == ()


TYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")


@pytest.mark.parametrize("trained_on", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("given_type", TYPES)
def test_values_of_another_kind_than_the_models_need_a_stretch(given_type: str, trained_on: str) -> None:
    spec = contract(value_dtype=trained_on)
    sample = sampled(np.linspace(100, 3000, 30).reshape(3, 10))
    image = Image(RGB, given_type, given_type, 0.3)

    def checked(stretch: tuple[float, float] | None) -> None:
        assert check_header(image, spec, stretch=stretch, any_resolution=False, sample=lambda: sample) == ()

    same = {"uint8": ("uint8",), "uint16": ("int8", "int16", "uint16", "int32", "uint32"),
            "float32": ("float32", "float64")}[trained_on]  # fmt: skip
    if given_type in same:
        checked(None)
    else:
        with pytest.raises(
            SceneError, match=f"{given_type} pixels but the model .* trained on {trained_on}"
        ) as no:
            checked(None)
        assert ("scenes.stretch: [100, 3000]" in str(no.value)) == (trained_on == "uint8"), no.value
    if trained_on == "uint8":
        checked((0, 4000))
    else:
        with pytest.raises(SceneError, match=r"scenes\.stretch: \[0, 4000\] makes values of 0 to 255"):
            checked((0, 4000))


def test_a_scale_that_changes_the_kind_of_values_is_named() -> None:
    sample = sampled(np.linspace(0.01, 0.4, 30).reshape(3, 10))
    for stored, wanted in (("uint8", True), ("uint16", False)):
        with pytest.raises(
            SceneError, match=r"values after scale and offset .*scenes\.stretch: \[0\.0"
        ) as caught:
            check_header(
                Image(RGB, "float32", stored, 0.3), contract(), stretch=None, any_resolution=False,
                sample=lambda: sample,
            )  # fmt: skip
        assert ("scenes.scale: none" in str(caught.value)) == wanted


@pytest.mark.parametrize(
    ("values", "stretch"),
    [
        (np.linspace(3, 250, 99), (0, 255)),  # an 8-bit picture in 16
        (np.linspace(0, 4087, 99), (0, 4095)),  # 12 bits in 16
        (np.linspace(0.001, 0.98, 99), (0, 1)),  # 8 bits as floats of 0 to 1
        (np.r_[np.linspace(210, 2893, 98), 15800], (230, 2900)),  # reflectance with a few clouds
        (np.linspace(-9.1, -8.3, 99), (-9.092, -8.308)),  # decibels
        (np.r_[np.zeros(98), 5.0], (0, 5)),
        (np.r_[np.full(40, -9999.0), np.linspace(230, 2900, 60)], (270, 2860)),  # fill that is not declared
        (np.r_[np.full(40, 65535.0), np.linspace(230, 2900, 60), -3.4e38], (270, 2860)),
        (np.full(9, 3.0), (2, 4)),
    ],
)
def test_a_stretch_is_proposed_that_fits_the_sample(
    values: NDArray[np.float64], stretch: tuple[float, float]
) -> None:
    found = fitting_stretch(sampled(np.stack([values] * 3)))
    assert found == pytest.approx(stretch)


@given(
    st.sampled_from([np.uint8, np.int8, np.int16, np.uint16, np.float32]),
    st.lists(st.floats(-3e4, 3e4), min_size=2, max_size=40),
    st.floats(1e-4, 1),
)
@example(np.float32, [0.5] * 6 + [4.0] + [255.0] * 12, 1.0)  # fill that is not declared
@example(np.float32, [-3587.0] + [5e-6] * 30, 1.0)  # rounded
@example(np.uint8, [254.0, 255.0], 1.0)  # a whole bit depth would leave few levels
def test_what_is_proposed_passes(dtype: Any, drawn: list[float], factor: float) -> None:
    values = np.array(drawn) * (factor if dtype is np.float32 else 1)
    if dtype is not np.float32:
        values = np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max)
    sample = sampled(np.array([values]).astype(dtype))
    assume(sample.range()[1] - sample.range()[0] > 1e-3 * abs(sample.range()[0]))
    low, high = fitting_stretch(sample)
    assert low < high
    assert check_values(sample, contract(), (low, high)).warnings == ()


@pytest.mark.parametrize(
    ("stretch", "outcome"),
    [
        ((0, 4000), "ok"),
        ((200, 3000), "ok"),
        ((0, 255), "white"),
        ((5000, 9000), "black"),
        ((0, 400), "clipped"),
        ((0, 2500), "clipped"),  # 55 % of the brightest band
        ((0, 2600), "ok"),
        ((2000, 9000), "clipped"),
        ((0, 1e7), "black"),  # rounded to 8 bits
        ((0, 1e5), "leaves 7 of 256 levels"),
    ],
)
def test_a_stretch_that_leaves_black_or_white_alone_is_refused(
    stretch: tuple[float, float], outcome: str
) -> None:
    sample = sampled(np.linspace(256, 3000, 900).reshape(3, 300))
    if outcome in ("black", "white"):
        with pytest.raises(
            SceneError,
            match=rf"all sampled values {outcome}.*set scenes\.stretch: \[270, 2990\] .* from 256 to 3000",
        ):
            check_values(sample, contract(), stretch)
        with pytest.raises(SceneError, match=r"stretch=\(270, 2990\)"):
            check_values(sample, contract(), stretch, CALL)
        return
    findings = check_values(sample, contract(), stretch)
    wanted = {"ok": [], "clipped": [" clips "]}.get(outcome, [outcome])
    assert [words in line for words, line in zip(wanted, findings.warnings, strict=True)] == [True] * len(
        wanted
    )
    assert "100 % valid" in findings.summary


def test_values_of_other_units_than_the_training_saw_are_refused() -> None:
    reflectance = contract(value_dtype="float32", value_range=((0.0, 0.5),) * 3)
    numbers = contract(value_dtype="uint16", value_range=((200.0, 3000.0),) * 3)
    small, large = (sampled(np.linspace(0.02, 0.3, 30).reshape(3, 10) * factor) for factor in (1, 1e4))
    assert check_values(small, reflectance, None).warnings == ()
    assert check_values(large, numbers, None).warnings == ()
    for sample, spec in ((large, reflectance), (small, numbers)):
        with pytest.raises(SceneError, match=r"units are others; check scale and offset \(scenes\.scale\)"):
            check_values(sample, spec, None)
        with pytest.raises(SceneError, match=r"offset \(scale_factor and add_offset among the array's attr"):
            check_values(sample, spec, None, CALL)
    (warning,) = check_values(sampled(np.linspace(4000, 6000, 30).reshape(3, 10)), numbers, None).warnings
    assert "100% of the values of a band are new to the model" in warning
    (warning,) = check_values(sampled(np.zeros((3, 10))), contract(), None).warnings
    assert "run from 0 to 0" in warning, "8 bits are mapped, however dark"


def test_what_looks_like_no_data_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(40, 200, (3, 200, 200)).astype(np.int16)
    pixels[1, :, 150:] = -9999
    href = str(write_raster(tmp_path / "fill.tif", pixels))

    def warnings(**reading: Any) -> tuple[str, ...]:
        scene = Reading(**reading).describe(SceneRef("s", (), href))
        return examine(scene, scene.geobox, contract(), (0, 255)).warnings

    assert any("hold -9999, and count as data" in w and "scenes.nodata: -9999" in w for w in warnings())
    assert warnings(nodata=-9999.0) == ()


def test_a_smeared_collar_is_said_with_the_key(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:300, :300]
    pixels = np.where(x + y / 3 > 120, rng.integers(80, 99, (3, 300, 300)), 0).astype(np.uint8)
    profile = {"compress": "jpeg", "photometric": "ycbcr", "nodata": 0}
    href = str(write_raster(tmp_path / "jpeg.tif", pixels, **profile))
    said = [
        examine(scene, scene.geobox, contract(), None).warnings
        for collar in ("none", "auto")
        for scene in [Reading(collar=collar).describe(SceneRef("s", (), href))]  # type: ignore[arg-type]
    ]
    assert [any("scenes.collar: auto" in warning for warning in some) for some in said] == [True, False]

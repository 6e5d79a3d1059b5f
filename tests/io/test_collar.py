"""Collars of lossy files: what compression made of nodata is none of the photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.rasters import write_raster

from geoseg.config.stac.refs import BandRef, SceneRef
from geoseg.grid.window import Window
from geoseg.io.raster.collar import MARGIN, REACH, SIDE, Collar
from geoseg.io.raster.scene import Reading, Scene
from geoseg.io.raster.scene_reader import SceneReader, has_collar

UTM = "EPSG:32633"
PLACE = Affine(2, 0, 500000, 0, -2, 5000000)
AUTO = Reading(collar="auto")
JPEG: dict[str, Any] = {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 75, "tiled": True}
JPEG |= {"blockxsize": 128, "blockysize": 128}


def tilted(size: int = 300, *, background: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photograph on a tilted footprint, and where it is."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:size, :size]
    inside = (x + 0.35 * y > 0.25 * size) & (x + 0.35 * y < 1.1 * size)
    coarse = rng.integers(70, 170, (1, size // 10 + 1, size // 10 + 1)).repeat(10, 1).repeat(10, 2)
    pixels = coarse[:, :size, :size] + rng.integers(-6, 6, (3, size, size))
    return np.where(inside, pixels, background).astype(np.uint8), inside


def read(scene: Scene, window: Window | None = None) -> NDArray[np.bool_]:
    with SceneReader(scene) as reader:
        return reader.read(window or scene.geobox.window).valid


def write(path: Path, pixels: NDArray[Any], **options: Any) -> SceneRef:
    return SceneRef("s", (), str(write_raster(path, pixels, crs=UTM, transform=PLACE, **options)))


@pytest.mark.parametrize(("background", "quality"), [(0, 75), (0, 90), (255, 75)])
def test_a_collar_that_jpeg_smeared_is_no_data(tmp_path: Path, background: int, quality: int) -> None:
    pixels, inside = tilted(background=background)
    ref = write(tmp_path / "j.tif", pixels, nodata=background, **JPEG | {"jpeg_quality": quality})
    before, after = read(Reading().describe(ref)), read(AUTO.describe(ref))
    assert before[~inside].mean() > 0.05
    assert after[~inside].mean() < before[~inside].mean() / 5
    assert after[inside].mean() > 0.999
    assert not (after & ~before).any()


def test_only_lossy_files_with_nodata_have_a_collar(tmp_path: Path) -> None:
    pixels, _ = tilted(64)
    lossy = {
        "jpeg": JPEG,
        "webp": {"compress": "webp", "webp_level": 60},
        "lerc": {"compress": "lerc", "max_z_error": 2},
    }
    for name, options in lossy.items():
        assert AUTO.describe(write(tmp_path / f"{name}.tif", pixels, nodata=0, **options)).collar, name
        assert Reading().describe(write(tmp_path / f"{name}.tif", pixels, nodata=0, **options)).collar is None
        assert AUTO.describe(write(tmp_path / f"{name}.tif", pixels, **options)).collar is None
    lossless: tuple[dict[str, Any], ...] = (
        {"compress": "deflate"},
        {"compress": "webp", "webp_lossless": True},
        {"compress": "lerc"},
    )
    for options in lossless:
        assert AUTO.describe(write(tmp_path / "l.tif", pixels, nodata=0, **options)).collar is None


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_collars_are_the_same_in_whatever_window_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    # Islands of solid nodata on ground that is all near it, with a few walls.
    values = np.where(rng.random((1, 150, 130)) < 0.1, 40, 1)
    for _ in range(4):
        row, col, side = rng.integers(0, 140), rng.integers(0, 120), rng.integers(5, 10)
        values[:, row : row + side, col : col + side] = 0
    path = tmp_path_factory.mktemp("collar") / "c.tif"
    ref = write(path, values.astype(np.uint8), nodata=0, compress="lerc", max_z_error=1.0)
    scene = AUTO.describe(ref)
    whole = read(scene)
    row, col = data.draw(st.integers(0, 149)), data.draw(st.integers(0, 129))
    window = Window(row, col, data.draw(st.integers(1, 150 - row)), data.draw(st.integers(1, 130 - col)))
    assert (read(scene, window) == whole[window.slices]).all()


def test_collars_reach_as_far_as_stated_and_begin_at_solid_nodata_only() -> None:
    inside = ((False, False), (False, False))
    side = 2 * MARGIN + 20
    strip = np.full((side, side), 9, np.uint8)
    one = Collar((0.0,), (10.0,))
    assert not one.find([strip], inside).any()
    strip[MARGIN : MARGIN + SIDE - 1, MARGIN : MARGIN + SIDE] = 0  # one row too few
    assert not one.find([strip], inside).any()
    strip[MARGIN + SIDE - 1, MARGIN : MARGIN + SIDE] = 0
    found = one.find([strip], inside)
    rows = np.flatnonzero(found.any(axis=1))
    assert (rows[0], rows[-1]) == (MARGIN - REACH, MARGIN + SIDE - 1 + REACH)
    assert found.sum() == (SIDE + 2 * REACH) ** 2
    assert not Collar((0.0,), (8.0,)).find([strip], inside)[MARGIN - 1].any()
    # At the image's edge a single row of nodata is enough.
    edge = np.full((side, side), 9, np.uint8)
    edge[0] = 0
    assert not one.find([edge], inside).any()
    assert one.find([edge], ((True, False), (False, False))).any(axis=1).sum() == REACH + 1


def test_files_per_band_have_the_collar_of_the_stack(tmp_path: Path) -> None:
    pixels, _ = tilted(150)
    pixels = pixels.copy()
    options: dict[str, Any] = {
        "nodata": 0,
        "compress": "lerc",
        "max_z_error": 4,
        "crs": UTM,
        "transform": PLACE,
    }
    stack = SceneRef("s", (), str(write_raster(tmp_path / "s.tif", pixels, **options)))
    files = [write_raster(tmp_path / f"{n}.tif", band, **options) for n, band in enumerate(pixels)]
    split = SceneRef("s", tuple(BandRef(str(file), 1, file.stem) for file in files))
    assert (read(AUTO.describe(stack)) == read(AUTO.describe(split))).all()


def test_a_collar_that_is_not_asked_for_is_seen(tmp_path: Path) -> None:
    pixels, _ = tilted()
    lossy = write(tmp_path / "j.tif", pixels, nodata=0, **JPEG)
    assert has_collar(Reading().describe(lossy))
    assert not has_collar(AUTO.describe(lossy))
    assert not has_collar(Reading().describe(write(tmp_path / "l.tif", pixels, nodata=0)))
    full = write(tmp_path / "f.tif", np.full_like(pixels, 90), nodata=0, **JPEG)
    assert not has_collar(Reading().describe(full))


def test_asking_for_collars_is_a_part_of_what_a_scene_is(tmp_path: Path) -> None:
    ref = write(tmp_path / "j.tif", tilted(64)[0], nodata=0, **JPEG)
    assert AUTO.describe(ref).identity != Reading().describe(ref).identity

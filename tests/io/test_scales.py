"""Scale and offset: which statement counts, and that the same physical values reach the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.rasters import CRS, TRANSFORM, write_raster
from support.stac import stac_item, write_catalog

from geoseg.config.stac.refs import BandRef, SceneRef, StatedScale
from geoseg.errors import SceneError
from geoseg.grid.geobox import GeoBox
from geoseg.io.raster.data_array import scale_of
from geoseg.io.raster.reader import ArrayReader, stretched
from geoseg.io.raster.scene import Reading, Scene, describe
from geoseg.io.raster.scene_reader import SceneReader
from geoseg.io.stac.read import load_catalog

NONE = (1.0, 0.0)
OLD, NEW = (1e-4, 0.0), (1e-4, -0.1)
"""Sentinel-2 before and after processing baseline 04.00."""


def written(path: Path, pixels: NDArray[Any], scale: float, offset: float) -> Path:
    """A raster that states its scale and offset itself."""
    write_raster(path, pixels)
    with rasterio.open(path, "r+") as out:
        out.scales, out.offsets = (scale,) * len(pixels), (offset,) * len(pixels)
    return path


def seen(scene: Scene, stretch: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """What a network sees of a scene."""
    with SceneReader(scene) as reader:
        raster = reader.read(scene.geobox.window)
    assert raster.valid.all()
    return stretched(raster.pixels, stretch)


@pytest.mark.parametrize("whose", ["auto", "catalog", "file", "none"])
@pytest.mark.parametrize("of_file", [NONE, OLD, NEW])
@pytest.mark.parametrize("of_catalog", [None, NONE, OLD, NEW])
def test_the_statement_that_is_there_counts_and_two_that_differ_are_refused(
    tmp_path: Path, whose: StatedScale, of_file: tuple[float, float], of_catalog: tuple[float, float] | None
) -> None:
    path = written(tmp_path / "dn.tif", np.full((1, 4, 4), 3000, np.uint16), *of_file)
    band: dict[str, Any] = {"name": "red", "eo:common_name": "red"}
    if of_catalog is not None:
        band |= {"raster:scale": of_catalog[0], "raster:offset": of_catalog[1]}
    item = stac_item("s", {"href": path.name, "type": "image/tiff", "roles": ["data"], "bands": [band]})
    (ref,) = load_catalog(write_catalog(tmp_path / "c.json", item)).scenes
    reading = Reading(scale=whose)
    if whose == "auto" and of_catalog is not None and NONE != of_file != of_catalog:
        with pytest.raises(
            SceneError, match=rf"scale 0\.0001 and offset .* catalog {of_catalog[0]:g}.*scenes\.scale"
        ):
            reading.describe(ref)
        return
    counts = {
        "auto": of_file if of_catalog is None else of_catalog,
        "catalog": of_catalog or NONE,
        "file": of_file,
        "none": NONE,
    }[whose]
    scene = reading.describe(ref)
    assert seen(scene)[0, 0, 0] == pytest.approx(3000 * counts[0] + counts[1])
    assert scene.value_dtype == ("uint16" if counts == NONE else "float32")


def test_a_scale_that_leaves_no_values_is_refused(tmp_path: Path) -> None:
    for scale, offset in ((0.0, 1.0), (np.nan, 0.0), (np.inf, 0.0)):
        path = written(tmp_path / "none.tif", np.full((1, 4, 4), 3, np.uint16), scale, offset)
        ref = SceneRef("s", (BandRef(str(path), 1, "red"),))
        with pytest.raises(SceneError, match=r"leave no values: set scenes\.scale"):
            describe(ref)
        assert seen(Reading(scale="none").describe(ref)).max() == 3


TYPES = st.sampled_from(["int16", "uint16", "int32", "uint32", "float32", "float64"])
COUNTS = st.lists(st.integers(0, 32000), min_size=12, max_size=12)


@settings(max_examples=15)
@given(COUNTS, TYPES, st.sampled_from([1e-4, 2.75e-5, 0.01, 2.0]), st.sampled_from([0.0, -0.1, -0.2, 50.0]))
def test_the_same_values_are_the_same_input_whatever_their_type_and_whoever_states_the_scale(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], dtype: str, scale: float, offset: float
) -> None:
    folder = tmp_path_factory.mktemp("scales")
    pixels = np.array(counts).reshape(3, 2, 2)
    physical = pixels * scale + offset
    stretch = (offset, 32000 * scale + offset)
    by_file = written(folder / "own.tif", pixels.astype(dtype), scale, offset)
    plain = write_raster(folder / "plain.tif", pixels.astype(dtype))
    bands = tuple(BandRef(str(plain), i + 1, f"b{i}", scale, offset) for i in range(3))
    first = seen(describe(SceneRef("s", (), str(by_file))), stretch)
    assert np.array_equal(seen(describe(SceneRef("s", bands)), stretch), first), "bit for bit"
    assert np.allclose(first, pixels / 32000 * 255, atol=1e-3)
    # Other numbers for the same values, within float32.
    other = written(folder / "other.tif", (physical + 0.3) / 0.5, 0.5, -0.3)
    assert np.allclose(seen(describe(SceneRef("s", (), str(other))), stretch), first, atol=0.02)
    for options in ({}, {"masked": True}, {"mask_and_scale": True}):
        with rioxarray.open_rasterio(by_file, **options) as array:
            assert isinstance(array, xr.DataArray)
            grid = GeoBox(2, 2, TRANSFORM, CRS)
            raster = ArrayReader(array.values, grid, factors=scale_of(array)).read(grid.window)
            assert np.allclose(stretched(raster.pixels, stretch), first, atol=0.02), options
            if "mask_and_scale" not in options:
                assert np.array_equal(stretched(raster.pixels, stretch), first), options


def test_bands_of_an_array_take_their_own_scale_by_number() -> None:
    array = xr.DataArray(np.ones((3, 2, 2)), dims=("band", "y", "x"), coords={"band": [1, 2, 3]})
    assert scale_of(array) is None
    array.attrs = {"scales": (1.0, 2.0, 3.0), "add_offset": 0.5}
    factors = scale_of(array.sel(band=[3, 1]))
    assert factors is not None
    assert factors[0].ravel().tolist() == [3, 1]
    assert factors[1].ravel().tolist() == [0.5, 0.5]
    for wrong in (
        {"scales": (1.0, 2.0)},
        {"scale_factor": "x"},
        {"scale_factor": 0.0},
        {"add_offset": np.nan},
    ):
        with pytest.raises(SceneError, match=r"array's (attribute|scale)"):
            scale_of(xr.DataArray(np.ones((3, 2, 2)), dims=("band", "y", "x"), attrs=wrong))

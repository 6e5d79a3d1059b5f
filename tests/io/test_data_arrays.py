"""Where an xarray image lies: its transform, or the coordinates that its pixels took along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from support.rasters import write_raster

from geoseg.errors import SceneError
from geoseg.io.raster.data_array import geobox_of, masked_doubts, nodata_of

PLACE = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
TURNED = PLACE @ Affine.rotation(30)
SHAPE = (40, 60)

Part = Callable[[xr.DataArray], xr.DataArray]
PARTS: dict[str, tuple[Part, Affine]] = {
    "whole": (lambda a: a, Affine.identity()),
    "slice": (lambda a: a.isel(x=slice(20, None), y=slice(8, 30)), Affine.translation(20, 8)),
    "every second": (
        lambda a: a.isel(x=slice(None, None, 2)),
        Affine.translation(-0.5, 0) @ Affine.scale(2, 1),
    ),
    "coarser": (lambda a: a.coarsen(x=2, y=4).mean(), Affine.scale(2, 4)),
    "upside down": (
        lambda a: a.isel(y=slice(None, None, -1)),
        Affine.translation(0, 40) @ Affine.scale(1, -1),
    ),
    "one row": (lambda a: a.isel(y=slice(7, 8)), Affine.translation(0, 7)),
}


def opened(path: Path, transform: Affine) -> xr.DataArray:
    write_raster(path, np.zeros((3, *SHAPE), np.uint8), transform=transform)
    found = rioxarray.open_rasterio(path)
    assert isinstance(found, xr.DataArray)
    return found


@pytest.mark.parametrize(
    "place", [PLACE, TURNED, TURNED @ Affine.scale(1, -1)], ids=["north", "turned", "flip"]
)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_an_array_lies_where_its_pixels_do(tmp_path: Path, place: Affine, part: str) -> None:
    make, moved = PARTS[part]
    array = make(opened(tmp_path / "a.tif", place))
    expected = place @ moved
    found = geobox_of(array).transform
    assert np.allclose(found[:6], expected[:6], rtol=0, atol=1e-6)
    assert part != "whole" or found == expected, "to the bit where the transform is right"


def test_a_turned_array_without_coordinates_has_the_transform_that_it_states(tmp_path: Path) -> None:
    array = opened(tmp_path / "a.tif", TURNED)
    assert geobox_of(array.drop_vars(["xc", "yc"])).transform == TURNED
    part = array.isel(x=slice(9, None))
    assert geobox_of(part.rio.write_transform(TURNED @ Affine.translation(9, 0))).transform == (
        TURNED @ Affine.translation(9, 0)
    )


def test_turned_coordinates_that_tell_no_place_are_refused(tmp_path: Path) -> None:
    array = opened(tmp_path / "a.tif", TURNED)
    with pytest.raises(SceneError, match=r"'xc' and 'yc' are not those .*array\.rio\.write_transform"):
        geobox_of(array.isel(x=[0, 1, 2, 9, 11]))
    counted = array.drop_vars(["xc", "yc"]).assign_coords(x=np.arange(60) + 0.5, y=np.arange(40) + 0.5)
    assert geobox_of(counted).transform == TURNED
    with pytest.raises(SceneError, match=r"'x' .*array\.drop_vars\(\['y', 'x'\]\).*write_transform"):
        geobox_of(counted.isel(x=slice(9, None)))
    alone = array.isel(y=slice(7, 8)).drop_vars("spatial_ref").rio.write_crs("EPSG:26914")
    with pytest.raises(SceneError, match=r"array\.rio\.write_transform"):
        geobox_of(alone)


def test_degrees_beside_coordinates_in_meters_place_nothing(tmp_path: Path) -> None:
    array = opened(tmp_path / "a.tif", PLACE)
    degrees = {name: (("y", "x"), np.full(SHAPE, 30.0)) for name in ("xc", "yc")}
    assert geobox_of(array.assign_coords(degrees)).transform == PLACE


def in_float32(array: xr.DataArray) -> xr.DataArray:
    return array.assign_coords(
        {
            name: array.coords[name].astype(np.float32)
            for name in ("x", "y", "xc", "yc")
            if name in array.coords
        }
    )


@pytest.mark.parametrize("place", [PLACE, TURNED], ids=["north", "turned"])
def test_coordinates_are_compared_as_their_type_rounds_them(tmp_path: Path, place: Affine) -> None:
    """In float32 a northing of 3,350,000 m is rounded to 0.25 m."""
    array = in_float32(opened(tmp_path / "a.tif", place))
    assert geobox_of(array).transform == place
    for step in (slice(1, None), slice(None, None, 2), slice(None, None, -1)):
        part = array.isel(y=step)
        with pytest.raises(SceneError, match=r"float32.*array\.rio\.write_transform"):
            geobox_of(part)
        moved = place @ Affine.translation(0, 1)
        if step.start == 1:
            assert geobox_of(part.rio.write_transform(moved)).transform == moved
    steps = Affine(0.5, 0, 621_000, 0, -0.5, 3_349_999.9)  # all are rounded alike, so that they are even
    assert geobox_of(in_float32(opened(tmp_path / "even.tif", steps))).transform == steps
    near = opened(tmp_path / "near.tif", Affine(0.5, 0, 100, 0, -0.5, 200))
    half = geobox_of(in_float32(near).isel(x=slice(7, None))).transform
    assert half == Affine(0.5, 0, 103.5, 0, -0.5, 200), "fine enough to place the pixels"


@pytest.mark.parametrize(
    ("dtype", "encoded", "expected"),
    [
        ("int16", -9999, -9999),
        ("uint8", 0.0, 0),
        ("uint8", -9999, -9999),  # which the rule of nodata warns of
        ("uint16", np.uint16(65535), 65535),
        ("int16", np.nan, None),
        ("float32", -9999.0, None),  # NaN instead
    ],
)
def test_an_encoded_fill_is_a_value_of_whole_numbers(
    dtype: str, encoded: Any, expected: float | None
) -> None:
    array = xr.DataArray(np.zeros((3, 4, 4), dtype), dims=("band", "y", "x"))
    array.encoding["_FillValue"] = encoded
    for _ in range(2):  # rioxarray keeps what it failed with
        assert nodata_of(array) == expected
        assert masked_doubts(array) == ()
    if dtype != "float32":
        assert nodata_of(array.rio.write_nodata(7)) == 7


@pytest.mark.parametrize("place", ["attrs", "encoding"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_nodata_that_is_no_number_is_refused_in_words(dtype: str, place: str) -> None:
    array = xr.DataArray(np.zeros((1, 4, 4), dtype), dims=("band", "y", "x"))
    getattr(array, place)["_FillValue"] = "none"
    with pytest.raises(SceneError, match=r"nodata is 'none', which is no number.*array\.rio\.write_nodata"):
        nodata_of(array)

"""Laws of the prediction path, with real networks, through ``geoseg.predict``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from synthetic.bundles import random_bundle

from geoseg.config.workflow import Tiling
from geoseg.engine.tiles import resolve_tiles
from geoseg.errors import ConfigError, GridError, SceneError, SceneWarning
from geoseg.flow.predict import predict
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.grid.window import reflected
from geoseg.models.bundle import Bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

CPU = Runtime.resolve("cpu")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def micronet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    arguments = {"widths": [8, 16, 32]}
    return random_bundle(tmp_path_factory.mktemp("micronet"), "micronet", arguments=arguments)


@pytest.fixture(scope="module")
def mininet(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("mininet"), "mininet-1", classes=4, halo=32)


def image(height: int, width: int, resolution: float = 0.3, dtype: str = "uint8") -> xr.DataArray:
    rng = np.random.default_rng(height * width)
    coarse = rng.integers(0, 256, (3, -(-height // 8), -(-width // 8)))
    pixels = np.kron(coarse, np.ones((1, 8, 8)))[:, :height, :width] * 0.7 + rng.integers(
        0, 70, (3, height, width)
    )
    array = xr.DataArray(pixels.astype(dtype), dims=("band", "y", "x"))
    transform = Affine(resolution, 0, 621000, 0, -resolution, 3349000)
    return array.rio.write_crs("EPSG:26914").rio.write_transform(transform)


def test_an_exact_halo_gives_the_whole_scene_inference(micronet: Bundle) -> None:
    array = image(333, 421)
    radius = micronet.spec.receptive_field_radius
    assert radius == 94
    tiling = Tiling.model_validate({"window": "288 px", "halo": "exact"})
    assert len(resolve_tiles((333, 421), micronet, tiling, 10**10, CPU).grid) > 4
    pad = 96  # the radius, on the alignment
    rows = reflected(-pad, 333 + pad + (-333) % 4, 333)
    cols = reflected(-pad, 421 + pad + (-421) % 4, 421)
    padded = array.values.astype(np.float32)[:, rows][:, :, cols]
    logits = Predictor(micronet).logits(padded[None], np.ones((1, *padded.shape[1:]), bool))
    whole = ProbabilityEncoding(2, 0).encode(logits[0, :, pad : pad + 333, pad : pad + 421])
    tiled = predict(array, micronet, halo="exact", memory="1 GB")
    assert np.array_equal(np.rint(tiled.probability.values * 200).astype(np.uint8), whole)


def test_lazy_in_lazy_out_and_the_same_bits(mininet: Bundle) -> None:
    array = image(500, 333)
    eager = predict(array, mininet, memory="900 MB")
    lazy = predict(array.chunk({"y": 77, "x": 90}), mininet, memory="900 MB")
    assert isinstance(lazy.classes.data, da.Array)
    assert isinstance(lazy.probability.data, da.Array)
    xr.testing.assert_identical(lazy.compute(), eager)
    assert eager.probability.dims == ("class", "y", "x")
    assert eager.rio.crs == array.rio.crs
    assert eager.rio.transform() == array.rio.transform()
    assert (eager.classes == eager.probability.argmax("class")).all()


@pytest.mark.parametrize("resolution", [0.13, 0.6])
def test_another_ground_resolution_comes_back_on_the_input_grid(mininet: Bundle, resolution: float) -> None:
    array = image(160, 170, resolution)
    out = predict(array, mininet)
    assert out.classes.shape == (160, 170)
    lazy = predict(array.chunk({"y": 50}), mininet).compute()
    xr.testing.assert_identical(lazy, out)


def test_nodata_stays_nodata_and_does_not_leak(mininet: Bundle) -> None:
    array = image(200, 200).rio.write_nodata(0)
    array[:, 50:90, 60:100] = 0
    out = predict(array, mininet)
    empty = (array == 0).all("band").values
    assert ((out.classes.values == 255) == empty).all()
    assert (np.isnan(out.probability.values).all(axis=0) == empty).all()


def test_what_may_be_no_data_is_a_warning(mininet: Bundle, tmp_path: Path) -> None:
    array = image(96, 96)
    array[:, :, 70:] = 0
    with pytest.warns(SceneWarning, match=r"are 0 in every band, and count as data.*write_nodata\(0\)"):
        predict(array, mininet)
    array.rio.write_nodata(0).rio.to_raster(tmp_path / "a.tif")
    masked = rioxarray.open_rasterio(tmp_path / "a.tif", masked=True)
    assert isinstance(masked, xr.DataArray)
    with pytest.warns(
        SceneWarning, match=r"nodata 0 masked in each band.*masked=False: uint8 is nodata only"
    ):
        predict(masked, mininet, stretch=(0, 255))


def test_bands_are_found_by_name_in_any_order_among_others(mininet: Bundle) -> None:
    array = image(96, 96).assign_coords(band=["red", "green", "blue"])
    expected = predict(array.drop_vars("band"), mininet)
    more = xr.concat([array, array[:1].assign_coords(band=["nir"])], "band").isel(band=[3, 2, 0, 1])
    for named in (array, array[::-1], more.assign_attrs(array.attrs), more.chunk({"y": 40})):
        xr.testing.assert_identical(predict(named, mininet).compute(), expected)
    with pytest.raises(SceneError, match="no band 'red'; it has 3 bands"):
        predict(array.assign_coords(band=["blue", "green", "blue"]), mininet)


def test_what_does_not_fit_the_model_is_said_plainly(mininet: Bundle) -> None:
    array = image(64, 64)
    with pytest.raises(SceneError, match=r"2 bands \(b1, b2\) but the model random-test needs 3"):
        predict(array[:2], mininet)
    with pytest.raises(SceneError, match=r"uint16 .* stretch"):
        predict(array.astype("uint16"), mininet)
    bare = xr.DataArray(array.values, dims=("band", "y", "x"))
    with pytest.raises(SceneError, match="no CRS"):
        predict(bare, mininet)
    with pytest.raises(SceneError, match="complex64"):
        predict(array.astype("complex64"), mininet, stretch=(0, 255))
    with pytest.raises(TypeError, match="DataArray"):
        predict(array.values, mininet)


def on_coordinates(height: int, width: int, *, south_up: bool = False) -> xr.DataArray:
    """The same image, placed by the coordinates of its pixels' centers alone."""
    array = image(height, width).drop_vars("spatial_ref")
    y = 3349000 - 0.3 * (np.arange(height) + 0.5)
    x = 621000 + 0.3 * (np.arange(width) + 0.5)
    return array.assign_coords(x=x, y=y[::-1] if south_up else y).rio.write_crs("EPSG:26914")


@pytest.mark.parametrize("south_up", [False, True])
def test_coordinates_alone_place_an_array(mininet: Bundle, *, south_up: bool) -> None:
    array = on_coordinates(60, 70, south_up=south_up)
    out = predict(array, mininet)
    step = 0.3 if south_up else -0.3
    top = 3349000 - 60 * 0.3 if south_up else 3349000
    assert out.rio.transform().almost_equals(Affine(0.3, 0, 621000, 0, step, top), precision=1e-6)
    assert np.array_equal(out.x, array.x)
    assert np.array_equal(out.y, array.y)
    placed = image(60, 70)
    if south_up:  # the network sees it from above
        placed = placed.copy(data=placed[:, ::-1].values)
        assert np.array_equal(out.classes[::-1], predict(placed, mininet).classes)
    else:
        assert np.array_equal(out.classes, predict(placed, mininet).classes)
    part = predict(array[:, 10:50, 20:], mininet)
    assert part.rio.transform().almost_equals(
        out.rio.transform() @ Affine.translation(20, 10), precision=1e-6
    )


def test_coordinates_count_where_the_transform_is_of_other_pixels(mininet: Bundle) -> None:
    whole = on_coordinates(60, 70).rio.write_transform()
    thinned = whole[:, ::2, ::2]  # its transform is still that of all pixels
    out = predict(thinned, mininet)
    assert out.rio.transform().almost_equals(Affine(0.6, 0, 620999.85, 0, -0.6, 3349000.15), precision=1e-6)


def test_an_array_without_a_regular_grid_is_refused(mininet: Bundle) -> None:
    array = on_coordinates(60, 70)
    torn = array.assign_coords(x=np.r_[array.x.values[:-1], array.x.values[-1] + 9])
    with pytest.raises(SceneError, match=r"'x' .* not evenly spaced"):
        predict(torn, mininet)
    for unplaced in (array[:, :1], array.drop_vars(["x", "y"])):
        with pytest.raises(SceneError, match=r"no transform.*write_transform"):
            predict(unplaced, mininet)
    with pytest.raises(SceneError, match=r"dimensions \('y', 'x', 'band'\).*transpose"):
        predict(array.transpose("y", "x", "band"), mininet)
    with pytest.raises(SceneError, match="set_spatial_dims"):
        predict(array.rename(y="lat", x="lon"), mininet)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"halo": "64"}, "halo: 64 needs a unit"),
        ({"blend": "hahn"}, "blend: .* did you mean 'hann'"),
        ({"memory": "4"}, "memory: 4 needs a unit"),
        ({"threshold": 7}, "threshold: must be less than or equal to 1"),
        ({"stretch": (9, 5)}, "stretch: must be .* low below high"),
        ({"device": "tpu"}, "device: must be"),
    ],
)
def test_an_option_means_what_it_means_in_a_workflow(
    mininet: Bundle, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        predict(image(64, 64), mininet, **options)


def test_numbers_are_pixels_and_bytes(mininet: Bundle) -> None:
    array = image(150, 160)
    text = predict(array, mininet, halo="32 px", memory="900 MB")
    assert predict(array, mininet, halo=32, memory=900e6).identical(text)
    with pytest.raises(ConfigError, match=r"halo: -32.* must be finite and not negative"):
        predict(array, mininet, halo=-32)


def test_nodata_that_no_pixel_can_hold_means_nothing_and_is_said(mininet: Bundle) -> None:
    array = image(64, 64)
    plain = predict(array, mininet)
    for impossible in (-9999, 0.5):
        said = rf"declared as {impossible}, .* of band 1, band 2, band 3 .*: set array\.rio\.write_nodata to "
        with pytest.warns(SceneWarning, match=said):
            assert predict(array.assign_attrs(_FillValue=impossible), mininet).identical(plain)


def test_what_comes_out_is_written_with_its_nodata(mininet: Bundle, tmp_path: Path) -> None:
    array = image(80, 90).rio.write_nodata(0)
    array[:, :9, :9] = 0
    out = predict(array, mininet)
    out.classes.rio.to_raster(tmp_path / "classes.tif")
    out.probability.rio.to_raster(tmp_path / "probability.tif")
    with rasterio.open(tmp_path / "classes.tif") as raster:
        assert raster.nodata == 255
        assert (raster.read(1)[:9, :9] == 255).all()
    with rasterio.open(tmp_path / "probability.tif") as raster:
        assert math.isnan(raster.nodata)
        assert (raster.dataset_mask() == 0).sum() == 81


def test_nothing_is_computed_before_it_is_asked_for(mininet: Bundle) -> None:
    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError(block.shape)

    array = image(300, 90)
    pixels = da.from_array(array.values, chunks=(2, 77, 31)).map_blocks(
        refuse, dtype="uint8", meta=np.empty((0, 0, 0), "uint8")
    )
    out = predict(array.copy(data=pixels), mininet)
    assert out.classes.shape == (300, 90)
    with pytest.raises(AssertionError):
        out.classes[:5].compute()


def test_floats_with_nan_are_the_bytes_that_they_hold(mininet: Bundle) -> None:
    array = image(90, 80).rio.write_nodata(0)
    array[:, 20:40] = 0
    masked = array.astype("float32").where((array != 0).any("band"))
    masked = masked.rio.write_nodata(np.nan, encoded=False)
    xr.testing.assert_identical(predict(masked, mininet, stretch=(0, 255)), predict(array, mininet))


def test_bits_do_not_depend_on_the_batch(micronet: Bundle) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (5, 3, 96, 96)).astype(np.float32)
    valid = np.ones((5, 96, 96), bool)
    predictor = Predictor(micronet)
    together = predictor.logits(pixels, valid)
    for index in range(5):
        alone = predictor.logits(pixels[index : index + 1], valid[index : index + 1])
        assert np.array_equal(alone[0], together[index])


def test_memory_that_cannot_hold_a_window_is_refused(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, "micronet")
    with pytest.raises(GridError, match=r"compute\.memory"):
        resolve_tiles((5000, 5000), bundle, Tiling(), 800_000_000, CPU)


def test_values_beyond_all_numbers_are_refused_and_not_called_nodata(tmp_path: Path) -> None:
    floats = random_bundle(tmp_path, "mininet-1", value_dtype="float32", halo=32)
    array = image(90, 80).astype("float32")
    array[:, 40:50, 40:50] = -3.4e38  # what many a tool writes where there is no data
    with (
        pytest.warns(SceneWarning, match=r"hold -3\.4e\+38, and count as data"),
        pytest.raises(SceneError, match=r"no finite .* nodata"),
    ):
        predict(array, floats)
    declared = predict(array.rio.write_nodata(-3.4e38), floats)
    assert (declared.classes == 255).sum() == 100


def test_only_cropping_by_the_whole_radius_is_exact(micronet: Bundle) -> None:
    for halo, blend, exact in (
        ("exact", "auto", True),
        ("auto", "auto", True),
        ("96 px", "crop", True),
        ("exact", "hann", False),
        ("64 px", "crop", False),
    ):
        tiling = Tiling.model_validate({"halo": halo, "blend": blend})
        assert resolve_tiles((999, 999), micronet, tiling, 10**10, CPU).exact == exact, (halo, blend)

"""Laws of the prediction path, with real networks, through ``geoseg.predict``."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401 - registers the .rio accessor
import xarray as xr
from affine import Affine

from geoseg.engine.plan import resolve_tiles
from geoseg.engine.store import StoreLayout
from geoseg.errors import GridError, SceneError
from geoseg.flow.predict import predict
from geoseg.grid.window import reflected
from geoseg.models.bundle import Bundle
from geoseg.models.infer import Predictor
from geoseg.recipe.workflow import Tiling
from geoseg.testing.bundles import random_bundle


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
    radius = micronet.spec.radius
    assert radius == 94
    tiling = Tiling.model_validate({"window": "288 px", "halo": "exact"})
    assert len(resolve_tiles((333, 421), micronet, tiling, 10**10, "cpu").grid) > 4
    pad = 96  # the radius, on the alignment
    rows = reflected(-pad, 333 + pad + (-333) % 4, 333)
    cols = reflected(-pad, 421 + pad + (-421) % 4, 421)
    padded = array.values.astype(np.float32)[:, rows][:, :, cols]
    logits = Predictor(micronet).logits(padded[None], np.ones((1, *padded.shape[1:]), bool))
    whole = StoreLayout(2, 0).quantise(logits[0, :, pad : pad + 333, pad : pad + 421])
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


def test_what_does_not_fit_the_model_is_said_plainly(mininet: Bundle) -> None:
    array = image(64, 64)
    with pytest.raises(SceneError, match="2 bands but the model random-test needs 3"):
        predict(array[:2], mininet)
    with pytest.raises(SceneError, match=r"uint16 .* stretch"):
        predict(array.astype("uint16"), mininet)
    bare = xr.DataArray(array.values, dims=("band", "y", "x"))
    with pytest.raises(SceneError, match="no CRS"):
        predict(bare, mininet)


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
        resolve_tiles((5000, 5000), bundle, Tiling(), 800_000_000, "cpu")

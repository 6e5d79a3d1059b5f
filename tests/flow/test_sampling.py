"""``check`` samples real pixels, and ``run`` ends as it says: both refuse and warn of the same."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from support.rasters import TRANSFORM, write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog
from synthetic.bundles import random_bundle

from geoseg.config.workflow import Workflow
from geoseg.errors import SceneError, SceneWarning
from geoseg.flow.predict import predict
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import run
from geoseg.models.bundle import Bundle

PICTURE = np.random.default_rng(5).integers(20, 240, (3, 72, 80)).astype(np.uint8)
SMALL = {"arguments": {"widths": [8, 8], "encoder": [1], "decoder": [1]}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(
        tmp_path_factory.mktemp("model"), **SMALL, values="display", coarsest_resolution=0.42
    )


def at(resolution: float) -> Affine:
    """The usual place, with other pixels."""
    return Affine(resolution, 0, TRANSFORM.c, 0, -resolution, TRANSFORM.f)


def lone(value: int, row: int, col: int) -> NDArray[np.uint8]:
    """Black but for one pixel."""
    pixels = np.zeros((3, 900, 40), np.uint8)
    pixels[:, row, col] = value
    return pixels


EIGHT_BITS: dict[str, tuple[NDArray[Any], dict[str, Any], str]] = {
    "good": (PICTURE, {}, ""),
    "fine": (np.kron(PICTURE, np.ones((1, 3, 3), np.uint8)), {"transform": at(0.1)}, ""),
    "empty": (
        np.zeros((3, 64, 64), np.uint8),
        {"nodata": 0},
        "0 % of its pixels are valid: all hold nodata 0",
    ),
    "lone": (lone(90, 431, 7), {"nodata": 0}, ""),  # valid between the sampled windows alone
    "bright": (PICTURE // 16 + 236, {}, "warned: 100% of the values of a band are new to the model"),
    "coarse": (PICTURE, {"transform": at(0.6)}, "warned: pixels of 0.6 m on the ground"),
    "far": (PICTURE, {"transform": at(2.4)}, "scenes.resolution: any"),
    "deep": (PICTURE.astype(np.uint16) * 12, {"photometric": "RGB"}, "uint16 pixels .*scenes.stretch: \\[2"),
    "unit": (PICTURE / 255, {"photometric": "RGB"}, "float64 pixels .*scenes.stretch: \\[0, 1\\]"),
}
STRETCHED: dict[str, tuple[NDArray[Any], dict[str, Any], str]] = {
    "good": (PICTURE.astype(np.int16) * 10, {}, ""),
    "white": (PICTURE.astype(np.uint16) * 10 + 9000, {}, "all sampled values white"),
    "black": (PICTURE / 255, {}, "all sampled values black"),
    "clipped": (PICTURE.astype(np.float32) * 40, {}, "warned: scenes.stretch: [1, 2550] clips"),
}


@pytest.mark.parametrize(("scenes", "stretch"), [(EIGHT_BITS, None), (STRETCHED, (1.0, 2550.0))])
def test_run_ends_as_check_says(
    scenes: dict[str, tuple[NDArray[Any], dict[str, Any], str]],
    stretch: tuple[float, float] | None,
    model: Bundle,
    tmp_path: Path,
) -> None:
    for name, (pixels, profile, _) in scenes.items():
        write_raster(tmp_path / name / "scene.tif", pixels, **{"photometric": "RGB"} | profile)
    asset = {"type": "image/tiff", "roles": ["data"], "bands": RGB_BANDS}
    items = [stac_item(name, {"href": f"{name}/scene.tif", **asset}) for name in scenes]
    workflow = Workflow.model_validate(
        {
            "catalog": str(write_catalog(tmp_path / "catalog.json", *items)),
            "model": str(model.folder),
            "output": str(tmp_path / "out"),
            "scenes": {"stretch": stretch},
            "compute": {"executor": "serial"},
            "vectorize": None,
        }
    )
    checked = prepare(workflow, sample=True)
    refused = {refusal.scene: refusal.reason for refusal in checked.refused}
    warned = {
        plan.scene.ref.id: (*plan.warnings, *checked.findings[plan.scene.ref.id].warnings)
        for plan in checked.plans
    }
    for outcome in run(workflow).scenes:
        name, words = outcome.scene, scenes[outcome.scene][2]
        if words and not words.startswith("warned"):
            assert outcome.status == "refused", name
            assert outcome.reason.removeprefix(f"scene {name}: ") == refused[name].removeprefix(
                f"scene {name}: "
            )
            assert re.search(words, outcome.reason), outcome.reason
            continue
        assert outcome.status == "done", outcome.reason
        assert outcome.warnings == warned[name]
        kept = json.loads((tmp_path / "out" / name / "item.json").read_text())["properties"][
            "geoseg:warnings"
        ]
        assert tuple(kept) == outcome.warnings
        assert [words.removeprefix("warned: ") in line for line in kept] == [True] * bool(words)


def test_a_stretch_is_proposed_for_the_first_scenes_and_no_other_is_read(
    model: Bundle, tmp_path: Path
) -> None:
    deep = write_raster(
        tmp_path / "deep.tif", PICTURE.astype(np.uint16) * 12, photometric="RGB", compress="deflate"
    )
    with rasterio.open(deep) as source:
        start = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", 1))
    content = deep.read_bytes()
    (tmp_path / "damaged.tif").write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    asset = {"type": "image/tiff", "roles": ["data"], "bands": RGB_BANDS}
    items = [
        stac_item(f"s{number}", asset | {"href": "deep.tif" if number < 8 else "damaged.tif"})
        for number in range(11)
    ]
    workflow = Workflow.model_validate(
        {
            "catalog": str(write_catalog(tmp_path / "catalog.json", *items)),
            "model": str(model.folder),
            "output": str(tmp_path / "out"),
            "compute": {"executor": "serial"},
            "vectorize": None,
        }
    )
    reasons = {refusal.scene: refusal.reason for refusal in prepare(workflow).refused}
    assert list(reasons) == [f"s{number}" for number in range(11)]
    for number, reason in enumerate(reasons.values()):
        if number < 8:
            assert re.search(r"set scenes\.stretch: \[2\d+, 2\d+\]", reason), reason
        else:
            words = "set scenes.stretch: [low, high]; geoseg check proposes it for the first scenes"
            assert reason.endswith(words), reason
    assert {outcome.scene: outcome.reason for outcome in run(workflow).scenes} == reasons
    (tmp_path / "deep.tif").write_bytes((tmp_path / "damaged.tif").read_bytes())
    assert "corrupt" in prepare(workflow).refused[0].reason, "the damage shows where pixels are read"


def test_reflectance_before_and_after_an_offset_gives_the_same_map(model: Bundle, tmp_path: Path) -> None:
    # Sentinel-2: DN = 10000 r before processing baseline 04.00, then 10000 r + 1000, offset -0.1.
    reflectance = PICTURE / 255 * 0.4
    items = []
    for name, added, offset in (("old", 0, 0.0), ("new", 1000, -0.1)):
        stored = np.rint(10000 * reflectance + added).astype(np.uint16)
        write_raster(tmp_path / f"{name}.tif", stored, photometric="RGB", nodata=0)
        bands = [band | {"raster:scale": 1e-4, "raster:offset": offset} for band in RGB_BANDS]
        asset = {"href": f"{name}.tif", "type": "image/tiff", "roles": ["data"], "bands": bands}
        items.append(stac_item(name, asset))
    settings = {
        "catalog": str(write_catalog(tmp_path / "catalog.json", *items)),
        "model": str(model.folder),
        "output": str(tmp_path / "out"),
        "compute": {"executor": "serial"},
        "vectorize": None,
    }
    done = run(Workflow.model_validate(settings | {"scenes": {"stretch": (0.0, 0.4)}}))
    assert done.exit_code == 0
    maps = []
    for name in ("old", "new"):
        with rasterio.open(tmp_path / "out" / name / "classes.tif") as source:
            maps.append(source.read(1))
    assert (maps[0] != maps[1]).mean() < 1e-3
    wrong = run(
        Workflow.model_validate(
            settings | {"scenes": {"stretch": (0.0, 10000.0)}, "output": str(tmp_path / "no")}
        )
    )
    assert all(re.search(r"makes all sampled values black.*\[0\.0", o.reason) for o in wrong.scenes)


def array(pixels: NDArray[Any], resolution: float = 0.3, **attributes: Any) -> xr.DataArray:
    found = xr.DataArray(pixels, dims=("band", "y", "x"))
    return found.rio.write_crs("EPSG:26914").rio.write_transform(at(resolution)).assign_attrs(attributes)


def test_arrays_are_scaled_as_files_are_before_they_are_stretched(model: Bundle, tmp_path: Path) -> None:
    stored = PICTURE.astype(np.uint16) * 17 + 1000
    path = write_raster(tmp_path / "new.tif", stored, photometric="RGB")
    with rasterio.open(path, "r+") as out:
        out.scales, out.offsets = (1e-4,) * 3, (-0.1,) * 3
    expected = predict(array(PICTURE), model).classes
    for options in ({}, {"masked": True}, {"mask_and_scale": True}):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SceneWarning)
            opened = rioxarray.open_rasterio(path, **options)
            mapped = predict(opened, model, stretch=(0, 255 * 17e-4)).classes
        assert (mapped != expected).mean() < 1e-3, options
        doubts = [str(one.message) for one in caught if one.category is SceneWarning]
        assert [("were applied" in doubt) for doubt in doubts] == [True] * ("masked" in options), doubts
    with pytest.raises(SceneError, match=r"all sampled values black; .*stretch=\(0\.0"):
        predict(rioxarray.open_rasterio(path), model, stretch=(0, 10000))


def test_lazy_arrays_are_judged_when_they_are_computed(model: Bundle) -> None:
    white = array(PICTURE.astype(np.uint16) + 9000)
    with pytest.raises(SceneError, match="all sampled values white"):
        predict(white, model, stretch=(0, 2550))
    lazy = predict(white.chunk({"y": 30}), model, stretch=(0, 2550))
    with pytest.raises(SceneError, match="all sampled values white"):
        lazy.classes[40:].compute()
    clipped = array(PICTURE.astype(np.uint16) * 40)
    for given_array in (clipped, clipped.chunk({"x": 31})):
        with pytest.warns(SceneWarning, match=r"stretch=\(1, 2550\) clips"):
            predict(given_array, model, stretch=(1, 2550)).compute(scheduler="synchronous")


def test_an_array_of_coarse_ground_is_refused_before_memory_is_asked_for(model: Bundle) -> None:
    huge = xr.DataArray(da.zeros((3, 40_000, 40_000), np.uint8, chunks=4000), dims=("band", "y", "x"))
    huge = huge.rio.write_crs("EPSG:26914").rio.write_transform(at(30))
    with pytest.raises(SceneError, match=r'29\.8 m .* 0\.42 m.*resolution="any"'):
        predict(huge, model)
    coarse = array(PICTURE[:, :20, :20], 1.2)
    with pytest.warns(SceneWarning, match="expect a worse map"):
        assert predict(coarse, model, resolution="any").classes.shape == (20, 20)

"""The README's promise: shipped workflows map the demonstration scene, and real clients open the result."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from support.commands import run_geoseg
from support.system_python import need, told_by, validate

pytestmark = pytest.mark.slow

SCENE = "austin_synthetic"
# Shown to be reached by the shipped weights; a fall below is a fault of the path, not of the weather.
LEAST_IOU = {"buildings": {"building": 0.78}, "landcover": {"building": 0.5, "paved": 0.75, "grass": 0.5}}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Both workflows, run from another folder as a user would."""
    place = tmp_path_factory.mktemp("demo")
    for workflow in ("austin_buildings", "landcover"):
        done = run_geoseg("run", root / "workflows" / f"{workflow}.yaml", cwd=place)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 done, 0 skipped, 0 refused, 0 failed" in done.stdout
        assert "mIoU" in done.stdout, "the demonstration prints its own score"
    return place / "runs"


@pytest.fixture(scope="module", params=["buildings", "landcover"])
def folder(request: pytest.FixtureRequest, maps: Path) -> tuple[str, Path]:
    run = {"buildings": "austin_buildings", "landcover": "landcover"}[request.param]
    return request.param, maps / run / SCENE


def test_the_score_against_exact_truth_is_what_the_weights_reach(folder: tuple[str, Path]) -> None:
    layer, path = folder
    score = json.loads((path.parent / "score.json").read_text(encoding="utf-8"))
    found = {row["name"]: row["iou"]["value"] for row in score["classes"]}
    for name, least in LEAST_IOU[layer].items():
        assert found[name] >= least, found
    assert score["labeled_pixels"] == 1024 * 1024


def test_polygons_are_valid_and_where_the_classes_are(folder: tuple[str, Path], root: Path) -> None:
    layer, path = folder
    with rasterio.open(path / "classes.tif") as raster:
        classes, transform, crs = raster.read(1), raster.transform, raster.crs
    with rasterio.open(root / "examples" / SCENE / "scene.tif") as raster:
        assert (raster.crs, raster.transform, raster.shape) == (crs, transform, classes.shape)
    table = pyogrio.read_dataframe(path / f"{layer}.gpkg", layer=layer)
    shapes = zip(table.geometry, table.class_id, strict=True)
    burned = rasterize(shapes, classes.shape, transform=transform, dtype="uint8", fill=254)
    shown = classes.copy()
    if layer == "buildings":
        shown[classes == 0] = 254
    # Walls are straight where pixels are not, and what is too small is gone or part of its neighbor.
    assert (burned == shown).mean() > 0.985
    assert table.geometry.is_valid.all()
    if layer == "landcover":
        assert shapely.coverage_is_valid(table.geometry.to_numpy())
        assert table.area_m2.sum() == pytest.approx(classes.size * 0.09, rel=1e-3)
    else:
        one, other = shapely.STRtree(table.geometry).query(table.geometry, predicate="overlaps")
        shared = shapely.intersection(table.geometry.to_numpy()[one], table.geometry.to_numpy()[other])
        assert shapely.area(shared).max(initial=0) < 1e-6
        assert (table["shape"] != "free").mean() > 0.9
    for name in ("conf_mean", "conf_p10", "conf_edge"):
        assert table[name].between(0, 1).all()
    assert set(table.acquired) == {"2021-01-18T11:30:00Z"}


@pytest.mark.qgis
def test_gdal_validators_pass_on_every_output(folder: tuple[str, Path]) -> None:
    need("osgeo_utils.samples.validate_gpkg")
    layer, path = folder
    for file, validator in (
        ("classes.tif", "validate_cloud_optimized_geotiff"),
        ("probability.tif", "validate_cloud_optimized_geotiff"),
        (f"{layer}.gpkg", "validate_gpkg"),
    ):
        validate(path / file, validator)


@pytest.mark.qgis
def test_qgis_opens_styles_and_draws_the_map(
    folder: tuple[str, Path], root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    need("qgis.core")
    layer, path = folder
    pictures = Path(os.environ.get("GEOSEG_PICTURES") or tmp_path_factory.mktemp("pictures"))
    job = {
        "name": layer,
        "folder": str(path),
        "layer": layer,
        "rasters": ["classes", "probability"],
        "scene": str(root / "examples" / SCENE / "scene.tif"),
        "png": str(pictures),
    }
    place = tmp_path_factory.mktemp("job") / "job.json"
    place.write_text(json.dumps([job]), encoding="utf-8")
    seen: dict[str, Any] = told_by("qgis_probe.py", place)["results"][0]
    every = [seen["layer"], *seen["rasters"].values()]
    assert all(one["valid"] for one in every)
    assert {one["crs"]["id"] for one in every} == {"EPSG:26914"}
    assert seen["layer"]["renderer"] == ("singleSymbol" if layer == "buildings" else "categorizedSymbol")
    assert seen["rasters"]["classes"]["renderer"] == "paletted"
    assert (seen["layer"]["geos_invalid"], seen["layer"]["qgis_errors"]) == (0, 0)
    assert all(picture["colors"] >= 2 and not picture["errors"] for picture in seen["pictures"].values())

"""Real imagery through the command line: Austin's published test half, and a whole scene of another place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rasterio
from support.commands import run_geoseg

pytestmark = pytest.mark.slow


def geoseg(*arguments: str | Path) -> str:
    done = run_geoseg(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_austin_s_right_half_is_mapped_as_well_as_the_weights_promise(
    shared_data: Path, root: Path, tmp_path: Path
) -> None:
    """No training window read past column 500, and nothing was chosen by the score to the right of it."""
    folder = shared_data / "buildings" / "austin_inria"
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    (scenes / "austin_sample.tif").symlink_to(folder / "austin_sample.tif")
    geoseg("catalog", scenes, "-o", tmp_path / "austin.json")
    workflow = root / "workflows" / "austin_buildings.yaml"
    where = ["--set", f"catalog={tmp_path / 'austin.json'}", "--set", f"output={tmp_path / 'out'}"]
    geoseg("run", workflow, *where, "--set", "evaluate=null")
    reference = ["--reference", folder / "austin_sample_mask.tif", "--value", "255=1", "--value", "0=0"]
    half = ["--window", "0", "500", "1000", "500"]
    report = json.loads(geoseg("evaluate", workflow, *where, *reference, *half, "--json"))
    assert report["labeled_pixels"] == 500_000
    found = {row["name"]: row["iou"] for row in report["classes"]}
    assert found["building"]["value"] >= 0.68
    assert report["mean_iou"]["value"] >= 0.80
    assert found["building"]["low"] < found["building"]["value"] < found["building"]["high"]


def test_a_scene_of_another_resolution_and_crs_is_mapped(
    shared_data: Path, root: Path, tmp_path: Path
) -> None:
    """Kampala: 0.075 m in EPSG:3857, resampled to the model's 0.3 m on the ground."""
    folder = shared_data / "buildings" / "kampala_a"
    geoseg("catalog", folder, "-o", tmp_path / "kampala.json")
    workflow = root / "workflows" / "austin_buildings.yaml"
    where = ["--set", f"catalog={tmp_path / 'kampala.json'}", "--set", f"output={tmp_path / 'out'}"]
    geoseg("run", workflow, *where, "--set", "evaluate=null")
    reference = ["--reference", folder / "kampala_a_labels.gpkg", "--layer", "buildings"]
    report = json.loads(geoseg("evaluate", workflow, *where, *reference, "--json"))
    assert report["repaired_polygons"] == 1
    with rasterio.open(tmp_path / "out" / "kampala_a" / "classes.tif") as raster:
        assert raster.crs.to_epsg() == 3857
        assert raster.shape == (506, 764)  # 0.0746 × 0.0741 m on the ground, over 0.3 m

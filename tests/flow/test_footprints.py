"""The layer of footprints of a run: what cannot be drawn costs nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from support.rasters import write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog

from geoseg.flow.run.footprints import write_footprints
from geoseg.flow.run.prepare import prepare
from geoseg.flow.run.run import RunSummary, run
from geoseg.grid.geobox import GeoBox

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 60, 64), dtype=np.uint8)


def workflow(folder: Path, *names: str) -> Path:
    write_catalog(
        folder / "scenes.json",
        *(stac_item(name, {"href": f"{name}.tif", "bands": RGB_BANDS}) for name in names),
    )
    text = "catalog: scenes.json\nmodel: buildings-mininet2\nvectorize: null\n"
    (folder / "flow.yaml").write_text(text, encoding="utf-8")
    return folder / "flow.yaml"


def mapped(folder: Path, *names: str) -> RunSummary:
    return run(workflow(folder, *names), {"output": str(folder / "out"), "compute.executor": "serial"})


def test_a_scene_without_longitude_and_latitude_leaves_the_layer_to_the_others(tmp_path: Path) -> None:
    for name in ("a", "nowhere"):
        write_raster(tmp_path / f"{name}.tif", PIXELS)
    here, nowhere = prepare(workflow(tmp_path, "a", "nowhere")).plans
    beyond_the_globe = Affine(1, 0, 7e6, 0, -1, 0)
    nowhere = replace(nowhere, grid=GeoBox(60, 64, beyond_the_globe, "+proj=ortho +datum=WGS84"))
    made = write_footprints(tmp_path, [here, nowhere], mapped=(), before={})
    shown = gpd.read_file(tmp_path / "footprints.gpkg", layer="footprints")
    assert shown["scene"].tolist() == ["a"]
    assert write_footprints(tmp_path, [here, nowhere], mapped=(), before=made) == made


@pytest.mark.parametrize("geometry", [None, {}, {"type": "Polygon"}, "here"])
def test_an_item_without_a_footprint_is_named_and_the_maps_stay(geometry: object, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_raster(tmp_path / f"{name}.tif", PIXELS)
    mapped(tmp_path, "a", "b")
    item = tmp_path / "out" / "a" / "item.json"
    item.write_text(json.dumps(json.loads(item.read_text()) | {"geometry": geometry}))
    summary = mapped(tmp_path, "a", "b")
    assert summary.count("skipped") == 2
    assert summary.unwritten is not None
    assert f"{item} has no footprint" in summary.unwritten

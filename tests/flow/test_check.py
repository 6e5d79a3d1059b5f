"""What ``check`` passes does not fail later for a knowable reason, and what it refuses, ``run`` refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from support.rasters import write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog
from support.vectors import write_layer
from synthetic.bundles import random_bundle

from geoseg.engine.finished import ITEM_NAME
from geoseg.errors import GeosegError
from geoseg.flow.run.check import check_workflow
from geoseg.flow.run.run import run
from geoseg.io.yaml.strict_yaml import dump_yaml

UTM = "EPSG:26914"
PLACE = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)
SHAPE = (64, 64)
HERE = shapely.box(621_003, 3_349_990, 621_009, 3_349_996)
FAR = shapely.box(721_003, 3_349_990, 721_009, 3_349_996)
SMALL: dict[str, Any] = {"arguments": {"widths": [8, 16], "encoder": [1], "decoder": [1]}}
BASE: dict[str, Any] = {
    "catalog": "scenes.json",
    "model": "./model",
    "output": "out",
    "compute": {"executor": "serial"},
    "vectorize": {"layer": "things"},
}

Case = Callable[[Path, dict[str, Any]], str]
"""Spoils a workflow's folder and content; gives what is to be said."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a scene and labels that can be mapped and scored."""
    folder = tmp_path_factory.mktemp("whole")
    random_bundle(folder / "model", **SMALL)
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    write_raster(folder / "a.tif", pixels, crs=UTM, transform=PLACE)
    write_layer(folder / "roofs.gpkg", [HERE], UTM, "roofs", kind=["roof"], number=[7])
    return folder


@pytest.fixture
def folder(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "w"))


def catalog(folder: Path, label: dict[str, Any] | str = "roofs.gpkg", image: str = "a.tif") -> None:
    write_catalog(folder / "scenes.json", stac_item("a", {"href": image, "bands": RGB_BANDS}, roofs=label))


def flow(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "flow.yaml").write_text(dump_yaml(content), encoding="utf-8")
    return folder / "flow.yaml"


def scored(label: dict[str, Any] | str, said: str, **files: Any) -> Case:
    def spoil(folder: Path, content: dict[str, Any]) -> str:
        for name, write in files.items():
            write(folder / name.replace("__", "."))
        catalog(folder, label)
        content["evaluate"] = {"asset": "roofs"}
        return said

    return spoil


def changed(said: str, **vectorize: Any) -> Case:
    def spoil(_folder: Path, content: dict[str, Any]) -> str:
        content["vectorize"] = {**content["vectorize"], **vectorize}
        return said

    return spoil


def output_is_a_file(folder: Path, _content: dict[str, Any]) -> str:
    (folder / "out").write_text("mine")
    return "out cannot be written"


def another_map(folder: Path, content: dict[str, Any]) -> str:
    run(flow(folder, content))
    content["vectorize"] = {"layer": "others"}
    return "holds a map made by another configuration"


def older_rules(folder: Path, content: dict[str, Any]) -> str:
    run(flow(folder, content))
    item = json.loads((folder / "out" / "a" / ITEM_NAME).read_text())
    item["properties"] |= {"geoseg:rules": 1, "geoseg:fingerprint": "0" * 64}
    (folder / "out" / "a" / ITEM_NAME).write_text(json.dumps(item))
    return "made under rules 1"


def same_id_twice(folder: Path, _content: dict[str, Any]) -> str:
    items = [stac_item("a", {"href": "a.tif", "bands": RGB_BANDS}) for _ in range(2)]
    write_catalog(folder / "scenes.json", *items)
    return "2 items have this id"


def no_longitude(folder: Path, _content: dict[str, Any]) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    write_raster(folder / "a.tif", pixels, crs="EPSG:4326", transform=Affine(3e-6, 0, 10, 0, -3e-6, 90.0001))
    return "size on the ground"


def over_the_pole(folder: Path, _content: dict[str, Any]) -> str:
    """Pixels of 0.3 m around the middle, and rows beyond 90 degrees, whose areas nothing can measure."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    write_raster(folder / "a.tif", pixels, crs="EPSG:4326", transform=Affine(3, 0, -96, 0, -3e-6, 90.00005))
    return "have no longitude and latitude"


def half_a_file(folder: Path, _content: dict[str, Any]) -> str:
    whole = (folder / "a.tif").read_bytes()
    (folder / "a.tif").write_bytes(whole[: len(whole) // 2])
    return "is truncated"


def mask(value: int, nodata: int | None = None) -> Callable[[Path], object]:
    pixels = np.full(SHAPE, value, np.uint8)
    return lambda path: write_raster(path, pixels, crs=UTM, transform=PLACE, nodata=nodata)


def without_crs(path: Path) -> None:
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        write_layer(path, [HERE], None)


BAD: dict[str, Case] = {
    "no pyarrow": changed(
        r"vectorize\.format: GeoParquet needs pyarrow.*geoseg\[parquet\]", format="parquet"
    ),
    "layer fid": changed("'fid' cannot name a layer", layer="fid"),
    "layer geometry": changed("'geometry' cannot name a layer", layer="geometry"),
    "layer of another file": changed("is the name of another file", layer="classes"),
    "no such class": changed("class1", classes=["roof"]),
    "merged GeoJSON": changed("merge joins layers", merge=True, format="geojson"),
    "output is a file": output_is_a_file,
    "another map": another_map,
    "older rules": older_rules,
    "same id twice": same_id_twice,
    "no longitude": no_longitude,
    "over the pole": over_the_pole,
    "half a file": half_a_file,
    "no label file": scored("gone.gpkg", "gone.gpkg: cannot be opened"),
    "label is text": scored("x.gpkg", "x.gpkg: neither a raster", x__gpkg=lambda p: p.write_text("no")),
    "label elsewhere": scored("far.gpkg", "do not overlap", far__gpkg=lambda p: write_layer(p, [FAR], UTM)),
    "label of points": scored(
        "n.geojson", "holds point", n__geojson=lambda p: write_layer(p, [HERE.centroid], UTM)
    ),
    "label without CRS": scored("bare.gpkg", "has no CRS", bare__gpkg=without_crs),
    "no such layer": scored({"href": "roofs.gpkg", "geoseg:layer": "walls"}, "no layer 'walls'"),
    "no such attribute": scored({"href": "roofs.gpkg", "geoseg:attribute": "use"}, "no attribute 'use'"),
    "words as ids": scored({"href": "roofs.gpkg", "geoseg:attribute": "kind"}, "needed class ids"),
    "ids of other classes": scored({"href": "roofs.gpkg", "geoseg:attribute": "number"}, "hold 7, needed"),
    "mask of 255": scored("m.tif", "hold the values 255", m__tif=mask(255)),
    "background as nodata": scored("m.tif", "declare 0 as nodata", m__tif=mask(1, nodata=0)),
    "mask of other classes": scored("m.tif", "hold 9, needed class ids 0 to 1", m__tif=mask(9)),
}


def outcome(call: Callable[[], Any]) -> list[str]:
    """Everything that is said against a workflow."""
    try:
        done = call()
    except GeosegError as error:
        return str(error).splitlines()
    if hasattr(done, "refused"):
        return [refusal.reason for refusal in done.refused]
    bad = [one.reason for one in done.scenes if one.status in ("kept", "refused", "failed")]
    return [*bad, *filter(None, (done.unscored, done.unwritten))]


@pytest.mark.parametrize("case", BAD)
def test_check_refuses_what_run_does_in_the_same_words(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = dict(BASE)
    catalog(folder)
    if case == "no pyarrow":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = BAD[case](folder, content)
    path = flow(folder, content)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    (checked,) = outcome(lambda: check_workflow(path))
    assert re.search(said, checked), checked
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    (ran,) = outcome(lambda: run(path))
    assert checked == ran


GOOD: dict[str, dict[str, Any]] = {
    "plain": {},
    "geojson": {"vectorize": {"layer": "things", "format": "geojson"}},
    "parquet, merged": {"vectorize": {"layer": "select", "format": "parquet", "merge": True}},
    "flatgeobuf": {"vectorize": {"layer": "Table", "format": "fgb"}},
    "no polygons": {"vectorize": None},
    "on the scene's grid": {"write": {"grid": "scene", "probability": "top"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
def test_what_check_passes_is_mapped_scored_and_written(folder: Path, changes: dict[str, Any]) -> None:
    catalog(folder)
    path = flow(folder, {**BASE, "evaluate": {"asset": "roofs"}, **changes})
    assert outcome(lambda: check_workflow(path)) == []
    assert not (folder / "out").exists()
    done = run(path)
    assert done.count("done") == 1
    assert outcome(lambda: done) == []
    assert done.score is not None

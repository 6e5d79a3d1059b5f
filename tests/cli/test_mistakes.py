"""What people mistype and mistake: exit code 2, at most three lines, and what to type instead is in them."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine
from rasterio.enums import ColorInterp
from support.commands import Command
from support.rasters import CRS, write_raster
from support.stac import collection, stac_item, write_catalog
from support.vectors import write_layer

FLOW = """\
catalog: catalog.json
model: buildings-mininet2
output: out
compute: {executor: serial}
"""
TRAINING = """\
preset: mininet
model: {name: roofs, title: Roofs, license: MIT, architecture: mininet-1}
resolution: 0.3 m
classes:
  - {name: background, title: Other ground, color: '#e8e6e1', background: true}
  - {name: roof, title: Roof, color: '#d7301f'}
data:
  - {catalog: catalog.json, asset: roofs, source: {name: ours, attribution: we, license: MIT}}
split: {block: 6 m}
chips: {size: 96 px}
output: trained
"""
HERE = shapely.box(621_003, 3_349_985, 621_012, 3_349_996)


class Mistake(NamedTuple):
    """What is typed, with which files, and what must be said."""

    typed: str
    said: tuple[str, ...]
    """Words that must be there: what is wrong, and the key or the command to type."""
    flow: str = FLOW
    """Text of flow.yaml."""
    lacks: str = ""
    """A module that is not installed."""


def flow(typed: str, *said: str, command: str = "check") -> Mistake:
    """Lines added to a workflow, or keys in place of its own."""
    keys = {line.partition(":")[0] for line in typed.splitlines()}
    kept = [line for line in FLOW.splitlines() if line.partition(":")[0] not in keys]
    return Mistake(f"{command} flow.yaml", said, "\n".join([*kept, typed, ""]))


def training(old: str, new: str, *said: str) -> Mistake:
    """A part of a training in other words."""
    assert old in TRAINING
    return Mistake("train flow.yaml --check", said, TRAINING.replace(old, new))


def typed(line: str, *said: str, lacks: str = "") -> Mistake:
    """A command on sound files."""
    return Mistake(line, said, lacks=lacks)


MISTAKES: dict[str, Mistake] = {
    # files of the wrong kind
    "no such workflow": typed("run flwo.yaml", "flwo.yaml", "no such file"),
    "workflow is a folder": typed("run images", "is a folder", "catalog: images"),
    "workflow is an image": typed("run scene.tif", "catalog: scene.tif"),
    "catalog for a workflow": typed("check catalog.json", "catalog: catalog.json"),
    "training for a workflow": Mistake("run flow.yaml", ("geoseg train flow.yaml",), TRAINING),
    "workflow for a training": typed("train flow.yaml --check", "geoseg run flow.yaml"),
    "workflow for a card": typed("models import roofs.gpkg --card flow.yaml -o b", "geoseg run flow.yaml"),
    "empty workflow": Mistake("check flow.yaml", ("is empty", "catalog and model"), ""),
    "a list for a workflow": Mistake("check flow.yaml", ("list of keys", "model: "), "- a\n- b\n"),
    # YAML
    "a tab": flow("tiling:\n\thalo: 8 px", "flow.yaml:6", "tab", "spaces"),
    "a key twice": flow("model: a\nmodel: b", "model", "twice"),
    "an open bracket": flow("scenes: {ids: [a, b}", "flow.yaml:"),
    "no space after the colon": flow("vectorize:{min_area: 8 m2}", "flow.yaml:"),
    # keys and values
    "a key misspelt": flow("tilling: {halo: exact}", "tilling", "did you mean 'tiling'"),
    "a key in the wrong section": flow("halo: exact", "halo", "tiling.halo"),
    "a key's former name": training("preset: mininet", "recipe: mininet", "write preset:"),
    "min_area without a unit": flow("vectorize: {min_area: 8}", "vectorize.min_area", "8 m2"),
    "a window without a unit": flow("tiling: {window: 512}", "tiling.window", "512 px"),
    "memory without a unit": flow("compute: {memory: 4}", "compute.memory", "4 GB or 4 GiB"),
    "a length for an area": flow("vectorize: {min_area: 3 m}", "vectorize.min_area", "3 m", "m2"),
    "a threshold below 0": flow("vectorize: {threshold: -0.5}", "vectorize.threshold", "-0.5", "0"),
    "a threshold in per cent": flow("vectorize: {threshold: 50}", "vectorize.threshold", "50", "1"),
    "a list for text": flow("model: [buildings-mininet2]", "model", "must be text"),
    "a text for a list": flow("scenes: {ids: north}", "scenes.ids", "list"),
    "a text for a section": flow("tiling: exact", "tiling", "section"),
    "an empty section": flow("scenes:", "scenes", "is empty"),
    "three numbers for a stretch": flow("scenes: {stretch: [0, 1, 2]}", "scenes.stretch", "[low, high]"),
    "a stretch turned round": flow("scenes: {stretch: [3000, 0]}", "scenes.stretch"),
    "a mode misspelt": flow("vectorize: {mode: polygonize}", "vectorize.mode"),
    "a format misspelt": flow("vectorize: {format: shp}", "vectorize.format", "gpkg"),
    "a layer called fid": flow("vectorize: {layer: fid}", "vectorize.layer", "fid"),
    "an executor misspelt": flow("compute: {executor: proceses}", "compute.executor", "'processes'"),
    "a scheduler without a port": flow("compute: {scheduler: localhost}", "compute.scheduler", "tcp://"),
    "true in quotes": flow("vectorize: {merge: 'yes'}", "vectorize.merge", "true or false"),
    # --set and options
    "--set without =": typed("run flow.yaml --set tiling.halo", "--set 'tiling.halo'", "key=value"),
    "--set of an unknown key": typed("run flow.yaml --set min_area='8 m2'", "vectorize.min_area"),
    "--set into nothing": typed("run flow.yaml --set model.name=x", "model"),
    "an unknown option": typed("run flow.yaml --worker 2", "--worker", "--workers"),
    "an option of another command": typed("check flow.yaml --workers 2", "--workers"),
    "an unknown command": typed("maps flow.yaml", "maps"),
    "a command misspelt": typed("vectorise probability.tif -o a.gpkg", "vectorize"),
    "a group misspelt": typed("model list", "models"),
    "a subcommand misspelt": typed("models lst", "list"),
    "no argument": typed("run", "WORKFLOW"),
    "two workflows": typed("run flow.yaml other.yaml", "other.yaml"),
    "no workers": typed("run flow.yaml --workers 0", "--workers"),
    "workers in words": typed("run flow.yaml --workers many", "--workers"),
    "a bar of another kind": typed("run flow.yaml --progress fancy", "--progress", "plain"),
    "a demonstration that is none": typed("demo roads", "roads", "buildings"),
    "a schema of nothing": typed("schema flow", "flow", "workflow"),
    # models
    "a model misspelt": typed("run flow.yaml --model buildings-minnet2", "did you mean 'buildings-mininet2'"),
    "a path without a bundle": typed("check flow.yaml --model ./images", "images", "item.json"),
    "a network for a model": typed("models show mininet-2", "mininet-2", "geoseg models list"),
    "weights for a bundle": typed("models verify scene.tif", "scene.tif", "geoseg models"),
    "an export of no kind": typed("models export buildings-mininet2 -o m.tflite", ".onnx", "--format"),
    "an export into a file": typed("models export buildings-mininet2 -o notes.txt/m.pt2", "notes.txt"),
    "an export of another suffix": typed("models export buildings-mininet2 -o m.pt --format onnx", ".onnx"),
    "an import of an image": typed(
        "models import scene.tif --card card.yaml -o b", "card.yaml", "--template"
    ),
    "an import without a card": typed("models import weights.pt -o b", "--card"),
    "a calibration without scores": typed(
        "models calibrate buildings-mininet2 --errors roofs.gpkg -o b", "roofs.gpkg", "geoseg evaluate"
    ),
    "a calibration of nothing": typed(
        "models calibrate buildings-mininet2 --errors none.gpkg -o b", "none.gpkg"
    ),
    # catalogs and their files
    "no such catalog": typed("run flow.yaml --catalog cat.json", "cat.json", "did you mean 'catalog.json'"),
    "a catalog that is HTML": typed("run flow.yaml --catalog page.json", "page.json", "HTML"),
    "a catalog that is GeoJSON": typed("check flow.yaml --catalog plain.json", "plain.json", "STAC"),
    "a collection without items": typed(
        "check flow.yaml --catalog collection.json", "collection.json", "item"
    ),
    "an empty catalog": typed("check flow.yaml --catalog empty.json", "empty.json"),
    "a catalog on the web": typed(
        "check flow.yaml --catalog https://a.org/c.json", "https://a.org/c.json", "ownload"
    ),
    "an image on the web": typed("check flow.yaml --catalog web.json", "https://a.org/a.tif", "ownload"),
    "a folder without images": typed("run flow.yaml --catalog texts", "texts", "TIFF"),
    "a pattern that matches nothing": typed("run flow.yaml --catalog 'images/*.jp2'", "images/*.jp2"),
    "an unknown scene": typed("check flow.yaml --set scenes.ids=[noth]", "did you mean 'north'"),
    "no folder to catalog": typed("catalog imgs -o c.json", "imgs"),
    "a folder without images to catalog": typed("catalog texts -o c.json", "texts", "TIFF"),
    "a file to catalog": typed("catalog scene.tif -o c.json", "scene.tif"),
    "a catalog without -o": typed("catalog images", "--output"),
    "no such labels": typed("catalog images -o c.json --labels lables.gpkg", "lables.gpkg"),
    "a label key without labels": typed("catalog images -o c.json --label-key roofs", "--labels"),
    # scenes
    "an image that is gone": typed("check flow.yaml --catalog gone.json", "gone.tif", "does not exist"),
    "bands that have no names": typed("check flow.yaml --catalog unnamed.json", "scenes.bands"),
    "a band that is not there": flow("scenes: {bands: [red, green, nir]}", "nir", "scenes.bands"),
    "a band beyond the last": flow("scenes: {bands: [1, 2, 7]}", "scenes.bands", "7", "3"),
    "two bands of three": flow("scenes: {bands: [1, 2]}", "scenes.bands", "3"),
    "16 bits without a stretch": typed("check flow.yaml --catalog deep.json", "uint16", "scenes.stretch"),
    "pixels of 10 m": typed("check flow.yaml --catalog coarse.json", "10 m", "scenes.resolution"),
    "no CRS": typed("check flow.yaml --catalog nowhere.json", "has no CRS"),
    "nodata in words": flow("scenes: {nodata: none}", "scenes.nodata", "number"),
    "a JPEG under trust of catalogs": typed("check flow.yaml --catalog photo.json", "scenes.trust"),
    # outputs
    "an output that is a file": typed("check flow.yaml --output scene.tif", "scene.tif"),
    "an output below a file": typed("check flow.yaml --output notes.txt/maps", "notes.txt"),
    "no pyarrow": Mistake(
        "check flow.yaml --set vectorize.format=parquet", ("geoseg[parquet]",), lacks="pyarrow"
    ),
    # labels and scores
    "no such asset": typed(
        "check flow.yaml --set evaluate.asset=rofs", "did you mean 'roofs'", "evaluate.asset"
    ),
    "a label file that is gone": typed("check flow.yaml --set evaluate.asset=gone", "truth.gpkg"),
    "labels without a CRS": typed("check flow.yaml --set evaluate.asset=bare", "bare.gpkg", "CRS"),
    "evaluate before run": typed("evaluate flow.yaml --asset roofs", "geoseg run"),
    "evaluate without an asset": typed("evaluate flow.yaml", "roofs, bare, gone", "evaluate.asset"),
    "no such reference": typed("evaluate flow.yaml --reference rofs.gpkg", "rofs.gpkg"),
    "two references": typed(
        "evaluate flow.yaml --reference roofs.gpkg --asset roofs", "--asset", "--reference"
    ),
    "a layer of nothing": typed("evaluate flow.yaml --layer roofs", "--reference"),
    "a width without a unit": typed("evaluate flow.yaml --asset roofs --boundary 5", "--boundary", "5 px"),
    "a value that is none": typed("evaluate flow.yaml --reference scene.tif --value 255", "--value", "255=1"),
    # training
    "an unknown preset": training("preset: mininet", "preset: mininett", "did you mean 'mininet'"),
    "a training's key misspelt": training("output:", "outptu:", "did you mean 'output'"),
    "a label asset misspelt": training(
        "asset: roofs", "asset: rofs", "did you mean 'roofs'", "data[0].asset"
    ),
    "a color without quotes": training(
        "title: Roof, color: '#d7301f'}\n", "title: Roof, color: red}\n", "'#d7191c'"
    ),
    "one class": training("  - {name: roof, title: Roof, color: '#d7301f'}\n", "", "classes"),
    "the same class twice": training("name: roof,", "name: background,", "classes", "background"),
    "no catalog for a training": training(
        "catalog.json", "cat.json", "flow.yaml:8", "did you mean 'catalog.json'"
    ),
    # vectorize
    "no such raster": typed("vectorize prob.tif -o a.gpkg", "prob.tif"),
    "polygons for a raster": typed("vectorize roofs.gpkg -o a.gpkg", "roofs.gpkg"),
    "an image for probabilities": typed(
        "vectorize scene.tif -o a.gpkg --as probability --class 9=x", "scene.tif"
    ),
    "polygons of no format": typed("vectorize probability.tif -o a.shp", ".shp", ".gpkg"),
    "polygons in place of others": typed(
        "vectorize probability.tif -o roofs.gpkg", "roofs.gpkg", "--overwrite"
    ),
    "a class without a name": typed(
        "vectorize probability.tif -o a.gpkg --class building", "--class", "1=building"
    ),
    "a key of a workflow": typed("vectorize probability.tif -o a.gpkg --set tiling.halo=exact", "tiling"),
    "an area without a unit": typed("vectorize probability.tif -o a.gpkg --set vectorize.min_area=8", "8 m2"),
    "vectorize without -o": typed("vectorize probability.tif", "--output"),
    "a mask that is gone": typed("vectorize probability.tif -o a.gpkg --mask m.tif", "m.tif"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, its labels and catalogs, sound ones and others."""
    folder = tmp_path_factory.mktemp("mistakes")
    pixels = np.random.default_rng(0).integers(1, 255, (3, 64, 64), dtype=np.uint8)
    rgb: dict[str, Any] = {"photometric": "RGB"}
    write_raster(folder / "scene.tif", pixels, **rgb)
    write_raster(folder / "images" / "a.tif", pixels, **rgb)
    write_raster(folder / "unnamed.tif", pixels, interpretation=[ColorInterp.undefined] * 3)
    write_raster(folder / "deep.tif", pixels.astype(np.uint16) * 40, **rgb)
    write_raster(folder / "nowhere.tif", pixels, crs=None, **rgb)
    coarse = shapely.affinity.scale(HERE, 30, 30).bounds
    write_raster(folder / "coarse.tif", pixels, transform=Affine(10, 0, coarse[0], 0, -10, coarse[3]), **rgb)
    write_raster(folder / "photo.png", pixels)
    write_raster(folder / "probability.tif", np.float32(pixels[0]) / 255)
    write_layer(folder / "roofs.gpkg", [HERE], CRS, "roofs", kind=["roof"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # made to have no CRS
        write_layer(folder / "bare.gpkg", [HERE], None, "bare")
    (folder / "texts").mkdir()
    for name in ("texts/readme.txt", "notes.txt"):
        (folder / name).write_text("words\n")
    (folder / "page.json").write_text("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")
    (folder / "plain.json").write_text(
        json.dumps(collection({"type": "Feature", "geometry": None, "properties": {}}))
    )
    (folder / "empty.json").write_text(json.dumps(collection()))
    (folder / "collection.json").write_text(
        json.dumps(
            {
                "type": "Collection",
                "stac_version": "1.1.0",
                "id": "c",
                "description": "c",
                "license": "other",
                "extent": {},
                "links": [],
            }
        )
    )
    labels = {"roofs": "roofs.gpkg", "bare": "bare.gpkg", "gone": "truth.gpkg"}
    write_catalog(folder / "catalog.json", stac_item("north", "scene.tif", **labels))
    for name, image in {
        "gone": "gone.tif", "unnamed": "unnamed.tif", "deep": "deep.tif", "coarse": "coarse.tif",
        "nowhere": "nowhere.tif", "photo": "photo.png", "web": "https://a.org/a.tif",
    }.items():  # fmt: skip
        write_catalog(folder / f"{name}.json", stac_item(name, image))
    return folder


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_said_in_three_lines_with_what_to_type(
    geoseg: Command, place: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake
) -> None:
    monkeypatch.chdir(place)
    (place / "flow.yaml").write_text(mistake.flow, encoding="utf-8")
    if mistake.lacks:
        monkeypatch.setitem(sys.modules, mistake.lacks, None)
    code, out, err = geoseg(*shlex.split(mistake.typed))
    assert code == 2
    assert len(err.splitlines()) in (1, 2, 3)
    assert "Traceback" not in out + err
    for words in mistake.said:
        assert words in err

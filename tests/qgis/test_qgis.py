"""The outputs as real clients see them: QGIS opens, styles and draws them; GDAL's validators accept them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from support.rasters import write_raster
from support.system_python import need, told_by, validate

from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.files import write_text
from geoseg.io.qgis.style import ClassStyle, classes_qml, palette, polygons_qml, probability_qml
from geoseg.io.raster.cog import write_cog
from geoseg.io.vector.features import LayerStyle, features_of
from geoseg.io.vector.writer import write_features
from geoseg.polygons.attributes import FIELDS, Provenance
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip

pytestmark = pytest.mark.slow

SIDE = 600
BACKGROUND = ClassStyle(0, "Background", "#c8c8be", background=True)
BUILDING = ClassStyle(1, "Building", "#e6372d")
LAND_COVER = (
    ClassStyle(0, "Bare ground & <other>", "#c2a878"),
    BUILDING,
    ClassStyle(2, "Road", "#7f7f86"),
    ClassStyle(3, "Tree", "#2b7a3d"),
    ClassStyle(4, "Grass", "#9acb5c"),
)


@dataclass(frozen=True)
class Case:
    name: str
    crs: str
    transform: Affine
    classes: tuple[ClassStyle, ...]
    layer: str


CASES = {
    case.name: case
    for case in (
        Case(
            "utm_rotated",
            "EPSG:26914",
            Affine.translation(621_000, 3_350_000) @ Affine.rotation(17) @ Affine.scale(0.3, -0.3),
            (BACKGROUND, BUILDING),
            "buildings",
        ),
        Case("degrees", "EPSG:4326", Affine(3e-6, 0, -97.74, 0, -3e-6, 30.27), LAND_COVER, "landcover"),
        Case(
            "custom",
            "+proj=aea +lat_0=30 +lon_0=-98 +lat_1=29 +lat_2=31 +datum=WGS84 +units=m",
            Affine(0.3, 0, 12_000, 0, 0.3, 30_000),
            (BACKGROUND, BUILDING),
            "buildings",
        ),
        Case(
            "no_datum",
            "+proj=utm +zone=32 +ellps=intl +units=m",
            Affine(0.3, 0, 521_000, 0, -0.3, 5_350_000),
            (BACKGROUND, BUILDING),
            "buildings",
        ),
    )
}


def neighborhood(seed: int = 3) -> NDArray[np.uint8]:
    """Class ids of :data:`LAND_COVER`: a road cross, turned houses, trees, lawns; a corner without data."""
    random = np.random.default_rng(seed)
    rows, cols = np.mgrid[:SIDE, :SIDE].astype(float)
    ids = np.where(np.sin(rows / 37) + np.cos(cols / 23) > 0.2, 4, 0).astype(np.uint8)
    for _ in range(150):
        row, col, radius = *random.uniform(0, SIDE, 2), random.uniform(4, 16)
        ids[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = 3
    for _ in range(45):
        row, col, angle = *random.uniform(0, SIDE, 2), random.uniform(0, math.pi)
        along = (rows - row) * math.cos(angle) + (cols - col) * math.sin(angle)
        across = (cols - col) * math.cos(angle) - (rows - row) * math.sin(angle)
        half, wide = random.uniform(14, 34), random.uniform(10, 20)
        house = (abs(along) < half) & (abs(across) < wide)
        house |= (abs(along - half + 8) < 8) & (abs(across + wide) < wide)
        ids[house] = 1
        if random.random() < 0.2:
            ids[(abs(along) < 5) & (abs(across) < 5)] = 4  # a courtyard
    ids[(abs(rows - 310 - 0.2 * cols) < 11) | (abs(cols - 180 + 0.1 * rows) < 11)] = 2
    ids[rows + cols < 60] = 255
    return ids


def write_outputs(folder: Path, case: Case) -> GeoBox:
    ids = neighborhood()
    count = len(case.classes)
    if count == 2:
        ids = np.where(ids == 255, 255, ids == 1).astype(np.uint8)
    geobox = GeoBox(SIDE, SIDE, case.transform, case.crs)
    random = np.random.default_rng(1)
    sure = random.integers(120, 201, ids.shape)
    store = np.stack([np.where(ids == one.id, sure, 200 - sure) for one in case.classes]).astype(np.uint8)
    if count == 2:
        store = store[1:]
    store[:, ids == 255] = 255
    windows = [Window(row, 0, min(256, SIDE - row), SIDE) for row in range(0, SIDE, 256)]
    write_cog(
        folder / "classes.tif",
        geobox,
        ["class"],
        ((w, ids[None][:, *w.slices]) for w in windows),
        colormap=palette(case.classes),
    )
    write_cog(
        folder / "probability.tif",
        geobox,
        [one.title for one in case.classes[-len(store) :]],
        ((w, store[:, *w.slices]) for w in windows),
        scale=1 / 200,
        overviews="average",
    )
    write_text(folder / "classes.qml", classes_qml(case.classes))
    write_text(folder / "probability.qml", probability_qml())
    shown = [one for one in case.classes if not one.background]
    own = store[0] if count == 2 else np.take_along_axis(store, np.minimum(ids, count - 1)[None], axis=0)[0]
    bands = np.stack([own] * len(case.classes))
    shapes = [
        Shapes.of(regions, "exact")
        for regions in trace_regions(
            [Strip(ids, own, bands)], SIDE, [one.id for one in shown], deformed=False
        )
    ]
    provenance = Provenance("scene 1", "scene_1", "test 1", "0" * 64, "run", "2024-05-31")
    write_features(
        folder / f"{case.layer}.gpkg",
        case.layer,
        features_of(shapes, geobox, {one.id: one.title for one in shown}, provenance),
        geobox=geobox,
        schema=FIELDS,
        style=LayerStyle(polygons_qml(shown)),
        description="Objects of a test",
    )
    write_scene(folder / "scene.tif", geobox)
    return geobox


def write_scene(path: Path, geobox: GeoBox) -> None:
    """Something like an aerial image of the same place, to judge the styles on."""
    tones = np.array([[150, 132, 105], [170, 120, 104], [96, 96, 100], [52, 74, 48], [104, 122, 76]], float)
    ids = neighborhood()
    image = tones[np.where(ids == 255, 0, ids)] + np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 1))
    write_raster(path, image.clip(0, 255).astype(np.uint8).transpose(2, 0, 1), geobox)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, GeoBox]]:
    made = {}
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = (folder, write_outputs(folder, case))
    return made


@pytest.fixture(scope="module")
def seen(outputs: dict[str, tuple[Path, GeoBox]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What QGIS reports of each case, by name; pictures go to $GEOSEG_PICTURES where that is set."""
    need("qgis.core")
    pictures = Path(os.environ.get("GEOSEG_PICTURES") or tmp_path_factory.mktemp("pictures"))
    jobs = [
        {
            "name": name,
            "folder": str(folder),
            "layer": CASES[name].layer,
            "rasters": ["classes", "probability"],
            "scene": str(folder / "scene.tif"),
            "png": str(pictures),
        }
        for name, (folder, _) in outputs.items()
    ]
    job = tmp_path_factory.mktemp("job") / "job.json"
    job.write_text(json.dumps(jobs), encoding="utf-8")
    return {one["name"]: one for one in told_by("qgis_probe.py", job)["results"]}


@pytest.mark.qgis
@pytest.mark.parametrize("name", CASES)
def test_layers_open_with_the_scene_s_crs_and_place(
    name: str, seen: dict[str, Any], outputs: dict[str, tuple[Path, GeoBox]]
) -> None:
    report, (_, geobox) = seen[name], outputs[name]
    every = [report["layer"], *report["rasters"].values()]
    assert all(one["valid"] and one["crs"]["valid"] for one in every)
    assert all(report["same_crs"].values())
    assert {one["crs"]["proj"] for one in every} == {report["scene_proj"]}
    if CASES[name].crs.startswith("EPSG"):
        assert {one["crs"]["id"] for one in every} == {CASES[name].crs}
    elif name == "custom":
        assert {one["crs"]["name"] for one in every} == {"custom Albers Equal Area"}
    else:  # QGIS takes a datum that fits, for the scene and for all that was made of it
        assert len({one["crs"]["name"] for one in every}) == 1
    west, south, east, north = geobox.bounds
    for one in every:  # x is easting or longitude for all: swapped axes would lie elsewhere
        assert one["extent"][0] >= west - 1e-3 * (east - west)
        assert one["extent"][3] <= north + 1e-3 * (north - south)
    assert report["layer"]["extent"][2] > (west + east) / 2
    assert report["layer"]["extent"][1] < (south + north) / 2


@pytest.mark.qgis
@pytest.mark.parametrize("name", CASES)
def test_no_geometry_is_invalid_by_qgis_s_own_checks(name: str, seen: dict[str, Any]) -> None:
    layer = seen[name]["layer"]
    assert layer["count"] > 20
    assert layer["type"] == "Polygon"
    assert (layer["geos_invalid"], layer["qgis_errors"]) == (0, 0)
    assert layer["fields"] == ["fid", *FIELDS]


@pytest.mark.qgis
@pytest.mark.parametrize("name", CASES)
def test_styles_are_applied(name: str, seen: dict[str, Any]) -> None:
    report, classes = seen[name], CASES[name].classes
    shown = [one for one in classes if not one.background]
    layer, rasters = report["layer"], report["rasters"]
    if len(shown) == 1:
        assert layer["renderer"] == "singleSymbol"
        assert layer["classes"] == [[None, "", shown[0].color]]
    else:
        assert (layer["renderer"], layer["attribute"]) == ("categorizedSymbol", "class_id")
        assert [[int(value), *rest] for value, *rest in layer["classes"]] == [
            [one.id, one.title, one.color] for one in shown
        ]
    assert rasters["classes"]["renderer"] == "paletted"
    assert rasters["classes"]["classes"] == [[one.id, one.title, one.color] for one in classes]
    probability = rasters["probability"]
    assert (probability["renderer"], probability["range"]) == ("singlebandpseudocolor", [0, 1])
    assert 0 <= probability["values"][0] < 0.5 < probability["values"][1] <= 1


@pytest.mark.qgis
@pytest.mark.parametrize("name", CASES)
def test_pictures_show_something(name: str, seen: dict[str, Any]) -> None:
    for what, picture in seen[name]["pictures"].items():
        assert not picture["errors"], what
        assert picture["colors"] >= (3 if what != "classes" else 2), what


@pytest.mark.qgis
@pytest.mark.parametrize("name", CASES)
def test_gdal_validators_accept_every_file(name: str, outputs: dict[str, tuple[Path, GeoBox]]) -> None:
    need("osgeo_utils.samples")
    folder, _ = outputs[name]
    for file, validator in (
        ("classes.tif", "validate_cloud_optimized_geotiff"),
        ("probability.tif", "validate_cloud_optimized_geotiff"),
        (f"{CASES[name].layer}.gpkg", "validate_gpkg"),
    ):
        assert "warning" not in validate(folder / file, validator).lower()

"""The QGIS project and the merged layer of a run: functions of its scenes, and opened by the real QGIS."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window
from support.rasters import write_raster
from support.stac import stac_item, write_catalog
from support.system_python import need, told_by
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.errors import OutputError
from geoseg.flow.run.outputs import write_outputs
from geoseg.flow.run.prepare import Prepared, prepare
from geoseg.flow.run.run import run
from geoseg.grid.geobox import GeoBox
from geoseg.io.files import sha256_of
from geoseg.io.qgis.project import ImageStyle, ProjectLayer, project_text, write_project
from geoseg.io.qgis.scales import Generalization, thin_qml, thinning_qml
from geoseg.io.qgis.style import ClassStyle, polygons_qml
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.io.vector.writer import write_features

pytestmark = pytest.mark.slow

NAMES = ("west", 'east & "more"')
CLASSES = (ClassStyle(1, "Building", "#d62728"), ClassStyle(2, "Road", "#7f7f86"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where QGIS's pictures go: $GEOSEG_PICTURES where that is set."""
    return Path(os.environ.get("GEOSEG_PICTURES") or tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def opened(pictures: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Opens projects, by name and each at some scales (0: its whole extent), and says what is in them."""
    need("qgis.core")

    def ask(**projects: tuple[Path, tuple[int, ...]]) -> dict[str, Any]:
        job = [
            {"name": name, "project": str(project), "scales": scales, "png": str(pictures)}
            for name, (project, scales) in projects.items()
        ]
        (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
        return {one["name"]: one for one in told_by("qgis_probe.py", tmp_path / "job.json")["results"]}

    return ask


# --- a run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    root: Path
    prepared: Prepared

    @property
    def output(self) -> Path:
        return self.root / "run"

    def write(self, mapped: tuple[str, ...] = NAMES, *, merge: bool = True, crs: str | None = None) -> None:
        write_outputs(self.prepared, mapped, merge=merge, coverage=False, crs=crs)

    def times(self) -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in self.output.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and the finished maps of two overlapping scenes."""
    root = tmp_path_factory.mktemp("world")
    whole = write_scene(root / "whole", generate(size=(300, 520), seed=5), lossless=True).scene
    for name, window in zip(NAMES, (Window(0, 0, 300, 300), Window(220, 0, 300, 300)), strict=True):
        with rasterio.open(whole) as source:
            pixels, place = source.read(window=window), source.window_transform(window)
            write_raster(root / "data" / name / "scene.tif", pixels, crs=source.crs, transform=place)
    items = [stac_item(name, version="1.0.0") for name in NAMES]
    write_catalog(root / "data" / "catalog.json", *items)
    (root / "map.yaml").write_text(
        "catalog: data/catalog.json\nmodel: buildings-mininet2\noutput: run\n"
        "vectorize: {layer: buildings, mode: exact}\ntiling: {halo: 32 px}\n",
        encoding="utf-8",
    )
    assert run(root / "map.yaml", {"compute.executor": "serial"}).count("done") == 2
    return root


@pytest.fixture
def world(mapped: Path, tmp_path: Path) -> Iterator[World]:
    """A copy of its own, without what a run leaves beside its scenes."""
    root = tmp_path / "world"
    shutil.copytree(mapped, root)
    for path in (root / "run").iterdir():
        if path.is_file():
            path.unlink()
    yield World(root, prepare(root / "map.yaml"))
    shutil.rmtree(root, ignore_errors=True)


def text_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["run.qgs"]
        return archive.read("run.qgs").decode()


@pytest.mark.qgis
def test_a_run_opens_in_qgis_wherever_it_is_moved(
    world: World, opened: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    world.write()
    elsewhere, lonely = tmp_path / "quite" / "another place", tmp_path / "lonely"
    shutil.copytree(world.root, elsewhere)
    shutil.copytree(world.root / "run", lonely / "run")
    reports = opened(
        here=(world.output / "run.qgz", (0, 3000, 20_000)),
        moved=(elsewhere / "run" / "run.qgz", (0,)),
        alone=(lonely / "run" / "run.qgz", (0,)),
    )
    report, moved, alone = reports["here"], reports["moved"], reports["alone"]
    layers = report["layers"]
    assert (report["read"], report["error"], report["title"]) == (True, "", "map")
    assert (report["crs"]["valid"], report["crs"]["id"]) == (True, "EPSG:26914")
    assert all(one["valid"] and one["crs"]["id"] == "EPSG:26914" for one in layers[1:])
    assert [(one["group"], one["title"], one["shown"]) for one in layers] == [
        ("", "Footprints", True),
        ("", "buildings, all scenes", True),
        ("", "buildings, all scenes (overview)", True),
        *[("Buildings", name, False) for name in sorted(NAMES)],
        *[("Probability", f"{name}: Building", False) for name in sorted(NAMES)],
        *[("Classes", name, False) for name in sorted(NAMES)],
        *[("Scenes", name, True) for name in sorted(NAMES)],
    ]
    assert [one["renderer"] for one in layers] == [
        "categorizedSymbol",
        *["singleSymbol"] * 4,
        *["singlebandpseudocolor"] * 2,
        *["paletted"] * 2,
        *["multibandcolor"] * 2,
    ]
    footprints, *layers = layers
    assert (footprints["valid"], footprints["crs"]["id"]) == (True, "EPSG:4326")
    assert footprints["classes"] == [[kind, kind, color] for kind, color in STATUS.items()]
    assert footprints["count"] == len(NAMES)
    merged, overview, *single = layers[:4]
    assert (merged["scales"], overview["scales"]) == ([5000.0, 0.0], [1e9, 5000.0])
    assert 0 < merged["count"] < sum(one["count"] for one in single)
    assert {one["classes"][0][2] for one in layers[:4]} == {single[0]["classes"][0][2]}
    assert all((one["geos_invalid"], one["qgis_errors"]) == (0, 0) for one in layers[:4])
    shown = {name: picture["layers"] for name, picture in report["pictures"].items()}
    assert shown == {
        "0": ["Footprints", "buildings, all scenes", *sorted(NAMES)],
        "3000": ["Footprints", "buildings, all scenes", *sorted(NAMES)],
        "20000": ["Footprints", "buildings, all scenes (overview)", *sorted(NAMES)],
    }
    assert all(not picture["errors"] for picture in report["pictures"].values())
    assert report["pictures"]["0"]["colors"] > 1000
    west, south, east, north = report["view"]
    boxes = np.array([one["extent"] for one in layers])
    assert west < boxes[:, 0].min() < boxes[:, 2].max() < east
    assert south < boxes[:, 1].min() < boxes[:, 3].max() < north

    assert all(one["valid"] for one in moved["layers"])
    assert {str(elsewhere) in one["source"] for one in moved["layers"]} == {True}
    assert (alone["read"], alone["error"]) == (True, "")
    assert [one["valid"] for one in alone["layers"]] == [True] * 9 + [False] * 2
    assert not alone["pictures"]["0"]["errors"]


def test_a_project_names_nothing_but_relative_paths(world: World) -> None:
    world.write()
    text = text_of(world.output / "run.qgz")
    assert str(world.root) not in text
    root = ET.fromstring(text)  # noqa: S314 our own text
    sources = [one.text or "" for one in root.iter("datasource")]
    assert len(sources) == 11
    for source in sources:
        path, _, layer = source.partition("|layername=")
        assert path.startswith(("./", "../data/"))
        assert (world.output / path).is_file()
        assert not layer or layer_info(world.output / path, layer).count
    ids = [one.text or "" for one in root.iterfind(".//maplayer/id")]
    assert ids == [one.get("id") for one in root.iter("layer-tree-layer")]
    assert len(set(ids)) == len(ids)
    assert min(map(len, ids)) > 10


def test_what_is_up_to_date_stays_and_what_is_not_is_made_again(world: World) -> None:
    world.write()
    receipt = json.loads((world.output / "run.json").read_text())
    singles = sum(layer_info(p, "buildings").count for p in world.output.glob("*/buildings.gpkg"))
    assert layer_info(world.output / "merged.gpkg", "buildings").count == receipt["merged"]["features"]
    assert receipt["merged"]["features"] + receipt["merged"]["duplicates"] == singles
    before, project = world.times(), sha256_of(world.output / "run.qgz")
    world.write()
    assert world.times() == before
    (world.output / "merged.gpkg").unlink()
    (world.output / "run.qgz").unlink()
    world.write()
    assert sorted(world.times()) == sorted(before)
    assert sha256_of(world.output / "run.qgz") == project
    assert (
        json.loads((world.output / "run.json").read_text())["merged"]["features"]
        == receipt["merged"]["features"]
    )

    world.write(NAMES[:1])  # another run, of one scene
    other = json.loads((world.output / "run.json").read_text())
    assert other["merged"]["duplicates"] == 0
    assert 'east &amp; "more"' not in text_of(world.output / "run.qgz")
    world.write(merge=False)
    assert sorted(world.times()) == ["footprints.gpkg", "run.json", "run.qgz"]
    world.write(())
    assert sorted(world.times()) == ["footprints.gpkg", "run.json", "run.qgz"]


def test_a_project_that_somebody_has_arranged_is_not_lost(world: World) -> None:
    world.write()
    project = world.output / "run.qgz"
    project.write_bytes(b"arranged in QGIS")
    world.write()
    assert project.read_bytes() == b"arranged in QGIS"
    world.write(merge=False)
    assert (world.output / "run.edited-1.qgz").read_bytes() == b"arranged in QGIS"
    project.write_bytes(b"arranged again")
    (world.output / "run.json").write_text("no receipt")
    world.write()
    assert (world.output / "run.edited-2.qgz").read_bytes() == b"arranged again"
    (world.output / "merged.gpkg").rename(world.output / "mine.gpkg")
    world.write(merge=False)
    assert (world.output / "mine.gpkg").is_file()


def test_the_merged_layer_comes_in_the_crs_asked_for(world: World) -> None:
    world.write(crs="EPSG:4326")
    assert layer_info(world.output / "merged.gpkg", "buildings").crs == "EPSG:4326"
    first = json.loads((world.output / "run.json").read_text())["merged"]
    world.write()
    assert layer_info(world.output / "merged.gpkg", "buildings").crs == "EPSG:26914"
    second = json.loads((world.output / "run.json").read_text())["merged"]
    assert (first["features"], first["duplicates"]) == (second["features"], second["duplicates"])


def test_a_run_of_finished_scenes_leaves_what_is_asked_for_by_now(world: World) -> None:
    workflow, settings = world.root / "map.yaml", {"compute.executor": "serial"}
    plain = run(workflow, settings)
    assert (plain.count("skipped"), plain.exit_code) == (2, 0)
    assert sorted(world.times()) == [".geoseg.lock", "footprints.gpkg", "run.json", "run.qgz", "runtime.json"]
    merging = run(workflow, settings | {"vectorize.merge": "true"})
    assert (merging.count("skipped"), merging.unwritten, merging.exit_code) == (2, None, 0)
    assert sorted(world.times()) == [
        ".geoseg.lock", "footprints.gpkg", "merged.gpkg", "run.json", "run.qgz", "runtime.json",
    ]  # fmt: skip
    (world.output / "merged.gpkg").unlink()
    (world.output / "merged.gpkg").mkdir()
    failing = run(workflow, settings | {"vectorize.merge": "true"})
    assert failing.exit_code == 2
    assert failing.unwritten is not None
    assert "merged.gpkg cannot be written: a folder has this name" in failing.unwritten


# --- scenes far apart -----------------------------------------------------------------------------------


FAR = {
    "austin": ("EPSG:26914", 621_000, 3_350_000), "dallas": ("EPSG:26914", 705_000, 3_630_000),
    "houston": ("EPSG:26915", 270_000, 3_295_000), "lost": ("EPSG:26915", 280_000, 3_295_000),
    "pecos": ("EPSG:26913", 640_000, 3_480_000), "waco": ("EPSG:26914", 673_000, 3_490_000),
}  # fmt: skip
"""Scenes in three zones of Texas."""
STATUS = {"mapped": "#2b6cb0", "not mapped": "#d7301f"}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six small scenes in three zones, one of which is cut off."""
    root = tmp_path_factory.mktemp("far")
    random_bundle(root / "model", arguments={"widths": [8, 16], "encoder": [1], "decoder": [1]})
    blocks = np.random.default_rng(0).integers(0, 255, (3, 5, 5), dtype=np.uint8)
    pixels = np.repeat(np.repeat(blocks, 20, axis=1), 20, axis=2)
    for name, (crs, east, north) in FAR.items():
        write_raster(root / f"{name}.tif", pixels, crs=crs, transform=Affine(0.3, 0, east, 0, -0.3, north))
    write_catalog(root / "catalog.json", *(stac_item(name, f"{name}.tif") for name in FAR))
    (root / "map.yaml").write_text(
        "catalog: catalog.json\nmodel: ./model\noutput: run\nvectorize: {layer: things, mode: exact}\n"
    )
    assert run(root / "map.yaml", {"compute.executor": "serial"}).count("done") == len(FAR)
    prepared = prepare(root / "map.yaml")
    write_outputs(prepared, FAR.keys() - {"lost"}, merge=True, coverage=False)
    return root / "run"


@pytest.mark.qgis
def test_scenes_far_apart_open_on_the_first_one(far: Path, opened: Callable[..., dict[str, Any]]) -> None:
    report = opened(far=(far / "run.qgz", (0, 8_000_000)))["far"]
    there = sorted(FAR.keys() - {"lost"})
    assert (report["read"], report["error"], report["crs"]["id"]) == (True, "", "EPSG:3857")
    assert all(one["valid"] for one in report["layers"])
    layers = {(one["group"], one["title"]): one for one in report["layers"]}
    footprints = layers["", "Footprints"]
    assert footprints["count"] == len(FAR)
    assert footprints["labels"] == '"scene" || \'\\n\' || "status"'
    kinds = ("Things", "Probability", "Classes", "Image")
    assert [key for key in layers if key[0]] == [(name, kind) for name in there for kind in kinds]
    assert report["closed"] == there
    names = [layer for layer in report["order"] if layer in kinds]
    assert names == [kind for kind in kinds for _ in there], "no image hides another scene's polygons"
    west, south, east, north = report["view"]
    assert max(east - west, north - south) < 50, "the first scene, 30 m wide"
    assert report["pictures"]["0"]["colors"] > 10
    assert report["pictures"]["8000000"]["colors"] > 10, "footprints and their labels"
    assert not any(picture["errors"] for picture in report["pictures"].values())


def test_footprints_say_what_became_of_each_scene(far: Path) -> None:
    (piece,) = read_pieces(far / "footprints.gpkg", "footprints", ("scene", "status"))
    found = piece.features
    told = dict(zip(found.attributes["scene"], found.attributes["status"], strict=True))
    assert told == {name: "not mapped" if name == "lost" else "mapped" for name in FAR}
    at = dict(zip(found.attributes["scene"], found.geometry, strict=True))
    for name in FAR:
        item = json.loads((far / name / "item.json").read_text())
        assert at[name].equals(shapely.geometry.shape(item["geometry"]))


# --- projects by hand -----------------------------------------------------------------------------------


CUSTOM = "+proj=aea +lat_0=30 +lon_0=-98 +lat_1=29 +lat_2=31 +datum=WGS84 +units=m"


PLACES = {
    "custom": (CUSTOM, Affine(0.3, 0, 12_000, 0, -0.3, 30_000)),
    "degrees": ("EPSG:4326", Affine(3e-6, 0, -97.74, 0, -3e-6, 30.27)),
    "turned": (
        "EPSG:26914",
        Affine.translation(621e3, 335e4) @ Affine.rotation(17) @ Affine.scale(0.3, -0.3),
    ),
}


def write_projects(folder: Path, crs: str, transform: Affine) -> Iterator[tuple[str, Path]]:
    """Two objects over noise: stretched as told or as seen, in color or gray, of two types."""
    geobox = GeoBox(200, 300, transform, crs)
    noise = np.random.default_rng(0).integers(300, 4000, (4, 200, 300))
    folder.mkdir()
    for title, dtype in (("deep", "uint16"), ("real", "float32")):
        with rasterio.open(
            folder / f"{title}.tif", "w", driver="GTiff", width=300, height=200, count=4, dtype=dtype,
            crs=crs, transform=transform, photometric="minisblack",
        ) as target:  # fmt: skip
            target.write((noise / (1e4 if dtype == "float32" else 1)).astype(dtype))
    shapes = shapely.transform(
        shapely.box([20, 150], [20, 90], [90, 270], [90, 180]), lambda xy: np.stack(transform @ xy.T, axis=1)
    )
    qml, things = polygons_qml(CLASSES), folder / "x.fgb"
    batch = Features(shapes, {"class_id": np.array([1, 2])})
    write_features(things, "x", [batch], geobox=geobox, schema={"class_id": "integer"}, style=LayerStyle(qml))
    for title, file, style in (
        ("told", "deep.tif", ImageStyle((3, 2, 1), (300, 4000))),
        ("canvas", "deep.tif", ImageStyle((3, 2, 1), "canvas")),
        ("gray", "real.tif", ImageStyle((4,), "canvas")),
    ):
        layers = [
            ProjectLayer("things", things, crs, thinning_qml(qml, 0.3), table="x"),
            ProjectLayer(title, folder / file, crs, style, group="a"),
        ]
        path = folder / f"{title}.qgz"
        write_project(path, project_text(folder, title, crs=crs, extent=geobox.bounds, layers=layers))
        yield title, path


@pytest.mark.qgis
def test_any_crs_and_any_image_is_shown(tmp_path: Path, opened: Callable[..., dict[str, Any]]) -> None:
    projects = {
        f"{name}_{title}": (path, (0,))
        for name, place in PLACES.items()
        for title, path in write_projects(tmp_path / name, *place)
    }
    for report in opened(**projects).values():
        things, image = report["layers"]
        assert things["valid"]
        assert image["valid"]
        assert things["crs"]["proj"] == image["crs"]["proj"] == report["crs"]["proj"]
        assert [[int(value), *rest] for value, *rest in things["classes"]] == [
            [1, "Building", "#d62728"],
            [2, "Road", "#7f7f86"],
        ]
        assert report["pictures"]["0"]["colors"] > 100  # the noise is seen, neither black nor white


def test_titles_and_styles_are_xml_whatever_they_hold(tmp_path: Path) -> None:
    qml = polygons_qml(CLASSES)
    layer = ProjectLayer('a\x01<&>"é', tmp_path / "x.gpkg", "EPSG:26914", qml, table="x", group="<&>")
    text = project_text(tmp_path, "\ud800 & co", crs="EPSG:26914", extent=(0, 0, 1, 1), layers=[layer, layer])
    root = ET.fromstring(text)  # noqa: S314 our own text
    assert root.findtext("title") == "\N{REPLACEMENT CHARACTER} & co"
    assert root.findtext(".//layername") == 'a\N{REPLACEMENT CHARACTER}<&>"é'
    broken = ProjectLayer("x", tmp_path / "x.gpkg", "EPSG:26914", "<qgis>", table="x")
    with pytest.raises(OutputError, match="is not XML"):
        project_text(tmp_path, "x", crs="EPSG:26914", extent=(0, 0, 1, 1), layers=[broken])


def test_far_away_outlines_are_thin_and_fills_are_full() -> None:
    for classes in (CLASSES[:1], CLASSES):
        qml = polygons_qml(classes)
        far = ET.fromstring(thin_qml(qml))  # noqa: S314 our own text
        near = ET.fromstring(thinning_qml(qml, 0.3))  # noqa: S314 our own text
        assert [len(one.findall("layer")) for one in far.iter("symbol")] == [1] * len(classes)
        for key, name, value in (("Option", "name", "value"), ("prop", "k", "v")):
            widths = {one.get(value) for one in far.iter(key) if one.get(name) == "outline_width"}
            assert widths == {"0.1"}
            alphas = [one.get(value) for one in far.iter(key) if one.get(name) == "color"]
            assert [alpha.split(",")[3] for alpha in alphas if alpha] == ["150"] * len(classes)
            units = {one.get(value) for one in near.iter(key) if one.get(name) == "outline_width_unit"}
            assert units == {"RenderMetersInMapUnits"}
    with pytest.raises(OutputError, match="is not XML"):
        thin_qml("<qgis>")


@pytest.mark.parametrize(("pixel", "scale"), [(0.3, 5000), (0.05, 1000), (10, 200_000)])
def test_scales_follow_from_the_pixels_on_the_ground(pixel: float, scale: float) -> None:
    meters = Generalization.of(
        GeoBox(100, 100, Affine(pixel, 0, 621e3, 0, -pixel, 335e4), "EPSG:26914"), coverage=False
    )
    feet = GeoBox(100, 100, Affine(pixel / 0.3048, 0, 3e6, 0, -pixel / 0.3048, 1e7), "EPSG:2277")
    assert meters.scale == Generalization.of(feet, coverage=True).scale == scale
    assert Generalization.of(feet, coverage=True).overview.min_area == 0

"""Folders as catalogs: every image once, nothing left out without a word, nothing of a person's lost."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rasters import TRANSFORM, write_raster
from support.vectors import write_layer

from geoseg.config.stac.assets import TIFF_SUFFIXES
from geoseg.errors import CatalogError, LabelError
from geoseg.io.stac.files import find_images
from geoseg.io.stac.folder import make_catalog, open_catalog
from geoseg.io.stac.read import Catalog, load_catalog


def image(path: Path, *, value: int = 1, transform: Affine = TRANSFORM, **more: Any) -> Path:
    return write_raster(path, np.full((1, 8, 8), value, np.uint8), transform=transform, **more)


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return found


def change(path: Path, items: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"features": items}), encoding="utf-8")


# Which files


@settings(max_examples=25)
@given(
    folders=st.lists(st.integers(0, 5), max_size=6),
    files=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([".tif", ".TIF", ".gtif", ".jp2", ".txt"])), max_size=8
    ),
    links=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=5),
)
def test_every_file_that_links_reach_is_listed_once_or_counted(
    tmp_path_factory: pytest.TempPathFactory,
    folders: list[int],
    files: list[tuple[int, str]],
    links: list[tuple[int, int]],
) -> None:
    root = tmp_path_factory.mktemp("trees")
    inside, outside = root / "archive", root / "disk"
    places = [inside, outside]
    for parent in folders:
        places.append(places[parent % len(places)] / f"f{len(places)}")
    for place in places:
        place.mkdir()
    for number, (place, suffix) in enumerate(files):
        (places[place % len(places)] / f"{number}{suffix}").touch()
    for number, (place, target) in enumerate(links):
        (places[place % len(places)] / f"link{number}").symlink_to(places[target % len(places)])

    found = find_images(inside, "catalog")
    assert found is not None
    reached = {
        os.path.realpath(Path(where, name)) for where, _, names in _visits(inside, set()) for name in names
    }
    listed = [os.path.realpath(path) for path in found.files]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {path for path in reached if Path(path).suffix.lower() in TIFF_SUFFIXES}
    left = [note for note in found.notes if note.startswith("not looked at")]
    assert sum(int(n) for note in left for n in re.findall(r"(\d+) \.", note)) == len(reached) - len(listed)
    assert found == find_images(inside, "catalog")


def _visits(folder: Path, seen: set[str]) -> Any:
    """As os.walk, through links, each folder once."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    below = [path for path in folder.iterdir() if path.is_dir()]
    yield folder, below, [path.name for path in folder.iterdir() if path.is_file()]
    for path in below:
        yield from _visits(path, seen)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    image(archive / "a.tif")
    image(archive / "maps/scene/classes.tif")
    (archive / "maps/.geoseg.lock").touch()
    for name in (
        "b.jp2",
        "c.JP2",
        "d.vrt",
        "e.png",
        "f.gpkg",
        "a.tif.ovr",
        "a.tfw",
        "a.tif.aux.xml",
        ".x.tif",
    ):
        (archive / name).touch()
    (archive / "loop").symlink_to(archive)
    (archive / "gone").symlink_to(tmp_path / "nothing")
    (archive / "again.tif").symlink_to(archive / "a.tif")
    found = find_images(archive, "catalog")
    assert found is not None
    assert [path.name for path in found.files] == ["a.tif"]
    assert [note.replace(str(archive), "") for note in found.notes] == [
        "/maps: holds maps of geoseg, which are not listed",
        "/loop: links to , which is listed already",
        "/again.tif: links to a file that is listed already",
        "/gone: is a link to nothing",
        "not looked at: 2 .jp2, 1 .png, 1 .vrt (trust local reads them); 1 .gpkg",
    ]


def test_trust_local_lists_what_gdal_reads_and_a_mosaic_without_its_members(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    image(tmp_path / "b.tif")
    image(tmp_path / "c.img", driver="HFA")
    for name in ("plain.png", "placed.png"):
        image(tmp_path / name)
    (tmp_path / "placed.pgw").write_text("0.3\n0\n0\n-0.3\n621000\n3350000\n")
    (tmp_path / "m.vrt").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:26914</SRS>'
        "<GeoTransform>621000, 0.3, 0, 3350000, 0, -0.3</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    found = find_images(tmp_path, "local")
    assert found is not None
    assert [path.name for path in found.files] == ["b.tif", "c.img", "m.vrt", "placed.png"]
    assert found.notes == (
        f"{tmp_path / 'm.vrt'}: is made of 1 file of the folder, mapped by it alone",
        "not looked at: 1 .png (no world file is beside them)",
    )
    made = make_catalog(tmp_path, tmp_path / "x.json", trust="local")
    assert [ref.id for ref in made.scenes] == ["b", "c", "m"]
    assert [refusal.id for refusal in made.refusals] == ["placed"], "a world file names no CRS"


# On the fly


def _without_checksums(catalog: Catalog) -> list[Any]:
    return [
        replace(ref, bands=tuple(replace(band, checksum=None) for band in ref.bands))
        for ref in catalog.scenes
    ]


def test_a_folder_a_pattern_and_a_file_stand_for_their_catalog(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for name in ("a.tif", "deep/b.gtif", "deep/c%20d.tif", "e.tif"):
        image(folder / name)
    image(folder / "nowhere.tif", crs=None, transform=None)
    (folder / "note.txt").touch()
    made = make_catalog(folder, tmp_path / "x.json")
    opened = open_catalog(folder)
    assert _without_checksums(opened) == _without_checksums(made)
    assert opened.refusals == made.refusals
    assert opened.notes == made.notes == ("not looked at: 1 .txt",)
    assert not list(folder.rglob("*.json"))
    assert [ref.id for ref in open_catalog(folder / "deep" / "*.*if").scenes] == ["b", "c%20d"]
    assert [ref.id for ref in open_catalog(folder / "**" / "*d.tif").scenes] == ["c%20d"]
    assert [ref.id for ref in open_catalog(folder / "a.tif").scenes] == ["a"]
    assert [ref.id for ref in open_catalog(folder, ids=["e"]).scenes] == ["e"]
    assert open_catalog(tmp_path / "x.json") == load_catalog(tmp_path / "x.json")
    with pytest.raises(CatalogError, match="no item 'f'"):
        open_catalog(folder, ids=["f"])
    with pytest.raises(CatalogError, match="no file fits this pattern"):
        open_catalog(folder / "*.jpg")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jp2").touch()
    with pytest.raises(CatalogError, match=r"holds no GeoTIFF .*; not looked at: 1 .jp2 \(trust local"):
        open_catalog(tmp_path / "other")


# Updates


@given(
    extra=st.dictionaries(st.sampled_from(["eo:cloud_cover", "site", "geoseg:note"]), st.integers(0, 9)),
    label=st.booleans(),
    id_=st.none() | st.sampled_from(["renamed", "Zürich"]),
    names=st.none() | st.just(["nir"]),
    link=st.booleans(),
    date=st.booleans(),
)
@settings(max_examples=20)
def test_what_a_person_added_stays(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    extra: dict[str, int],
    label: bool,
    id_: str | None,
    names: Any,
    link: bool,
    date: bool,
) -> None:
    folder = tmp_path_factory.mktemp("update")
    output = folder / "x.json"
    image(folder / "a.tif")
    make_catalog(folder, output)
    (item,) = features(output)
    item["properties"] |= extra
    if label:
        item["assets"]["roofs"] = {"href": "roofs.gpkg", "roles": ["labels"], "geoseg:attribute": "kind"}
    if id_:
        item["id"] = id_
    if names:
        item["assets"]["data"]["bands"][0]["name"] = names[0]
    if date:
        for key in ("start_datetime", "end_datetime", "geoseg:datetime_source"):
            del item["properties"][key]
        item["properties"]["datetime"] = "2024-05-31T10:00:00Z"
        item["assets"]["data"]["bands"][0]["description"] = "by hand"
    if link:
        item["links"].append({"rel": "license", "href": "https://x.org"})
    change(output, [item])
    make_catalog(folder, output)
    assert features(output) == [item], "nothing has changed on disk"
    text = output.read_bytes()
    make_catalog(folder, output)
    assert output.read_bytes() == text

    image(folder / "a.tif", value=2, transform=TRANSFORM @ Affine.translation(5, 5))
    made = make_catalog(folder, output)
    (after,) = features(output)
    assert made.notes[-1] == f"described again, since their files changed: {item['id']}"
    assert after["id"] == item["id"]
    assert after["links"] == item["links"]
    assert after["properties"].items() >= extra.items()
    assert (after["properties"]["datetime"] is not None) == date
    assert after["assets"]["data"]["bands"][0].get("description") == ("by hand" if date else None)
    assert after["assets"].keys() == item["assets"].keys()
    assert after["assets"].get("roofs") == item["assets"].get("roofs")
    plain = make_catalog(folder, folder / "new.json")
    assert plain.scenes[0].bands == tuple(replace(band, texts=()) for band in made.scenes[0].bands)
    assert made.scenes[0].bands[0].texts == (("by hand",) if date else ())
    assert after["geometry"] == features(folder / "new.json")[0]["geometry"] != item["geometry"]


def test_new_moved_and_lost_files_of_a_catalog(tmp_path: Path) -> None:
    folder, output = tmp_path / "images", tmp_path / "x.json"
    for number, name in enumerate(("a", "b", "c")):
        image(folder / f"{name}.tif", value=number)
    make_catalog(folder, output)
    before = {item["id"]: item for item in features(output)}
    before["b"]["properties"]["site"] = "north"
    change(output, list(before.values()))
    (folder / "deep").mkdir()
    shutil.move(folder / "b.tif", folder / "deep" / "b2.tif")
    (folder / "c.tif").unlink()
    image(folder / "deep" / "A.tif", value=7)
    made = make_catalog(folder, output)
    after = {item["id"]: item for item in features(output)}
    assert list(after) == ["a", "b", "c", "deep/A"], "the id of another scene is not taken"
    assert after["a"] == before["a"]
    assert after["c"] == before["c"]
    assert after["b"]["assets"]["data"]["href"] == "./images/deep/b2.tif"
    assert after["b"]["properties"]["site"] == "north"
    assert made.notes == (
        f"b: its file is now {folder / 'deep' / 'b2.tif'}",
        "kept though their files are gone: c (--prune removes them)",
    )
    pruned = make_catalog(folder, output, prune=True)
    assert pruned.notes == ("removed, since their files are gone: c",)
    assert [ref.id for ref in pruned.scenes] == ["a", "b", "deep/A"]
    image(tmp_path / "other" / "d.tif")
    both = make_catalog(tmp_path / "other", output)
    assert [ref.id for ref in both.scenes] == ["a", "b", "deep/A", "d"], "scenes of another folder stay"
    assert both.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "precious",
        "[1]",
        '{"type": "Catalog", "stac_version": "1.0.0"}',
        '{"type":"FeatureCollection","features":[{}]}',
    ],
)
def test_a_file_that_is_no_item_collection_is_not_written_over(tmp_path: Path, text: str) -> None:
    image(tmp_path / "a.tif")
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CatalogError, match=r"x\.json"):
        make_catalog(tmp_path, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == text


# Labels


def roofs(path: Path, layer: str | None = None, east: float = 621_000) -> Path:
    return write_layer(path, [shapely.box(east, 3_349_998, east + 1, 3_349_999)], layer=layer)


def labels_of(catalog: Path) -> dict[str, dict[str, Any]]:
    """Label assets by scene, then key."""
    return {
        item["id"]: {key: asset for key, asset in item["assets"].items() if "labels" in asset["roles"]}
        for item in features(catalog)
    }


def test_labels_come_by_the_names_of_the_scenes(tmp_path: Path) -> None:
    images, labels, output = tmp_path / "images", tmp_path / "images" / "labels", tmp_path / "x.json"
    for name in ("a", "b", "north/c", "south/c", "d"):
        image(images / f"{name}.tif")
    roofs(labels / "a.gpkg")
    roofs(labels / "B.geojson")
    roofs(labels / "north/c.gpkg", layer="roofs")
    image(labels / "south/c.tif", value=0)
    roofs(labels / "z.gpkg")
    made = make_catalog(images, output, labels=labels)
    assert made.refusals == ()
    assert sorted(ref.id for ref in made.scenes) == ["a", "b", "d", "north/c", "south/c"]
    found = labels_of(output)
    assert {
        scene: {key: Path(a["href"]).name for key, a in assets.items()} for scene, assets in found.items()
    } == {
        "a": {"buildings": "a.gpkg"},
        "b": {"buildings": "B.geojson"},
        "north/c": {"roofs": "c.gpkg"},
        "south/c": {"buildings": "c.tif"},
        "d": {},
    }
    assert made.notes == (
        "labels of no scene: z.gpkg",
        "labels: 3 scenes with the label asset 'buildings'",
        "labels: 1 scene with the label asset 'roofs'",
        f"no labels in {labels} for: d",
    )
    text = output.read_bytes()
    make_catalog(images, output, labels=labels)
    assert output.read_bytes() == text
    make_catalog(images, output)
    assert output.read_bytes() == text, "labels stay without being named again"
    make_catalog(images, output, labels=labels, label_key="roofs")
    assert labels_of(output)["a"].keys() == {"buildings"}, "a file that is a label asset stays as it is"
    roofs(labels / "a.fgb")
    with pytest.raises(LabelError, match="are all called like the scene a"):
        make_catalog(images, output, labels=labels)
    assert output.read_bytes() == text


def test_a_mask_of_0_and_255_beside_its_image_says_class_1(tmp_path: Path) -> None:
    values = {"mask": [0, 255], "ids": [0, 1], "both": [0, 1, 255], "none": [0, 0], "tagged": [0, 255]}
    for name, some in values.items():
        image(tmp_path / "images" / f"{name}.tif")
        pixels = np.resize(np.array(some, np.uint8), (8, 8))
        nodata = {"nodata": 255} if name == "tagged" else {}
        write_raster(tmp_path / "labels" / f"{name}.tif", pixels, **nodata)
    made = make_catalog(tmp_path / "images", tmp_path / "x.json", labels=tmp_path / "labels")
    assets = labels_of(tmp_path / "x.json")
    found = {name: one["buildings"].get("geoseg:classes") for name, one in assets.items()}
    assert found == dict.fromkeys(values) | {"mask": {"255": 1}}
    refs = {ref.id: dict(ref.labels)["buildings"] for ref in made.scenes}
    assert refs["mask"].classes == ((255.0, 1),)
    items = features(tmp_path / "x.json")
    for item in items:
        item["assets"]["buildings"] |= {"geoseg:classes": {"7": 1}, "href": "./old.tif"}
    change(tmp_path / "x.json", items)
    make_catalog(tmp_path / "images", tmp_path / "x.json", labels=tmp_path / "labels")
    assert [one["buildings"]["geoseg:classes"] for one in labels_of(tmp_path / "x.json").values()] == [
        {"7": 1}
    ] * 5
    assert made.notes[-1] == "labels: 1 mask of 0 and 255, where 255 is class 1 (geoseg:classes)"


def test_labels_may_lie_beside_their_images(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    image(tmp_path / "b.tif")
    roofs(tmp_path / "a.gpkg")
    made = make_catalog(tmp_path, tmp_path / "x.json", labels=tmp_path)
    assert made.notes == (
        "labels: 1 scene with the label asset 'buildings'",
        f"no labels in {tmp_path} for: b",
    )
    again = make_catalog(tmp_path, tmp_path / "x.json", labels=tmp_path)
    assert (again.scenes, again.notes) == (made.scenes, made.notes)


def test_a_raster_of_labels_for_all_scenes_lies_on_them_or_has_no_place_or_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        at = TRANSFORM @ Affine.translation(100 * number, 0)
        image(tmp_path / "images" / f"{number}.tif", transform=at)

    def labeled(file: Path) -> list[str]:
        make_catalog(tmp_path / "images", tmp_path / "x.json", labels=file)
        return [scene for scene, assets in labels_of(tmp_path / "x.json").items() if assets]

    mask = np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8)
    whole = write_raster(tmp_path / "placed.tif", mask, driver="COG")
    cut = tmp_path / "cut.tif"
    cut.write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(LabelError, match=r"^labels .*cut\.tif is truncated: .* fetch the file again$"):
        labeled(cut)
    assert not (tmp_path / "x.json").exists()
    assert labeled(whole) == ["0"]
    assert labeled(write_raster(tmp_path / "bare.png", mask)) == ["0", "1"]


def test_what_is_known_of_labels_stays_when_their_file_is_another(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    make_catalog(tmp_path, tmp_path / "x.json", labels=roofs(tmp_path / "old.gpkg"))
    (item,) = features(tmp_path / "x.json")
    item["assets"]["buildings"] |= {"geoseg:attribute": "kind", "title": "Roofs"}
    change(tmp_path / "x.json", [item])
    make_catalog(tmp_path, tmp_path / "x.json", labels=roofs(tmp_path / "new.gpkg"))
    changed = copy.deepcopy(item["assets"]["buildings"]) | {"href": "./new.gpkg"}
    assert labels_of(tmp_path / "x.json") == {"a": {"buildings": changed}}


def test_one_file_labels_the_scenes_that_it_lies_on_and_each_layer_is_an_asset(tmp_path: Path) -> None:
    for number in range(3):
        image(
            tmp_path / "images" / f"{number}.tif", transform=TRANSFORM @ Affine.translation(100 * number, 0)
        )
    town = roofs(tmp_path / "town.gpkg", "buildings")
    roofs(town, "landcover", east=621_030)
    output = tmp_path / "x.json"
    made = make_catalog(tmp_path / "images", output, labels=town)
    each = {
        layer: {
            "href": "./town.gpkg",
            "type": "application/geopackage+sqlite3",
            "roles": ["labels"],
            "geoseg:layer": layer,
        }
        for layer in ("buildings", "landcover")
    }
    assert labels_of(output) == {
        "0": {"buildings": each["buildings"]},
        "1": {"landcover": each["landcover"]},
        "2": {},
    }
    assert made.notes[-1] == f"no labels in {town} for: 2"
    refs = {ref.id: dict(ref.labels) for ref in made.scenes}
    assert [label.layer for label in refs["0"].values()] == ["buildings"]
    one = make_catalog(tmp_path / "images", tmp_path / "y.json", labels=town, label_key="landcover")
    assert [[key for key, _ in ref.labels] for ref in one.scenes] == [[], ["landcover"], []]
    with pytest.raises(LabelError, match="has the layers buildings, landcover; --label-key names one"):
        make_catalog(tmp_path / "images", tmp_path / "z.json", labels=town, label_key="roofs")
    far = roofs(tmp_path / "far.gpkg", east=700_000)
    with pytest.raises(LabelError, match="nothing in it lies on a scene"):
        make_catalog(tmp_path / "images", tmp_path / "z.json", labels=far)
    with pytest.raises(LabelError, match="no such file or folder"):
        make_catalog(tmp_path / "images", tmp_path / "z.json", labels=tmp_path / "nowhere")
    assert not (tmp_path / "z.json").exists()

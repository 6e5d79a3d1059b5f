"""Trainings on small photos, chips and tiles without objects: what people have, from public data sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from support.rasters import write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog
from support.vectors import write_layer

from geoseg.errors import GeosegError
from geoseg.flow.train.train import CheckedTraining, check_training, train
from geoseg.io.yaml.strict_yaml import dump_yaml

CRS = "EPSG:32614"
SIDE = 100
"""Pixels of a photo of 0.3 m: 30 m, less than a block of 48 m."""
WEST, NORTH = 620_000.0, 3_340_000.0


def photo(folder: Path, name: str, number: int, side: int = SIDE, *, roofs: bool = True) -> Affine:
    """A photo of its own ground, with a mask of 0 and 255."""
    transform = Affine(0.3, 0, WEST + 500 * number, 0, -0.3, NORTH)
    mask = np.zeros((side, side), np.uint8)
    if roofs:
        mask[20:50, 20:60] = 255
    rng = np.random.default_rng(number)
    pixels = (np.stack([mask // 2 + 60] * 3) + rng.integers(0, 30, (3, side, side))).astype(np.uint8)
    write_raster(folder / f"{name}.tif", pixels, crs=CRS, transform=transform)
    write_raster(folder / f"{name}_mask.tif", mask, crs=CRS, transform=transform)
    return transform


def items(names: list[str], label: str = "{}_mask.tif") -> list[dict[str, Any]]:
    return [
        stac_item(name, {"href": f"{name}.tif", "bands": RGB_BANDS}, roofs=label.format(name))
        for name in names
    ]


def entry(catalog: str, weight: float = 1.0, classes: dict[str, str] | None = None) -> dict[str, Any]:
    source = {"name": "photos", "attribution": "nobody", "license": "CC0-1.0"}
    shown = {} if classes is None else {"classes": classes}
    return {"catalog": catalog, "asset": "roofs", "weight": weight, "source": source, **shown}


def training(folder: Path, *data: dict[str, Any], **changes: Any) -> Path:
    content = {
        "model": {
            "name": "tiny-roofs",
            "architecture": "mininet-1",
            "arguments": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]},
        },
        "classes": [
            {"name": "ground", "color": "#e8e6e1", "background": True},
            {"name": "roof", "color": "#d7301f"},
        ],
        "data": list(data),
        "chips": {"size": "96 px"},
        "train": {
            "steps": 2,
            "batch": 2,
            "optimizer": {"kind": "adamw", "rate": 0.01},
            "schedule": {"kind": "poly", "warmup": 1},
        },
    }
    path = folder / "train.yaml"
    path.write_text(dump_yaml(content | changes), encoding="utf-8")
    return path


MASK = {"0": "ground", "255": "roof"}


def shares(checked: CheckedTraining) -> dict[str, float]:
    """Scene → share of the chips."""
    weights = {scene.name: scene.weight for scene, index in checked.scenes if index.pixels}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


@pytest.mark.slow
def test_small_photos_are_held_out_as_a_whole_and_the_training_that_check_passes_runs(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(5)]
    for number, name in enumerate(names):
        photo(tmp_path, name, number)
    write_catalog(tmp_path / "scenes.json", *items(names))
    path = training(tmp_path, entry("scenes.json", classes=MASK))
    checked = check_training(path, {"output": str(tmp_path / "out")})
    assert shares(checked) == pytest.approx(dict.fromkeys(names[1:], 0.25))
    assert any("held out as a whole" in note and "p0" in note for note in checked.notes)
    assert not (tmp_path / "out").exists()
    done = train(path, {"output": str(tmp_path / "out")})
    assert done.before.pixels == {"p0": SIDE**2}


def test_an_output_that_cannot_be_a_folder_is_refused_by_check(tmp_path: Path) -> None:
    photo(tmp_path, "a", 0, 200)
    write_catalog(tmp_path / "scenes.json", *items(["a"]))
    path = training(tmp_path, entry("scenes.json", classes=MASK))
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(GeosegError, match="cannot be written") as one:
            check_training(path, {"output": str(output)})
        with pytest.raises(GeosegError, match=re.escape(str(one.value))):
            train(path, {"output": str(output)})


@pytest.mark.parametrize("counts", [(25, 3), (7, 1), (6, 11)])
def test_entries_keep_their_share_of_the_chips_whatever_is_held_out(
    tmp_path: Path, counts: tuple[int, int]
) -> None:
    names = [[f"{letter}{n}" for n in range(count)] for letter, count in zip("ab", counts, strict=True)]
    for number, name in enumerate(names[0] + names[1]):
        photo(tmp_path, name, number, 64)
    for letter, some in zip("ab", names, strict=True):
        write_catalog(tmp_path / f"{letter}.json", *items(some))
    data = entry("a.json", 3.0, MASK), entry("b.json", 1.0, MASK)
    checked = check_training(training(tmp_path, *data), {"output": str(tmp_path / "out")})
    found = shares(checked)
    total = {letter: sum(share for name, share in found.items() if name[0] == letter) for letter in "ab"}
    expected = {"a": 0.75, "b": 0.25} if counts[1] > 1 else {"a": 1.0, "b": 0.0}
    assert total == pytest.approx(expected)
    assert set(found) == {name for some in names for n, name in enumerate(some) if n % 5}


def test_photos_that_are_all_held_out_are_refused_by_check_with_what_to_change(tmp_path: Path) -> None:
    photo(tmp_path, "only", 0)
    write_catalog(tmp_path / "scenes.json", *items(["only"]))
    path = training(tmp_path, entry("scenes.json", classes=MASK))
    with pytest.raises(
        GeosegError, match=r"held-out blocks take all of it: give a split\.block smaller"
    ) as one:
        check_training(path, {"output": str(tmp_path / "out")})
    with pytest.raises(GeosegError, match=re.escape(str(one.value))):
        train(path, {"output": str(tmp_path / "out")})


def test_a_background_that_is_declared_nodata_is_refused_by_check_as_by_the_training(tmp_path: Path) -> None:
    photo(tmp_path, "a", 0, 200)
    write_catalog(tmp_path / "scenes.json", *items(["a"]))
    with rasterio.open(tmp_path / "a_mask.tif", "r+") as file:
        file.nodata = 0
    path = training(tmp_path, entry("scenes.json", classes={"255": "roof"}))
    with pytest.raises(GeosegError, match=r"declare 0 as nodata, and 0 is also.*data\[0\]\.classes") as one:
        check_training(path, {"output": str(tmp_path / "out")})
    with pytest.raises(GeosegError, match=re.escape(str(one.value))):
        train(path, {"output": str(tmp_path / "out")})


@pytest.fixture
def empty_labels(tmp_path: Path) -> dict[str, str]:
    """Kind of a label file without an object on the scene ``b`` → its name; the scene ``a`` has roofs."""
    at = photo(tmp_path, "a", 0, 400)
    photo(tmp_path, "b", 1, 200, roofs=False)
    photo(tmp_path, "far", 2, 200, roofs=False)
    roof = shapely.transform(shapely.box(200, 180, 330, 300), lambda xy: np.column_stack(at @ tuple(xy.T)))
    across = shapely.transform(roof, lambda xy: xy + np.array((900, 300)))
    write_layer(tmp_path / "roofs.gpkg", [roof], CRS, "roofs")
    write_layer(tmp_path / "empty.gpkg", [], CRS, "roofs")
    write_layer(
        tmp_path / "town.gpkg",
        [roof, across, shapely.transform(across, lambda xy: xy - np.array((0, 600)))],
        CRS,
    )
    write_layer(tmp_path / "area.gpkg", [], CRS, "roofs")
    write_layer(
        tmp_path / "area.gpkg", [shapely.box(WEST, NORTH - 90, WEST + 900, NORTH)], CRS, "labelled_area"
    )
    (tmp_path / "bare.geojson").write_text('{"type":"FeatureCollection","features":[]}', encoding="utf-8")
    return {"empty layer": "empty.gpkg", "town": "town.gpkg", "area": "area.gpkg", "no CRS": "bare.geojson"}


@pytest.mark.parametrize("kind", ["empty layer", "town", "area", "no CRS"])
def test_a_tile_that_was_found_empty_is_trained_on_as_background(
    tmp_path: Path, empty_labels: dict[str, str], kind: str
) -> None:
    write_catalog(tmp_path / "scenes.json", *items(["a"], "roofs.gpkg"), *items(["b"], empty_labels[kind]))
    checked = check_training(training(tmp_path, entry("scenes.json")), {"output": str(tmp_path / "out")})
    (_, roofs), (_, empty) = checked.scenes
    assert roofs.classes == (0, 1)
    assert empty.classes == (0,)
    assert empty.pixels > 0
    assert not checked.notes


def test_a_layer_elsewhere_is_refused_and_no_object_at_all_is_noted(
    tmp_path: Path, empty_labels: dict[str, str]
) -> None:
    del empty_labels
    write_catalog(tmp_path / "scenes.json", *items(["a"], "roofs.gpkg"), *items(["far"], "roofs.gpkg"))
    path = training(tmp_path, entry("scenes.json"))
    with pytest.raises(GeosegError, match=r"scene far: labels .*roofs\.gpkg: do not overlap the scene"):
        check_training(path, {"output": str(tmp_path / "out")})
    write_catalog(tmp_path / "scenes.json", *items(["b"], "empty.gpkg"))
    checked = check_training(path, {"output": str(tmp_path / "out")})
    assert [note for note in checked.notes if "no object at all" in note and "roof" in note]


def test_messages_name_the_key_of_the_entry_to_type(tmp_path: Path) -> None:
    """What is said of a workflow's ``scenes`` is said of the entry of a training."""
    for number, name in enumerate("ab"):
        photo(tmp_path, name, number, 200)
    write_catalog(tmp_path / "a.json", *items(["a"]))
    write_catalog(tmp_path / "b.json", *items(["b"]))

    def said(*data: dict[str, Any], **changes: Any) -> str:
        with pytest.raises(GeosegError) as caught:
            check_training(training(tmp_path, *data, **changes), {"output": str(tmp_path / "out")})
        return str(caught.value)

    plain = entry("a.json", classes=MASK)
    assert "data[0].classes" in said(entry("a.json"))
    assert "data[1].classes" in said(plain, entry("a.json"))
    assert "data[1].bands" in said(plain, {**plain, "bands": [1, 2, 9]})
    photo(tmp_path, "b", 1, 200)
    (tmp_path / "b.tif").write_bytes(b"\x89PNG" + bytes(99))
    assert "set data[1].trust: local" in said(plain, entry("b.json", classes=MASK))
    write_raster(
        tmp_path / "b.tif", np.ones((3, 200, 200), np.int32), crs=CRS, transform=photo(tmp_path, "c", 1, 200)
    )
    assert "data[1].stretch: [low, high]" in said(plain, entry("b.json", classes=MASK))

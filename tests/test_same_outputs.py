"""The comparison of two commits' outputs finds what differs, and nothing else."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from safetensors.numpy import save_file
from support.rasters import write_raster

Differences = Callable[..., dict[str, list[str]]]

ATTRIBUTES = {"id": ["a-0", "a-1"], "class_id": [1, 2], "area_m2": [4.0, float("nan")], "run_id": ["x", "x"]}
SQUARES = [shapely.box(0, 0, 2, 2), shapely.box(3, 0, 5, 2)]
SCORE = {"classes": [{"id": 0, "iou": {"value": 0.1 + 0.2, "low": None}}], "mean_iou": float("nan")}


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("compare_outputs")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An output folder with one file of each kind, each in a folder as a map's are."""
    folder = tmp_path / "base" / "map"
    folder.mkdir(parents=True)
    write_map(folder / "classes.tif")
    write_buildings(folder / "buildings.gpkg")
    write_buildings(folder / "buildings.fgb")
    write_weights(folder / "weights.safetensors")
    (folder / "score.json").write_text(json.dumps(SCORE))
    (folder / "log.csv").write_text("step,loss\n25,0.5\n50,0.25\n")
    (folder / "run.json").write_text("{}")
    return folder.parent


@pytest.fixture
def new(base: Path) -> Path:
    return Path(shutil.copytree(base, base.with_name("new")))


@pytest.fixture
def differences(compare: ModuleType, base: Path, new: Path) -> Differences:
    """What differs between the two folders, by path."""

    def compared(**renamed: str) -> dict[str, list[str]]:
        found = compare.compare_folders(base, new, renamed)
        return {comparison.path: comparison.differences for comparison in found if comparison.differences}

    return compared


def write_map(path: Path, **changes: Any) -> None:
    given: dict[str, Any] = {
        "pixels": np.arange(24, dtype=np.uint8).reshape(4, 6), "nodata": 255, "names": ["class"],
        "crs": "EPSG:32614", "transform": Affine(0.3, 0, 600000, 0, -0.3, 3000000),
        "scale": 1.0, "tags": {"GEOSEG_MODEL": "m"}, "colors": {0: (1, 2, 3, 255)},
    }  # fmt: skip
    write_raster(path, **given | changes)


def write_buildings(path: Path, *, layer: str = "buildings", crs: str = "EPSG:32614", **changes: Any) -> None:
    squares, columns = changes.pop("squares", SQUARES), changes.pop("columns", {})
    frame = geopandas.GeoDataFrame(ATTRIBUTES | changes, geometry=squares, crs=crs).rename(columns=columns)
    path.unlink(missing_ok=True)
    frame.to_file(path, layer=layer, engine="pyogrio")


def write_weights(
    path: Path, *, last: float = 1.0, name: str = "conv.weight", dtype: str = "float32"
) -> None:
    weights = np.array([[0.5, -0.0], [np.nan, last]], dtype)
    save_file({name: weights, "steps": np.array(3)}, path)


def test_copies_are_equal_and_everything_but_the_state_is_compared(
    compare: ModuleType, base: Path, new: Path
) -> None:
    found = list(compare.compare_folders(base, new))
    assert not any(comparison.differences for comparison in found)
    assert [comparison.path for comparison in found if comparison.left_out] == ["map/run.json"]
    assert len(found) == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pixels": np.array([[1] * 6] * 4, np.uint8)}, "band 1: 23 of 24 px"),
        ({"pixels": np.array([[1] * 6] * 4, np.uint16), "colors": None}, "dtypes[0]"),
        ({"nodata": 254}, "nodata[0]"),
        ({"transform": Affine(0.3, 0, 600000, 0, -0.3, 3000000.0000001)}, "transform[5]"),
        ({"crs": "EPSG:32615"}, "crs"),
        ({"names": ["klass"]}, "descriptions[0]"),
        ({"scale": 0.005}, "scales[0]"),
        ({"colors": {0: (1, 2, 4, 255)}}, "colormaps[0].0[2]"),
        ({"tags": {"GEOSEG_MODEL": "n"}}, "tags.GEOSEG_MODEL"),
        ({"tags": {"MODEL": "m"}}, "tags.GEOSEG_MODEL: only in base"),
    ],
)
def test_a_changed_raster_is_found(
    differences: Differences, new: Path, change: dict[str, Any], said: str
) -> None:
    write_map(new / "map/classes.tif", **change)
    found = differences()
    assert list(found) == ["map/classes.tif"]
    assert any(line.startswith(said) for line in found["map/classes.tif"]), found


def test_one_changed_pixel_is_found_and_placed(differences: Differences, new: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    pixels[2, 3] = 0
    write_map(new / "map/classes.tif", pixels=pixels)
    [line] = differences()["map/classes.tif"]
    assert line == "band 1: 1 of 24 px differ, the first one at row 2, column 3: 15 in base, 0 in new"


def test_fingerprints_and_renamed_tags_are_no_difference(differences: Differences, new: Path) -> None:
    write_map(new / "map/classes.tif", tags={"MODEL": "m", "GEOSEG_FINGERPRINT": "0"})
    assert not differences(GEOSEG_MODEL="MODEL")


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"squares": [SQUARES[0], shapely.box(3, 0, 5, 2.0000000000000004)]},
            "1 of 2 geometries only in new",
        ),
        ({"columns": {"area_m2": "area"}}, "columns[2]: 'area_m2' in base, 'area' in new"),
        ({"area_m2": [4.000000000000001, float("nan")]}, "column area_m2: 1 of 2 values differ"),
        ({"id": ["a-1", "a-0"]}, "column id: 2 of 2 values differ"),
        ({"class_id": [1.0, 2.0]}, "dtypes[1]"),
        ({"crs": "EPSG:32615"}, "crs"),
    ],
)
def test_a_changed_layer_is_found(
    differences: Differences, new: Path, change: dict[str, Any], said: str, suffix: str
) -> None:
    path = f"map/buildings{suffix}"
    write_buildings(new / path, **change)
    found = differences()
    assert list(found) == [path]
    assert any(line.removeprefix("layer buildings: ").startswith(said) for line in found[path]), found


def test_a_lost_feature_and_a_renamed_layer_are_found(differences: Differences, new: Path) -> None:
    lost = {name: values[:1] for name, values in ATTRIBUTES.items()}
    write_buildings(new / "map/buildings.fgb", squares=SQUARES[:1], **lost)
    write_buildings(new / "map/buildings.gpkg", layer="houses")
    found = differences()
    assert "layer buildings: 1 of 2 geometries only in base" in found["map/buildings.fgb"]
    assert found["map/buildings.gpkg"] == [
        "layer buildings: only in base",
        "layer houses: only in new",
    ]


def test_neither_order_nor_first_vertex_nor_run_id_is_a_difference(
    differences: Differences, new: Path
) -> None:
    turned = [shapely.Polygon(np.roll(square.exterior.coords[:-1], 1, axis=0)) for square in SQUARES[::-1]]
    swapped = {name: values[::-1] for name, values in ATTRIBUTES.items()} | {"run_id": ["y", "z"]}
    write_buildings(new / "map/buildings.gpkg", squares=turned, **swapped)
    assert not differences()


@pytest.mark.parametrize("change", [{"last": 1.0000001}, {"name": "conv.bias"}, {"dtype": "float64"}])
def test_changed_weights_are_found(differences: Differences, new: Path, change: dict[str, Any]) -> None:
    write_weights(new / "map/weights.safetensors", **change)
    found = differences()
    assert list(found) == ["map/weights.safetensors"]
    assert all(line.startswith("tensor conv.") for line in found["map/weights.safetensors"])


@pytest.mark.parametrize(
    ("old", "changed", "said"),
    [
        ("0.30000000000000004", "0.3", "classes[0].iou.value: 0.30000000000000004 in base, 0.3 in new"),
        ("NaN", "0.0", "mean_iou: nan in base, 0.0 in new"),
        ('"id": 0', '"id": 0.0', "classes[0].id: 0 in base, 0.0 in new"),
        ("null", "0", "classes[0].iou.low: None in base, 0 in new"),
    ],
)
def test_a_changed_score_is_found(
    differences: Differences, new: Path, old: str, changed: str, said: str
) -> None:
    score = new / "map/score.json"
    score.write_text(score.read_text().replace(old, changed))
    assert differences() == {"map/score.json": [said]}


def test_a_changed_log_and_a_missing_file_are_found(differences: Differences, new: Path) -> None:
    (new / "map/log.csv").write_text("step,loss\n25,0.5\n50,0.26\n")
    (new / "map/run.json").unlink()
    found = differences()
    assert found["map/log.csv"] == ["[1].loss: '0.25' in base, '0.26' in new"]
    assert found["map/run.json"] == ["only in base"]


def test_a_file_of_an_unknown_kind_is_no_silent_match(compare: ModuleType, base: Path, new: Path) -> None:
    for folder in (base, new):
        (folder / "map/cloud.laz").touch()
    with pytest.raises(ValueError, match=r"no comparison for \.laz"):
        list(compare.compare_folders(base, new))


@pytest.mark.usefixtures("compare")
def test_a_key_is_found_in_a_schema_by_reference_and_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    script = importlib.import_module("same_outputs")
    section = {"properties": {"steps": {"type": "integer"}}}
    schema = {
        "$defs": {"Train": section},
        "properties": {"train": {"anyOf": [{"$ref": "#/$defs/Train"}, {"type": "null"}]}},
    }
    names = script.Names("Commands:\n  run  Map.\n", {"workflow": schema, "training": schema})
    assert names.setting("train", "train.steps") == "train.steps"
    with pytest.raises(script.CommandError, match="add it to RENAMED"):
        names.setting("train", "train.updates")
    monkeypatch.setattr(script, "RENAMED", {"train.updates": "train.steps", "map": "run"})
    assert names.setting("train", "train.updates") == "train.steps"
    assert names.command("map") == names.command("run") == "run"

"""geoseg train, from a file to a bundle: kills, mistakes, fine-tuning, and what a user is told."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from support.commands import load_script
from support.rasters import write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog
from support.vectors import write_layer

import geoseg
from geoseg.cli import cli
from geoseg.errors import GeosegError, RunError
from geoseg.flow.train.contract import Seen
from geoseg.flow.train.prepare import prepare_training
from geoseg.flow.train.train import TrainSummary, check_training, train
from geoseg.io.raster.scene import describe
from geoseg.io.stac.read import load_catalog
from geoseg.io.yaml.strict_yaml import dump_yaml
from geoseg.models.bundle import load_bundle
from geoseg.training.checkpoint import CHECKPOINT_NAME
from geoseg.training.loop import Trainer

pytestmark = pytest.mark.slow

SIDE = 200
"""Pixels of a scene of 0.3 m."""
CRS = "EPSG:32614"


def write_place(folder: Path, seed: int = 0) -> Path:
    """Two scenes whose class is their color, with raster labels and with polygons of several kinds."""
    folder.mkdir(parents=True)
    items = []
    for number in range(2):
        rng = np.random.default_rng((seed, number))
        name = f"place{number}"
        west, north = 620_000.0 + 500 * number, 3_340_000.0
        transform = Affine(0.3, 0, west, 0, -0.3, north)
        boxes = rng.integers(0, SIDE - 30, (14, 2))
        labels = np.zeros((SIDE, SIDE), np.uint8)
        for row, col in boxes:
            labels[row : row + 26, col : col + 22] = 1
        pixels = np.stack([70 + 100 * labels, 150 - 60 * labels, 90 + 0 * labels])
        pixels = (pixels + rng.integers(-25, 26, pixels.shape)).astype(np.uint8)
        write_raster(folder / f"{name}.tif", pixels, crs=CRS, transform=transform)
        write_raster(folder / f"{name}_truth.tif", labels * 200, crs=CRS, transform=transform)
        roofs = [
            shapely.box(west + 0.3 * c, north - 0.3 * (r + 26), west + 0.3 * (c + 22), north - 0.3 * r)
            for r, c in boxes.tolist()
        ]
        kind = ["house", "barn"] * 7
        write_layer(folder / f"{name}.gpkg", roofs, CRS, "roofs", to_crs="EPSG:4326", kind=kind)
        items.append(
            stac_item(
                name,
                {"href": f"{name}.tif", "bands": RGB_BANDS},
                image_key="data",
                truth={"href": f"{name}_truth.tif", "type": "image/tiff"},
                roofs={"href": f"{name}.gpkg", "geoseg:attribute": "kind"},
            )
        )
    return write_catalog(folder / "scenes.json", *items)


TINY: dict[str, Any] = {
    "model": {
        "name": "tiny-roofs",
        "architecture": "mininet-1",
        "arguments": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]},
    },
    "classes": [
        {"name": "ground", "color": "#e8e6e1", "background": True},
        {"name": "roof", "title": "Roof", "color": "#d7301f"},
    ],
    "data": [
        {
            "catalog": "scenes.json",
            "asset": "truth",
            "classes": {"200": "roof"},
            "place": "here",
            "source": {"name": "colors", "attribution": "nobody", "license": "CC0-1.0"},
        }
    ],
    "split": {"block": "9 m", "every": 4, "margin": "0.6 m"},
    "chips": {"size": ["96 px", "112 px"], "rotate": 0.2},
    "train": {
        "steps": 24,
        "batch": 4,
        "optimizer": {"kind": "adamw", "rate": 0.01},
        "schedule": {"kind": "poly", "warmup": 4},
        "average": 0.8,
        "validate_every": 8,
        "checkpoint_every": 4,
    },
    "seed": 5,
}


def write_training(folder: Path, changes: Callable[[dict[str, Any]], object] | None = None) -> Path:
    content = copy.deepcopy(TINY)
    if changes is not None:
        changes(content)
    path = folder / "train.yaml"
    path.write_text(dump_yaml(content))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("data") / "scenes").parent


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainSummary:
    """The whole training, uninterrupted."""
    return train(write_training(folder), {"output": str(tmp_path_factory.mktemp("whole"))})


def run_cli(*arguments: object) -> tuple[int, str]:
    """The command's exit code and all that it said; errors as the entry point prints them."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if isinstance(result.exception, GeosegError):
        return 2, result.output + "".join(f"geoseg: {line}\n" for line in str(result.exception).splitlines())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


EVENTS = 11_000
"""About as many audit events as the training has between its first checkpoint and its last."""

# The command, killed at an audit event between its first checkpoint and its last, on a machine of any speed.
KILLED = """
import os, runpy, signal, sys
moment, written, seen = int(sys.argv.pop(1)), 0, 0
def watch(event, arguments):
    global written, seen
    written += event == "os.rename" and os.fspath(arguments[1]).endswith("last.pt")
    seen += written > 0
    if (seen > moment or written == 6) and event != "os.kill":
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
runpy.run_module("geoseg", run_name="__main__", alter_sys=True)
"""


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(
    folder: Path, trained: TrainSummary, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    moment = random.randint(1, EVENTS)  # noqa: S311 - any moment will do; a failure names it
    command = [sys.executable, "-c", KILLED, str(moment), "train", str(write_training(folder))]
    killed = subprocess.run(
        [*command, "--set", f"output={output}", "--progress", "plain"],
        capture_output=True,
        check=False,
        timeout=600,  # against what hangs: a busy machine takes ten times as long
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (output / "last.pt").exists(), f"killed at event {moment}"
    assert not (output / "tiny-roofs").exists()
    assert not (output / "curves.png").exists()
    code, said = run_cli("train", folder / "train.yaml", "--set", f"output={output}")
    assert code == 0, f"killed at event {moment}: {said}"
    assert "resumed from step " in said
    ours, theirs = (
        hashlib.sha256((bundle / "weights.safetensors").read_bytes()).hexdigest()
        for bundle in (output / "tiny-roofs", trained.bundle.folder)
    )
    assert ours == theirs, f"killed at event {moment}"
    whole, again = ((path / "log.csv").read_text() for path in (trained.output, output))
    assert whole == again, f"killed at event {moment}"
    assert "IoU held out" in said
    assert f"next: geoseg run WORKFLOW.yaml --set model={output / 'tiny-roofs'}" in said


def test_a_bundle_says_what_ground_and_values_it_learned(trained: TrainSummary) -> None:
    spec = trained.bundle.spec
    assert (spec.values, spec.value_dtype, spec.coarsest_resolution) == ("display", "uint8", 0.42)
    assert spec.value_range is not None
    for (low, high), (least, most) in zip(spec.value_range, ((45, 195), (65, 175), (65, 115)), strict=True):
        assert least <= low < least + 8
        assert most - 8 < high <= most


def test_the_kind_of_values_follows_from_type_and_range() -> None:
    for dtype, seen, kind in (
        ("uint8", (0.0, 255.0), "display"),
        ("float32", (0.01, 0.6), "reflectance"),
        ("float32", (-0.03, 1.2), "reflectance"),
        ("float32", (-19.0, -4.0), "raw"),
        ("uint16", (200.0, 3000.0), "raw"),
    ):
        assert Seen(dtype, (seen, (0.1 * seen[0], seen[1])), 0.42).kind == kind, (dtype, seen)


def test_a_training_improves_its_score_and_its_bundle_says_how_it_came_to_be(trained: TrainSummary) -> None:
    before, after = trained.before.chosen, trained.result.score.chosen
    assert after > max(0.5, before + 0.2)
    spec = trained.bundle.spec
    assert spec.training.data[0].license == "CC0-1.0"
    assert spec.training.seed == 5
    for told in ("cross-entropy", "adamw", "96 / 112 px", "here 100%", f"kept: step {trained.result.step}"):
        assert told in spec.training.procedure
    figures = {metric.name: metric.value for metric in spec.metrics}
    assert figures == {"score": round(after, 4), "iou_roof": pytest.approx(after, abs=1e-4)}
    # MiniNet's receptive field is larger than these chips: maps are made in windows of their size.
    assert (spec.window, spec.alignment) == (112, 16)
    assert spec.halo % 16 == 0
    assert spec.halo_agreement >= 0.5
    assert "auxiliary" not in spec.arguments
    for picture in trained.pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in trained.pictures] == ["curves.png", "predictions.png"]


def test_the_bundle_maps_the_scenes_that_it_learned_from(
    trained: TrainSummary, folder: Path, tmp_path: Path
) -> None:
    # Raster labels hold 200 for roofs; the catalog names no classes, so the map is looked at itself.
    workflow = tmp_path / "map.yaml"
    workflow.write_text(
        dump_yaml({"catalog": str(folder / "scenes.json"), "model": str(trained.bundle.folder)})
    )
    made = geoseg.run(workflow, {"output": str(tmp_path / "maps"), "compute.executor": "serial"})
    assert list(made.summary["status"]) == ["done", "done"]
    with (
        rasterio.open(tmp_path / "maps/place1/classes.tif") as classes,
        rasterio.open(folder / "place1_truth.tif") as truth,
    ):
        mapped, known = classes.read(1) == 1, truth.read(1) == 200
    assert (mapped & known).sum() / (mapped | known).sum() > 0.5


def test_a_training_from_a_bundle_starts_with_its_score(
    trained: TrainSummary, folder: Path, tmp_path: Path
) -> None:
    path = write_training(folder)
    changes = {"model.start": str(trained.bundle.folder), "train.steps": 2, "train.validate_every": 2}
    again = train(path, {"output": str(tmp_path / "again")} | changes)
    assert again.before.chosen == pytest.approx(trained.result.score.chosen, abs=1e-6)
    assert again.bundle.spec.scaling == trained.bundle.spec.scaling
    assert "started from tiny-roofs" in again.bundle.spec.training.procedure
    with pytest.raises(GeosegError, match=r"model.start: tiny-roofs has the arguments .*this training none"):
        prepare_training(path, changes | {"model.arguments": {}})
    with pytest.raises(GeosegError, match="architecture mininet-1, this training mininet-2"):
        prepare_training(path, changes | {"model.architecture": "mininet-2"})


def test_a_training_in_the_folder_of_another_is_refused_and_leaves_it(
    trained: TrainSummary, folder: Path
) -> None:
    files = {p: p.read_bytes() for p in trained.output.rglob("*") if p.is_file() and ".geoseg" not in p.name}
    code, said = run_cli(
        "train", write_training(folder), "--set", f"output={trained.output}", "--set", "seed=6"
    )
    assert code == 2
    assert "belongs to a training with another" in said
    assert {p: p.read_bytes() for p in files} == files


def test_other_first_weights_are_another_training(
    trained: TrainSummary, folder: Path, tmp_path: Path
) -> None:
    path = write_training(folder)
    start = {"model.start": str(trained.bundle.folder)}
    with pytest.raises(GeosegError, match="belongs to a training with another start: go on with what it had"):
        prepare_training(path, {"output": str(trained.output)} | start)
    assert prepare_training(path, {"output": str(trained.output)}).start is None
    # The file's own words are compared before any scene is read.
    shutil.copy(trained.output / CHECKPOINT_NAME, tmp_path)
    with pytest.raises(GeosegError, match="belongs to a training with another config and another seed"):
        prepare_training(path, {"output": str(tmp_path), "seed": 6, "train.steps": 25})


def test_models_learn_and_teach_only_about_values_of_their_kind(
    trained: TrainSummary, folder: Path, tmp_path: Path
) -> None:
    def catalog_of(name: str, change: Callable[[str, dict[str, Any]], object]) -> dict[str, Any]:
        content = json.loads((folder / "scenes.json").read_text())
        for item in content["features"]:
            change(item["id"], item["assets"]["data"])
        (folder / name).write_text(json.dumps(content))
        data = copy.deepcopy(TINY["data"][0]) | {"catalog": str(folder / name)}
        return {"output": str(tmp_path / "out"), "data": [data]}

    def scale(_name: str, asset: dict[str, Any]) -> None:
        asset["bands"] = [band | {"raster:scale": 0.5} for band in asset["bands"]]

    def widen(name: str, asset: dict[str, Any]) -> None:
        with rasterio.open(folder / f"{name}.tif") as source:
            pixels, profile = source.read(), source.profile
        asset["href"] = f"{name}_wide.tif"
        with rasterio.open(folder / asset["href"], "w", **profile | {"dtype": "int64"}) as target:
            target.write(pixels.astype(np.int64))

    path, model = write_training(folder), str(trained.bundle.folder)
    scaled, wide = catalog_of("scaled.json", scale), catalog_of("wide.json", widen)
    assert prepare_training(path, scaled).scenes[0].value_dtype == "float32"
    told = r"tiny-roofs was trained on uint8, the scenes hold float32; set data\[0\]\.stretch: \[\d"
    for change in ({"model.start": model}, {"distill": {"teacher": model}}):
        with pytest.raises(GeosegError, match=told):
            prepare_training(path, scaled | change)
    scaled["data"][0]["stretch"] = [0.0, 40.0]
    assert any("data[0].stretch: [0, 40] clips" in note for note in check_training(path, scaled).notes)
    scaled["data"][0]["stretch"] = [0.0, 1e5]
    told = r"place0: data\[0\]\.stretch: \[0, 100000\] makes all sampled values black"
    with pytest.raises(GeosegError, match=told):
        check_training(path, scaled)
    scaled["data"][0] |= {"stretch": None, "scale": "none"}
    assert prepare_training(path, scaled).scenes[0].value_dtype == "uint8"
    with pytest.raises(
        GeosegError, match=r"place0: no model is made for values of int64: give data\[0\]\.stretch"
    ):
        prepare_training(path, wide)
    wide["data"][0]["stretch"] = [0.0, 255.0]
    assert prepare_training(path, wide | {"model.start": model}).scenes[0].value_dtype == "uint8"


def test_a_teacher_asked_about_chips_of_another_size_is_remarked_on(
    trained: TrainSummary, folder: Path, tmp_path: Path
) -> None:
    options = ["--set", f"output={tmp_path / 'out'}", "--set", f"distill.teacher={trained.bundle.folder}"]
    _, said = run_cli("train", write_training(folder), "--check", *options)
    assert "note: the teacher tiny-roofs was trained in windows of 112 px and knows less about" in said
    _, said = run_cli("train", write_training(folder), "--check", *options, "--set", "chips.size=112 px")
    assert "note:" not in said


def test_events_are_json_lines(folder: Path, tmp_path: Path) -> None:
    code, said = run_cli(
        *("train", write_training(folder), "--progress", "json", "--set", f"output={tmp_path / 'out'}"),
        *("--set", "train.steps=2", "--set", "train.validate_every=1", "--set", "train.checkpoint_every=2"),
    )
    assert code == 0
    events = [json.loads(line) for line in said.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:4] == ["scene", "scene", "first-score", "start"]
    assert kinds[-2:] == ["ended", "end"]
    assert kinds.count("validated") == 2
    assert load_bundle(events[-1]["bundle"]).spec.name == "tiny-roofs"


def test_check_says_what_would_be_trained_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "none"
    code, said = run_cli("train", write_training(folder), "--check", "--set", f"output={output}")
    assert code == 0
    assert "ok       place0  200×200 px, 3 bands uint8, 0.3 m" in said
    assert "2 scenes for mininet-1 on cpu fp32, scored in windows of 112 px" in said
    assert not output.exists()


def _set(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        section: Any = content
        for key in path[:-1]:
            section = section[key]
        section[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            _set("data", 0, "asset", to="truht"),
            [
                "scene place0: has no label asset 'truht'.*did you mean 'truth'",
                "scene place1: has no label asset",
            ],
        ),
        (_set("data", 0, "bands", to=["red", "nir", "blue"]), ["scene place0.*nir"]),
        (_set("bands", to=["red", "green", "blue", "nir"]), ["scene place0.*nir"]),
        (_set("data", 0, "window", to=[0, 0, 50, 5000]), []),
        (_set("data", 0, "window", to=[500, 0, 50, 50]), ["scene place0: the window .*outside its 200×200"]),
        (
            _set("data", 0, "classes", to={"roofs": "roof"}),
            [r"scene place0: data\[0\]\.classes has a value that is"],
        ),
        (_set("data", 0, "ids", to=["place7"]), ["scenes.json.*place7"]),
        (_set("data", 0, "catalog", to="nowhere.json"), [r"train.yaml:\d+: .*nowhere.json"]),
        (_set("chips", "size", to="64 px"), ["chips.size: 64 px are too few for mininet-1.*96 px or more"]),
        (
            _set("model", "arguments", "decoder", to=False),
            ["train.loss.deep_supervision: 0.4 asks for inner outputs .*it needs decoder.*; give 0"],
        ),
        (_set("model", "architecture", to="mininet-3"), ["no network is called 'mininet-3'.*did you mean"]),
        (_set("model", "encoder_weights", to="imagenet"), ["belong to networks of SMP.* this is a MiniNet"]),
        (_set("compute", to={"processes": 3}), ["train.batch is 4, which 3 processes cannot share evenly"]),
        (_set("output", to="."), ["the training would write into .*place0.tif lies"]),
    ],
)
def test_mistakes_are_said_before_any_work_one_line_each(
    folder: Path, change: Callable[[dict[str, Any]], object], messages: list[str], tmp_path: Path
) -> None:
    path = write_training(folder, change)
    overrides = {} if "output" in path.read_text() else {"output": str(tmp_path / "out")}
    if not messages:
        assert len(prepare_training(path, overrides).scenes) == 2
        return
    with pytest.raises(GeosegError) as caught:
        prepare_training(path, overrides)
    lines = str(caught.value).splitlines()
    assert len(lines) <= 2
    for message in messages:
        assert any(re.search(message, line) for line in lines), lines
    assert not (tmp_path / "out").exists()


def _one_scene_in_one_block(content: dict[str, Any]) -> None:
    content["data"][0]["ids"] = ["place0"]
    content["split"]["block"] = "900 m"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _set("data", 0, "classes", to=None),
            "scene place0: labels hold the class ids 200, the training has 0 ground, 1 roof: map values",
        ),
        (_set("data", 0, "classes", to={"200": None}), "no pixel to train on is labeled roof"),
        (_set("split", "every", to=0), "no scene has a held-out block"),
        (_one_scene_in_one_block, "held-out blocks take all of it: give a split.block smaller than 900 m"),
    ],
)
def test_data_that_nothing_can_be_learned_from_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    path = write_training(folder, change)
    with pytest.raises(GeosegError, match=message) as caught:
        train(path, {"output": str(tmp_path / "out")})
    assert not list((tmp_path / "out").glob("tiny-roofs*"))
    with pytest.raises(GeosegError, match=re.escape(str(caught.value))):
        check_training(path, {"output": str(tmp_path / "none")})
    assert not (tmp_path / "none").exists()


def test_attributes_of_polygons_are_mapped_to_classes(folder: Path, tmp_path: Path) -> None:
    def barns(content: dict[str, Any]) -> None:
        content["data"][0] |= {"asset": "roofs", "classes": {"barn": "roof", "house": None}}

    def unknown(content: dict[str, Any]) -> None:
        content["data"][0] |= {"asset": "roofs", "classes": {"barn": "roof"}}

    prepared = prepare_training(write_training(folder, barns), {"output": str(tmp_path / "out")})
    scene = prepared.scenes[0]
    patch = scene.patch(scene.extent.relative_to(scene.extent))
    found = set(np.unique(patch.labels).tolist())
    assert found == {0, 1, 255}
    with pytest.raises(GeosegError, match=r"scene place0: .*place0.gpkg.*value 'house', known are 'barn'"):
        prepare_training(write_training(folder, unknown), {"output": str(tmp_path / "out")})


def test_an_error_in_the_middle_leaves_no_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Trainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", broken)
    with pytest.raises(KeyboardInterrupt):
        train(write_training(folder), {"output": str(tmp_path / "out")})
    assert not list((tmp_path / "out").rglob("item.json"))
    assert not list((tmp_path / "out").rglob("*.png"))


def test_many_scenes_are_generated_with_a_catalog_that_trains(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load_script(root / "examples" / "make_scene.py")
    options = ["--count", "2", "--seed", "40", "--size", "160", "--out", str(tmp_path / "generated")]
    monkeypatch.setattr(sys, "argv", ["make_scene.py", *options])
    script.main()
    assert "catalog.json" in capsys.readouterr().out
    catalog = load_catalog(tmp_path / "generated" / "catalog.json")
    assert [ref.id for ref in catalog.scenes] == ["generated-40", "generated-41"]
    boxes = [describe(ref).geobox.bounds for ref in catalog.scenes]
    assert boxes[0][2] < boxes[1][0]
    text = (root / "workflows" / "train_landcover.yaml").read_text()
    file = tmp_path / "train.yaml"
    file.write_text(text.replace("../runs/generated", "generated"))
    prepared = prepare_training(file, {"output": str(tmp_path / "out")})
    assert {scene.split.phase for scene in prepared.scenes} == {0, 1}
    assert sum(scene.weight for scene in prepared.scenes) == pytest.approx(1)


def test_the_shipped_building_training_reads_nothing_of_austins_right_half(
    root: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = tmp_path / "buildings" / "austin_inria"
    poisoned.mkdir(parents=True)
    for name in ("austin_sample.tif", "austin_sample_mask.tif"):
        with rasterio.open(shared_data / "buildings" / "austin_inria" / name) as source:
            pixels, profile = source.read(), source.profile
        pixels[..., 500:] = 255 - pixels[..., 500:]  # another picture from column 500 on, with other labels
        with rasterio.open(poisoned / name, "w", **profile) as target:
            target.write(pixels)
    for name in ("banepa", "zanzibar_a", "kampala_a"):
        (tmp_path / "buildings" / name).symlink_to(shared_data / "buildings" / name)
    text = (root / "workflows" / "train_buildings.yaml").read_text()
    kept = text[: text.index("  - catalog: ../runs/generated")] + text[text.index("chips:") :]
    file = tmp_path / "train.yaml"
    file.write_text(kept.replace("../catalogs", str(root / "catalogs")))
    found = []
    for data in (shared_data, tmp_path):
        monkeypatch.setenv("GEOSEG_DATA", str(data))
        scenes = prepare_training(file, {"output": str(tmp_path / "out"), "distill": None}).scenes
        assert [scene.group for scene in scenes] == ["austin", "banepa", "zanzibar", "kampala"]
        austin = scenes[0]
        assert austin.shape == (1000, 500)
        assert not austin.chooses
        found.append(austin.patch(austin.extent))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("missing", ["tensorboard", "matplotlib"])
def test_a_training_without_its_extra_is_refused_before_any_work(
    folder: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "geoseg.flow.train.prepare.find_spec", lambda name: None if name == missing else found(name)
    )
    with pytest.raises(RunError, match=rf"needs {missing}, .* pip install 'geoseg\[train\]'"):
        prepare_training(folder / "train.yaml")

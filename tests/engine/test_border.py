"""The border between objects: from labels through network, store and split to polygons."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import onnxruntime
import pytest
import rasterio
import rioxarray
import shapely
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray
from support.commands import Command
from support.rasters import write_raster
from support.stac import RGB_BANDS, stac_item, write_catalog
from support.vectors import write_layer
from synthetic.bundles import random_bundle

import geoseg
from geoseg.arrays import UInt8
from geoseg.config.model.mlm import from_item, to_item
from geoseg.config.stac.refs import LabelRef
from geoseg.config.training.train_config import Focal, Loss
from geoseg.config.training.training_file import Distill
from geoseg.config.vectorize import Vectorize
from geoseg.engine.vectorize import ProbabilityRaster, find_shapes
from geoseg.errors import GeosegError
from geoseg.flow.compare.compare import evaluate_models
from geoseg.flow.evaluate.evaluate import evaluate_workflow
from geoseg.flow.run.run import run
from geoseg.flow.train.initial_weights import first_network
from geoseg.flow.train.prepare import prepare_training
from geoseg.flow.train.train import train
from geoseg.flow.vectorize import vectorize
from geoseg.grid.encoding import NODATA, SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.labels.layers import near_another
from geoseg.io.labels.reader import BORDER, LabelReader
from geoseg.io.yaml.strict_yaml import dump_yaml
from geoseg.models.bundle import load_bundle
from geoseg.models.exchange.export import export_onnx, export_torch
from geoseg.models.networks.network import without_border
from geoseg.models.saving import save_bundle
from geoseg.polygons.shapes import Shapes
from geoseg.training.losses import Objective

pytestmark = pytest.mark.slow

PLACE = Affine(0.3, 0, 620_000, 0, -0.3, 3_340_000)
CRS = "EPSG:32614"


@given(
    nps.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.sampled_from([1.0, 1.42, 2.0, 2.9]),
)
def test_what_lies_near_another_is_what_a_search_of_all_pairs_finds(
    numbers: NDArray[np.int32], reach: float
) -> None:
    places = [(r, c) for r, c in np.ndindex(numbers.shape) if numbers[r, c]]
    wanted = np.zeros(numbers.shape, bool)
    for one in places:
        wanted[one] = any(numbers[one] != numbers[o] and math.dist(one, o) <= reach for o in places)
    assert np.array_equal(near_another(numbers, reach), wanted)


def houses(folder: Path, boxes: list[tuple[float, float, float, float]]) -> Path:
    """Polygons (column, row, column, row) of the place, in another CRS than its pixels."""
    shapes = [shapely.box(*box) for box in boxes]
    ground = [shapely.affinity.affine_transform(s, [0.3, 0, 0, -0.3, PLACE.c, PLACE.f]) for s in shapes]
    return write_layer(folder / "houses.gpkg", ground, CRS, to_crs="EPSG:4326")


def test_labels_have_borders_where_houses_are_near_and_the_same_in_any_window(tmp_path: Path) -> None:
    boxes = [(4, 5, 20, 25), (20, 7, 33, 22), (34, 7, 44, 22), (47, 7, 58, 22)]  # 0, 1 and 3 px apart
    path = houses(tmp_path, boxes)
    grid = GeoBox(30, 64, PLACE, CRS)
    plain = LabelReader(LabelRef(str(path)), grid).read(grid.window)
    reader = LabelReader(LabelRef(str(path), border=0.6), grid)
    whole = reader.read(grid.window)
    assert ((whole > 0) == (plain > 0)).all(), "a border is a part of its house"
    border = np.flatnonzero((whole == BORDER).any(axis=0))
    assert border.tolist() == [18, 19, 20, 21, 32, 34], "2 px at a party wall, 1 beside an alley of a pixel"
    for window in (Window(3, 17, 9, 3), Window(8, 20, 20, 14), Window(0, 33, 12, 9)):
        assert np.array_equal(reader.read(window), whole[window.slices])


def test_the_border_is_a_part_of_its_class() -> None:
    logits = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 6
    share, both = logits.softmax(1), without_border(logits, 2).softmax(1)
    assert torch.allclose(both[:, 1], share[:, 1] + share[:, 2], atol=1e-6)
    assert without_border(logits[:, :2], 2).data_ptr() == logits.data_ptr()
    encoding = ProbabilityEncoding(2, 0, border=True)
    logits[0, :, 0, 0] = torch.nan
    stored = encoding.encode(logits[0].numpy())
    assert stored.shape == (2, 5, 7)
    assert (stored[:, 0, 0] == NODATA).all()
    seen = stored[0] != NODATA
    assert np.abs(stored[0] / SCALE - both[0, 1].numpy())[seen].max() <= 0.5 / SCALE + 1e-6
    assert np.abs(stored[1] / SCALE - share[0, 2].numpy())[seen].max() <= 0.5 / SCALE + 1e-6
    assert np.array_equal(encoding.classify(stored)[seen], (stored[0][seen] >= SCALE / 2).astype(np.uint8))


def terrace(height: int = 60) -> UInt8:
    """A block of three houses that only their borders tell apart, one turned the other way below it."""
    stored = np.zeros((2, height, 90), np.uint8)
    stored[0, 10:40, 6:84] = 196
    stored[0, 46:56, 30:60] = 190
    for wall in (32, 58):
        stored[1, 10:40, wall - 2 : wall + 2] = 150
    stored[:, 3:6, 3:6] = NODATA
    return stored


def split(stored: UInt8, rows: int = 60, **options: Any) -> Shapes:
    encoding = ProbabilityEncoding(2, 0, border=True)

    def strips() -> Iterator[UInt8]:
        return (stored[:, row : row + rows] for row in range(0, stored.shape[1], rows))

    box = GeoBox(*stored.shape[1:], PLACE, CRS)
    recipe = Vectorize.model_validate(options).resolved(binary=True, border=True)
    return Shapes.join(find_shapes(ProbabilityRaster(box, encoding, strips), [1], recipe))


def test_borders_part_what_the_probability_alone_joins() -> None:
    parted = split(terrace())
    assert len(parted) == 4
    assert np.allclose(sorted(shapely.area(parted.polygons)), [300, 780, 780, 780], rtol=0.01)
    assert len(split(terrace(), split={"method": "seeds"})) == 2
    assert len(split(terrace(), split={"method": "none"})) == 2
    for rows in (1, 7, 33):
        again = split(terrace(), rows)
        assert (shapely.to_wkb(again.polygons) == shapely.to_wkb(parted.polygons)).all()
    exact, coverage = split(terrace(), mode="exact"), split(terrace(), mode="coverage")
    assert (len(exact), len(coverage)) == (2, 2), "only objects are parted"


def write_place(folder: Path, number: int = 0, side: int = 160) -> dict[str, Any]:
    """A scene of houses wall to wall, each of its own tone; its item has polygons and a raster of them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(number)
    boxes, truth = [], np.zeros((side, side), np.uint8)
    pixels = np.full((3, side, side), 70.0)
    for row in range(10, side - 30, 36):
        for k, col in enumerate(range(8, side - 24, 18)):
            boxes.append((col, row, col + 18, row + 26))
            truth[row : row + 26, col : col + 18] = 200
            pixels[:, row : row + 26, col : col + 18] = (150, 210)[k % 2]
    pixels = (pixels + rng.integers(-12, 13, pixels.shape)).astype(np.uint8)
    houses(folder, boxes)
    write_raster(folder / "scene.tif", pixels, crs=CRS, transform=PLACE)
    write_raster(folder / "truth.tif", truth, crs=CRS, transform=PLACE)
    name = folder.name
    image = {"href": f"{name}/scene.tif", "bands": RGB_BANDS}
    labels = {"houses": f"{name}/houses.gpkg", "truth": f"{name}/truth.tif"}
    return stac_item(name, image, image_key="data", **labels)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terraces")
    items = [write_place(folder / f"place{number}", number) for number in range(2)]
    return write_catalog(folder / "scenes.json", *items).parent


def recipe(place: Path, **changes: Any) -> Path:
    source = {"name": "toys", "attribution": "nobody", "license": "CC0-1.0"}
    given: dict[str, Any] = {
        "model": {
            "name": "tiny-borders",
            "architecture": "mininet-1",
            "arguments": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]},
        },
        "resolution": "0.3 m",
        "classes": [
            {"name": "ground", "color": "#e8e6e1", "background": True},
            {"name": "house", "color": "#d7301f", "border": "0.6 m"},
        ],
        "data": [{"catalog": "scenes.json", "asset": "houses", "place": "here", "source": source}],
        "split": {"block": "10 m", "every": 4, "margin": "0 m"},
        "chips": {"size": "96 px"},
        "train": {"steps": 40, "batch": 4, "optimizer": {"rate": 0.02}, "validate_every": 20},
        "compute": {"workers": 1, "device": "cpu"},
        "output": "out",
    }
    path = place / "train.yaml"
    path.write_text(dump_yaml(given | changes))
    return path


def test_a_training_learns_borders_and_its_bundle_maps_with_them(place: Path, tmp_path: Path) -> None:
    summary = train(recipe(place), {"output": str(tmp_path / "out")})
    spec = summary.bundle.spec
    assert spec.border
    assert spec.channel_names == ("ground", "house", "border")
    assert spec.arguments["classes"] == 3
    assert from_item(to_item(spec)) == spec
    scored = summary.result.score.iou["here"]
    assert len(scored) == 2, "borders count as houses"
    assert summary.result.score.chosen > max(0.6, summary.before.chosen)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"data": "truth"}, "no two objects to train on lie within 0.6 m"),
        ({"classes": ["house", "ground"]}, "one class of objects after one background"),
        ({"classes": ["ground", "house", "barn"]}, "one class of objects after one background"),
        ({"train": {"loss": {"cross_entropy": {"class_weights": [1.0, 2.0]}}}}, "2 classes and their border"),
        ({"resolution": "1 m"}, r"0.6 pixels of 1 m; give 1 to 16 of them, such as 2 m"),
        ({"resolution": "0.03 m"}, "20 pixels of 0.03 m"),
        ({"chips": {"size": "96 px", "scales": [2.1, 2.4]}}, "narrower than the pixels of 0.63"),
    ],
    ids=["raster labels", "order", "three classes", "weights", "narrow", "wide", "coarse"],
)
def test_borders_that_cannot_be_learned_are_refused(
    place: Path, tmp_path: Path, changes: dict[str, Any], needed: str
) -> None:
    given = json.loads(json.dumps(changes))
    if "data" in changes:
        source = {"name": "toys", "attribution": "nobody", "license": "CC0-1.0"}
        given["data"] = [
            {"catalog": "scenes.json", "asset": "truth", "classes": {"200": "house"}, "source": source}
        ]
    if "classes" in changes:
        given["classes"] = [
            {"name": name, "color": "#e8e6e1", "background": name == "ground"}
            | ({"border": "0.6 m"} if name == "house" else {})
            for name in changes["classes"]
        ]
    with pytest.raises(GeosegError, match=needed):
        train(recipe(place, **given), {"output": str(tmp_path / "out")})
    assert not list((tmp_path / "out").glob("*/item.json"))


def test_class_ids_beyond_the_objects_are_no_borders(place: Path, tmp_path: Path) -> None:
    path = houses(tmp_path, [(4, 5, 20, 25), (20, 7, 33, 22)])
    frame = gpd.read_file(path, layer="houses")
    frame["kind"] = [1, 2]
    frame.to_file(path, layer="houses")
    grid = GeoBox(30, 64, PLACE, CRS)
    reader = LabelReader(LabelRef(str(path), attribute="kind", border=0.6), grid)
    with pytest.raises(GeosegError, match="hold the class 2 beside 1"):
        reader.read(grid.window)
    source = {"name": "toys", "attribution": "nobody", "license": "CC0-1.0"}
    entry = {"catalog": "scenes.json", "source": source}
    with rasterio.open(place / "place0" / "truth.tif") as found:
        profile, ids = found.profile, found.read() // 100
    with rasterio.open(place / "place0" / "ids.tif", "w", **profile) as target:
        target.write(ids)
    catalog = json.loads((place / "scenes.json").read_text())
    catalog["features"][0]["assets"]["ids"] = {"href": "place0/ids.tif", "roles": ["labels"]}
    (place / "ids.json").write_text(json.dumps(catalog))
    data = [
        {**entry, "asset": "houses"},
        {**entry, "asset": "ids", "catalog": "ids.json", "ids": ["place0"], "place": "there"},
    ]
    with pytest.raises(GeosegError, match="labels hold the class ids 2"):
        train(recipe(place, data=data), {"output": str(tmp_path / "out")})


def test_rasters_among_the_labels_are_told_to_know_no_borders(place: Path, tmp_path: Path) -> None:
    source = {"name": "toys", "attribution": "nobody", "license": "CC0-1.0"}
    entry = {"catalog": "scenes.json", "source": source, "ids": ["place0"], "place": "there"}
    raster = entry | {"asset": "truth", "classes": {"200": "house"}}
    path = recipe(place, data=[entry | {"asset": "houses"}, raster])
    (remark,) = prepare_training(path, {"output": str(tmp_path / "out")}).remarks
    assert "labels of place0 are rasters, which do not tell objects apart" in remark


def test_teachers_and_pupils_need_not_both_know_borders() -> None:
    draw = torch.Generator().manual_seed(1)
    knows, plain = torch.randn(2, 3, 4, 5, generator=draw), torch.randn(2, 2, 4, 5, generator=draw)
    target = torch.zeros(2, 4, 5, dtype=torch.long)
    objective = Objective(Loss(cross_entropy=None, focal=Focal(weight=1e-9)), Distill(teacher="x"))
    folded = without_border(knows, 2)
    assert torch.allclose(objective(knows, target, teacher=plain), objective(folded, target, teacher=plain))
    assert torch.allclose(objective(plain, target, teacher=knows), objective(plain, target, teacher=folded))
    assert objective(knows, target, teacher=folded) < 1e-6


def test_weights_of_another_class_do_not_become_those_of_a_border(place: Path, tmp_path: Path) -> None:
    tiny = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]}
    other = random_bundle(tmp_path / "three", "mininet-1", classes=3, arguments=tiny)
    training = prepare_training(recipe(place), {"output": str(tmp_path / "out")}).loaded.training
    told: list[str] = []
    started = first_network(training, other, told.append).state_dict()
    given, fresh = other.network().state_dict(), first_network(training, None).state_dict()
    head = [key for key in given if key.startswith("classifier") or given[key].shape[:1] == (3,)]
    assert head
    assert all(torch.equal(started[key], fresh[key]) for key in head)
    assert all(torch.equal(started[key], given[key]) for key in given if key not in head)
    assert "has the channels class0, class1, class2" in told[0]


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_an_export_counts_borders_to_their_class(tmp_path: Path, suffix: str) -> None:
    bundle = random_bundle(tmp_path / "bundle", "liteunet", border=True)
    path = tmp_path / f"model{suffix}"
    done = export_onnx(bundle, path) if suffix == ".onnx" else export_torch(bundle, path)
    assert done.difference < 1e-4
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    wanted = without_border(bundle.network()(image), 2).softmax(1).detach()
    if suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path))
        found = torch.from_numpy(session.run(None, {"pixels": image.numpy()})[0])
        assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]).keys() == {"0", "1"}
    else:
        found = torch.export.load(str(path)).module()(image)
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.fixture(scope="module")
def finished(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights that know borders."""
    folder = tmp_path_factory.mktemp("run")
    random_bundle(folder / "bundle", "mininet-2", border=True, seed=4, halo=16)
    lines = [f"catalog: {place / 'scenes.json'}", "model: ./bundle", "vectorize: {min_area: 1 px}"]
    (folder / "flow.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    summary = run(folder / "flow.yaml", {"output": str(folder / "maps"), "compute.executor": "serial"})
    assert summary.count("done") == 2, summary.scenes
    return folder


def test_a_run_writes_the_border_and_its_raster_gives_the_same_polygons(
    finished: Path, tmp_path: Path
) -> None:
    folder = finished / "maps" / "place0"
    with rasterio.open(folder / "probability.tif") as source:
        assert source.descriptions == ("Class 1", "border")
        both = source.read()
    with rasterio.open(folder / "classes.tif") as source:
        assert np.array_equal(source.read(1), (both[0] >= SCALE / 2).astype(np.uint8))
    assert (both[1] <= both[0] + 1).all()
    made = vectorize(folder / "probability.tif", tmp_path / "again.gpkg", {"vectorize.min_area": "1 px"})
    assert (made.kind, made.mode, made.classes) == ("probability", "objects", ((1, "Class 1"),))
    ours = gpd.read_file(folder / "polygons.gpkg", layer="polygons")
    again = gpd.read_file(tmp_path / "again.gpkg", layer="again")
    assert list(ours.geometry.to_wkb()) == list(again.geometry.to_wkb())


def test_a_run_with_borders_is_scored_and_python_gives_its_map(
    place: Path, finished: Path, tmp_path: Path
) -> None:
    flow = finished / "flow.yaml"
    report = evaluate_workflow(flow, {"output": str(finished / "maps")}, asset="houses", worst=2)
    assert [row.name for row in report.classes] == ["class0", "class1"]
    compared = evaluate_models(
        flow,
        [str(finished / "bundle")],
        {"output": str(tmp_path), "compute.executor": "serial"},
        asset="houses",
    )
    assert compared.exit_code == 0
    again = json.loads(next(compared.folder.glob("*/score.json")).read_text())
    assert again["confusion"] == [list(row) for row in report.confusion]
    image = place / "place0" / "scene.tif"
    made = geoseg.predict(rioxarray.open_rasterio(image), finished / "bundle")
    assert made["class"].to_numpy().tolist() == ["class1"]
    assert made["border"].dims == ("y", "x")
    both = np.concatenate([made["probability"].to_numpy(), made["border"].to_numpy()[None]])
    with rasterio.open(finished / "maps" / "place0" / "probability.tif") as source:
        assert np.array_equal(np.rint(both * SCALE), source.read())
    lazy = geoseg.predict(rioxarray.open_rasterio(image, chunks={}), finished / "bundle")
    assert lazy.compute().equals(made)


def test_a_class_that_is_called_border_is_a_class(place: Path, tmp_path: Path) -> None:
    plain = random_bundle(tmp_path / "plain", "mininet-2", halo=16)
    classes = [
        one.model_copy(update={"name": name, "title": name, "background": False})
        for one, name in zip(plain.spec.classes, ("field", "border"), strict=True)
    ]
    spec = plain.spec.model_copy(update={"classes": tuple(classes), "weights": None})
    save_bundle(tmp_path / "bundle", spec, plain.network())
    lines = [f"catalog: {place / 'scenes.json'}", "model: ./bundle", "vectorize: {min_area: 1 px}"]
    (tmp_path / "flow.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"output": str(tmp_path / "maps"), "compute.executor": "serial", "scenes.ids": "[place0]"}
    run(tmp_path / "flow.yaml", settings)
    report = evaluate_workflow(tmp_path / "flow.yaml", settings, asset="houses")
    assert [row.name for row in report.classes] == ["field", "border"]
    raster = tmp_path / "maps" / "place0" / "probability.tif"
    made = vectorize(raster, tmp_path / "again.gpkg", {"vectorize.min_area": "1 px"})
    assert made.mode == "coverage", "two classes, of which the larger decides"


def test_a_model_without_borders_cannot_split_by_them(
    finished: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command: Command = request.getfixturevalue("geoseg")
    random_bundle(tmp_path / "plain", "mininet-2", halo=16)
    lines = (finished / "flow.yaml").read_text().replace("./bundle", str(tmp_path / "plain"))
    (tmp_path / "flow.yaml").write_text(lines.replace("1 px}", "1 px, split: {method: border}}"))
    code, _, told = command("run", str(tmp_path / "flow.yaml"), "--set", f"output={tmp_path / 'maps'}")
    assert code == 2
    assert "has no such channel; use auto, seeds or necks" in told
    assert not (tmp_path / "maps" / "place0").exists()
    assert load_bundle(str(tmp_path / "plain")).spec.border is False

"""Exports: other programs compute what geoseg computes; nothing unchecked is left behind."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
from synthetic.bundles import random_bundle

from geoseg.arrays import Float32
from geoseg.config.model.contract import BundleSpec
from geoseg.config.model.deepness import deepness_metadata, deepness_tile
from geoseg.config.model.mlm import from_item
from geoseg.errors import BundleError, OutputError
from geoseg.models.agreement import TOLERANCE
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.exchange import export as module
from geoseg.models.exchange.export import ITEM_KEY, OPSET, Exported, export_onnx, export_torch
from geoseg.models.predictor import Predictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(root: Path) -> Float32:
    """The demonstration scene, (bands, height, width)."""
    with rasterio.open(root / "examples" / "austin_synthetic" / "scene.tif") as source:
        pixels: Float32 = source.read().astype(np.float32)
    return pixels


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle("buildings-mininet2")


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    arguments = {"widths": [8, 16, 32]}
    return random_bundle(tmp_path_factory.mktemp("slim"), arguments=arguments, classes=3, halo=48)


@pytest.fixture(scope="module")
def free(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The shipped model with free height and width."""
    return export_onnx(shipped, tmp_path_factory.mktemp("free") / "model.onnx")


@pytest.fixture(scope="module")
def many() -> Bundle:
    return load_bundle("landcover-mininet2")


@pytest.fixture(scope="module")
def tiled(many: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A shipped model of six classes for one tile size."""
    return export_onnx(many, tmp_path_factory.mktemp("tiled") / "model.onnx", 256)


def session(exported: Exported) -> Any:
    return onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])


def run(exported: Exported, pixels: Float32) -> Float32:
    found: Float32 = session(exported).run(None, {"pixels": pixels})[0]
    return found


def softmax(logits: Float32) -> Float32:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def assert_same_map(found: Float32, expected: Float32) -> None:
    """Probabilities to the tolerance, and every class but where two are even."""
    assert np.abs(found - expected).max() <= TOLERANCE
    two = np.sort(expected, 1)[:, -2:]
    decided = two[:, 1] - two[:, 0] > 2 * TOLERANCE
    assert decided.mean() > 0.99, "else nothing is compared"
    assert np.array_equal(found.argmax(1)[decided], expected.argmax(1)[decided])


@pytest.mark.parametrize(
    "place",
    [np.s_[:, :256, :256], np.s_[:, 64:400, 16:176], np.s_[:, 200:216, 300:348]],
    ids=["square", "tall", "small"],
)
def test_onnxruntime_maps_the_demonstration_scene_as_geoseg_does(
    free: Exported, shipped: Bundle, scene: Float32, place: tuple[slice, slice, slice]
) -> None:
    window = scene[place][None]
    valid = np.ones((1, *window.shape[2:]), np.bool_)
    valid[:, :5, :7] = False
    mean, std = (np.float32(v)[:, None, None] for v in (shipped.spec.scaling.mean, shipped.spec.scaling.std))
    image = np.where(valid[:, None], (window - mean) / std, np.float32(0))
    assert_same_map(run(free, image), softmax(Predictor(shipped).logits(window, valid)))


def read_as_deepness(exported: Exported) -> dict[str, Any]:
    """The plugin's reading of a model, by its rules: every value is JSON, then of the type it needs."""
    held = session(exported).get_modelmeta().custom_metadata_map
    names = json.loads(held["class_names"])
    assert sorted(map(int, names)) == list(range(len(names))), "consecutive, or the plugin refuses it"
    shape = session(exported).get_inputs()[0].shape
    return {
        "type": str(json.loads(held["model_type"])).capitalize(),
        "names": [names[str(i)] for i in range(len(names))],
        "resolution": float(json.loads(held["resolution"])),
        "tile_size": int(json.loads(held["tile_size"])),
        "overlap": int(json.loads(held["tiles_overlap"])),
        "mean": np.array([float(x) for x in json.loads(held["standardization_mean"])], np.float32),
        "std": np.array([float(x) for x in json.loads(held["standardization_std"])], np.float32),
        "threshold": float(json.loads(held["seg_thresh"])),
        "small_segment": int(json.loads(held["seg_small_segment"])),
        "shape": shape,
    }


def test_deepness_reads_the_contract_and_computes_geosegs_classes(
    tiled: Exported, many: Bundle, scene: Float32
) -> None:
    read, spec = read_as_deepness(tiled), many.spec
    assert (read["type"], read["names"]) == ("Segmentor", [c.name for c in spec.classes])
    assert (read["resolution"], read["tile_size"]) == (30.0, 256)
    # The plugin puts the input's last axis into a spin box: it must be a number; a free batch is welcome.
    assert read["shape"] == ["batch", 3, 256, 256]
    assert 256 * read["overlap"] // 100 >= 2 * spec.halo
    assert (read["threshold"], read["small_segment"]) == (0, 0), "others would not be geoseg's classes"
    assert session(tiled).get_outputs()[0].shape == ["batch", 6, 256, 256]
    # Tiles come as uint8 (N, H, W, C); the arithmetic is the plugin's.
    tiles = np.stack([scene[:, :256, :256], scene[:, 100:356, 50:306]]).astype(np.uint8)
    image = np.float32(tiles.transpose(0, 2, 3, 1) * 1.0 / 255.0)
    image = ((image - read["mean"]) / read["std"]).transpose(0, 3, 1, 2)
    scores = run(tiled, image)
    assert image.dtype == np.float32
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
    logits = Predictor(many).logits(tiles.astype(np.float32), np.ones((2, 256, 256), np.bool_))
    assert_same_map(scores, softmax(logits))


def test_deepness_overlap_covers_the_halo_with_the_least_whole_per_cent(shipped: Bundle) -> None:
    assert deepness_tile(shipped.spec) == shipped.spec.window == 512
    free = shipped.spec.model_copy(update={"window": None})
    for halo, tile in ((0, 512), (80, 512), (96, 576), (256, 1536)):
        spec = free.model_copy(update={"halo": halo})
        assert deepness_tile(spec) == tile
        percent = int(json.loads(deepness_metadata(spec, tile)["tiles_overlap"]))
        assert tile * percent // 100 >= 2 * halo
        assert percent == 0 or tile * (percent - 1) // 100 < 2 * halo


def test_an_onnx_file_carries_its_contract_and_nothing_of_the_machine(
    free: Exported, tiled: Exported, shipped: Bundle
) -> None:
    model = onnx.load(str(free.path))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert from_item(json.loads(held[ITEM_KEY])) == shipped.spec
    assert held["attribution"] == shipped.spec.attribution
    assert sorted(path.name for path in free.path.parent.iterdir()) == ["model.onnx"], "one file"
    for exported in (free, tiled):
        data = exported.path.read_bytes()
        assert len(data) == exported.size
        assert b"site-packages" not in data
        assert str(Path(module.__file__).parents[3]).encode() not in data
    assert session(free).get_inputs()[0].shape == ["batch", 3, "height", "width"]


def test_torch_export_takes_any_aligned_size_and_gives_the_same_bits(slim: Bundle, tmp_path: Path) -> None:
    exported = export_torch(slim, tmp_path / "model.pt2")
    assert exported.difference == 0
    extra = {"item.json": ""}
    program = torch.export.load(str(exported.path), extra_files=extra).module()
    assert from_item(json.loads(extra["item.json"])) == slim.spec
    for shape in ((1, 3, 4, 4), (5, 3, 60, 92)):
        image = torch.randn(shape)
        with torch.inference_mode():
            expected = torch.softmax(slim.network()(image), 1)  # type: ignore[arg-type]  # no auxiliary heads
            assert torch.allclose(program(image), expected, atol=1e-6)
    assert str(Path(module.__file__).parents[2]).encode() not in exported.path.read_bytes()


def test_a_file_that_computes_something_else_is_not_kept(
    slim: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_contract = module.state_contract

    def spoil(model: Any, spec: BundleSpec, tile: int | None) -> None:
        state_contract(model, spec, tile)
        weight = next(i for i in model.graph.initializer if len(i.dims) == 4)
        array = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1.01), weight.name))

    monkeypatch.setattr(module, "state_contract", spoil)
    with pytest.raises(
        BundleError, match=r"random-test exported to onnxruntime gives other .* nothing was written"
    ) as caught:
        export_onnx(slim, tmp_path / "model.onnx", 64)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BundleError, match="tiles of 66 px: they must be a multiple of its alignment, 4 px"):
        export_onnx(slim, tmp_path / "model.onnx", 66)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_tools_are_named_with_what_installs_them(
    slim: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    found = importlib.import_module

    def lacking(name: str, package: str | None = None) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", lacking)
    with pytest.raises(OutputError, match=rf"needs {missing}, .*pip install 'geoseg\[export\]'"):
        export_onnx(slim, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())

"""A quantized model computes nearly what it did, says so, and belongs to its own weights alone."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic.bundles import random_bundle

from geoseg.config.model.mlm import INT8_NAMES
from geoseg.errors import BundleError, OutputError, SceneError
from geoseg.flow.quantize import quantize
from geoseg.io.stac.folder import make_catalog
from geoseg.models.bundle import ITEM_NAME, Bundle, load_bundle
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime
from geoseg.models.saving import changed_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def catalog(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalog") / "scenes.json"
    make_catalog(root / "examples" / "austin_synthetic", path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    arguments = {"widths": [4, 8], "encoder": [1, 1], "decoder": [1, 1]}
    return random_bundle(tmp_path_factory.mktemp("own"), arguments=arguments, graph=True)


@pytest.fixture(scope="module")
def quantized(plain: Bundle, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return quantize(plain, catalog, tmp_path_factory.mktemp("int8"))


def test_integers_give_nearly_the_same(quantized: Bundle) -> None:
    int8 = quantized.spec.int8
    assert int8 is not None
    assert "windows of" in int8.data
    random = np.random.default_rng(0)
    pixels = np.kron(random.integers(60, 200, (1, 3, 12, 12)), np.ones((16, 16))).astype(np.float32)
    valid = np.ones((1, 192, 192), np.bool_)
    full, low = (
        Predictor(quantized, Runtime.of_model(quantized.spec, "cpu", precision)).logits(pixels, valid)
        for precision in ("fp32", "int8")
    )
    assert not np.array_equal(full, low)
    assert np.abs(full - low).mean() < 0.1 * np.abs(full - full.mean()).max()


def test_a_model_without_integers_says_what_to_type(plain: Bundle) -> None:
    with pytest.raises(BundleError, match="geoseg models quantize random-test"):
        Runtime.of_model(plain.spec, "cpu", "int8")


def test_integers_of_other_weights_are_refused(quantized: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(quantized.folder, folder)
    item: dict[str, Any] = json.loads((folder / ITEM_NAME).read_text())
    item["properties"]["geoseg:int8"]["made_of"] = "0" * 64
    (folder / ITEM_NAME).write_text(json.dumps(item))
    with pytest.raises(BundleError, match="int8 was made of other weights"):
        load_bundle(folder)


def test_a_changed_contract_keeps_the_integers(quantized: Bundle, tmp_path: Path) -> None:
    copy = changed_bundle(quantized, {"measured": ()}, tmp_path / "copy")
    assert copy.spec == quantized.spec
    for name in INT8_NAMES:
        assert (copy.folder / name).read_bytes() == (quantized.folder / name).read_bytes()
    copy.check_graph("int8")


def test_scenes_without_data_and_a_missing_tool_are_named(
    plain: Bundle, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.flow.quantize._LEAST_VALID", 1.1)
    with pytest.raises(SceneError, match="no window of 512 px that is mostly valid"):
        quantize(plain, catalog, tmp_path / "one")
    real = importlib.import_module

    def missing(name: str) -> Any:
        if name == "nncf":
            raise ImportError(name=name)
        return real(name)

    monkeypatch.setattr("geoseg.flow.quantize.importlib.import_module", missing)
    with pytest.raises(OutputError, match=r"pip install 'geoseg\[quantize\]'"):
        quantize(plain, catalog, tmp_path / "two")

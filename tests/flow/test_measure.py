"""What windows and precisions change is measured against none, and a contract follows its own figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from synthetic.bundles import random_bundle

from geoseg.arrays import UInt8
from geoseg.config.model.contract import Cropping, Measured
from geoseg.config.units import Pixels
from geoseg.config.workflow import Tiling
from geoseg.engine.tiles import resolve_tiles
from geoseg.errors import BundleError
from geoseg.flow.measure import measure
from geoseg.io.stac.folder import make_catalog
from geoseg.models.bundle import Bundle, load_bundle
from geoseg.models.runtime import Runtime
from geoseg.models.saving import changed_bundle

pytestmark = pytest.mark.slow

SEAMLESS: dict[str, Any] = {
    "window": 1024, "halo": 32, "agreement": 0.9996, "border_agreement": 0.9991, "step_ratio": 1.01,
    "data": "a town",
}  # fmt: skip
HARMLESS: dict[str, Any] = {
    "precision": "bf16", "library": "openvino 1", "processor": "AVX512_CORE_AMX", "agreement": 0.996,
    "area_bias": -0.004, "iou": 0.7, "iou_fp32": 0.7015, "data": "a town",
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    arguments = {"widths": [4, 8], "encoder": [1, 1], "decoder": [1, 1]}
    return random_bundle(tmp_path_factory.mktemp("own"), arguments=arguments, graph=True)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(0)
    coarse = random.integers(0, 200, (3, 180, 80), np.uint8)
    pixels = np.kron(coarse, np.ones((1, 8, 16), np.uint8)) + random.integers(
        0, 55, (3, 1440, 1280), np.uint8
    )
    _write(folder / "scene.tif", pixels)
    (folder / "labels").mkdir()
    _write(folder / "labels" / "scene.tif", np.where(coarse[:1] > 100, 255, 0).repeat(8, 1).repeat(16, 2))
    path = folder / "scenes.json"
    make_catalog(folder, path, labels=folder / "labels")
    return path


def _write(path: Path, pixels: Any) -> None:
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "uint8", "count": len(pixels), "height": pixels.shape[1],
        "width": pixels.shape[2], "crs": "EPSG:26914",
        "transform": Affine(0.3, 0, 621_000, 0, -0.3, 3_349_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        values: UInt8 = pixels.astype(np.uint8)
        target.write(values)


def test_a_measured_model_is_cropped_at_the_smallest_halo_without_a_seam(
    bundle: Bundle, catalog: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    found = measure(bundle, catalog, tmp_path / "measured", precisions=("bf16",), note=lines.append)
    assert load_bundle(tmp_path / "measured") == found
    cropping, exact = found.spec.cropping, bundle.spec.exact_halo
    assert cropping is not None
    assert exact is not None
    if cropping.halo >= exact:  # cropping at the exact halo is inference without windows
        assert (cropping.agreement, cropping.border_agreement, cropping.step_ratio) == (1, 1, 1)
    assert 0.99 < cropping.border_agreement <= cropping.agreement <= 1
    assert len(lines) == 1 + sum("halo" in line for line in lines)
    (figures,) = found.spec.measured
    assert 0.9 < figures.agreement <= 1
    assert figures.iou is not None
    assert figures.iou_fp32 == pytest.approx(figures.iou, abs=0.05)
    # Nothing else of the model changes, so a map of fp32 can be told by its identity.
    assert found.spec.identity == bundle.spec.identity


def test_a_model_without_a_graph_is_not_measured(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="geoseg models graph"):
        measure(random_bundle(tmp_path / "old"), catalog, tmp_path / "new")


@pytest.mark.parametrize(
    ("change", "crops"),
    [
        ({}, True),
        ({"agreement": 0.9994}, False),
        ({"border_agreement": 0.9989}, False),
        ({"step_ratio": 1.06}, False),
    ],
)
def test_windows_are_cropped_where_no_seam_was_seen(change: dict[str, Any], *, crops: bool) -> None:
    lite = load_bundle("buildings-liteunet")
    spec = lite.spec.model_copy(update={"cropping": Cropping.model_validate(SEAMLESS | change)})
    measured = Bundle(spec, lite.folder)

    def blend(**tiling: Any) -> tuple[str, int]:
        tiles = resolve_tiles((3000, 3000), measured, Tiling(**tiling), None, Runtime.resolve("cpu"))
        return tiles.blend, tiles.grid.rows.halo

    assert blend() == (("crop", 32) if crops else ("hann", spec.halo))
    assert blend(blend="hann") == ("hann", spec.halo)
    assert blend(halo="exact") == ("crop", spec.exact_halo)
    assert blend(halo=Pixels.parse("16 px"))[0] == "hann"  # less than what was measured
    assert blend(halo=Pixels.parse("48 px"))[0] == ("crop" if crops else "hann")


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ([{}], True),
        ([{}, {"agreement": 0.994}], False),
        ([{"area_bias": 0.006}], False),
        ([{"area_bias": -0.006}], False),
        ([{"iou": 0.7036}], False),
        ([{"iou": None}], False),
        ([{"precision": "int8"}], False),
        ([], False),
    ],
)
def test_a_precision_is_automatic_only_where_all_its_figures_are_harmless(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[dict[str, Any]],
    *,
    allowed: bool,
) -> None:
    figures = tuple(Measured.model_validate(HARMLESS | change) for change in changes)
    spec = changed_bundle(bundle, {"measured": figures}, tmp_path).spec
    assert spec.measured == figures
    assert spec.allows("bf16") == allowed
    from geoseg.models import runtime  # noqa: PLC0415 - its table is looked at

    here = runtime.Processor.here()
    monkeypatch.setattr(runtime, "_FAST_BF16", ((here.instruction_set, ""),))
    if here.has("AVX512_CORE"):
        assert Runtime.of_model(spec, "cpu").precision == ("bf16" if allowed else "fp32")
    monkeypatch.setattr(runtime, "_FAST_BF16", ())
    assert Runtime.of_model(spec, "cpu").precision == "fp32"

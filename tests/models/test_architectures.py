"""Every architecture is a bundle: saved, verified, tiled and run, narrow where it can be."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from synthetic.bundles import random_bundle
from synthetic.neighborhood import generate
from synthetic.writing import write_scene

from geoseg.config.workflow import Tiling
from geoseg.engine.tiles import resolve_tiles
from geoseg.errors import GridError
from geoseg.flow.run.run import run
from geoseg.io.stac.folder import make_catalog
from geoseg.models.bundle import Bundle
from geoseg.models.cost.memory import bytes_per_pixel
from geoseg.models.exchange.verify import verify
from geoseg.models.networks.registry import ARCHITECTURES, build, traits
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime

CPU = Runtime.resolve("cpu")

pytestmark = pytest.mark.slow

MOST = 10_000_000
"""Parameters up to which a network gets memory here."""
SIXTEEN_GIGABYTES = 16_000_000_000


def narrow(architecture: str) -> dict[str, Any]:
    """Arguments that make a network as narrow as it goes."""
    widths = inspect.signature(ARCHITECTURES[architecture].factory).parameters.get("widths")
    if widths is not None:
        return {"widths": [16] * len(widths.default)}  # squeezed to 2 channels, the narrowest that live
    return {"smp": {"architecture": "fpn", "encoder": "mobilenet_v2"}}.get(architecture, {})


def parameters(architecture: str) -> int:
    with torch.device("meta"):
        network = build(architecture, bands=3, classes=3, **narrow(architecture))
    return sum(parameter.numel() for parameter in network.parameters())


SMALL = [name for name in ARCHITECTURES if parameters(name) <= MOST]
LARGE = [name for name in ARCHITECTURES if name not in SMALL]


@pytest.fixture(scope="module", params=SMALL)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    name = str(request.param)
    return random_bundle(tmp_path_factory.mktemp(name), name, arguments=narrow(name), classes=3)


def test_a_saved_network_is_what_its_contract_says(bundle: Bundle) -> None:
    checks = list(verify(bundle.folder))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 8


@pytest.mark.parametrize("size", [(32, 64), (97, 61)])
def test_the_batch_changes_no_bit(bundle: Bundle, size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (3, 3, *size)).astype(np.float32)
    valid = random.random((3, *size)) > 0.1
    predictor = Predictor(bundle)
    together = predictor.logits(pixels, valid)
    assert together.shape == (3, 3, *size)
    for index in range(3):
        assert np.array_equal(
            predictor.logits(pixels[index : index + 1], valid[index : index + 1])[0], together[index]
        )


def test_aligned_windows_need_no_padding(bundle: Bundle) -> None:
    side = -(-64 // bundle.spec.alignment) * bundle.spec.alignment
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, side, side)).astype(np.float32)
    found = Predictor(bundle).logits(pixels, np.ones((1, side, side), np.bool_))
    with torch.inference_mode():
        own = bundle.network()(torch.from_numpy((pixels - 110) / 60))
    assert isinstance(own, torch.Tensor)
    np.testing.assert_allclose(found, own.numpy(), rtol=1e-3, atol=1e-4 * float(own.abs().max()))


def test_halos_follow_the_reach(bundle: Bundle) -> None:
    spec, shape = bundle.spec, (600, 900)
    automatic = resolve_tiles(shape, bundle, Tiling(), SIXTEEN_GIGABYTES, CPU)
    assert automatic.grid.rows.window % spec.alignment == 0
    exact = Tiling.model_validate({"halo": "exact"})
    if spec.receptive_field_radius is None:
        assert (automatic.exact, automatic.blend, automatic.grid.rows.halo) == (False, "hann", spec.halo)
        with pytest.raises(GridError, match="every output of which sees the whole window"):
            resolve_tiles(shape, bundle, exact, SIXTEEN_GIGABYTES, CPU)
        return
    tiles = resolve_tiles(shape, bundle, exact, SIXTEEN_GIGABYTES, CPU)
    assert tiles.exact
    assert tiles.grid.rows.halo == spec.exact_halo
    assert automatic.exact == (spec.receptive_field_radius <= 100)


def test_memory_is_counted_the_same_without_computing(bundle: Bundle) -> None:
    spec = bundle.spec
    counted = bytes_per_pixel(spec.architecture, spec.arguments)
    assert counted == bytes_per_pixel(spec.architecture, spec.arguments, "meta")
    assert counted > 4 * (len(spec.bands) + len(spec.classes))


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_are_planned_without_their_weights(name: str) -> None:
    arguments = {"bands": 3, "classes": 3, **narrow(name)}
    found = traits(name, **arguments)
    assert found.alignment >= 1
    assert found.receptive_field_radius is None or found.receptive_field_radius > 0
    assert bytes_per_pixel(name, arguments, "meta") > 24


FAMILIES = ("unet-skinny", "mobilenetv3-small", "smp", "mininet-1")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_scene_is_mapped_with_any_family(name: str, tmp_path: Path) -> None:
    write_scene(tmp_path / "scenes", generate(size=(150, 160), seed=3))
    (tmp_path / "scenes" / "landcover.tif").unlink()  # labels: no scene
    make_catalog(tmp_path / "scenes", tmp_path / "catalog.json")
    bundle = random_bundle(
        tmp_path / "model",
        name,
        arguments=narrow(name),
        classes=3,
        halo=traits(name, bands=3, classes=3, **narrow(name)).alignment,
    )
    (tmp_path / "flow.yaml").write_text(
        f"catalog: catalog.json\nmodel: {bundle.folder}\noutput: out\ncompute: {{executor: serial}}\n"
        "vectorize: null\n",
        encoding="utf-8",
    )
    summary = run(tmp_path / "flow.yaml")
    assert summary.exit_code == 0, summary.errors
    (path,) = (tmp_path / "out").glob("*/classes.tif")
    with rasterio.open(path) as classes:
        found = classes.read(1)
    assert found.shape == (150, 160)
    assert set(np.unique(found)) <= {0, 1, 2, 255}

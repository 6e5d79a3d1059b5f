"""Pre-trained encoders: from a hub's cache where it has them, else refused at once with what to do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders, get_encoder

from geoseg.errors import BundleError
from geoseg.models.networks.registry import build
from geoseg.models.networks.smp import load_encoder

pytestmark = pytest.mark.slow

ENCODER = "mobilenet_v2"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a hub that nobody answers for."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("encoder", [ENCODER, "tu-resnet18", "tu-resnet18.a1_in1k"])
def test_without_a_hub_one_line_at_once_says_how_to_train_from_scratch(cache: Path, encoder: str) -> None:
    network = build("smp", bands=3, classes=2, encoder=encoder)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    started = time.monotonic()
    with pytest.raises(BundleError, match=r"set model\.encoder_weights to null") as caught:
        load_encoder(network, "imagenet")
    assert time.monotonic() - started < 30, "retries would take most of a minute"
    assert "127.0.0.1:9, and it cannot be reached" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not constants.HF_HUB_OFFLINE
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize("bands", [3, 5])
def test_what_the_cache_has_is_loaded_into_the_encoder_alone(cache: Path, bands: int) -> None:
    torch.manual_seed(1)
    trained = get_encoder(ENCODER, weights=None).state_dict()
    settings = encoders[ENCODER]["pretrained_settings"]["imagenet"]
    folder = cache / f"models--{settings['repo_id'].replace('/', '--')}" / "snapshots" / settings["revision"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file(trained, folder / "model.safetensors")
    network = build("smp", bands=bands, classes=2, encoder=ENCODER)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_encoder(network, "imagenet")
    state = network.state_dict()
    spread = "features.0.0.weight"
    for key, value in trained.items():
        if bands == 3 or key != spread:
            assert torch.equal(state[f"encoder.{key}"], value), key
    assert state[f"encoder.{spread}"].shape[1] == bands
    torch.testing.assert_close(state[f"encoder.{spread}"][:, 0], trained[spread][:, 0] * 3 / bands)
    assert all(torch.equal(before[k], v) for k, v in state.items() if not k.startswith("encoder."))


@pytest.mark.parametrize(
    ("architecture", "arguments", "weights", "said"),
    [
        ("smp", {"encoder": ENCODER}, "imagenett", "it has imagenet; set model.encoder_weights to null"),
        ("smp", {"encoder": "tu-resnet18"}, "ssl", "it has imagenet; set"),
        ("micronet", {}, "imagenet", "this is a MicroNet; set model.encoder_weights to null"),
    ],
)
def test_weights_that_do_not_exist_are_refused(
    architecture: str, arguments: dict[str, str], weights: str, said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        load_encoder(build(architecture, bands=3, classes=2, **arguments), weights)

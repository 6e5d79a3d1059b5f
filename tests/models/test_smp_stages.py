"""What no output depends on is not in a network of segmentation-models-pytorch."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch

from geoseg.models.networks.registry import build

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("encoder", "options", "dropped"),
    [
        # timm's encoders keep and compute all their stages
        ("tu-efficientnet_lite0", {"encoder_depth": 4, "decoder_channels": [32, 24, 16, 8]}, True),
        ("tu-mobilenetv3_small_050", {"encoder_depth": 3, "decoder_channels": [24, 16, 8]}, True),
        ("resnet18", {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}, True),
        ("resnet18", {}, False),
    ],
)
def test_stages_below_the_decoder_are_left_out_and_change_nothing(
    encoder: str, options: dict[str, Any], *, dropped: bool
) -> None:
    torch.manual_seed(0)
    network = build("smp", bands=3, classes=2, architecture="unet", encoder=encoder, options=options)
    whole = smp.Unet(encoder, encoder_weights=None, classes=2, **options)
    missing = whole.load_state_dict(network.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert bool(missing.missing_keys) == dropped
    image = torch.randn(2, 3, 64, 96)
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(image), whole.eval()(image))
    output = network(image)
    assert isinstance(output, torch.Tensor)
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_lite_unet_is_smps_without_the_library() -> None:
    torch.manual_seed(0)
    options = {"encoder_depth": 4, "decoder_channels": [96, 48, 32, 16]}
    theirs = build(
        "smp", bands=4, classes=3, architecture="unet", encoder="tu-efficientnet_lite0", options=options
    )
    ours = build("liteunet", bands=4, classes=3)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    image = torch.randn(2, 4, 64, 96)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(image), theirs.eval()(image))
    assert (
        (ours.receptive_field_radius, ours.alignment)
        == (theirs.receptive_field_radius, theirs.alignment)
        == (215, 16)
    )

"""Networks: what single families promise, and how mistakes in their arguments are told."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.models.networks.micronet import MicroNet
from geoseg.models.networks.mininet import MiniNet
from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import build

pytestmark = pytest.mark.slow

WIDTHS = (16, 32, 64, 96)
BLOCKS = (2, 2, 3, 10)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def seen_whole() -> tuple[Network, Tensor, Tensor]:
    """Micro-Net, an image and its logits."""
    torch.manual_seed(0)
    network, image = MicroNet(3, 2).eval(), torch.randn(1, 3, 288, 292)
    with torch.inference_mode():
        return network, image, cast("Tensor", network(image))


@settings(max_examples=12)
@given(row=st.integers(0, 20), col=st.integers(0, 20), height=st.integers(49, 52), width=st.integers(49, 52))
def test_micronet_sees_the_same_at_any_aligned_offset(
    seen_whole: tuple[Network, Tensor, Tensor], row: int, col: int, height: int, width: int
) -> None:
    radius, step = 94, 4
    network, image, whole = seen_whole
    top, left = row * step, col * step
    window = image[..., top : top + height * step, left : left + width * step]
    with torch.inference_mode():
        part = cast("Tensor", network(window))
    rows = slice(top + radius if top else 0, min(top + window.shape[2], 288) - radius)
    cols = slice(left + radius if left else 0, min(left + window.shape[3], 292) - radius)
    inside = part[..., rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
    assert inside.numel() > 0
    assert torch.equal(whole[..., rows, cols], inside)


def test_a_flat_image_gives_one_value_per_phase_away_from_its_edges() -> None:
    torch.manual_seed(0)
    network = MicroNet(3, 2).eval()
    with torch.inference_mode():
        logits = cast("Tensor", network(torch.full((1, 3, 240, 240), 0.7)))
    inside = logits[..., 96:-96, 96:-96]
    assert torch.equal(inside[..., 4:, 4:], inside[..., :-4, :-4])


def test_auxiliary_heads_speak_in_training_only_and_leave_the_rest_alone() -> None:
    torch.manual_seed(1)
    plain = build("mininet-1", bands=3, classes=5)
    torch.manual_seed(1)
    helped = build("mininet-1", bands=3, classes=5, auxiliary=True)
    state = helped.state_dict()
    assert all(torch.equal(state[key], value) for key, value in plain.state_dict().items())
    assert {key.split(".")[0] for key in state.keys() - plain.state_dict().keys()} == {"auxiliary"}
    image = torch.randn(2, 3, 45, 61)
    outputs = helped(image)
    assert isinstance(outputs, tuple)
    assert [o.shape for o in outputs] == [(2, 5, 45, 61)] * 4
    first = plain(image)
    assert isinstance(first, Tensor)
    assert torch.equal(outputs[0], first)
    assert isinstance(helped.eval()(image), Tensor)
    assert helped.receptive_field_radius == plain.receptive_field_radius


def test_short_residuals_have_no_weights_but_an_effect() -> None:
    networks = []
    for short in (True, False):
        torch.manual_seed(0)
        networks.append(build("mininet-1", bands=3, classes=2, short=short).eval())
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        one, other = (cast("Tensor", network(image)) for network in networks)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("architecture", "arguments", "said"),
    [
        ("mininet2", {"bands": 3, "classes": 2}, "did you mean 'mininet-2'"),
        ("segformer", {"bands": 3, "classes": 2}, "geoseg has micronet, micronet-unet, .*resnet101"),
        ("micronet", {"bands": 3}, "'classes' is missing"),
        ("micronet", {"bands": 3, "classes": 2, "encoders": (1,)}, "did you mean 'encoder'"),
        ("micronet", {"bands": 3, "classes": 2, "widths": (3, 4)}, r"'widths\.0'.*multiple of 2"),
        ("micronet", {"bands": 3, "classes": 2, "widths": (10**9,)}, "less than or equal to 4096"),
        ("micronet", {"bands": 3, "classes": 2, "encoder": ((1,), (2,))}, "has 3 levels .* dilations of 2"),
        ("micronet", {"bands": 3, "classes": 2, "encoder": ((1,), (2,), (0,))}, r"'encoder\.2\.0'"),
        ("micronet-bm1", {"bands": 3, "classes": 2, "widths": (8,)}, "two levels or more, got one"),
        ("unet-short", {"bands": 3, "classes": 2, "convs": (1, 1)}, "4 widths .* got 2"),
        ("mininet-1", {"bands": 0, "classes": 2}, "'bands'.*got 0"),
        ("mininet-1", {"bands": 3, "classes": 2, "widths": (1, 2, 3)}, "widths"),
        ("mininet-1", {"bands": 3, "classes": 2, "down": "pool", "blocks": (0, 0, 1, 1)}, "stages 2 to 4"),
        ("mininet-1", {"bands": 3, "classes": 2, "decoder": False, "auxiliary": True}, "needs decoder"),
        ("mininet-1", {"bands": 3, "classes": 2, "stride": 4}, "'stride': input should be 8 or 16, got 4"),
        ("smp", {"bands": 3, "classes": 2, "architecture": "unett"}, "did you mean 'unet'"),
        ("smp", {"bands": 3, "classes": 2, "encoder": "resnet43"}, "did you mean 'resnet34'"),
        ("smp", {"bands": 3, "classes": 2, "encoder": "tu-hf_hub:a/b"}, "'encoder': string should match"),
        ("smp", {"bands": 3, "classes": 2, "options": {"encoder_dept": 4}}, "did you mean 'encoder_depth'"),
        ("smp", {"bands": 3, "classes": 2, "options": {"encoder_depth": 4}}, "Model depth is 4"),
        ("smp", {"bands": 3, "classes": 2, "options": {"activation": "sigmoid"}}, "no option 'activation'"),
        (
            *("smp", {"bands": 3, "classes": 2, "encoder": "tu-swin_tiny_patch4_window7_224"}),
            "does not take images of any size",
        ),
    ],
)
def test_an_impossible_network_is_refused_in_one_line(
    architecture: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        build(architecture, **arguments)
    assert "\n" not in str(caught.value)


def test_lists_stand_for_tuples_as_json_gives_them() -> None:
    network = build("mininet-2", bands=3, classes=2, widths=list(WIDTHS), blocks=list(BLOCKS))
    assert isinstance(network, MiniNet)
    assert _size(network) == _size(build("mininet-2", bands=3, classes=2))


@pytest.mark.parametrize(
    ("arguments", "alignment"),
    [
        ({"encoder": "mit_b0"}, 32),  # reads values while it is built
        ({"architecture": "dpt", "encoder": "tu-vit_tiny_patch16_224"}, 32),  # of one size only, unless asked
        ({"architecture": "pspnet", "encoder": "resnet18"}, 8),
    ],
)
def test_any_encoder_is_built_without_memory_and_says_that_it_is_global(
    arguments: dict[str, Any], alignment: int
) -> None:
    with torch.device("meta"):
        network = build("smp", bands=4, classes=2, **arguments)
        assert all(value.is_meta for value in network.state_dict().values())
        assert cast("Tensor", network.eval()(torch.empty(1, 4, 45, 61))).shape == (1, 2, 45, 61)
    assert (network.alignment, network.receptive_field_radius) == (alignment, None)


def test_smp_aligns_corners_only_where_it_is_asked_to() -> None:
    for asked in (False, True):
        with torch.device("meta"):
            network = build("smp", bands=3, classes=2, architecture="deeplabv3plus", align_corners=asked)
        found = [module.align_corners for module in network.modules() if isinstance(module, nn.Upsample)]
        assert found == [asked, asked]

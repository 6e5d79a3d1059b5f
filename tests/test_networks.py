"""Networks: the published counts, how far they look, and the laws that tiling rests on."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.models.count import count
from geoseg.models.micronet import Fire, MicroNet
from geoseg.models.mininet import MiniNet
from geoseg.models.network import Network
from geoseg.models.registry import ARCHITECTURES, build, traits

WIDTHS = (16, 32, 64, 96)
BLOCKS = (2, 2, 3, 10)

# Tables 1 and 2 at 512×1024 with 19 classes, Table 4 at 360×480 with 11: arguments, parameters, K and GFLOPs
# as printed. Sub-tables a (1/8), c (pool only) and e (no decoder) are other networks and are not built.
MININET_TABLES: list[tuple[str, dict[str, Any], int, int, float]] = [
    ("#1", {"widths": (16, 32, 64, 64), "blocks": (2, 2, 3, 4)}, 95_426, 95, 2.1),
    ("#2", {}, 211_138, 211, 2.4),
    ("b w/o long", {"long": False}, 195_506, 196, 2.3),
    ("b w/o short", {"short": False}, 211_138, 211, 2.4),
    ("c conv", {"down": "conv"}, 219_395, 219, 2.5),
    ("f ReLU", {"activation": "relu"}, 209_282, 209, 2.4),
    ("g1", {"widths": (16, 32, 32, 64)}, 107_938, 108, 1.7),
    ("g2", {"widths": (16, 32, 64, 64)}, 134_978, 135, 2.2),
    ("g4", {"widths": (16, 32, 64, 128)}, 317_570, 318, 2.8),
    ("g5", {"widths": (32, 64, 96, 128)}, 375_714, 376, 5.6),
    ("g6", {"widths": (16, 64, 128, 128)}, 415_426, 415, 4.0),
    ("g7", {"widths": (32, 64, 128, 128)}, 431_042, 431, 6.1),
    ("h1", {"blocks": (1, 1, 3, 10)}, 206_802, 207, 2.0),
    ("h3", {"blocks": (2, 2, 5, 10)}, 224_322, 224, 2.5),
    ("h4", {"blocks": (3, 3, 5, 10)}, 228_658, 229, 2.9),
    ("h5", {"blocks": (2, 2, 3, 5)}, 146_338, 146, 2.3),
    ("h6", {"blocks": (2, 2, 3, 8)}, 185_218, 185, 2.4),
    ("h7", {"blocks": (2, 2, 3, 12)}, 237_058, 237, 2.5),
    ("CamVid #1", {"widths": (16, 32, 64, 64), "blocks": (2, 2, 3, 4)}, 95_162, 95, 0.7),
    ("CamVid #2", {}, 210_874, 211, 0.8),
]


@pytest.mark.parametrize(
    ("row", "arguments", "parameters", "thousands", "giga"),
    MININET_TABLES,
    ids=[r[0] for r in MININET_TABLES],
)
def test_mininet_has_the_published_size(
    row: str, arguments: dict[str, Any], parameters: int, thousands: int, giga: float
) -> None:
    classes, height, width = (11, 360, 480) if row.startswith("CamVid") else (19, 512, 1024)
    found = count("mininet-2", height, width, bands=3, classes=classes, **arguments)
    assert found.parameters == parameters
    assert round(found.parameters / 1e3) == thousands
    assert round(found.operations("mininet") / 1e9, 1) == giga


def test_mininet_1_and_2_are_the_rows_of_table_1() -> None:
    assert count("mininet-1", 512, 1024, bands=3, classes=19).parameters == 95_426
    assert count("mininet-1", 512, 1024, bands=3, classes=19).multiply_adds / 1e9 == pytest.approx(
        2.022, abs=5e-4
    )
    assert count("mininet-2", 512, 1024, bands=3, classes=19).parameters == 211_138
    assert count("mininet-2", 512, 1024, bands=3, classes=19, auxiliary=True).parameters == 216_059


@pytest.mark.parametrize(
    ("arguments", "parameters", "radius"),
    [
        ({}, 1_055_920, 94),
        ({"encoder": (1, 1, 1), "decoder": (1, 1, 1)}, 926_896, 45),
        ({"encoder": (1, 2, 3)}, 926_896, 87),
        ({"encoder": (1, 1, 1, 2, 3)}, 1_184_944, 101),
        ({"squeeze": 0.125}, 609_944, 94),
    ],
    ids=["Micro-Net", "BM2", "BM3", "last row", "the text's squeeze"],
)
def test_micronet_family_has_the_published_sizes(
    arguments: dict[str, Any], parameters: int, radius: int
) -> None:
    found = count("micronet", 500, 500, bands=3, classes=2, **arguments)
    assert found.parameters == parameters
    assert traits("micronet", bands=3, classes=2, **arguments).radius == radius


def test_micronet_layers_have_the_published_sizes() -> None:
    with torch.device("meta"):
        network = MicroNet(3, 2)

    def fires(levels: nn.ModuleList) -> list[list[int]]:
        return [[_size(fire) for fire in cast("nn.Sequential", level)] for level in levels]

    assert fires(network.encoder) == [[5168] + [6144] * 3, [22528] + [24576] * 3, [90112] + [98304] * 3]
    assert fires(network.decoder) == [[6144] * 3, [24576] * 3, [98304] * 3]
    assert [_size(up) for up in network.up] == [32768, 131072]
    assert _size(network.head) == 128
    assert all(isinstance(fire, Fire) for level in network.encoder for fire in cast("nn.Sequential", level))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# What one broken pixel reaches is what the network sees: NaN passes every layer, so no weight needs changing.


@pytest.mark.parametrize(
    ("architecture", "reach"),
    [("micronet", (94, 94)), ("mininet-1", (827, 812)), ("mininet-2", (1595, 1580))],
)
def test_radius_is_how_far_a_broken_pixel_reaches(architecture: str, reach: tuple[int, int]) -> None:
    network = build(architecture, bands=1, classes=2).eval()
    alignment, radius = network.alignment, cast("int", network.radius)
    before = -(-radius // alignment) * alignment + alignment
    left = right = 0
    for phase in range(alignment):
        image = torch.zeros(1, 1, 16, 2 * before + alignment)
        image[..., before + phase] = torch.nan
        with torch.inference_mode():
            logits = cast("Tensor", network(image))
        hit = logits[0].isnan().any(0).any(0).nonzero()[:, 0]
        # A pixel seen from its right is on that output's left.
        left = max(left, int(hit.max()) - before - phase)
        right = max(right, before + phase - int(hit.min()))
    assert (left, right) == reach
    assert radius == max(reach)


@pytest.fixture(params=sorted(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _settled(architecture: str, bands: int, classes: int) -> Network:
    """A network whose normalisations have seen images, so that its logits are of a trained one's size."""
    torch.manual_seed(0)
    network = build(architecture, bands=bands, classes=classes)
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, bands, 64, 64))
    return network.eval()


@pytest.mark.parametrize("size", [(45, 61), (360, 480), (500, 500), (1, 1)])
def test_logits_have_the_size_of_the_image(architecture: str, size: tuple[int, int]) -> None:
    slim: dict[str, Any] = {"widths": (8, 16, 32)} if architecture == "micronet" else {}
    network = build(architecture, bands=3, classes=2, **slim).eval()
    with torch.inference_mode():
        assert cast("Tensor", network(torch.rand(1, 3, *size))).shape == (1, 2, *size)


@pytest.mark.parametrize(("bands", "classes"), [(1, 2), (4, 7), (13, 3)])
def test_any_number_of_bands_and_classes_learns(architecture: str, bands: int, classes: int) -> None:
    network = build(architecture, bands=bands, classes=classes)
    logits = cast("Tensor", network(torch.randn(2, bands, 32, 48)))
    assert logits.shape == (2, classes, 32, 48)
    logits.square().mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_state_comes_back(architecture: str) -> None:
    network = _settled(architecture, 3, 4)
    twin = build(architecture, bands=3, classes=4).eval()
    twin.load_state_dict(network.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(cast("Tensor", network(image)), cast("Tensor", twin(image)))


def test_the_same_seed_gives_the_same_network(architecture: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(architecture, bands=3, classes=2).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


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
    assert helped.radius == plain.radius


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
        ("segformer", {"bands": 3, "classes": 2}, "micronet, mininet-1, mininet-2"),
        ("micronet", {"bands": 3}, "'classes' is missing"),
        ("micronet", {"bands": 3, "classes": 2, "encoders": (1,)}, "did you mean 'encoder'"),
        ("micronet", {"bands": 3, "classes": 2, "widths": (3, 4)}, r"'widths\.0'.*multiple of 2"),
        ("micronet", {"bands": 3, "classes": 2, "widths": (10**9,)}, "less than or equal to 4096"),
        ("mininet-1", {"bands": 0, "classes": 2}, "'bands'.*got 0"),
        ("mininet-1", {"bands": 3, "classes": 2, "widths": (1, 2, 3)}, "widths"),
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

"""Dual ASPP networks: published figures to the last operation, torchvision as oracle, how far they look."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple, cast

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models import resnet101 as torchvision_resnet101

from geoseg.errors import BundleError, RunError
from geoseg.models.cost.operations import Count, count, tally
from geoseg.models.networks.dualaspp import DUAL_ASPP, EncoderDecoder
from geoseg.models.networks.encoders import mobilenetv2, resnet101
from geoseg.models.networks.network import Span
from geoseg.models.networks.registry import build, traits
from geoseg.models.papers import ROWS, Row, like


class Golden(NamedTuple):
    """19 classes, 3×1024×2048: weights and operations, of the network and of its encoder."""

    architecture: str
    arguments: dict[str, Any]
    parameters: int
    operations: int
    encoder_parameters: int
    encoder_operations: int
    alignment: int
    radius: tuple[int, int]
    """Left and right, of what is not pooled."""
    widths: tuple[int, int, int]


FULL = {"full_encoder": True}
V2, LARGE, SMALL = "mobilenetv2", "mobilenetv3-large", "mobilenetv3-small"
V2_16 = (1_811_712, 19_682_820_096)
V2_32 = (1_811_712, 12_231_770_112)
LARGE_16 = (1_442_276, 10_873_002_092)
LARGE_32 = (1_268_516, 8_961_185_900)
SMALL_16 = (487_628, 2_565_361_140)
SMALL_32 = (431_180, 2_449_755_636)
V2_TAPS, LARGE_TAPS, SMALL_TAPS, SMALL_DEEP = (24, 32, 320), (24, 40, 160), (16, 24, 40), (16, 24, 96)

GOLDEN = [
    Golden(V2, {"head": "none"}, 1_971_411, 20_991_074_304, *V2_16, 16, (284, 269), V2_TAPS),
    Golden(V2, {"head": "dl"}, 2_719_299, 45_697_417_728, *V2_16, 16, (550, 535), V2_TAPS),
    Golden(V2, {"head": "da"}, 2_157_845, 14_290_396_038, *V2_32, 32, (888, 857), V2_TAPS),
    Golden(LARGE, {"head": "none"} | FULL, 1_559_255, 11_831_294_060, *LARGE_16, 16, (224, 209), LARGE_TAPS),
    Golden(LARGE, {"head": "dl"} | FULL, 2_139_783, 35_500_817_004, *LARGE_16, 16, (490, 475), LARGE_TAPS),
    Golden(LARGE, {"head": "da"}, 1_507_993, 10_869_714_058, *LARGE_32, 32, (940, 909), LARGE_TAPS),
    Golden(SMALL, {"head": "none"} | FULL, 572_567, 3_261_181_428, *SMALL_16, 16, (150, 135), SMALL_TAPS),
    Golden(SMALL, {"head": "dl"} | FULL, 1_027_191, 26_102_757_364, *SMALL_16, 16, (416, 401), SMALL_TAPS),
    Golden(SMALL, {"head": "da"}, 625_537, 4_229_038_306, *SMALL_32, 32, (962, 931), SMALL_DEEP),
    Golden(SMALL, {"head": "da-skip"}, 628_049, 8_607_236_322, *SMALL_32, 32, (952, 921), SMALL_DEEP),
    Golden(
        *("resnet101", FULL, 47_736_747, 458_505_454_080),
        *(42_500_160 + 2_049_000, 416_053_985_280, 16, (806, 791), (256, 512, 2048)),
    ),
]


golden = pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row.architecture}-{row.arguments}")


def _meta(row: Golden, **others: Any) -> EncoderDecoder:
    with torch.device("meta"):
        network = build(row.architecture, bands=3, classes=19, **row.arguments | others)
    assert isinstance(network, EncoderDecoder)
    return network.eval()


@cache
def _counted(architecture: str, arguments: str) -> Count:
    return count(architecture, 1024, 2048, bands=3, classes=19, **json.loads(arguments))


@golden
def test_counts_are_the_published_ones_to_the_last_operation(row: Golden) -> None:
    whole = _counted(row.architecture, json.dumps(row.arguments, sort_keys=True))
    encoder = tally(_meta(row).encoder, 3, 1024, 2048)
    assert (whole.parameters, whole.operations("thop")) == (row.parameters, row.operations)
    assert (encoder.parameters, encoder.operations("thop")) == (
        row.encoder_parameters,
        row.encoder_operations,
    )


@golden
def test_taps_have_the_widths_and_strides_of_the_specification(row: Golden) -> None:
    network = _meta(row)
    with torch.inference_mode():
        features = network.encoder(torch.empty(1, 3, 128, 192, device="meta"))
    strides = 4, 8, 32 if row.alignment == 32 else 16
    assert tuple(feature.shape[1] for feature in features) == row.widths
    assert [tuple(feature.shape[2:]) for feature in features] == [(128 // s, 192 // s) for s in strides]


DEFAULT_HEADS = {name: {"head": "da"} for name in (V2, LARGE, SMALL)}
PRINTED = [(name, row) for name in DUAL_ASPP for row in ROWS[name]]


@pytest.mark.parametrize(("name", "row"), PRINTED, ids=[row.name for _, row in PRINTED])
def test_printed_figures_are_ours_rounded_or_truncated(name: str, row: Row) -> None:
    assert row.rule == "thop"
    arguments = dict(row.arguments)
    assert (arguments.pop("bands"), arguments.pop("classes"), row.size) == (3, 19, (1024, 2048))
    found = _counted(name, json.dumps(DEFAULT_HEADS.get(name, {}) | arguments, sort_keys=True))
    printed = cast("str", row.operations)
    assert like(printed, found.operations(row.rule), truncated=row.truncated) == printed
    assert row.truncated == ("1" not in row.table)
    if row.parameters is not None:
        ours = f"{found.parameters / 1e6:.2f} M"
        assert (row.parameters, ours) == ("47.73 M", "47.74 M") or row.parameters == ours


@pytest.mark.parametrize(("width", "giga"), [(16, 8.607), (19, 8.669), (48, 9.27)])
def test_the_skip_of_table_4_has_16_or_19_channels_not_48(width: int, giga: float) -> None:
    found = count(SMALL, 1024, 2048, bands=3, classes=19, head="da-skip", skip_width=width)
    assert found.operations("thop") / 1e9 == pytest.approx(giga, abs=5e-3 if width == 48 else 5e-4)


# torchvision's networks are the same ones: the same weights give the same features.


def _same(ours: nn.Module, theirs: nn.Module) -> None:
    """Give both networks the same weights, and statistics that are not torch's initial ones."""
    torch.manual_seed(0)
    state = {
        key: torch.rand_like(value) + 0.5 if "running" in key else value
        for key, value in theirs.state_dict().items()
    }
    theirs.load_state_dict(state)
    mine = ours.state_dict()
    assert [value.shape for value in mine.values()] == [value.shape for value in state.values()]
    ours.load_state_dict(dict(zip(mine, state.values(), strict=True)))


def test_mobilenetv2_is_torchvisions() -> None:
    ours, theirs = mobilenetv2(3, 32).eval(), mobilenet_v2().features[:-1].eval()
    _same(ours, theirs)
    image = torch.randn(1, 3, 77, 100)
    with torch.inference_mode():
        features = ours(image)
        for found, upto in zip(features, (4, 7, 18), strict=True):
            torch.testing.assert_close(found, theirs[:upto](image))


def test_resnet101_is_torchvisions_with_its_last_stage_dilated() -> None:
    ours = resnet101(3).eval()
    theirs = torchvision_resnet101(replace_stride_with_dilation=[False, False, True]).eval()
    theirs.fc = nn.Identity()
    _same(ours, theirs)
    image = torch.randn(1, 3, 61, 64)
    with torch.inference_mode():
        stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        quarter = theirs.layer1(stem)
        eighth = theirs.layer2(quarter)
        for found, expected in zip(
            ours(image), (quarter, eighth, theirs.layer4(theirs.layer3(eighth))), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# Pooling lets every pixel matter. With nothing pooled, what is left is local and must look as far as it says.


class _Nothing(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.zeros(*features.shape[:2], 1, 1)


def _local(row: Golden) -> EncoderDecoder:
    torch.manual_seed(0)
    slim = {key: value for key, value in row.arguments.items() if key != "full_encoder"}
    network = build(row.architecture, bands=1, classes=2, **slim).eval()
    assert isinstance(network, EncoderDecoder)
    for part in list(network.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(part, name, _Nothing())
    return network


@golden
def test_the_radius_is_stated_and_global_networks_say_so(row: Golden) -> None:
    network = _meta(row)
    spans = [(phase, network.local_receptive_field(Span(phase, phase))) for phase in range(network.alignment)]
    assert max(phase - span.lo for phase, span in spans) == row.radius[0]
    assert max(span.hi - phase for phase, span in spans) == row.radius[1]
    whole = not (row.architecture == V2 and row.arguments["head"] == "none")
    assert network.receptive_field_radius == (None if whole else max(row.radius))
    assert traits(row.architecture, bands=3, classes=19, **row.arguments).alignment == row.alignment


@golden
def test_a_broken_pixel_reaches_exactly_the_outputs_that_look_at_it(row: Golden) -> None:
    network = _local(row)
    step, middle = row.alignment, -(-max(row.radius) // row.alignment) * row.alignment + row.alignment
    for at in (middle + step // 2 + 1, middle + step - 1):
        image = torch.zeros(1, 1, 16, 2 * middle + step)
        image[..., at] = torch.nan
        with torch.inference_mode():
            hit = cast("Tensor", network(image))[0].isnan().any(0).any(0).nonzero()[:, 0]
        looking = [
            column
            for column in range(image.shape[-1])
            if (span := network.local_receptive_field(Span(column, column))).lo <= at <= span.hi
        ]
        assert (int(hit.min()), int(hit.max())) == (looking[0], looking[-1])


@golden
def test_logits_depend_neither_on_an_aligned_offset_nor_on_the_size(row: Golden) -> None:
    network = _local(row)
    reach = max(row.radius)
    image = torch.randn(1, 1, 13, 2 * reach + 6 * row.alignment)
    first, last = 2 * row.alignment, image.shape[-1] - 3
    with torch.inference_mode():
        whole = cast("Tensor", network(image))
        part = cast("Tensor", network(image[..., first:last]))
    inside = slice(first + reach, last - reach)
    assert inside.stop - inside.start > row.alignment
    scale = whole.std()
    torch.testing.assert_close(
        part[..., inside.start - first : inside.stop - first] / scale,
        whole[..., inside] / scale,
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("head", ["none", "dl", "da", "da-skip"])
@pytest.mark.parametrize("architecture", [V2, LARGE, SMALL])
def test_every_weight_of_every_head_learns_on_any_size(architecture: str, head: str) -> None:
    torch.manual_seed(0)
    network = build(architecture, bands=5, classes=3, head=head)
    logits = cast("Tensor", network(torch.randn(2, 5, 45, 61)))
    assert logits.shape == (2, 3, 45, 61)
    logits.square().mean().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    with torch.inference_mode():
        assert cast("Tensor", network.eval()(torch.randn(1, 5, 1, 1))).shape == (1, 3, 1, 1)


@pytest.mark.parametrize("head", ["none", "dl"])
def test_what_the_full_encoder_adds_changes_no_output(head: str) -> None:
    full = build(SMALL, bands=3, classes=4, head=head, full_encoder=True).eval()
    lean = build(SMALL, bands=3, classes=4, head=head).eval()
    missing, extra = lean.load_state_dict(full.state_dict(), strict=False)
    assert not missing
    assert extra
    assert all(key.startswith("encoder.unused") for key in extra)
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(cast("Tensor", full(image)), cast("Tensor", lean(image)))


def test_a_batch_of_one_is_refused_where_it_cannot_be_normalized() -> None:
    network = build(SMALL, bands=3, classes=2)
    with pytest.raises(RunError, match=r"batch of 1 .* 1×1 px .* at least 2 images") as caught:
        network(torch.randn(1, 3, 64, 64))
    assert "\n" not in str(caught.value)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert network(torch.randn(1, 3, 64, 64)) is not None  # frozen statistics need no batch
    local = build(V2, bands=3, classes=2, head="none")
    assert local(torch.randn(1, 3, 64, 64)) is not None
    with pytest.raises(RunError, match="at least 2 images"):
        local(torch.randn(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("architecture", "arguments", "said"),
    [
        (V2, {"head": "da", "skip_width": 16}, "'skip_width': the head 'da' has no skip"),
        (LARGE, {"head": "none", "skip_width": 48}, "'dl' or 'da-skip'"),
        (SMALL, {"head": "da", "skip_width": 0}, "greater than or equal to 1"),
        (V2, {"head": "dual"}, "'none', 'dl', 'da' or 'da-skip'"),
        (V2, {"full_encoder": True}, "unknown argument 'full_encoder'"),
        ("resnet101", {"head": "da"}, "'dl'"),
        ("mobilenet-v2", {}, "did you mean 'mobilenetv2'"),
    ],
)
def test_an_impossible_network_is_refused_in_one_line(
    architecture: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        build(architecture, bands=3, classes=2, **arguments)
    assert "\n" not in str(caught.value)

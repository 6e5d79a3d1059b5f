"""Published figures: sizes, operations, pass sizes, to the digit, on the meta device."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn

from geoseg.models.cost.operations import count, tally
from geoseg.models.networks.micronet import Fire, MicroNet
from geoseg.models.networks.registry import build
from geoseg.models.papers import ROWS, Row, like, paper_figures

pytestmark = pytest.mark.slow

# Micro-Net, Tables 1 to 3: weights with 2 classes.
MICRONET = {
    "micronet-unet": 31_024_960,
    "micronet-bm1": 5_358_744,
    "micronet-bm2": 926_896,
    "micronet-bm3": 926_896,
    "micronet-125": 926_896,
    "micronet": 1_055_920,
    "micronet-11123": 1_184_944,
}

# Faster UNet, Tables 3 and 4: weights with 5 and with 8 classes, pass size in MB at 512×512 with 5.
FASTER_UNET = {
    "unet-base": (31_043_781, 31_043_976, 3966.0),
    "unet-short": (8_254_981, 8_255_368, 5842.0),
    "unet-skinny": (20_095_781, 20_095_880, 1292.25),
    "unet-less-conv": (20_281_253, 20_281_352, 2444.25),
    "unetpp-resnet34": (26_079_189, 26_079_624, 3333.0),
    "deeplabv3plus-resnet34": (22_438_485, 22_439_256, 872.634765625),
}

# MiniNet, Tables 1 and 2 at 512×1024 with 19 classes, Table 4 at 360×480 with 11: widths, blocks, arguments,
# then weights, operations by the paper's rule, multiply-adds of the convolutions.
Golden = tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], int, int, int]
MININET: list[Golden] = [
    ("#1", (16, 32, 64, 64), (2, 2, 3, 4), {}, 95_426, 2_078_670_848, 2_022_440_960),
    ("#2", (16, 32, 64, 96), (2, 2, 3, 10), {}, 211_138, 2_412_380_160, 2_352_152_576),
    ("a 1/8", (16, 32, 64, 96), (2, 2, 3, 10), {"stride": 8}, 216_834, 3_313_893_376, 3_238_920_192),
    ("b w/o long", (16, 32, 64, 96), (2, 2, 3, 10), {"long": False}, 195_506, 2_281_242_624, 2_232_614_912),
    ("c pool", (16, 32, 64, 96), (2, 2, 3, 10), {"down": "pool"}, 194_051, 2_234_580_992, 2_177_892_352),
    ("c conv", (16, 32, 64, 96), (2, 2, 3, 10), {"down": "conv"}, 219_395, 2_546_597_888, 2_486_370_304),
    ("e w/o dec", (16, 32, 64, 96), (2, 2, 3, 10), {"decoder": False}, 181_826, 1_457_979_392, 1_418_985_472),
    (
        "f ReLU",
        (16, 32, 64, 96),
        (2, 2, 3, 10),
        {"activation": "relu"},
        209_282,
        2_412_380_160,
        2_352_152_576,
    ),
    ("g1", (16, 32, 32, 64), (2, 2, 3, 10), {}, 107_938, 1_726_545_920, 1_674_772_480),
    ("g2", (16, 32, 64, 64), (2, 2, 3, 10), {}, 134_978, 2_158_886_912, 2_101_084_160),
    ("g4", (16, 32, 64, 128), (2, 2, 3, 10), {}, 317_570, 2_765_619_200, 2_702_966_784),
    ("g5", (32, 64, 96, 128), (2, 2, 3, 10), {}, 375_714, 5_625_806_848, 5_531_959_296),
    ("g6", (16, 64, 128, 128), (2, 2, 3, 10), {}, 415_426, 4_037_410_816, 3_959_554_048),
    ("g7", (32, 64, 128, 128), (2, 2, 3, 10), {}, 431_042, 6_113_067_008, 6_016_335_872),
    ("h1", (16, 32, 64, 96), (1, 1, 3, 10), {}, 206_802, 2_042_232_832, 1_988_296_704),
    ("h3", (16, 32, 64, 96), (2, 2, 5, 10), {}, 224_322, 2_519_334_912, 2_457_010_176),
    ("h4", (16, 32, 64, 96), (3, 3, 5, 10), {}, 228_658, 2_889_482_240, 2_820_866_048),
    ("h5", (16, 32, 64, 96), (2, 2, 3, 5), {}, 146_338, 2_280_652_800, 2_222_391_296),
    ("h6", (16, 32, 64, 96), (2, 2, 3, 8), {}, 185_218, 2_359_689_216, 2_300_248_064),
    ("h7", (16, 32, 64, 96), (2, 2, 3, 12), {}, 237_058, 2_465_071_104, 2_404_057_088),
    ("b w/o short", (16, 32, 64, 96), (2, 2, 3, 10), {"short": False}, 211_138, 2_412_380_160, 2_352_152_576),
    ("CamVid #1", (16, 32, 64, 64), (2, 2, 3, 4), {}, 95_162, 674_531_520, 655_986_240),
    ("CamVid #2", (16, 32, 64, 96), (2, 2, 3, 10), {}, 210_874, 786_123_840, 766_237_440),
]


@pytest.mark.parametrize(("architecture", "parameters"), MICRONET.items())
def test_micronets_family_has_the_published_sizes(architecture: str, parameters: int) -> None:
    assert count(architecture, 500, 500, bands=3, classes=2).parameters == parameters


def test_micronet_with_the_squeeze_of_the_text_would_be_smaller() -> None:
    assert count("micronet", 64, 64, bands=3, classes=2, squeeze=0.125).parameters == 609_944


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


@pytest.mark.parametrize(
    ("architecture", "five", "eight", "megabytes"), [(name, *row) for name, row in FASTER_UNET.items()]
)
def test_the_faster_unets_have_the_published_sizes(
    architecture: str, five: int, eight: int, megabytes: float
) -> None:
    found = count(architecture, 512, 512, bands=3, classes=5)
    assert found.parameters == five
    assert found.pass_megabytes == pytest.approx(megabytes, abs=0.005)
    assert count(architecture, 64, 64, bands=3, classes=8).parameters == eight


@pytest.mark.parametrize("row", MININET, ids=[row[0] for row in MININET])
def test_mininet_has_the_published_size(row: Golden) -> None:
    name, widths, blocks, arguments, parameters, operations, multiply_adds = row
    classes, height, width = (11, 360, 480) if name.startswith("CamVid") else (19, 512, 1024)
    found = count(
        *("mininet-2", height, width), bands=3, classes=classes, widths=widths, blocks=blocks, **arguments
    )
    assert found.parameters == parameters
    assert (found.operations("mininet"), found.multiply_adds) == (operations, multiply_adds)


def test_mininet_1_and_2_are_the_rows_of_table_1_and_deep_supervision_adds_three_heads() -> None:
    assert count("mininet-1", 512, 1024, bands=3, classes=19).operations("mininet") == MININET[0][5]
    assert count("mininet-2", 512, 1024, bands=3, classes=19).operations("mininet") == MININET[1][5]
    assert count("mininet-2", 64, 64, bands=3, classes=19, auxiliary=True).parameters == 216_059


PRINTED = [
    (name, row)
    for name, rows in ROWS.items()
    for row in rows
    if row.rule != "thop"  # in tests/models/test_dual_aspp.py
    and (row.parameters or row.pass_size)
]


@pytest.mark.parametrize(("architecture", "row"), PRINTED, ids=[row.name for _, row in PRINTED])
def test_what_a_paper_prints_is_ours_with_as_many_digits(architecture: str, row: Row) -> None:
    found = count(architecture, *(row.size or (64, 64)), **row.arguments)
    ours = {"parameters": found.parameters, "pass_size": found.pass_megabytes}
    if row.rule is not None and row.operations is not None:
        ours["operations"] = found.operations(row.rule)
    printed = {key: cast("str", getattr(row, key)) for key in ours if getattr(row, key) is not None}
    assert printed
    assert {key: like(text, ours[key]) for key, text in printed.items()} == printed


def test_the_papers_scores_are_quoted_beside_their_figures() -> None:
    (micronet,) = ROWS["micronet"]
    assert micronet.scores == {"mIoU, Inria Austin": "76.81", "accuracy, Inria Austin": "94.79"}
    found = [(figure.measure, figure.printed, figure.ours) for figure in paper_figures("micronet")]
    assert found == [
        ("parameters", "1.06 M", "1.06 M"),
        *((measure, printed, None) for measure, printed in micronet.scores.items()),
    ]
    # Each network of a paper has a score, but ResNet101, of which none is printed.
    assert [name for name, rows in ROWS.items() if not rows[0].scores] == ["resnet101"]


def test_operations_of_one_layer_of_each_kind_by_hand() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),  # 8×4×4 outputs of 27 multiply-adds each
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),  # 18 each
        nn.ConvTranspose2d(8, 2, 2, 2),  # 8×4×4 inputs, each into 2×2×2
        nn.AdaptiveAvgPool2d(1),  # 2×8×8 inputs
        nn.Flatten(),
        nn.Linear(2, 5),
    ).to("meta")
    found = tally(layers, 3, 8, 8)
    assert found.parameters == 224 + 16 + 144 + 66 + 15
    assert found.multiply_adds == 128 * 27 + 128 * 18 + 128 * 8 + 10
    assert found.operations("mininet") == found.multiply_adds + 128 + 128
    assert found.operations("thop") == found.multiply_adds + (128 + 128) + 2 * 128 + 128
    assert found.outputs == 4 * 128 + 128 + 2 + 2 + 5


def test_the_pass_size_counts_composite_modules_but_neither_containers_nor_the_root() -> None:
    with torch.device("meta"):
        network = build("unet-short", bands=1, classes=2, widths=(1, 1), convs=(1, 2))
    # At 4×4: encoder block and its three layers 4·16, pool 4; bottleneck and its six layers 7·4; then
    # upsampling 16, block and its three layers 4·16, the level itself 16, two classes 32. The encoder's level
    # gives a pair, which is not counted.
    assert tally(network, 1, 4, 4).outputs == 64 + 4 + 28 + 16 + 64 + 16 + 32

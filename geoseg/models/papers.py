"""What the papers print of their networks: one table, held against geoseg's networks to the digit.

Sources: Chen, Chen, Jing, "A Miniaturized Semantic Segmentation Method for Remote Sensing Image", Tables 1-3;
Cai, Zhang, "Finding a Faster UNet for Satellite Image Segmentation", Tables 3 and 4; Liu et al., "Efficient
Multi-Scale Feature Extraction for Lightweight Semantic Segmentation", 2022, Tables 1, 2 and 4; Xiao, Wang,
Zhao, Chen, "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image", Tables 1 to 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geoseg.models.cost.operations import Rule

__all__ = ["ROWS", "Figure", "Row", "like", "paper_figures"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a paper's table: a network's arguments, and what is printed of it.

    Printed figures are texts, since their digits say how exact they are; :func:`like` writes ours the same
    way.
    """

    name: str
    table: str  # where it is printed, as in ``Table 2(g)``
    parameters: str | None = None  # trainable weights, as in ``1.06 M``, ``211 K`` or ``31,043,976``
    operations: str | None = None  # for one image of ``size``, as in ``2.4 G``
    pass_size: str | None = None  # torchsummary's pass size in MB of 2²⁰ bytes, as in ``3966.00``
    rule: Rule | None = None  # how the operations are counted; set where they are
    size: tuple[int, int] | None = None  # height, width in px of the image of operations and pass size
    truncated: bool = False  # operations are cut off after their last digit, not rounded
    scores: Mapping[str, str] = field(default_factory=dict)  # in percent, by measure and data
    arguments: Mapping[str, Any] = field(default_factory=dict)  # those that are not the factory's defaults


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that a paper prints, and ours."""

    row: str
    table: str
    measure: str  # ``parameters``, ``operations``, ``pass MB``, or a score in percent with its data
    printed: str
    ours: str | None  # None: a score, which depends on the data and the training


def paper_figures(architecture: str) -> Iterator[Figure]:
    """Each figure that the papers print of an architecture and its variants, and ours."""
    import torch  # noqa: PLC0415 - what is printed is known without

    from geoseg.models.cost.operations import tally  # noqa: PLC0415 - it imports torch
    from geoseg.models.networks.registry import build  # noqa: PLC0415 - it imports torch

    for row in ROWS.get(architecture, ()):
        with torch.device("meta"):
            network = build(architecture, **row.arguments)
        if row.parameters is not None:
            parameters = sum(parameter.numel() for parameter in network.parameters())
            yield Figure(row.name, row.table, "parameters", row.parameters, like(row.parameters, parameters))
        if row.size is not None:
            found = tally(network, network.bands, *row.size)
            if row.operations is not None and row.rule is not None:
                ours = like(row.operations, found.operations(row.rule), truncated=row.truncated)
                yield Figure(row.name, row.table, "operations", row.operations, ours)
            if row.pass_size is not None:
                ours = like(row.pass_size, found.pass_megabytes)
                yield Figure(row.name, row.table, "pass MB", row.pass_size, ours)
        for measure, printed in row.scores.items():
            yield Figure(row.name, row.table, measure, printed, None)


def like(printed: str, value: float, *, truncated: bool = False) -> str:
    """A figure of ours with the unit and the digits of a printed one, rounded or cut off as that one is.

    >>> like("1.06 M", 1_055_920), like("211 K", 211_138), like("31,043,976", 8_254_981)
    ('1.06 M', '211 K', '8,254,981')
    >>> like("14.2 G", 14_290_396_038), like("14.2 G", 14_290_396_038, truncated=True)
    ('14.3 G', '14.2 G')
    """
    number, _, unit = printed.partition(" ")
    decimals = len(number.partition(".")[2])
    scale = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[unit]
    grouping = "," if "," in number else ""
    if truncated:
        value = math.floor(value / scale * 10**decimals) / 10**decimals * scale
    return f"{value / scale:{grouping}.{decimals}f} {unit}".rstrip()


def _micronet(name: str, parameters: str, miou: str, accuracy: str) -> tuple[Row, ...]:
    scores = {"mIoU, Inria Austin": miou, "accuracy, Inria Austin": accuracy}
    return (Row(name, "Tables 1-3", parameters, scores=scores, arguments={"bands": 3, "classes": 2}),)


def _faster_unet(
    name: str, parameters: str | None, pass_size: str, loveda: str, landcover: str
) -> tuple[Row, ...]:
    return (
        Row(
            name,
            "Tables 3 and 4",
            parameters,
            pass_size=pass_size,
            size=(512, 512),
            scores={"mIoU per image, LoveDA": loveda, "mIoU per image, LandCover.ai": landcover},
            arguments={"bands": 3, "classes": 5},
        ),
    )


_VAL, _TEST = "mIoU, Cityscapes val", "mIoU, Cityscapes test"
_HUNDRED = f"{_VAL}, 100 epochs"
_CATEGORIES = "mIoU of categories, Cityscapes test"
_MAPILLARY = "pixel accuracy, Mapillary", "mIoU, Mapillary"


def _mininet(
    name: str,
    table: str,
    parameters: str | None,
    operations: str | None,
    /,
    *,
    scores: Mapping[str, str],
    **changed: Any,
) -> Row:
    camvid = table == "Table 4"
    arguments = {"bands": 3, "classes": 11 if camvid else 19, **changed}
    size = (360, 480) if camvid else (512, 1024)
    return Row(
        name, table, parameters, operations, rule="mininet", size=size, scores=scores, arguments=arguments
    )


def _ablation(name: str, parameters: str | None, operations: str | None, miou: str, **changed: Any) -> Row:
    scores = {_HUNDRED: miou}
    return _mininet(name, f"Table 2({name[0]})", parameters, operations, scores=scores, **changed)


def _dual(
    name: str, table: str, parameters: str | None, operations: str, miou: str | None, **changed: Any
) -> Row:
    return Row(
        name,
        table,
        parameters,
        operations,
        rule="thop",
        size=(1024, 2048),
        truncated="1" not in table,
        scores={} if miou is None else {_VAL: miou},
        arguments={"bands": 3, "classes": 19, **changed},
    )


ROWS: Mapping[str, tuple[Row, ...]] = {
    "micronet": _micronet("Micro-Net", "1.06 M", "76.81", "94.79"),
    "micronet-unet": _micronet("U-Net", "31.02 M", "79.48", "95.54"),
    "micronet-bm1": _micronet("Miniaturized-Net (BM1)", "5.36 M", "75.59", "94.54"),
    "micronet-bm2": _micronet("4x U-Net (BM2)", "0.93 M", "75.65", "94.42"),
    "micronet-bm3": _micronet("BM3", "0.93 M", "75.78", "94.40"),
    "micronet-125": _micronet("(1,2,5),(1,2,3),(1,1,2)", "0.93 M", "75.70", "94.52"),
    "micronet-11123": _micronet("(1,1,1,2,3)", "1.18 M", "76.37", "94.69"),
    "unet-base": (
        *_faster_unet("UNet_Base", None, "3966.00", "22.17", "32.46"),
        Row("UNet_Base", "Tables 3 and 4", "31,043,976", arguments={"bands": 3, "classes": 8}),
    ),
    "unet-short": _faster_unet("UNet_Short", "8,254,981", "5842.00", "24.32", "25.58"),
    "unet-skinny": _faster_unet("UNet_Skinny", "20,095,781", "1292.25", "26.39", "39.83"),
    "unet-less-conv": _faster_unet("UNet_Less_conv", "20,281,253", "2444.25", "23.05", "31.95"),
    "unetpp-resnet34": _faster_unet("UNet++ resnet34", "26,079,189", "3333.00", "28.81", "39.53"),
    "deeplabv3plus-resnet34": _faster_unet("DeepLabV3+ resnet34", "22,438,485", "872.63", "25.71", "38.46"),
    "mininet-1": (
        _mininet(
            *("MiniNet #1", "Table 1", "95 K", "2.1 G"),
            scores={_VAL: "63.3", _TEST: "64.1", _CATEGORIES: "84.2"}
            | dict(zip(_MAPILLARY, ("55.7", "18.2"), strict=True)),
        ),
        _mininet("MiniNet #1 CamVid", "Table 4", "95 K", "0.7 G", scores={"mIoU, CamVid test": "66.7"}),
    ),
    "mininet-2": (
        _mininet(
            *("MiniNet #2", "Table 1", "211 K", "2.4 G"),
            scores={_VAL: "67.3", _HUNDRED: "65.5", _TEST: "66.3", _CATEGORIES: "85.1"}
            | dict(zip(_MAPILLARY, ("55.8", "20.5"), strict=True)),
        ),
        _mininet("MiniNet #2 CamVid", "Table 4", "211 K", "0.8 G", scores={"mIoU, CamVid test": "67.5"}),
        _ablation("a 1/8", "217 K", "3.3 G", "64.9", stride=8),
        _ablation("b w/o long", "196 K", "2.3 G", "64.8", long=False),
        _ablation("b w/o short", "211 K", "2.4 G", "62.7", short=False),
        _ablation("c pool", "194 K", "2.2 G", "64.0", down="pool"),
        _ablation("c conv", "219 K", "2.5 G", "64.6", down="conv"),
        _ablation("d w/o deep supervision", None, None, "64.8"),
        _ablation("e w/o decoder", "182 K", "1.5 G", "61.4", decoder=False),
        _ablation("f ReLU", "209 K", "2.4 G", "64.5", activation="relu"),
        _ablation("g1", "108 K", "1.7 G", "62.6", widths=(16, 32, 32, 64)),
        _ablation("g2", "135 K", "2.2 G", "63.6", widths=(16, 32, 64, 64)),
        _ablation("g4", "318 K", "2.8 G", "65.7", widths=(16, 32, 64, 128)),
        _ablation("g5", "376 K", "5.6 G", "67.3", widths=(32, 64, 96, 128)),
        _ablation("g6", "415 K", "4.0 G", "67.6", widths=(16, 64, 128, 128)),
        _ablation("g7", "431 K", "6.1 G", "67.4", widths=(32, 64, 128, 128)),
        _ablation("h1", "207 K", "2.0 G", "65.0", blocks=(1, 1, 3, 10)),
        _ablation("h3", "224 K", "2.5 G", "66.3", blocks=(2, 2, 5, 10)),
        _ablation("h4", "229 K", "2.9 G", "65.8", blocks=(3, 3, 5, 10)),
        _ablation("h5", "146 K", "2.3 G", "63.3", blocks=(2, 2, 3, 5)),
        _ablation("h6", "185 K", "2.4 G", "64.5", blocks=(2, 2, 3, 8)),
        _ablation("h7", "237 K", "2.5 G", "65.2", blocks=(2, 2, 3, 12)),
    ),
    "mobilenetv2": (
        _dual("MobileNetV2 + DA", "Tables 2 and 3", "2.16 M", "14.2 G", "73.38"),
        _dual("MobileNetV2 + DL", "Tables 1 and 2", "2.72 M", "45.7 G", "72.23", head="dl"),
        _dual("MobileNetV2", "Table 2", None, "20.9 G", "68.24", head="none"),
    ),
    "mobilenetv3-large": (
        _dual("MobileNetV3-Large + DA", "Table 2", None, "10.8 G", "67.69"),
        _dual(
            "MobileNetV3-Large + DL",
            "Tables 1 and 2",
            "2.14 M",
            "35.5 G",
            "66.74",
            head="dl",
            full_encoder=True,
        ),
        _dual("MobileNetV3-Large", "Table 2", None, "11.8 G", "61.98", head="none", full_encoder=True),
    ),
    "mobilenetv3-small": (
        _dual("MobileNetV3-Small + DA", "Table 2", None, "4.2 G", "64.23"),
        _dual("MobileNetV3-Small + DA + skip", "Table 4", None, "8.6 G", "63.94", head="da-skip"),
        _dual(
            "MobileNetV3-Small + DL",
            "Tables 1 and 2",
            "1.03 M",
            "26.1 G",
            "62.03",
            head="dl",
            full_encoder=True,
        ),
        _dual("MobileNetV3-Small", "Table 2", None, "3.2 G", "58.06", head="none", full_encoder=True),
    ),
    "resnet101": (_dual("ResNet101 + DL", "Table 1", "47.73 M", "458.5 G", None, full_encoder=True),),
}
"""By architecture; its plain form first, then its variants.

Of the MiniNets, ablations are #2; the sub-tables' default rows have #2's size and its score of 100 epochs.
In both tables of the Faster UNets UNet_Base's size is printed for LoveDA's 8 classes, all other sizes and all
pass sizes for LandCover.ai's 5. Of the dual ASPP, figures of Table 1 are rounded, operations that stand in
Tables 2 to 4 alone cut off after one decimal: MobileNetV2's are 20.991 and 14.290 G. ResNet101 has 47,736,747
weights where 47.73 M is printed. Scores are the papers' own: of their data, their training and their
definitions of a mean (:data:`geoseg.score.pixels.confusion.DEFINITIONS`).
"""

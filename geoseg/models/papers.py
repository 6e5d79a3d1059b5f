"""What the papers print of their networks: one table, held against geoseg's networks to the digit.

Sources: Chen, Chen, Jing, "A Miniaturized Semantic Segmentation Method for Remote Sensing Image", Tables 1-3;
Cai, Zhang, "Finding a Faster UNet for Satellite Image Segmentation", Tables 3 and 4; Liu et al., "Efficient
Multi-Scale Feature Extraction for Lightweight Semantic Segmentation", 2022, Tables 1, 2 and 4; Xiao, Wang,
Zhao, Chen, "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image", Tables 1 to 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from geoseg.models.cost.operations import Rule, tally
from geoseg.models.networks.registry import build

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
    arguments: Mapping[str, Any] = field(default_factory=dict)  # those that are not the factory's defaults


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that a paper prints, and ours."""

    row: str
    table: str
    measure: str  # ``parameters``, ``operations`` or ``pass MB``
    printed: str
    ours: str


def paper_figures(architecture: str) -> Iterator[Figure]:
    """Each figure that the papers print of an architecture and its variants, and ours."""
    for row in ROWS.get(architecture, ()):
        with torch.device("meta"):
            network = build(architecture, **row.arguments)
        if row.parameters is not None:
            parameters = sum(parameter.numel() for parameter in network.parameters())
            yield Figure(row.name, row.table, "parameters", row.parameters, like(row.parameters, parameters))
        if row.size is None:
            continue
        found = tally(network, network.bands, *row.size)
        if row.operations is not None and row.rule is not None:
            ours = like(row.operations, found.operations(row.rule))
            yield Figure(row.name, row.table, "operations", row.operations, ours)
        if row.pass_size is not None:
            ours = like(row.pass_size, found.pass_megabytes)
            yield Figure(row.name, row.table, "pass MB", row.pass_size, ours)


def like(printed: str, value: float) -> str:
    """A figure of ours with the unit and the digits of a printed one.

    >>> like("1.06 M", 1_055_920), like("211 K", 211_138), like("31,043,976", 8_254_981)
    ('1.06 M', '211 K', '8,254,981')
    """
    number, _, unit = printed.partition(" ")
    decimals = len(number.partition(".")[2])
    scale = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[unit]
    grouping = "," if "," in number else ""
    return f"{value / scale:{grouping}.{decimals}f} {unit}".rstrip()


def _micronet(name: str, parameters: str) -> tuple[Row, ...]:
    return (Row(name, "Tables 1-3", parameters, arguments={"bands": 3, "classes": 2}),)


def _faster_unet(name: str, parameters: str | None, pass_size: str) -> tuple[Row, ...]:
    arguments = {"bands": 3, "classes": 5}
    return (Row(name, "Tables 3 and 4", parameters, None, pass_size, size=(512, 512), arguments=arguments),)


def _mininet(name: str, table: str, parameters: str, operations: str, **changed: Any) -> Row:
    camvid = table == "Table 4"
    arguments = {"bands": 3, "classes": 11 if camvid else 19, **changed}
    size = (360, 480) if camvid else (512, 1024)
    return Row(name, table, parameters, operations, rule="mininet", size=size, arguments=arguments)


def _ablation(name: str, parameters: str, operations: str, **changed: Any) -> Row:
    return _mininet(name, f"Table 2({name[0]})", parameters, operations, **changed)


def _dual(name: str, table: str, parameters: str | None, operations: str, **changed: Any) -> Row:
    arguments = {"bands": 3, "classes": 19, **changed}
    return Row(name, table, parameters, operations, rule="thop", size=(1024, 2048), arguments=arguments)


_BOTH, _SECOND = "Tables 1 and 2", "Table 2, truncated"

ROWS: Mapping[str, tuple[Row, ...]] = {
    "micronet": _micronet("Micro-Net", "1.06 M"),
    "micronet-unet": _micronet("U-Net", "31.02 M"),
    "micronet-bm1": _micronet("Miniaturized-Net (BM1)", "5.36 M"),
    "micronet-bm2": _micronet("4x U-Net (BM2)", "0.93 M"),
    "micronet-bm3": _micronet("BM3", "0.93 M"),
    "micronet-125": _micronet("(1,2,5),(1,2,3),(1,1,2)", "0.93 M"),
    "micronet-11123": _micronet("(1,1,1,2,3)", "1.18 M"),
    "unet-base": (
        *_faster_unet("UNet_Base", None, "3966.00"),
        Row("UNet_Base", "Tables 3 and 4", "31,043,976", arguments={"bands": 3, "classes": 8}),
    ),
    "unet-short": _faster_unet("UNet_Short", "8,254,981", "5842.00"),
    "unet-skinny": _faster_unet("UNet_Skinny", "20,095,781", "1292.25"),
    "unet-less-conv": _faster_unet("UNet_Less_conv", "20,281,253", "2444.25"),
    "unetpp-resnet34": _faster_unet("UNet++ resnet34", "26,079,189", "3333.00"),
    "deeplabv3plus-resnet34": _faster_unet("DeepLabV3+ resnet34", "22,438,485", "872.63"),
    "mininet-1": (
        _mininet("MiniNet #1", "Table 1", "95 K", "2.1 G"),
        _mininet("MiniNet #1 CamVid", "Table 4", "95 K", "0.7 G"),
    ),
    "mininet-2": (
        _mininet("MiniNet #2", "Table 1", "211 K", "2.4 G"),
        _mininet("MiniNet #2 CamVid", "Table 4", "211 K", "0.8 G"),
        _ablation("a 1/8", "217 K", "3.3 G", stride=8),
        _ablation("b w/o long", "196 K", "2.3 G", long=False),
        _ablation("b w/o short", "211 K", "2.4 G", short=False),
        _ablation("c pool", "194 K", "2.2 G", down="pool"),
        _ablation("c conv", "219 K", "2.5 G", down="conv"),
        _ablation("e w/o decoder", "182 K", "1.5 G", decoder=False),
        _ablation("f ReLU", "209 K", "2.4 G", activation="relu"),
        _ablation("g1", "108 K", "1.7 G", widths=(16, 32, 32, 64)),
        _ablation("g2", "135 K", "2.2 G", widths=(16, 32, 64, 64)),
        _ablation("g4", "318 K", "2.8 G", widths=(16, 32, 64, 128)),
        _ablation("g5", "376 K", "5.6 G", widths=(32, 64, 96, 128)),
        _ablation("g6", "415 K", "4.0 G", widths=(16, 64, 128, 128)),
        _ablation("g7", "431 K", "6.1 G", widths=(32, 64, 128, 128)),
        _ablation("h1", "207 K", "2.0 G", blocks=(1, 1, 3, 10)),
        _ablation("h3", "224 K", "2.5 G", blocks=(2, 2, 5, 10)),
        _ablation("h4", "229 K", "2.9 G", blocks=(3, 3, 5, 10)),
        _ablation("h5", "146 K", "2.3 G", blocks=(2, 2, 3, 5)),
        _ablation("h6", "185 K", "2.4 G", blocks=(2, 2, 3, 8)),
        _ablation("h7", "237 K", "2.5 G", blocks=(2, 2, 3, 12)),
    ),
    "mobilenetv2": (
        _dual("MobileNetV2 + DA", "Tables 2 and 3, operations truncated", "2.16 M", "14.2 G"),
        _dual("MobileNetV2 + DL", _BOTH, "2.72 M", "45.7 G", head="dl"),
        _dual("MobileNetV2", _SECOND, None, "20.9 G", head="none"),
    ),
    "mobilenetv3-large": (
        _dual("MobileNetV3-Large + DA", _SECOND, None, "10.8 G"),
        _dual("MobileNetV3-Large + DL", _BOTH, "2.14 M", "35.5 G", head="dl", full_encoder=True),
        _dual("MobileNetV3-Large", _SECOND, None, "11.8 G", head="none", full_encoder=True),
    ),
    "mobilenetv3-small": (
        _dual("MobileNetV3-Small + DA", _SECOND, None, "4.2 G"),
        _dual("MobileNetV3-Small + DA + skip", "Table 4, truncated", None, "8.6 G", head="da-skip"),
        _dual("MobileNetV3-Small + DL", _BOTH, "1.03 M", "26.1 G", head="dl", full_encoder=True),
        _dual("MobileNetV3-Small", _SECOND, None, "3.2 G", head="none", full_encoder=True),
    ),
    "resnet101": (_dual("ResNet101 + DL", "Table 1", "47.73 M", "458.5 G", full_encoder=True),),
}
"""By architecture; its plain form first, then its variants.

Of the MiniNets, ablations are #2; the sub-tables' default rows and "without deep supervision" have #2's size.
In both tables of the Faster UNets UNet_Base's size is printed for LoveDA's 8 classes, all other sizes and all
pass sizes for LandCover.ai's 5. Of the dual ASPP, figures of Table 1 are rounded, operations of Tables 2 and
4 truncated to one decimal: ours for MobileNetV2 are 20.991, 45.697 and 14.290 G. ResNet101 has 47,736,747
weights where 47.73 M is printed.
"""

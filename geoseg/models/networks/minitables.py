"""MiniNet #1 and #2 by name, and what their paper prints of them and of every ablation.

Source: Liu et al. 2022, Tables 1, 2 and 4. Ablations are MiniNet #2, scored on Cityscapes after 100 epochs
instead of 300. The sub-tables' default rows and "without deep supervision" have #2's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geoseg.models.networks.architecture import Architecture, Row
from geoseg.models.networks.mininet import mininet

__all__ = ["MININET"]


def _row(
    name: str, table: str, parameters: str, operations: str, scores: Mapping[str, str], **more: Any
) -> Row:
    camvid = table == "Table 4"
    return Row(
        name,
        {"bands": 3, "classes": 11 if camvid else 19, **more},
        table,
        parameters,
        operations,
        "mininet",
        (360, 480) if camvid else (512, 1024),
        scores=scores,
    )


def _main(
    name: str, parameters: str, operations: tuple[str, str], scores: tuple[str, str, str]
) -> tuple[Row, Row]:
    val, test, camvid = scores
    cityscapes = {"mIoU, Cityscapes val": val, "mIoU, Cityscapes test": test}
    return (
        _row(name, "Table 1", parameters, operations[0], cityscapes),
        _row(f"{name} CamVid", "Table 4", parameters, operations[1], {"mIoU, CamVid test": camvid}),
    )


def _ablation(name: str, changed: dict[str, Any], parameters: str, operations: str, val: str) -> Row:
    part = name[0]
    return _row(
        name, f"Table 2({part})", parameters, operations, {"mIoU, Cityscapes val, 100 epochs": val}, **changed
    )


MININET: Mapping[str, Architecture] = {
    "mininet-1": Architecture(
        mininet((16, 32, 64, 64), (2, 2, 3, 4)),
        "Liu et al. 2022, MiniNet #1: Table 1",
        _main("MiniNet #1", "95 K", ("2.1 G", "0.7 G"), ("63.3", "64.1", "66.7")),
    ),
    "mininet-2": Architecture(
        mininet((16, 32, 64, 96), (2, 2, 3, 10)),
        "Liu et al. 2022, MiniNet #2: Tables 1 and 2",
        (
            *_main("MiniNet #2", "211 K", ("2.4 G", "0.8 G"), ("67.3", "66.3", "67.5")),
            _ablation("a 1/8", {"stride": 8}, "217 K", "3.3 G", "64.9"),
            _ablation("b w/o long", {"long": False}, "196 K", "2.3 G", "64.8"),
            _ablation("b w/o short", {"short": False}, "211 K", "2.4 G", "62.7"),
            _ablation("c pool", {"down": "pool"}, "194 K", "2.2 G", "64.0"),
            _ablation("c conv", {"down": "conv"}, "219 K", "2.5 G", "64.6"),
            Row(
                "d w/o deep supervision",
                {"bands": 3, "classes": 19},
                "Table 2(d)",
                scores={"mIoU, Cityscapes val, 100 epochs": "64.8"},
            ),
            _ablation("e w/o decoder", {"decoder": False}, "182 K", "1.5 G", "61.4"),
            _ablation("f ReLU", {"activation": "relu"}, "209 K", "2.4 G", "64.5"),
            _ablation("g1", {"widths": (16, 32, 32, 64)}, "108 K", "1.7 G", "62.6"),
            _ablation("g2", {"widths": (16, 32, 64, 64)}, "135 K", "2.2 G", "63.6"),
            _ablation("g4", {"widths": (16, 32, 64, 128)}, "318 K", "2.8 G", "65.7"),
            _ablation("g5", {"widths": (32, 64, 96, 128)}, "376 K", "5.6 G", "67.3"),
            _ablation("g6", {"widths": (16, 64, 128, 128)}, "415 K", "4.0 G", "67.6"),
            _ablation("g7", {"widths": (32, 64, 128, 128)}, "431 K", "6.1 G", "67.4"),
            _ablation("h1", {"blocks": (1, 1, 3, 10)}, "207 K", "2.0 G", "65.0"),
            _ablation("h3", {"blocks": (2, 2, 5, 10)}, "224 K", "2.5 G", "66.3"),
            _ablation("h4", {"blocks": (3, 3, 5, 10)}, "229 K", "2.9 G", "65.8"),
            _ablation("h5", {"blocks": (2, 2, 3, 5)}, "146 K", "2.3 G", "63.3"),
            _ablation("h6", {"blocks": (2, 2, 3, 8)}, "185 K", "2.4 G", "64.5"),
            _ablation("h7", {"blocks": (2, 2, 3, 12)}, "237 K", "2.5 G", "65.2"),
        ),
    ),
}
"""The MiniNet family."""

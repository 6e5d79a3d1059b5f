"""MobileNetV2 as an encoder.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, Table 2, width 1,
without the last 1280-channel convolution: the layers, and the state's order, of torchvision's
``mobilenet_v2().features[:-1]``.
"""

from __future__ import annotations

from itertools import chain
from typing import Literal

from torch import Tensor, nn

from geoseg.models.networks.encoder import Encoder, conv_norm, relu6

__all__ = ["InvertedResidual", "mobilenetv2"]

_STEM = 32
_GROUPS = (  # expansion, channels, blocks, stride of the first one: Table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_QUARTER, _EIGHTH = 2, 3
"""Groups up to the taps at 1/4 (24 channels) and 1/8 (32)."""
_DILATED = 160
"""At output stride 16 the group with so many channels keeps its input's size; from it on, each group's first
block is dilated."""


class InvertedResidual(nn.Module):
    """1×1 expansion (if any), depthwise, 1×1 projection without activation; plus the input if it fits."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, *, dilation: int = 1, kernel: int = 3
    ) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [conv_norm(inputs, width, activation=relu6)] if expansion > 1 else []
        depthwise = conv_norm(
            width, width, kernel, stride=stride, dilation=dilation, groups=width, activation=relu6
        )
        self.body = nn.Sequential(*layers, depthwise, conv_norm(width, outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        output: Tensor = self.body(features)
        return features + output if self.shortcut else output


def mobilenetv2(bands: int, stride: Literal[16, 32]) -> Encoder:
    """1,811,712 weights for three bands; 24, 32 and 320 channels at 1/4, 1/8 and the deepest tap.

    Which blocks are dilated at stride 16 is open: the Dual ASPP paper does not say, and no count depends on
    it. Here they are the first with 160 channels and the one with 320, by 2.

    Args:
        bands: input channels.
        stride: output stride: 32 is natural, 16 keeps the groups of 160 and 320 channels at 1/16.
    """
    groups: list[list[nn.Module]] = [[conv_norm(bands, _STEM, 3, stride=2, activation=relu6)]]
    inputs = _STEM
    for expansion, outputs, count, first in _GROUPS:
        held = stride == 16 and outputs >= _DILATED  # noqa: PLR2004 - the output stride that the name says
        group: list[nn.Module] = []
        for k in range(count):
            step = first if k == 0 and not held else 1
            dilation = 2 if k == 0 and held else 1
            group.append(InvertedResidual(inputs, outputs, expansion, step, dilation=dilation))
            inputs = outputs
        groups.append(group)
    quarter, eighth = _QUARTER + 1, _EIGHTH + 1
    return Encoder(
        chain.from_iterable(groups[:quarter]),
        chain.from_iterable(groups[quarter:eighth]),
        chain.from_iterable(groups[eighth:]),
        widths=(_GROUPS[_QUARTER - 1][1], _GROUPS[_EIGHTH - 1][1], _GROUPS[-1][1]),
        stride=stride,
    )

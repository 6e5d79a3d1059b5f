"""Lite U-Net: a U-Net on the upper stages of EfficientNet-Lite0, a million weights. Ours, in no paper.

Inverted residuals without squeeze and excitation give an encoder that is small, local (its radius is known,
so tiling can be exact) and has pre-trained weights. Only the stages down to 1/16 are taken: the deeper ones
hold three quarters of the weights. It is what segmentation-models-pytorch makes as ``Unet`` on
``tu-efficientnet_lite0`` with ``encoder_depth=4``, without the stages that no decoder looks at and without
the library's import; weights fit in order.

Source of the encoder: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
ICML 2019, Table 1, in the Lite form of the authors' public repository (ReLU6, no squeeze and excitation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.networks.encoders import InvertedResidual, conv_norm, relu, relu6
from geoseg.models.networks.network import Architecture, Bands, Classes, Network, Span, Width, init_he

__all__ = ["LITE_UNET"]

_STEM = 32
_STAGES = (  # kernel, expansion, channels, blocks, stride of the first one
    ((3, 1, 16, 1, 1),),
    ((3, 6, 24, 2, 2),),
    ((5, 6, 40, 2, 2),),
    ((3, 6, 80, 3, 2), (5, 6, 112, 3, 1)),
)
"""Groups of blocks that end at 1/2, 1/4, 1/8 and 1/16."""
_DECODER = (96, 48, 32, 16)


def _stage(inputs: int, groups: Sequence[tuple[int, int, int, int, int]]) -> nn.Sequential:
    blocks = []
    for kernel, expansion, outputs, count, first in groups:
        for k in range(count):
            stride = first if k == 0 else 1
            blocks.append(InvertedResidual(inputs, outputs, expansion, stride, kernel=kernel))
            inputs = outputs
    return nn.Sequential(*blocks)


class LiteUNet(Network):
    """Encoder at 1/2 … 1/16, decoder with nearest upsampling and two 3×3 convolutions a level.

    Args:
        decoder: channels of the decoder at 1/8, 1/4, 1/2 and the input's size.
    """

    alignment = 16

    def __init__(self, bands: int, classes: int, *, decoder: Sequence[int] = _DECODER) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        widths = [stage[-1][2] for stage in _STAGES]
        self.stem = conv_norm(bands, _STEM, 3, stride=2, activation=relu6)
        self.stages = nn.ModuleList(
            _stage(inputs, groups) for inputs, groups in zip((_STEM, *widths), _STAGES, strict=False)
        )
        skips = (*reversed(widths[:-1]), 0)
        self.levels = nn.ModuleList(
            nn.Sequential(
                conv_norm(deeper + skip, width, 3, activation=relu),
                conv_norm(width, width, 3, activation=relu),
            )
            for deeper, skip, width in zip((widths[-1], *decoder), skips, decoder, strict=False)
        )
        self.head = nn.Conv2d(decoder[-1], classes, 3, padding=1)
        init_he(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W).

        Odd sizes are halved rounding up, and an upsampled map is cropped to its level's size.
        """
        features = self.stem(pixels)
        encoded: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            encoded.append(features)
        features = encoded.pop()
        for level in self.levels:
            skip = encoded.pop() if encoded else None
            height, width = (pixels if skip is None else skip).shape[-2:]
            raised = F.interpolate(features, scale_factor=2, mode="nearest")[..., :height, :width]
            features = level(raised if skip is None else torch.cat([raised, skip], 1))
        logits: Tensor = self.head(features)
        return logits

    def receptive_field(self, span: Span) -> Span:
        """See :meth:`Network.receptive_field`."""
        spans = [span.widen(3).doubled()]  # the head and two convolutions, then half the size
        for _ in range(len(_STAGES) - 1):
            spans.append(spans[-1].widen(2).doubled())
        skips = [found.widen(2) for found in spans[:-1]]
        needed = spans[-1]
        for groups in reversed(_STAGES):
            for kernel, _, _, count, stride in reversed(groups):
                inner = needed.widen((count - 1) * (kernel // 2))
                needed = inner.strided(kernel // 2) if stride > 1 else inner.widen(kernel // 2)
            if skips:
                needed = needed.join(skips.pop())
        return needed.strided(1)


def _liteunet(
    *, bands: Bands, classes: Classes, decoder: tuple[Width, Width, Width, Width] = _DECODER
) -> Network:
    return LiteUNet(bands, classes, decoder=decoder)


LITE_UNET: Mapping[str, Architecture] = {
    "liteunet": Architecture(_liteunet, "ours: a U-Net on EfficientNet-Lite0 (Tan, Le 2019) down to 1/16")
}

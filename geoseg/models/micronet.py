"""Micro-Net: fire modules with mixed dilations, three levels, one million weights.

Source: Chen, Chen, Jing, "A Miniaturized Semantic Segmentation Method for Remote Sensing Image", Tables 1-3.
The text says squeeze ratio 0.125; Table 3 and every total need 0.25, which is the default here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.architecture import Architecture, Bands, Classes, Dilations, EvenWidth
from geoseg.models.network import Network, Span, init_he

__all__ = ["MICRONET", "Fire", "MicroNet"]


class Fire(nn.Module):
    """Squeeze 1×1, then expand 1×1 and dilated 3×3 in parallel; ReLU after each, no bias.

    Args:
        inputs: channels in.
        outputs: channels out, half from either expansion; even.
        squeezed: channels between.
        dilation: of the 3×3 expansion, in pixels of its level.
    """

    def __init__(self, inputs: int, outputs: int, squeezed: int, dilation: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1, bias=False)
        self.expand1 = nn.Conv2d(squeezed, outputs // 2, 1, bias=False)
        self.expand3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=dilation, dilation=dilation, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        squeezed = F.relu(self.squeeze(pixels), inplace=True)
        expanded = torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1)
        return F.relu(expanded, inplace=True)


def _level(inputs: int, width: int, dilations: Sequence[int], squeeze: float) -> nn.Sequential:
    squeezed = max(1, round(squeeze * width))
    first = (inputs, *[width] * (len(dilations) - 1))
    return nn.Sequential(*(Fire(n, width, squeezed, d) for n, d in zip(first, dilations, strict=True)))


class MicroNet(Network):
    """Encoder and decoder of fire modules at 1, 1/2, 1/4 …, joined by addition.

    ``enc0 → pool → enc1 → pool → enc2 → dec2 → up + enc1 → dec1 → up + enc0 → dec0 → 1×1``. No bias, no
    normalisation; ReLU after every convolution but the transposed ones and the last.

    Args:
        bands: input channels.
        classes: output channels.
        widths: channels per level, even; one level per width.
        encoder: dilations of a level's fire modules on the way down, in order.
        decoder: and on the way up.
        squeeze: channels of a squeeze, relative to its level's width.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        encoder: Sequence[int] = (1, 1, 2, 3),
        decoder: Sequence[int] = (3, 2, 1),
        squeeze: float = 0.25,
    ) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.alignment = 2 ** (len(widths) - 1)
        self._reach_down, self._reach_up = sum(encoder), sum(decoder)
        inputs = (bands, *widths[:-1])
        self.encoder = nn.ModuleList(
            _level(n, width, encoder, squeeze) for n, width in zip(inputs, widths, strict=True)
        )
        self.decoder = nn.ModuleList(_level(width, width, decoder, squeeze) for width in widths)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, width, 2, 2, bias=False) for width, below in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], classes, 1, bias=False)
        init_he(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W).

        Odd sizes are pooled rounding up, and the upsampled map is cropped to its level's size.
        """
        features = pixels
        levels: list[Tensor] = []
        for depth, fires in enumerate(self.encoder):
            if depth:
                features = F.max_pool2d(features, 2, ceil_mode=True)
            features = fires(features)
            levels.append(features)
        features = self.decoder[-1](levels.pop())
        for depth in range(len(levels) - 1, -1, -1):
            skip = levels.pop()
            height, width = skip.shape[-2:]
            raised = self.up[depth](features)[..., :height, :width]
            features = self.decoder[depth](raised + skip)
        logits: Tensor = self.head(features)
        return logits

    def reach(self, span: Span) -> Span:
        """See :meth:`Network.reach`."""
        spans = [span.widen(self._reach_up)]
        for _ in self.up:
            spans.append(spans[-1].doubled().widen(self._reach_up))
        needed = spans.pop().widen(self._reach_down)
        while spans:
            needed = needed.halved().join(spans.pop()).widen(self._reach_down)
        return needed


def _micronet(
    *,
    bands: Bands,
    classes: Classes,
    widths: Annotated[tuple[EvenWidth, ...], Field(min_length=1, max_length=6)] = (64, 128, 256),
    encoder: Dilations = (1, 1, 2, 3),
    decoder: Dilations = (3, 2, 1),
    squeeze: Annotated[float, Field(gt=0, le=1)] = 0.25,
) -> Network:
    return MicroNet(bands, classes, widths=widths, encoder=encoder, decoder=decoder, squeeze=squeeze)


MICRONET: Mapping[str, Architecture] = {
    "micronet": Architecture(_micronet, "Chen, Chen, Jing, Micro-Net: Tables 1-3"),
}
"""The Micro-Net family."""

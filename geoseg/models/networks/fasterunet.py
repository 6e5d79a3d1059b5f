"""U-Nets with biases and batch normalization, short, skinny, or with fewer convolutions.

Source: Cai, Zhang, "Finding a Faster UNet for Satellite Image Segmentation", Tables 3 and 4. The text leaves
widths and depths open in places (all of UNet_Short's, and how many convolutions the lower levels keep); those
here give all parameter counts and pass sizes of both tables to the digit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.models.networks.network import Architecture, Bands, Classes, Network, Span, Width, init_he

__all__ = ["FASTER_UNET"]


class ConvBlock(nn.Module):
    """So many times: 3×3 convolution with bias, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(count):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        output: Tensor = self.layers(features)
        return output


class EncoderLevel(nn.Module):
    """A level on the way down: a block, then a pool that rounds odd sizes up."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        self.block = ConvBlock(inputs, outputs, count)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, inputs, H, W) to the level's own map and the one for the next level, half as large."""
        skip = self.block(features)
        return skip, self.pool(skip)


class DecoderLevel(nn.Module):
    """A level on the way up: transposed convolution, concatenation with the encoder's map, a block."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.block = ConvBlock(2 * outputs, outputs, count)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """The deeper map and the encoder's (N, outputs, H, W) to (N, outputs, H, W)."""
        height, width = skip.shape[-2:]
        raised = self.up(features)[..., :height, :width]
        output: Tensor = self.block(torch.cat([raised, skip], 1))
        return output


class UNet(Network):
    """A U-Net whose levels differ in width and in their number of convolutions.

    Args:
        widths: channels from the top level to the bottleneck, two or more.
        convs: convolutions of a block, one for each width; a level has as many on the way up.

    Raises:
        BundleError: ``convs`` of another length than ``widths``.
    """

    def __init__(self, bands: int, classes: int, *, widths: Sequence[int], convs: Sequence[int]) -> None:
        super().__init__()
        if len(convs) != len(widths):
            raise BundleError(
                f"argument 'convs': {len(widths)} widths need as many numbers of convolutions, "
                f"got {len(convs)}"
            )
        self.bands, self.classes = bands, classes
        self.alignment = 2 ** (len(widths) - 1)
        self._convs = tuple(convs)
        inputs = (bands, *widths[:-1])
        levels = list(zip(inputs, widths, convs, strict=True))
        self.encoder = nn.ModuleList(EncoderLevel(*level) for level in levels[:-1])
        self.bottleneck = ConvBlock(*levels[-1])
        self.decoder = nn.ModuleList(
            DecoderLevel(below, width, count)
            for (width, below), count in zip(pairwise(widths), convs[:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], classes, 1)
        init_he(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W); odd sizes as in Micro-Net."""
        features = pixels
        skips: list[Tensor] = []
        for level in self.encoder:
            skip, features = level(features)
            skips.append(skip)
        features = self.bottleneck(features)
        for level in reversed(self.decoder):
            features = level(features, skips.pop())
        logits: Tensor = self.head(features)
        return logits

    def receptive_field(self, span: Span) -> Span:
        """See :meth:`Network.receptive_field`."""
        *levels, bottleneck = self._convs
        spans: list[Span] = []
        needed = span
        for count in levels:
            spans.append(needed.widen(count))
            needed = spans[-1].doubled()
        needed = needed.widen(bottleneck)
        for count in reversed(levels):
            needed = needed.halved().join(spans.pop()).widen(count)
        return needed


def _member(some_widths: tuple[int, ...], some_convs: tuple[int, ...]) -> Callable[..., Network]:
    def factory(
        *,
        bands: Bands,
        classes: Classes,
        widths: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = some_widths,
        convs: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(max_length=8)] = some_convs,
    ) -> Network:
        return UNet(bands, classes, widths=widths, convs=convs)

    return factory


_SOURCE = "Cai, Zhang, Finding a Faster UNet: Tables 3 and 4"
_SKINNY = (32, 64, 128, 256, 512, 512, 512)

FASTER_UNET: Mapping[str, Architecture] = {
    "unet-base": Architecture(_member((64, 128, 256, 512, 1024), (2, 2, 2, 2, 2)), _SOURCE),
    "unet-short": Architecture(_member((128, 128, 256, 512), (2, 2, 2, 2)), _SOURCE),
    "unet-skinny": Architecture(_member(_SKINNY, (1, 1, 1, 1, 1, 1, 1)), _SOURCE),
    "unet-less-conv": Architecture(_member(_SKINNY, (3, 3, 1, 1, 1, 1, 1)), _SOURCE),
}

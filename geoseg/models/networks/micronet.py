"""Micro-Net, its ablations and its U-Net baseline: no bias, no normalization, fire modules with dilations.

Source: Chen, Chen, Jing, "A Miniaturized Semantic Segmentation Method for Remote Sensing Image", Tables 1-3.
The text says squeeze ratio 0.125; Table 3 and every total but Miniaturized-Net's need 0.25, which is the
default here. Table 3 prints 5158 weights for the first fire module; 5168 is what its sizes give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.models.networks.network import (
    Architecture,
    Bands,
    Classes,
    Dilations,
    EvenWidth,
    Network,
    Span,
    init_he,
)

__all__ = ["MICRONET", "Fire", "MicroNet"]

Skip = Literal["add", "concat"]


class Fire(nn.Module):
    """Squeeze 1×1, then expand 1×1 and dilated 3×3 in parallel; ReLU after each, no bias.

    Args:
        outputs: channels out, half from either expansion; even.
        dilation: of the 3×3 expansion, in pixels of its level.
    """

    def __init__(self, inputs: int, outputs: int, squeezed: int, dilation: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1, bias=False)
        self.expand1 = nn.Conv2d(squeezed, outputs // 2, 1, bias=False)
        self.expand3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=dilation, dilation=dilation, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        squeezed = self.relu(self.squeeze(pixels))
        expanded: Tensor = self.relu(torch.cat([self.expand1(squeezed), self.expand3(squeezed)], 1))
        return expanded


def _plain(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def _level(inputs: int, width: int, dilations: Sequence[int], squeeze: float | None) -> nn.Sequential:
    modules: list[nn.Module] = []
    for dilation in dilations:
        if squeeze is None:
            modules.append(_plain(inputs, width, dilation))
        else:
            modules.append(Fire(inputs, width, max(1, round(squeeze * width)), dilation))
        inputs = width
    return nn.Sequential(*modules)


def _by_level(
    dilations: Sequence[int] | Sequence[Sequence[int]], levels: int, what: str
) -> list[tuple[int, ...]]:
    """One level's dilations stand for all levels."""
    if isinstance(dilations[0], int):
        return [tuple(cast("Sequence[int]", dilations))] * levels
    if len(dilations) != levels:
        raise BundleError(
            f"argument {what!r}: the network has {levels} levels with such modules, got dilations of "
            f"{len(dilations)}; give one tuple for each level or one for all of them"
        )
    return [tuple(level) for level in cast("Sequence[Sequence[int]]", dilations)]


class MicroNet(Network):
    """Encoder and decoder of fire modules at 1, 1/2, 1/4 …, joined by addition or concatenation.

    ``enc0 → pool → enc1 → pool → enc2 → dec2 → up + enc1 → dec1 → up + enc0 → dec0 → 1×1``. No bias, no
    normalization; ReLU after every convolution but the transposed ones and the last. Networks that
    concatenate have no decoder at their deepest level.

    Args:
        widths: channels per level, even; one level per width.
        encoder: dilations of a level's modules on the way down, in order; or such a tuple for each level.
        decoder: and on the way up, from the top level to the deepest that has a decoder.
        squeeze: channels of a squeeze, relative to its level's width; None for plain 3×3 convolutions instead
            of fire modules.
        skip: whether a decoder adds the encoder's map to its own, or concatenates them.

    Raises:
        BundleError: dilations of another number of levels.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        encoder: Sequence[int] | Sequence[Sequence[int]] = (1, 1, 2, 3),
        decoder: Sequence[int] | Sequence[Sequence[int]] = (3, 2, 1),
        squeeze: float | None = 0.25,
        skip: Skip = "add",
    ) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.alignment = 2 ** (len(widths) - 1)
        self._skip = skip
        down = _by_level(encoder, len(widths), "encoder")
        raised = len(widths) - (skip == "concat")
        if not raised:
            raise BundleError(
                "argument 'widths': a network that concatenates needs two levels or more, got one"
            )
        up = _by_level(decoder, raised, "decoder")
        self._down_radii = [sum(dilations) for dilations in down]
        self._up_radii = [sum(dilations) for dilations in up] + [0] * (len(widths) - raised)
        inputs = (bands, *widths[:-1])
        self.encoder = nn.ModuleList(
            _level(n, width, dilations, squeeze)
            for n, width, dilations in zip(inputs, widths, down, strict=True)
        )
        self.decoder = nn.ModuleList(
            _level(2 * width if skip == "concat" else width, width, dilations, squeeze)
            for width, dilations in zip(widths[:raised], up, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, width, 2, 2, bias=False) for width, below in pairwise(widths)
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.head = nn.Conv2d(widths[0], classes, 1, bias=False)
        init_he(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W).

        Odd sizes are pooled rounding up, and the upsampled map is cropped to its level's size.
        """
        features = pixels
        levels: list[Tensor] = []
        for depth, modules in enumerate(self.encoder):
            features = modules(self.pool(features) if depth else features)
            levels.append(features)
        features = levels.pop()
        if self._skip == "add":
            features = self.decoder[-1](features)
        for depth in range(len(levels) - 1, -1, -1):
            skip = levels.pop()
            height, width = skip.shape[-2:]
            raised = self.up[depth](features)[..., :height, :width]
            joined = raised + skip if self._skip == "add" else torch.cat([raised, skip], 1)
            features = self.decoder[depth](joined)
        logits: Tensor = self.head(features)
        return logits

    def receptive_field(self, span: Span) -> Span:
        """See :meth:`Network.receptive_field`."""
        top, *deeper = self._up_radii
        spans = [span.widen(top)]
        for radius in deeper:
            spans.append(spans[-1].doubled().widen(radius))
        needed = spans.pop().widen(self._down_radii[-1])
        for radius in reversed(self._down_radii[:-1]):
            needed = needed.halved().join(spans.pop()).widen(radius)
        return needed


_Widths = Annotated[tuple[EvenWidth, ...], Field(min_length=1, max_length=6)]
_Levels = Annotated[tuple[Dilations, ...], Field(min_length=1, max_length=6)]
_Squeeze = Annotated[float, Field(gt=0, le=1)]
_FIVE, _THREE = (64, 128, 256, 512, 1024), (64, 128, 256)


def _member(
    some_widths: tuple[int, ...],
    down: tuple[int, ...] | tuple[tuple[int, ...], ...],
    up: tuple[int, ...] | tuple[tuple[int, ...], ...],
    some_squeeze: float | None = 0.25,
    skip: Skip = "add",
) -> Callable[..., Network]:
    def factory(
        *,
        bands: Bands,
        classes: Classes,
        widths: _Widths = some_widths,
        encoder: Dilations | _Levels = down,
        decoder: Dilations | _Levels = up,
        squeeze: _Squeeze | None = some_squeeze,
    ) -> Network:
        return MicroNet(
            bands, classes, widths=widths, encoder=encoder, decoder=decoder, squeeze=squeeze, skip=skip
        )

    return factory


_SOURCE = "Chen, Chen, Jing, Micro-Net: Tables 1-3"
_ROW_FIVE = (1, 2, 5), (1, 2, 3), (1, 1, 2)

MICRONET: Mapping[str, Architecture] = {
    "micronet": Architecture(_member(_THREE, (1, 1, 2, 3), (3, 2, 1)), _SOURCE),
    "micronet-unet": Architecture(_member(_FIVE, (1, 1), (1, 1), None, "concat"), _SOURCE),
    "micronet-bm1": Architecture(_member(_FIVE, (1, 1), (1, 1), 0.125, "concat"), _SOURCE),
    "micronet-bm2": Architecture(_member(_THREE, (1, 1, 1), (1, 1, 1)), _SOURCE),
    "micronet-bm3": Architecture(_member(_THREE, (1, 2, 3), (3, 2, 1)), _SOURCE),
    "micronet-125": Architecture(
        _member(_THREE, _ROW_FIVE, tuple(level[::-1] for level in _ROW_FIVE)), _SOURCE
    ),
    "micronet-11123": Architecture(_member(_THREE, (1, 1, 1, 2, 3), (3, 2, 1)), _SOURCE),
}

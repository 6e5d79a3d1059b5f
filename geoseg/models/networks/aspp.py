"""Heads on an encoder: none, DeepLabV3+'s, and the dual ASPP.

Source: Xiao, Wang, Zhao, Chen, "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image";
the DeepLabV3+ head: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018. Parameter
and operation counts agree with the paper's Tables 1 to 4. What it does not state:

* the final block of the dual heads has widths (128, 128), inferred: the only equal ones that fit; (147, 96)
  and (112, 160) give the same figures;
* the skip to the dual head has 16 channels, inferred: 19 fit as well, the 48 of DeepLabV3+ do not;
* dropout, and whether corners are aligned in upsampling, are open: they change no count.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.networks.encoder import Encoder, Features, conv_norm, relu
from geoseg.models.networks.network import Span

__all__ = ["ASPP", "DeepLabHead", "DualHead", "Head", "PlainHead", "enlarge"]

_DROPOUT = 0.1
_QUARTER, _EIGHTH = 4, 8
"""Strides of the shallow taps."""
_QUARTER, _EIGHTH = 4, 8
"""Strides of the shallow taps."""
_DEEP_RATES = (6, 12, 18)
_EIGHTH_RATES = (12, 24, 36)
_DEEP_WIDTH = 128
_EIGHTH_WIDTH = 19
_DEEPLAB_WIDTH = 256
_FINAL_REACH = 2
"""Pixels that the final block's two 3×3 convolutions reach to either side."""


def enlarge(features: Tensor, factor: int, size: Sequence[int]) -> Tensor:
    """Bilinear upsampling by a whole factor between pixel areas, cropped to a size.

    The factor is whole and corners are not aligned: a value depends on neither where its tile lies nor how
    large it is, whatever the image's size.

    Args:
        features: (N, C, h, w).
        factor: at least 1.
        size: height and width, at most ``factor`` times h and w.
    """
    if factor > 1:
        features = F.interpolate(features, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return features[..., : size[0], : size[1]]


def reduced(span: Span, factor: int) -> Span:
    """Positions that can influence these positions of the features that :func:`enlarge` makes of them."""
    return span if factor == 1 else span.bilinear(factor)


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3×3, BN, ReLU, 1×1, BN, ReLU."""
    depthwise = conv_norm(inputs, inputs, 3, dilation=dilation, groups=inputs, activation=relu)
    return nn.Sequential(depthwise, conv_norm(inputs, outputs, activation=relu))


def _final(inputs: int, width: int, classes: int) -> nn.Sequential:
    """Two separable convolutions and a 1×1 convolution with bias to the classes."""
    return nn.Sequential(_separable(inputs, width), _separable(width, width), nn.Conv2d(width, classes, 1))


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling.

    Five branches of equal width: image pooling, 1×1, and three separable 3×3 convolutions with the rates as
    dilations; concatenated in this order, joined by 1×1, BN, ReLU, and channel dropout of 0.1.
    """

    def __init__(self, inputs: int, width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm(inputs, width, activation=relu))
        self.branches = nn.ModuleList([conv_norm(inputs, width, activation=relu)])
        self.branches.extend(_separable(inputs, width, rate) for rate in rates)
        joined = width * (1 + len(self.branches))
        self.join = nn.Sequential(conv_norm(joined, width, activation=relu), nn.Dropout2d(_DROPOUT))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width, H, W)."""
        whole = self.pooled(features).expand(-1, -1, *features.shape[-2:])
        output: Tensor = self.join(torch.cat([whole, *(branch(features) for branch in self.branches)], 1))
        return output


class Head(nn.Module, abc.ABC):
    """Features to logits at ``stride`` input pixels per pixel."""

    stride: int
    """Input pixels per pixel of the logits."""

    @abc.abstractmethod
    def forward(self, features: Features) -> Tensor:
        """An encoder's features to logits (N, classes, ⌈H/stride⌉, ⌈W/stride⌉)."""

    @abc.abstractmethod
    def reach(self, encoder: Encoder, span: Span) -> Span:
        """Positions of the image that can influence these positions of the logits, pooling aside."""


class PlainHead(Head):
    """The final block on the deepest features: the paper's "none"."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.stride = encoder.stride
        self.final = _final(encoder.widths[2], _DEEPLAB_WIDTH, classes)

    def forward(self, features: Features) -> Tensor:
        """See :class:`Head`."""
        logits: Tensor = self.final(features.deep)
        return logits

    def reach(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        return encoder.reach(deep=span.widen(_FINAL_REACH))


class DeepLabHead(Head):
    """DeepLabV3+: ASPP on the deepest features, upsampled to 1/4 and joined with the features there."""

    stride = _QUARTER

    def __init__(self, encoder: Encoder, classes: int, skip_width: int = 48) -> None:
        super().__init__()
        self.factor = encoder.stride // self.stride
        self.aspp = ASPP(encoder.widths[2], _DEEPLAB_WIDTH, _DEEP_RATES)
        self.skip = conv_norm(encoder.widths[0], skip_width, activation=relu)
        self.final = _final(_DEEPLAB_WIDTH + skip_width, _DEEPLAB_WIDTH, classes)

    def forward(self, features: Features) -> Tensor:
        """See :class:`Head`."""
        skip = self.skip(features.quarter)
        deep = enlarge(self.aspp(features.deep), self.factor, skip.shape[-2:])
        logits: Tensor = self.final(torch.cat([deep, skip], 1))
        return logits

    def reach(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        joined = span.widen(_FINAL_REACH)
        deep = reduced(joined, self.factor).widen(max(_DEEP_RATES))
        return encoder.reach(quarter=joined, deep=deep)


class DualHead(Head):
    """ASPPs: a wide one on the deepest features, a narrow one at 1/8; joined there, or with a skip at 1/4."""

    def __init__(self, encoder: Encoder, classes: int, skip_width: int | None = None) -> None:
        super().__init__()
        self.stride = _EIGHTH if skip_width is None else _QUARTER
        self.factors = encoder.stride // self.stride, _EIGHTH // self.stride
        self.deep = ASPP(encoder.widths[2], _DEEP_WIDTH, _DEEP_RATES)
        self.eighth = ASPP(encoder.widths[1], _EIGHTH_WIDTH, _EIGHTH_RATES)
        joined = _DEEP_WIDTH + _EIGHTH_WIDTH + (skip_width or 0)
        self.skip = None if skip_width is None else conv_norm(encoder.widths[0], skip_width, activation=relu)
        self.final = _final(joined, _DEEP_WIDTH, classes)

    def forward(self, features: Features) -> Tensor:
        """See :class:`Head`."""
        eighth = self.eighth(features.eighth)
        skips = [] if self.skip is None else [self.skip(features.quarter)]
        size = (skips or [eighth])[0].shape[-2:]
        both = zip((self.deep(features.deep), eighth), self.factors, strict=True)
        parts = [enlarge(part, factor, size) for part, factor in both]
        logits: Tensor = self.final(torch.cat([*parts, *skips], 1))
        return logits

    def reach(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        joined = span.widen(_FINAL_REACH)
        deep, eighth = (reduced(joined, factor) for factor in self.factors)
        return encoder.reach(
            quarter=None if self.skip is None else joined,
            eighth=eighth.widen(max(_EIGHTH_RATES)),
            deep=deep.widen(max(_DEEP_RATES)),
        )

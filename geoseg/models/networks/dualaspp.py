"""The networks of the dual ASPP paper: an encoder and a head by name.

Source: Xiao, Wang, Zhao, Chen, "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image";
the DeepLabV3+ head: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018. Parameter
and operation counts agree with the paper's Tables 1 to 4. What the paper does not state:

* the final block of the dual heads has widths (128, 128), inferred: the only equal ones that fit; (147, 96)
  and (112, 160) give the same figures;
* the skip to the dual head has 16 channels, inferred: 19 fit as well, the 48 of DeepLabV3+ do not;
* dropout, and whether corners are aligned in upsampling, are open: they change no count;
* MobileNetV2 and ResNet101 are certain but for their dilations; what is inferred of MobileNetV3 is listed in
  :mod:`geoseg.models.networks.encoders`. The paper's Xception65 is not here.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.errors import BundleError
from geoseg.models.networks.encoders import (
    Encoder,
    EncoderFeatures,
    conv_norm,
    mobilenetv2,
    mobilenetv3,
    relu,
    resnet101,
)
from geoseg.models.networks.network import Architecture, Bands, Classes, Network, Span, Width, init_he

__all__ = ["DUAL_ASPP", "EncoderDecoder"]

_DROPOUT = 0.1
_QUARTER, _EIGHTH = 4, 8  # strides of the shallow taps
_DEEP_RATES = (6, 12, 18)
_EIGHTH_RATES = (12, 24, 36)
_DEEP_WIDTH = 128
_EIGHTH_WIDTH = 19
_DEEPLAB_WIDTH = 256
_FINAL_RADIUS = 2  # pixels that the final block's two 3×3 convolutions reach to either side


def enlarge(features: Tensor, factor: int, size: Sequence[int]) -> Tensor:
    """Bilinear upsampling of (N, C, h, w) by a whole factor between pixel areas, cropped to a smaller size.

    The factor is whole and corners are not aligned: a value depends on neither where its tile lies nor how
    large it is, whatever the image's size.
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
    """EncoderFeatures to logits at ``stride`` input pixels per pixel."""

    stride: int

    @abc.abstractmethod
    def forward(self, features: EncoderFeatures) -> Tensor:
        """An encoder's features to logits (N, classes, ⌈H/stride⌉, ⌈W/stride⌉)."""

    @abc.abstractmethod
    def receptive_field(self, encoder: Encoder, span: Span) -> Span:
        """Positions of the image that can influence these positions of the logits, pooling aside."""


class PlainHead(Head):
    """The final block on the deepest features: the paper's "none"."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.stride = encoder.stride
        self.final = _final(encoder.widths[2], _DEEPLAB_WIDTH, classes)

    def forward(self, features: EncoderFeatures) -> Tensor:
        """See :class:`Head`."""
        logits: Tensor = self.final(features.deep)
        return logits

    def receptive_field(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        return encoder.receptive_field(deep=span.widen(_FINAL_RADIUS))


class DeepLabHead(Head):
    """DeepLabV3+: ASPP on the deepest features, upsampled to 1/4 and joined with the features there."""

    stride = _QUARTER

    def __init__(self, encoder: Encoder, classes: int, skip_width: int = 48) -> None:
        super().__init__()
        self.factor = encoder.stride // self.stride
        self.aspp = ASPP(encoder.widths[2], _DEEPLAB_WIDTH, _DEEP_RATES)
        self.skip = conv_norm(encoder.widths[0], skip_width, activation=relu)
        self.final = _final(_DEEPLAB_WIDTH + skip_width, _DEEPLAB_WIDTH, classes)

    def forward(self, features: EncoderFeatures) -> Tensor:
        """See :class:`Head`."""
        skip = self.skip(features.quarter)
        deep = enlarge(self.aspp(features.deep), self.factor, skip.shape[-2:])
        logits: Tensor = self.final(torch.cat([deep, skip], 1))
        return logits

    def receptive_field(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        joined = span.widen(_FINAL_RADIUS)
        deep = reduced(joined, self.factor).widen(max(_DEEP_RATES))
        return encoder.receptive_field(quarter=joined, deep=deep)


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

    def forward(self, features: EncoderFeatures) -> Tensor:
        """See :class:`Head`."""
        eighth = self.eighth(features.eighth)
        skips = [] if self.skip is None else [self.skip(features.quarter)]
        size = (skips or [eighth])[0].shape[-2:]
        both = zip((self.deep(features.deep), eighth), self.factors, strict=True)
        parts = [enlarge(part, factor, size) for part, factor in both]
        logits: Tensor = self.final(torch.cat([*parts, *skips], 1))
        return logits

    def receptive_field(self, encoder: Encoder, span: Span) -> Span:
        """See :class:`Head`."""
        joined = span.widen(_FINAL_RADIUS)
        deep, eighth = (reduced(joined, factor) for factor in self.factors)
        return encoder.receptive_field(
            quarter=None if self.skip is None else joined,
            eighth=eighth.widen(max(_EIGHTH_RATES)),
            deep=deep.widen(max(_DEEP_RATES)),
        )


HeadName = Literal["none", "dl", "da", "da-skip"]
"""No head, DeepLabV3+'s, dual ASPP, dual ASPP with a skip from 1/4."""


class EncoderDecoder(Network):
    """An encoder, a head on its features, bilinear upsampling to the input's size.

    Every upsampling is by a whole factor and cropped, so that any size will do and nothing depends on it.
    With image pooling or squeeze-and-excitation the network is global: each output depends on the whole
    input, and training needs batches of at least 2 images
    (:class:`~geoseg.models.networks.encoders.BatchNorm`).
    """

    def __init__(self, bands: int, classes: int, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.alignment = max(encoder.stride, head.stride)
        self.encoder, self.head = encoder, head
        init_he(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W).

        Raises:
            RunError: training with too few pixels for batch normalization.
        """
        return enlarge(self.head(self.encoder(pixels)), self.head.stride, pixels.shape[-2:])

    def local_receptive_field(self, span: Span) -> Span:
        """Positions of the input that can influence these positions of the output other than by pooling."""
        return self.head.receptive_field(self.encoder, reduced(span, self.head.stride))

    def receptive_field(self, span: Span) -> Span | None:
        """See :meth:`Network.receptive_field`."""
        parts = (self.head, self.encoder.quarter, self.encoder.eighth, self.encoder.deep)
        pools = any(isinstance(module, nn.AdaptiveAvgPool2d) for part in parts for module in part.modules())
        return None if pools else self.local_receptive_field(span)


def _decoded(
    bands: int, classes: int, encoder: Encoder, *, head: HeadName, skip_width: int | None
) -> Network:
    if skip_width is not None and head in ("none", "da"):
        raise BundleError(
            f"argument 'skip_width': the head {head!r} has no skip; leave it out, or take the head 'dl' or "
            f"'da-skip'"
        )
    made: Head
    if head == "none":
        made = PlainHead(encoder, classes)
    elif head == "dl":
        made = DeepLabHead(encoder, classes, 48 if skip_width is None else skip_width)
    elif head == "da":
        made = DualHead(encoder, classes)
    else:
        made = DualHead(encoder, classes, 16 if skip_width is None else skip_width)
    return EncoderDecoder(bands, classes, encoder, made)


def _stride(head: HeadName) -> Literal[16, 32]:
    """Output stride of the encoder under a head: Tables 1 and 2."""
    return 32 if head in ("da", "da-skip") else 16


def _mobilenetv2(
    *, bands: Bands, classes: Classes, head: HeadName = "da", skip_width: Width | None = None
) -> Network:
    encoder = mobilenetv2(bands, _stride(head))
    return _decoded(bands, classes, encoder, head=head, skip_width=skip_width)


def _mobilenetv3(size: Literal["large", "small"]) -> Callable[..., Network]:
    def factory(
        *,
        bands: Bands,
        classes: Classes,
        head: HeadName = "da",
        skip_width: Width | None = None,
        full_encoder: bool = False,
    ) -> Network:
        encoder = mobilenetv3(bands, size, _stride(head), full=full_encoder)
        return _decoded(bands, classes, encoder, head=head, skip_width=skip_width)

    return factory


def _resnet101(
    *,
    bands: Bands,
    classes: Classes,
    head: Literal["dl"] = "dl",
    skip_width: Width | None = None,
    full_encoder: bool = False,
) -> Network:
    encoder = resnet101(bands, full=full_encoder)
    return _decoded(bands, classes, encoder, head=head, skip_width=skip_width)


_SOURCE = "Xiao, Wang, Zhao, Chen, Dual ASPP: Tables 1-4"

DUAL_ASPP: Mapping[str, Architecture] = {
    "mobilenetv2": Architecture(_mobilenetv2, _SOURCE),
    "mobilenetv3-large": Architecture(_mobilenetv3("large"), _SOURCE),
    "mobilenetv3-small": Architecture(_mobilenetv3("small"), _SOURCE),
    "resnet101": Architecture(_resnet101, _SOURCE),
}
"""Networks of the family. Their arguments, beside ``bands`` and ``classes``:

* ``head``: a :data:`HeadName`, by default the dual ASPP (ResNet101 has "dl" alone). It decides the encoder's
  output stride.
* ``skip_width``: channels of the skip, by default 48 with "dl" and 16 with "da-skip" (where 19 fits the
  published figure as well).
* ``full_encoder``: also build what the published figures count and no output uses: of MobileNetV3 with "none"
  and "dl" the blocks after the tap and the last convolution, computed in vain; of ResNet101 the classifier,
  never computed. Such weights get no gradient: this is for comparing figures, and False by default.
"""

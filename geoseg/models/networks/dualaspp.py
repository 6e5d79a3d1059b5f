"""The networks of the dual ASPP paper: an encoder and a head by name.

Source: Xiao, Wang, Zhao, Chen, "Dual ASPP for Lightweight Semantic Segmentation on High-Resolution Image",
Tables 1 to 4. MobileNetV2 and ResNet101 are certain but for their dilations; what is inferred of MobileNetV3
stands in :mod:`geoseg.models.networks.mobilenetv3`, of the heads in :mod:`geoseg.models.networks.aspp`.
The paper's Xception65 is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.models.networks.architecture import Architecture, Bands, Classes, Row, Width
from geoseg.models.networks.aspp import DeepLabHead, DualHead, Head, PlainHead, enlarge, reduced
from geoseg.models.networks.encoder import Encoder
from geoseg.models.networks.mobilenet import mobilenetv2
from geoseg.models.networks.mobilenetv3 import mobilenetv3
from geoseg.models.networks.network import Network, Span, init_he
from geoseg.models.networks.resnet import resnet101

__all__ = ["DUAL_ASPP", "EncoderDecoder", "HeadName"]

HeadName = Literal["none", "dl", "da", "da-skip"]
"""No head, DeepLabV3+'s, dual ASPP, dual ASPP with a skip from 1/4."""


class EncoderDecoder(Network):
    """An encoder, a head on its features, bilinear upsampling to the input's size.

    Every upsampling is by a whole factor and cropped, so that any size will do and nothing depends on it.
    With image pooling or squeeze-and-excitation the network is global: each output depends on the whole
    input, and training needs batches of at least 2 images
    (:class:`~geoseg.models.networks.encoder.BatchNorm`).
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

    def local_reach(self, span: Span) -> Span:
        """Positions of the input that can influence these positions of the output other than by pooling."""
        return self.head.reach(self.encoder, reduced(span, self.head.stride))

    def reach(self, span: Span) -> Span | None:
        """See :meth:`Network.reach`."""
        parts = (self.head, self.encoder.quarter, self.encoder.eighth, self.encoder.deep)
        pools = any(isinstance(module, nn.AdaptiveAvgPool2d) for part in parts for module in part.modules())
        return None if pools else self.local_reach(span)


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


def _row(
    name: str, table: str, parameters: str | None, operations: str, miou: str | None, **arguments: Any
) -> Row:
    return Row(
        name,
        {"bands": 3, "classes": 19, **arguments},
        table,
        parameters=parameters,
        operations=operations,
        rule="thop",
        size=(1024, 2048),
        scores={} if miou is None else {"mIoU, Cityscapes val": miou},
    )


_SOURCE = "Xiao, Wang, Zhao, Chen, Dual ASPP: Tables 1-4"

DUAL_ASPP: Mapping[str, Architecture] = MappingProxyType(
    {
        "mobilenetv2": Architecture(
            _mobilenetv2,
            _SOURCE,
            (
                _row("MobileNetV2 + DA", "Tables 2 and 3, operations truncated", "2.16 M", "14.2 G", "73.38"),
                _row("MobileNetV2 + DL", "Tables 1 and 2", "2.72 M", "45.7 G", "72.23", head="dl"),
                _row("MobileNetV2", "Table 2, truncated", None, "20.9 G", "68.24", head="none"),
            ),
        ),
        "mobilenetv3-large": Architecture(
            _mobilenetv3("large"),
            _SOURCE,
            (
                _row("MobileNetV3-Large + DA", "Table 2, truncated", None, "10.8 G", "67.69"),
                _row(
                    *("MobileNetV3-Large + DL", "Tables 1 and 2", "2.14 M", "35.5 G", "66.74"),
                    head="dl",
                    full_encoder=True,
                ),
                _row(
                    *("MobileNetV3-Large", "Table 2, truncated", None, "11.8 G", "61.98"),
                    head="none",
                    full_encoder=True,
                ),
            ),
        ),
        "mobilenetv3-small": Architecture(
            _mobilenetv3("small"),
            _SOURCE,
            (
                _row("MobileNetV3-Small + DA", "Table 2, truncated", None, "4.2 G", "64.23"),
                _row(
                    "MobileNetV3-Small + DA + skip",
                    "Table 4, truncated",
                    None,
                    "8.6 G",
                    "63.94",
                    head="da-skip",
                ),
                _row(
                    *("MobileNetV3-Small + DL", "Tables 1 and 2", "1.03 M", "26.1 G", "62.03"),
                    head="dl",
                    full_encoder=True,
                ),
                _row(
                    *("MobileNetV3-Small", "Table 2, truncated", None, "3.2 G", "58.06"),
                    head="none",
                    full_encoder=True,
                ),
            ),
        ),
        "resnet101": Architecture(
            _resnet101,
            _SOURCE,
            (_row("ResNet101 + DL", "Table 1", "47.73 M", "458.5 G", None, full_encoder=True),),
        ),
    }
)
"""Networks of the family. Their arguments, beside ``bands`` and ``classes``:

* ``head``: a :data:`HeadName`, by default the dual ASPP (ResNet101 has "dl" alone). It decides the encoder's
  output stride.
* ``skip_width``: channels of the skip, by default 48 with "dl" and 16 with "da-skip" (where 19 fits the
  published figure as well).
* ``full_encoder``: also build what the published figures count and no output uses: of MobileNetV3 with "none"
  and "dl" the blocks after the tap and the last convolution, computed in vain; of ResNet101 the classifier,
  never computed. Such weights get no gradient: this is for comparing figures, and False by default.

Figures of Table 1 are rounded, operations of Tables 2 and 4 truncated to one decimal: ours for MobileNetV2
are 20.991, 45.697 and 14.290 G. ResNet101 has 47,736,747 weights where 47.73 M is printed.
"""

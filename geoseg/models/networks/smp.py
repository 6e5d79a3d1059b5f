"""Networks of segmentation-models-pytorch (SMP): any of its decoders on any of its encoders.

The library is imported when such a network is asked for, since it takes seconds. Two of its networks are in
Tables 3 and 4 of Cai, Zhang, "Finding a Faster UNet for Satellite Image Segmentation", there with encoders
pre-trained on ImageNet; their sizes and pass sizes agree to the digit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

import torch
from pydantic import Field, JsonValue
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.errors import BundleError
from geoseg.models.networks.architecture import Architecture, Bands, Classes, Row
from geoseg.models.networks.network import Network, Span
from geoseg.models.networks.receptive_field import Offsets, field_of_view
from geoseg.models.networks.smp_library import alignment_of, library, made_by_smp

__all__ = ["SMP", "SmpNetwork"]


class SmpNetwork(Network):
    """One of SMP's networks; its state has SMP's own names (``encoder.``, ``decoder.``, …).

    Sizes that are no multiple of the alignment are padded with zeros below and on the right; the logits are
    cropped. The radius is found by :func:`~geoseg.models.networks.receptive_field.field_of_view`: exact, or
    None where it cannot be shown (image pooling, squeeze and excitation, attention, group norm).

    Args:
        bands: input channels.
        classes: output channels.
        architecture: SMP's name of the decoder in small letters, such as ``unetplusplus``.
        encoder: SMP's or, after ``tu-``, timm's name.
        options: other parameters of SMP's class, such as ``{"decoder_channels": [128, 64, 32, 16, 8]}``.
        align_corners: how upsampling modules work. SMP aligns corners: a value then depends on its tile's
            size and its place in it, so geoseg does not; set it for weights that were trained so.

    Raises:
        BundleError: a name or an option that SMP or timm do not have, or a network made for one image size.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        architecture: str,
        encoder: str,
        options: Mapping[str, Any],
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.bands, self.classes = bands, classes
        self.recipe = (architecture, encoder, json.dumps(dict(options), sort_keys=True), align_corners)
        """All that decides the network but bands and classes: what :func:`made_by_smp` takes."""
        _offsets(*self.recipe)
        made = made_by_smp(*self.recipe, bands=bands, classes=classes)
        self.encoder, self.decoder, self.segmentation_head = (
            made.encoder,
            made.decoder,
            made.segmentation_head,
        )
        self.alignment = alignment_of(made)
        self._tokens = isinstance(made, library().DPT)

    def forward(self, pixels: Tensor) -> Tensor:
        """Float (N, bands, H, W) to logits (N, classes, H, W)."""
        height, width = pixels.shape[-2:]
        bottom, right = -height % self.alignment, -width % self.alignment
        if bottom or right:
            pixels = F.pad(pixels, (0, right, 0, bottom))
        features = self.encoder(pixels)
        # A vision transformer's features come with its tokens, and its decoder takes both.
        decoded = self.decoder(*features) if self._tokens else self.decoder(features)
        logits: Tensor = self.segmentation_head(decoded)
        return logits[..., :height, :width] if bottom or right else logits

    def reach(self, span: Span) -> Span | None:
        """See :meth:`Network.reach`."""
        offsets = _offsets(*self.recipe)
        if offsets is None:
            return None
        before, after = offsets.before[span.lo % self.alignment], offsets.after[span.hi % self.alignment]
        return Span(span.lo - before, span.hi + after)


@lru_cache(maxsize=64)
def _offsets(
    architecture: str,
    encoder: str,
    options: str,
    align_corners: bool,  # noqa: FBT001 - as SmpNetwork.recipe holds them
) -> Offsets | None:
    """How far a network looks, once it is seen to take images that are no square of a certain size."""
    with torch.device("meta"), torch.inference_mode():
        made = made_by_smp(architecture, encoder, options, align_corners, bands=3, classes=2).eval()
        stride = alignment_of(made)
        image = torch.empty(1, 3, 2 * stride, 3 * stride)
        try:
            size = tuple(made(image).shape[2:])
        except (RuntimeError, AssertionError, ValueError) as error:
            raise BundleError(
                f"SMP's {architecture} on the encoder {encoder!r} does not take images of any size: "
                f"{' '.join(str(error).split()):.200}"
            ) from error
    if size != image.shape[2:]:
        raise BundleError(
            f"SMP's {architecture} on the encoder {encoder!r} with the options {options:.200} makes maps of "
            f"{size[0]}×{size[1]} px of an image of {2 * stride}×{3 * stride} px"
        )
    return field_of_view(made, 3, stride)


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]{1,100}$")]
"""Of an encoder: with a : or / in it, timm would ask a hub for the network itself."""


def _smp(
    *,
    bands: Bands,
    classes: Classes,
    architecture: _Name = "unet",
    encoder: _Name = "resnet34",
    options: dict[str, JsonValue] | None = None,
    align_corners: bool = False,
) -> Network:
    return SmpNetwork(
        bands,
        classes,
        architecture=architecture,
        encoder=encoder,
        options=options or {},
        align_corners=align_corners,
    )


def _preset(architecture: str, encoder: str) -> Callable[..., Network]:
    def factory(*, bands: Bands, classes: Classes) -> Network:
        return SmpNetwork(bands, classes, architecture=architecture, encoder=encoder, options={})

    return factory


def _rows(name: str, parameters: str, pass_size: str, loveda: str, landcover: str) -> tuple[Row]:
    arguments, table = {"bands": 3, "classes": 5}, "Tables 3 and 4"
    scores = {"mIoU per image, LoveDA": loveda, "mIoU per image, LandCover.ai": landcover}
    return (Row(name, arguments, table, parameters, size=(512, 512), pass_size=pass_size, scores=scores),)


_SOURCE = "Cai, Zhang, Finding a Faster UNet: Tables 3 and 4, by segmentation-models-pytorch"

SMP: Mapping[str, Architecture] = {
    "unetpp-resnet34": Architecture(
        _preset("unetplusplus", "resnet34"),
        _SOURCE,
        _rows("UNet++ resnet34", "26,079,189", "3333.00", "28.81", "39.53"),
    ),
    "deeplabv3plus-resnet34": Architecture(
        _preset("deeplabv3plus", "resnet34"),
        _SOURCE,
        _rows("DeepLabV3+ resnet34", "22,438,485", "872.63", "25.71", "38.46"),
    ),
    "smp": Architecture(_smp, "segmentation-models-pytorch: any of its architectures and encoders"),
}
"""SMP's networks: the two of the Faster-UNet paper, and all."""

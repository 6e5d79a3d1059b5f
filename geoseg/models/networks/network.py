"""The interface of every segmentation network, its receptive field, and what the registry holds of it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Architecture",
    "Bands",
    "Classes",
    "Dilations",
    "EvenWidth",
    "Network",
    "Span",
    "Width",
    "init_he",
    "without_border",
]


class Span(NamedTuple):
    """An inclusive range of positions along one axis of a feature map.

    Each method answers: which positions of the input can reach this range of the output? Applied backwards
    through a network, they give the receptive field exactly, along one axis and borders aside.

    >>> Span(8, 8).widen(1).halved()
    Span(lo=14, hi=19)
    """

    lo: int
    hi: int

    def widen(self, radius: int) -> Span:
        """Through a stride-1 convolution that reaches so many positions to either side."""
        return Span(self.lo - radius, self.hi + radius)

    def halved(self) -> Span:
        """Through a 2-pixel pool of stride 2."""
        return Span(2 * self.lo, 2 * self.hi + 1)

    def strided(self, radius: int) -> Span:
        """Through a centered convolution of stride 2 that reaches so many positions to either side."""
        return Span(2 * self.lo - radius, 2 * self.hi + radius)

    def doubled(self) -> Span:
        """Through a transposed convolution of kernel 2 and stride 2."""
        return Span(self.lo // 2, self.hi // 2)

    def bilinear(self, factor: int = 2) -> Span:
        """Through bilinear upsampling by an even factor between pixel areas (``align_corners=False``)."""
        return Span(
            (2 * self.lo + 1 - factor) // (2 * factor), (2 * self.hi + 1 - factor) // (2 * factor) + 1
        )

    def join(self, other: Span) -> Span:
        """The smallest range that holds both."""
        return Span(min(self.lo, other.lo), max(self.hi, other.hi))


class Network(nn.Module, abc.ABC):
    """A segmentation network: float (N, bands, H, W) to logits (N, classes, H, W), any H and W.

    In training mode a network built with ``auxiliary=True`` returns a tuple: the logits, then those of its
    auxiliary heads, all at the input's size.
    """

    alignment: int  # tiles whose offsets are multiples of this number of pixels agree with each other
    bands: int
    classes: int

    @abc.abstractmethod
    def receptive_field(self, span: Span) -> Span | None:
        """Positions of the input that can influence these positions of the output; None: all of them."""

    @property
    def receptive_field_radius(self) -> int | None:
        """Farthest input pixel that can influence an output pixel: the worst side and phase, in pixels.

        None where every output depends on the whole input (image pooling, squeeze and excitation).
        """
        distances = []
        for phase in range(self.alignment):
            span = self.receptive_field(Span(phase, phase))
            if span is None:
                return None
            distances += [phase - span.lo, span.hi - phase]
        return max(distances)

    def __call__(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        """See :meth:`forward`."""
        return cast("Tensor | tuple[Tensor, ...]", super().__call__(pixels))


def init_he(network: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, its biases zero, in place.

    The standard deviation is √(2 / fan in), the fan in being the number of values of ``weight[0]``.

    Weights on the meta device have no values to draw: trying would import 900 modules of torch's compiler,
    which costs every process two seconds and 150 MB.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# A bundle may come from anywhere: sizes beyond any published network are refused before they are allocated.
Bands = Annotated[int, Field(ge=1, le=1024)]
Classes = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=4096)]
EvenWidth = Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
Dilations = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network family member that a bundle can name."""

    factory: Callable[..., Network]  # typed keyword arguments, bands and classes first; fresh random weights
    source: str  # paper and table


def without_border(logits: Tensor, classes: int) -> Tensor:
    """Logits (N, classes, H, W) of the classes alone: what the border's channel holds belongs to class 1.

    ``softmax`` of the result has the border's probability added to that of class 1.

    Args:
        logits: float (N, K, H, W) with K = ``classes``, or one more where the last is the border.
    """
    if logits.shape[1] == classes:
        return logits
    inside, border = logits[:, 1], logits[:, 2]
    # Not torch.logaddexp: what the ONNX exporter makes of it gives NaN.
    both = torch.maximum(inside, border) + functional.softplus(-(inside - border).abs())
    return torch.stack([logits[:, 0], both], 1)

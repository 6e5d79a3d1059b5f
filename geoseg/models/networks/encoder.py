"""Encoders: an image to features at a quarter, at an eighth and at the depth that a head works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from geoseg.errors import RunError
from geoseg.models.networks.network import Span

__all__ = ["BatchNorm", "Encoder", "Features", "conv_norm", "relu", "relu6"]

relu: Callable[[], nn.Module] = partial(nn.ReLU, inplace=True)
relu6: Callable[[], nn.Module] = partial(nn.ReLU6, inplace=True)


class BatchNorm(nn.BatchNorm2d):
    """torch's batch normalization, which says what to do where a batch gives one value per channel.

    Image pooling and squeeze-and-excitation normalize 1×1 maps, so a network with either trains on batches of
    at least 2 images; 2 give such a map the values ±1 and nothing between, 8 and more are better.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same.

        Raises:
            RunError: training on a single value per channel, which has no variance.
        """
        if self.training and features.numel() == features.shape[1]:
            count, _, height, width = features.shape
            raise RunError(
                f"batch normalization cannot train on a batch of {count} whose maps have {height}×{width} px "
                f"here: one value has no variance; use batches of at least 2 images"
            )
        return super().forward(features)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """Centered convolution without bias, batch normalization, and the activation if there is one.

    (N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉); the kernel's size is odd.
    """
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        BatchNorm(outputs),
    ]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation())


class Features(NamedTuple):
    """What an encoder hands to a head: float (N, C, ⌈H/stride⌉, ⌈W/stride⌉) each."""

    quarter: Tensor
    """At stride 4."""
    eighth: Tensor
    """At stride 8."""
    deep: Tensor
    """At the encoder's ``stride``."""


class Encoder(nn.Module):
    """A chain of blocks, tapped at three places.

    Every convolution or pool of more than one pixel lies on the one path from the image to the deepest tap,
    is centered and has stride 1 or 2; shortcuts around it see less. So the receptive field follows from the
    chain.

    Args:
        quarter: blocks from the image to 1/4.
        eighth: from there to 1/8.
        deep: from there to the deepest tap.
        widths: channels at the three taps.
        stride: input pixels per pixel of the deepest tap: 16 or 32.
        unused: blocks after the tap. They are computed, and no output depends on them: only published figures
            need them.
    """

    def __init__(
        self,
        quarter: Iterable[nn.Module],
        eighth: Iterable[nn.Module],
        deep: Iterable[nn.Module],
        *,
        widths: tuple[int, int, int],
        stride: int,
        unused: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.widths, self.stride = widths, stride
        self.quarter, self.eighth, self.deep = (nn.Sequential(*part) for part in (quarter, eighth, deep))
        self.unused = nn.Sequential(*unused)

    def forward(self, pixels: Tensor) -> Features:
        """Float (N, bands, H, W), any H and W, to its features."""
        quarter = self.quarter(pixels)
        eighth = self.eighth(quarter)
        deep = self.deep(eighth)
        if len(self.unused):
            # An in-place activation must not reach into the tap: the first layer is a convolution.
            self.unused(deep)
        return Features(quarter, eighth, deep)

    def reach(self, *, quarter: Span | None = None, eighth: Span | None = None, deep: Span) -> Span:
        """Positions of the image that can influence these positions of the features, pooling aside.

        Args:
            quarter: at 1/4; None: that tap is not used.
            eighth: at 1/8; None: that tap is not used.
            deep: at the deepest tap.
        """
        span = _before(self.deep, deep)
        span = _before(self.eighth, span if eighth is None else span.join(eighth))
        return _before(self.quarter, span if quarter is None else span.join(quarter))


def _before(blocks: nn.Sequential, span: Span) -> Span:
    """Positions at the start of a chain that can influence these positions at its end."""
    for layer in reversed(list(blocks.modules())):
        if isinstance(layer, nn.MaxPool2d):
            span = span.strided(1)
        elif isinstance(layer, nn.Conv2d) and layer.kernel_size[0] > 1:
            distance = layer.dilation[0] * (layer.kernel_size[0] // 2)
            span = span.widen(distance) if layer.stride[0] == 1 else span.strided(distance)
    return span

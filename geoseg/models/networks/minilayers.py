"""The modules that MiniNet is made of, as its paper names them.

Source: Liu et al. 2022, section 3; what it leaves open is chosen as in :mod:`geoseg.models.networks.mininet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

__all__ = [
    "DECODER_BRANCHES",
    "Activation",
    "Block",
    "Down",
    "Long",
    "Plain",
    "Pyramid",
    "Raise",
    "Stage",
    "upsample",
]

Activation = Literal["prelu", "relu"]

DECODER_BRANCHES = 2
"""Depthwise branches of a decoder level."""


def _activation(kind: Activation, channels: int) -> nn.Module:
    return nn.PReLU(channels) if kind == "prelu" else nn.ReLU(inplace=True)


def _conv1(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def upsample(features: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, H, W) to (N, C, *size), bilinear between pixel areas."""
    # Corners are not aligned: a value must not depend on where its tile lies or how large it is.
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


class Down(nn.Module):
    """SPP: max pool ‖ strided convolution, concatenated to ``outputs`` channels, then BN and activation.

    The pool branch is there only where it halves and the stage widens (``pool``, ``stride`` 2 and
    ``inputs < outputs``). The convolution is 3×3 in the first stage, later 1×1 followed by a depthwise 5×5.
    """

    def __init__(
        self, inputs: int, outputs: int, *, first: bool, pool: bool, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        pooled = pool and stride > 1 and inputs < outputs
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pooled else None
        width = outputs - inputs if self.pool is not None else outputs
        if first:
            self.conv = nn.Sequential(nn.Conv2d(inputs, width, 3, 2, 1, bias=False))
        else:
            depthwise = nn.Conv2d(width, width, 5, stride, 2, groups=width, bias=False)
            self.conv = nn.Sequential(_conv1(inputs, width), depthwise)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = _activation(activation, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ⌈H/2⌉, ⌈W/2⌉)."""
        branch = self.conv(features)
        if self.pool is not None:
            branch = torch.cat([self.pool(features), branch], 1)
        output: Tensor = self.activation(self.norm(branch))
        return output


class Pyramid(nn.Module):
    """1×1 convolution, then the sum of depthwise 3×3 convolutions with dilations 1, 2, 4 …, then BN."""

    def __init__(self, inputs: int, outputs: int, branches: int) -> None:
        super().__init__()
        self.conv = _conv1(inputs, outputs)
        self.branches = nn.ModuleList(
            nn.Conv2d(outputs, outputs, 3, padding=2**k, dilation=2**k, groups=outputs, bias=False)
            for k in range(branches)
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W); the residual is added before BN."""
        squeezed = self.conv(features)
        total: Tensor = self.branches[0](squeezed)
        for branch in list(self.branches)[1:]:
            total = total + branch(squeezed)
        output: Tensor = self.norm(total if residual is None else total + residual)
        return output


class Plain(nn.Module):
    """3×3 convolution, then BN: the first stage's block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, channels, H, W) to the same; the residual is added before BN."""
        output = self.conv(features)
        normed: Tensor = self.norm(output if residual is None else output + residual)
        return normed


class Block(nn.Module):
    """A body with its short residual, then the activation."""

    def __init__(self, body: nn.Module, channels: int, *, short: bool, activation: Activation) -> None:
        super().__init__()
        self.body = body
        self.short = short
        self.activation = _activation(activation, channels)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        output: Tensor = self.activation(self.body(features, features if self.short else None))
        return output


class Long(nn.Module):
    """Residual over a whole stage: activation(BN(BN(1×1(first)) + last))."""

    def __init__(self, inputs: int, channels: int, activation: Activation) -> None:
        super().__init__()
        self.conv = _conv1(inputs, channels)
        self.inner = nn.BatchNorm2d(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = _activation(activation, channels)

    def forward(self, first: Tensor, last: Tensor) -> Tensor:
        """Output of the stage's downsampling and of its last block, (N, channels, H, W) each."""
        output: Tensor = self.activation(self.norm(self.inner(self.conv(first)) + last))
        return output


class Stage(nn.Module):
    """Downsampling, blocks, and the residual over all of these."""

    def __init__(self, down: nn.Module, blocks: nn.Sequential, long: nn.Module | None) -> None:
        super().__init__()
        self.down, self.blocks, self.long = down, blocks, long

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H/2, W/2), rounded up."""
        first = self.down(features)
        last: Tensor = self.blocks(first)
        return last if self.long is None else self.long(first, last)


class Raise(nn.Module):
    """A decoder level: activation(BN(1×1(encoder's)) + pyramid(upsampled deeper level)).

    ``same``: both have the same size, nothing is upsampled.
    """

    def __init__(self, width: int, deeper: int, outputs: int, *, same: bool, activation: Activation) -> None:
        super().__init__()
        self._same = same
        self.lateral = nn.Sequential(_conv1(width, outputs), nn.BatchNorm2d(outputs))
        self.top = Pyramid(deeper, outputs, DECODER_BRANCHES)
        self.activation = _activation(activation, outputs)

    def forward(self, features: Tensor, deeper: Tensor) -> Tensor:
        """Encoder's map at this level and decoder's map one level deeper to this level's map."""
        lateral = self.lateral(features)
        raised = deeper if self._same else upsample(deeper, lateral.shape[-2:])
        output: Tensor = self.activation(lateral + self.top(raised))
        return output

"""MiniNet: multi-scale depthwise features in a hundred or two hundred thousand weights.

Source: Liu et al., "Efficient Multi-Scale Feature Extraction for Lightweight Semantic Segmentation",
Chinese Journal of Computers 2022. Where the paper is silent, the choice here is one that reproduces all its
published parameter and operation counts (Tables 1, 2 and 4). Others do so too: a second normalization in
each SPP and none behind the long residual's 1×1 convolution; or both, and in each SPP two dilated 3×3
depthwise branches instead of the 5×5 one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.errors import BundleError
from geoseg.models.networks.network import Architecture, Bands, Classes, Network, Span, Width, init_he

__all__ = ["MININET", "MiniNet"]

Activation = Literal["prelu", "relu"]

DECODER_BRANCHES = 2  # depthwise, of a decoder level


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
    """1×1 convolution, then the sum of depthwise 3×3 convolutions with dilations 1, 2, 4 …, then BN.

    Without branches (the first stage's block) it is a 3×3 convolution, then BN.
    """

    def __init__(self, inputs: int, outputs: int, branches: int) -> None:
        super().__init__()
        kernel = 1 if branches else 3
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv2d(outputs, outputs, 3, padding=2**k, dilation=2**k, groups=outputs, bias=False)
            for k in range(branches)
        )
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W); the residual is added before BN."""
        squeezed = self.conv(features)
        total: Tensor = self.branches[0](squeezed) if len(self.branches) else squeezed
        for branch in list(self.branches)[1:]:
            total = total + branch(squeezed)
        output: Tensor = self.norm(total if residual is None else total + residual)
        return output


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


Downsampling = Literal["both", "conv", "pool"]

_BRANCHES = (0, 3, 4, 4)
"""Depthwise branches of a block, per stage; the first stage has plain residual blocks."""
_CAPS = (32, 64, 128)  # widest decoder level at 1/2, 1/4, 1/8: only the wide rows of Table 2(g) reach them


class MiniNet(Network):
    """Four stages at 1/2 … 1/16, a light decoder back to 1/2, bilinear upsampling to the input's size.

    Args:
        widths: channels of the four stages; #1 is (16, 32, 64, 64), #2 (16, 32, 64, 96) (Table 2(g)).
        blocks: blocks of the four stages; #1 is (2, 2, 3, 4), #2 (2, 2, 3, 10) (Table 2(h)).
        activation: with a slope per channel, or plain (Table 2(f)).
        down: how stages shrink their input (Table 2(c)): pool and convolution side by side; the convolution
            alone; or a bare pool, where the first block of stages 2 to 4 widens (without its short residual)
            and the first stage has its convolution.
        stride: of the last stage's output; 8 leaves it at the size of the third stage's (Table 2(a)).
        short: whether blocks have their residual (Table 2(b)).
        long: whether stages have their residual (Table 2(b)).
        decoder: without it the head is on the last stage (Table 2(e)).
        auxiliary: with heads at 1/16, 1/8 and 1/4 for deep supervision (Table 2(d)); they speak in training
            mode only, are the last modules built, and without them the rest has the same state.

    Raises:
        BundleError: bare pools with a stage without blocks, or deep supervision without a decoder.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        activation: Activation = "prelu",
        down: Downsampling = "both",
        stride: Literal[8, 16] = 16,
        short: bool = True,
        long: bool = True,
        decoder: bool = True,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        if down == "pool" and not all(blocks[1:]):
            raise BundleError("argument 'blocks': with down='pool' stages 2 to 4 need a block each, to widen")
        if auxiliary and not decoder:
            raise BundleError(
                "argument 'auxiliary': deep supervision is of a decoder's levels; it needs decoder"
            )
        self.bands, self.classes, self.alignment = bands, classes, stride
        self._blocks, self._pool_only = tuple(blocks), down == "pool"
        self._strides = (2, 2, 2, stride // 8)
        self.stages = nn.ModuleList()
        for k, (width, branches) in enumerate(zip(widths, _BRANCHES, strict=True)):
            inputs, halved = (widths[k - 1] if k else bands), self._strides[k]
            bare = self._pool_only and k > 0
            start: nn.Module
            if bare:
                start = nn.MaxPool2d(2, ceil_mode=True) if halved > 1 else nn.Identity()
            else:
                start = Down(
                    inputs, width, first=not k, pool=down == "both", stride=halved, activation=activation
                )
            chain = nn.Sequential()
            for block in range(blocks[k]):
                widens = bare and not block
                body = Pyramid(inputs if widens else width, width, branches)
                chain.append(Block(body, width, short=short and not widens, activation=activation))
            joined = Long(inputs if bare else width, width, activation) if long else None
            self.stages.append(Stage(start, chain, joined))
        levels = [*(min(d, cap) for d, cap in zip(widths[1:], _CAPS, strict=True)), widths[-1]]
        self.decoder = nn.ModuleList()
        if decoder:
            self.decoder.extend(
                Raise(
                    widths[k], levels[k + 1], levels[k], same=self._strides[k + 1] == 1, activation=activation
                )
                for k in range(len(_CAPS))
            )
        self.head = nn.Conv2d(levels[0] if decoder else levels[-1], classes, 1)
        init_he(self)
        self.auxiliary = nn.ModuleList()
        if auxiliary:
            self.auxiliary.extend(nn.Conv2d(width, classes, 1) for width in levels[1:])
            init_he(self.auxiliary)

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Float (N, bands, H, W) to logits (N, classes, H, W).

        In training mode with ``auxiliary``: a tuple of four, from the decoder at 1/2, 1/4, 1/8 and from the
        last stage at 1/16 (the paper weighs them 1, 0.4, 0.4, 0.4).
        """
        size = pixels.shape[-2:]
        features = pixels
        encoded: list[Tensor] = []
        for stage in self.stages:
            features = stage(features)
            encoded.append(features)
        decoded = [encoded.pop()]
        for level in reversed(self.decoder):
            decoded.append(level(encoded.pop(), decoded[-1]))
        decoded.reverse()
        logits = upsample(self.head(decoded[0]), size)
        if not (self.training and len(self.auxiliary)):
            return logits
        others = zip(self.auxiliary, decoded[1:], strict=True)
        return (logits, *(upsample(head(features), size) for head, features in others))

    def receptive_field(self, span: Span) -> Span:
        """See :meth:`Network.receptive_field`."""
        decoder_radius = 2 ** (DECODER_BRANCHES - 1)
        spans: list[Span] = []
        if len(self.decoder):
            spans.append(span.bilinear())
            for stride in self._strides[1:]:
                deeper = spans[-1].widen(decoder_radius)
                spans.append(deeper if stride == 1 else deeper.bilinear())
            needed = spans.pop()
        else:
            needed = span.bilinear(self.alignment)
        for k in range(len(_BRANCHES) - 1, -1, -1):
            block_radius = 2 ** (_BRANCHES[k] - 1) if _BRANCHES[k] else 1
            needed = self._before_down(k, needed.widen(self._blocks[k] * block_radius))
            if spans:
                needed = needed.join(spans.pop()) if k else needed
        return needed

    def _before_down(self, k: int, span: Span) -> Span:
        """A stage's input that its downsampling looks at."""
        if self._pool_only and k:
            return span.halved() if self._strides[k] > 1 else span
        return span.widen(2) if self._strides[k] == 1 else span.strided(2 if k else 1).join(span.halved())


_Blocks = Annotated[int, Field(ge=0, le=64)]
_FourWidths = tuple[Width, Width, Width, Width]
_FourBlocks = tuple[_Blocks, _Blocks, _Blocks, _Blocks]


def _member(four_widths: _FourWidths, four_blocks: _FourBlocks) -> Callable[..., Network]:
    """The factory of a member whose widths and blocks, if not given, are these."""

    def factory(
        *,
        bands: Bands,
        classes: Classes,
        widths: _FourWidths = four_widths,
        blocks: _FourBlocks = four_blocks,
        activation: Activation = "prelu",
        down: Downsampling = "both",
        stride: Literal[8, 16] = 16,
        short: bool = True,
        long: bool = True,
        decoder: bool = True,
        auxiliary: bool = False,
    ) -> Network:
        return MiniNet(
            bands,
            classes,
            widths=widths,
            blocks=blocks,
            activation=activation,
            down=down,
            stride=stride,
            short=short,
            long=long,
            decoder=decoder,
            auxiliary=auxiliary,
        )

    return factory


MININET: Mapping[str, Architecture] = {
    "mininet-1": Architecture(
        _member((16, 32, 64, 64), (2, 2, 3, 4)), "Liu et al. 2022, MiniNet #1: Table 1"
    ),
    "mininet-2": Architecture(
        _member((16, 32, 64, 96), (2, 2, 3, 10)), "Liu et al. 2022, MiniNet #2: Tables 1 and 2"
    ),
}

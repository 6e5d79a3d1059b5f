"""MobileNetV3 as an encoder, in the layout of its first arXiv version.

Source: Howard et al., "Searching for MobileNetV3", arXiv 1905.02244v1, Tables 1 and 2, as the Dual ASPP paper
must have used it. That paper does not describe its encoders: squeeze-and-excitation after the projection, a
1×1 expansion in every block, shortcut convolutions and the taps are inferred from its figures, and not all of
them are equally sure:

* Heads "none" and "dl": one definition gives three independent figures for Large and three for Small. It runs
  the encoder to its end at 1/32 and takes the deep features on the way, at 1/16: from block 13 of Large (160
  channels) and block 6 of Small (40). Two others fit as well: the same without BN inside
  squeeze-and-excitation, and, for Small alone, a tap at block 8 without that BN and shortcut convolutions.
* Head "da": fitted to one figure each. No single encoder gives this and the above; here the last 1×1
  convolution is absent, and Large has its last stride in block 13 instead of 14. For Large, blocks as in the
  published MobileNetV3 (960 expanded channels in block 14, no expansion in block 1, no shortcut convolutions)
  fit as well.

torchvision's MobileNetV3 (squeeze-and-excitation on the expanded channels) is another network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from geoseg.models.networks.encoder import Encoder, conv_norm, relu

__all__ = ["Block", "SqueezeExcite", "mobilenetv3"]

_STEM = 16
_SQUEEZE = 4


class _Row(NamedTuple):
    """A row of the paper's tables."""

    kernel: int
    expanded: int
    outputs: int
    excite: bool
    swish: bool
    stride: int


_LARGE = (
    _Row(3, 16, 16, excite=False, swish=False, stride=1),
    _Row(3, 64, 24, excite=False, swish=False, stride=2),
    _Row(3, 72, 24, excite=False, swish=False, stride=1),
    _Row(5, 72, 40, excite=True, swish=False, stride=2),
    _Row(5, 120, 40, excite=True, swish=False, stride=1),
    _Row(5, 120, 40, excite=True, swish=False, stride=1),
    _Row(3, 240, 80, excite=False, swish=True, stride=2),
    _Row(3, 200, 80, excite=False, swish=True, stride=1),
    _Row(3, 184, 80, excite=False, swish=True, stride=1),
    _Row(3, 184, 80, excite=False, swish=True, stride=1),
    _Row(3, 480, 112, excite=True, swish=True, stride=1),
    _Row(3, 672, 112, excite=True, swish=True, stride=1),
    _Row(5, 672, 160, excite=True, swish=True, stride=1),
    _Row(5, 672, 160, excite=True, swish=True, stride=2),
    _Row(5, 960, 160, excite=True, swish=True, stride=1),
)
_LARGE_DUAL = (
    *_LARGE[:12],
    _LARGE[12]._replace(stride=2),
    _LARGE[13]._replace(stride=1),
    _LARGE[14],
)
_SMALL = (
    _Row(3, 16, 16, excite=True, swish=False, stride=2),
    _Row(3, 72, 24, excite=False, swish=False, stride=2),
    _Row(3, 88, 24, excite=False, swish=False, stride=1),
    _Row(5, 96, 40, excite=True, swish=True, stride=2),
    _Row(5, 240, 40, excite=True, swish=True, stride=1),
    _Row(5, 240, 40, excite=True, swish=True, stride=1),
    _Row(5, 120, 48, excite=True, swish=True, stride=1),
    _Row(5, 144, 48, excite=True, swish=True, stride=1),
    _Row(5, 288, 96, excite=True, swish=True, stride=2),
    _Row(5, 576, 96, excite=True, swish=True, stride=1),
    _Row(5, 576, 96, excite=True, swish=True, stride=1),
)


class SqueezeExcite(nn.Module):
    """Each channel times a factor that the whole image decides.

    Global average pool, 1×1 to a quarter of the channels, BN, ReLU, 1×1 back, BN, hard sigmoid; no biases.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = conv_norm(channels, channels // _SQUEEZE, activation=relu)
        self.excite = conv_norm(channels // _SQUEEZE, channels, activation=nn.Hardsigmoid)

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        factor: Tensor = self.excite(self.squeeze(self.pool(features)))
        return features * factor


class Block(nn.Module):
    """1×1 expansion, depthwise k×k, 1×1 projection, squeeze-and-excitation if any; plus a shortcut.

    The shortcut is the input where it fits, a 1×1 convolution with BN where only the channels differ, and
    absent where the block has a stride.
    """

    def __init__(self, inputs: int, row: _Row) -> None:
        super().__init__()
        activation = nn.Hardswish if row.swish else relu
        width = row.expanded
        self.body = nn.Sequential(
            conv_norm(inputs, width, activation=activation),
            conv_norm(width, width, row.kernel, stride=row.stride, groups=width, activation=activation),
            conv_norm(width, row.outputs),
            *([SqueezeExcite(row.outputs)] if row.excite else []),
        )
        self.shortcut: nn.Module | None = None
        if row.stride == 1:
            self.shortcut = nn.Identity() if inputs == row.outputs else conv_norm(inputs, row.outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        output: Tensor = self.body(features)
        return output if self.shortcut is None else output + self.shortcut(features)


class _Plan(NamedTuple):
    """Which blocks there are, and after how many of them the taps are."""

    rows: Sequence[_Row]
    taps: tuple[int, int, int]
    stride: int
    last: int | None
    """Channels of the last 1×1 convolution, if there is one."""


_PLANS = {
    ("large", 16): _Plan(_LARGE, (3, 6, 13), 16, 960),
    ("large", 32): _Plan(_LARGE_DUAL, (3, 6, 15), 32, None),
    ("small", 16): _Plan(_SMALL, (1, 3, 6), 16, 576),
    ("small", 32): _Plan(_SMALL, (1, 3, 11), 32, None),
}


def mobilenetv3(
    bands: int, size: Literal["large", "small"], stride: Literal[16, 32], *, full: bool = False
) -> Encoder:
    """An encoder whose squeeze-and-excitation lets the whole image decide.

    Channels at 1/4, 1/8 and the deepest tap: Large 24, 40 and 160; Small 16, 24 and 40 (1/16) or 96 (1/32).

    Args:
        bands: input channels.
        size: of the two networks of the paper.
        stride: 16: tapped on the way to 1/32; 32: its end is the tap.
        full: at stride 16, with the blocks after the tap and the last 1×1 convolution, which no output uses
            and the published figures count.
    """
    plan = _PLANS[size, stride]
    blocks: list[nn.Module] = [conv_norm(bands, _STEM, 3, stride=2, activation=nn.Hardswish)]
    inputs = _STEM
    quarter, eighth, deep = plan.taps
    for row in plan.rows[: None if full else deep]:
        blocks.append(Block(inputs, row))
        inputs = row.outputs
    if full and plan.last is not None:
        blocks.append(conv_norm(inputs, plan.last, activation=nn.Hardswish))
    return Encoder(
        blocks[: quarter + 1],
        blocks[quarter + 1 : eighth + 1],
        blocks[eighth + 1 : deep + 1],
        widths=(plan.rows[quarter - 1].outputs, plan.rows[eighth - 1].outputs, plan.rows[deep - 1].outputs),
        stride=plan.stride,
        unused=blocks[deep + 1 :],
    )

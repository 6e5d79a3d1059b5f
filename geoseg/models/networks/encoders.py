"""Encoders: an image to features at a quarter, at an eighth and at the depth that a head works on.

MobileNetV2, MobileNetV3 in the layout of its first arXiv version, and ResNet101. torchvision's MobileNetV3
(squeeze-and-excitation on the expanded channels) is another network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Literal, NamedTuple

from torch import Tensor, nn

from geoseg.errors import RunError
from geoseg.models.networks.network import Span

__all__ = [
    "Encoder",
    "EncoderFeatures",
    "InvertedResidual",
    "conv_norm",
    "mobilenetv2",
    "mobilenetv3",
    "relu",
    "relu6",
    "resnet101",
]

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


class EncoderFeatures(NamedTuple):
    """What an encoder hands to a head: float (N, C, ⌈H/stride⌉, ⌈W/stride⌉) each."""

    quarter: Tensor  # at stride 4
    eighth: Tensor  # at stride 8
    deep: Tensor  # at the encoder's ``stride``


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

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Float (N, bands, H, W), any H and W, to its features."""
        quarter = self.quarter(pixels)
        eighth = self.eighth(quarter)
        deep = self.deep(eighth)
        if len(self.unused):
            # An in-place activation must not reach into the tap: the first layer is a convolution.
            self.unused(deep)
        return EncoderFeatures(quarter, eighth, deep)

    def receptive_field(self, *, quarter: Span | None = None, eighth: Span | None = None, deep: Span) -> Span:
        """Positions of the image that can influence these of the features (None: unused), pooling aside."""
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


_V2_STEM = 32
_V2_GROUPS = (  # expansion, channels, blocks, stride of the first one: Table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_V2_QUARTER, _V2_EIGHTH = 2, 3  # groups up to the taps at 1/4 (24 channels) and 1/8 (32)
_V2_DILATED = 160
"""At output stride 16 the group with so many channels keeps its input's size; from it on, each group's first
block is dilated."""


class InvertedResidual(nn.Module):
    """1×1 expansion (if any), depthwise, 1×1 projection without activation; plus the input if it fits."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, *, dilation: int = 1, kernel: int = 3
    ) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [conv_norm(inputs, width, activation=relu6)] if expansion > 1 else []
        depthwise = conv_norm(
            width, width, kernel, stride=stride, dilation=dilation, groups=width, activation=relu6
        )
        self.body = nn.Sequential(*layers, depthwise, conv_norm(width, outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        output: Tensor = self.body(features)
        return features + output if self.shortcut else output


def mobilenetv2(bands: int, stride: Literal[16, 32]) -> Encoder:
    """MobileNetV2: 1,811,712 weights for three bands; 24, 32, 320 channels at 1/4, 1/8 and the deepest tap.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, Table 2,
    width 1, without the last 1280-channel convolution: the layers, and the state's order, of torchvision's
    ``mobilenet_v2().features[:-1]``.

    Which blocks are dilated at stride 16 is open: the Dual ASPP paper does not say, and no count depends on
    it. Here they are the first with 160 channels and the one with 320, by 2.

    Args:
        stride: output stride: 32 is natural, 16 keeps the groups of 160 and 320 channels at 1/16.
    """
    groups: list[list[nn.Module]] = [[conv_norm(bands, _V2_STEM, 3, stride=2, activation=relu6)]]
    inputs = _V2_STEM
    for expansion, outputs, count, first in _V2_GROUPS:
        held = stride == 16 and outputs >= _V2_DILATED  # noqa: PLR2004 - the output stride that the name says
        group: list[nn.Module] = []
        for k in range(count):
            step = first if k == 0 and not held else 1
            dilation = 2 if k == 0 and held else 1
            group.append(InvertedResidual(inputs, outputs, expansion, step, dilation=dilation))
            inputs = outputs
        groups.append(group)
    quarter, eighth = _V2_QUARTER + 1, _V2_EIGHTH + 1
    return Encoder(
        chain.from_iterable(groups[:quarter]),
        chain.from_iterable(groups[quarter:eighth]),
        chain.from_iterable(groups[eighth:]),
        widths=(_V2_GROUPS[_V2_QUARTER - 1][1], _V2_GROUPS[_V2_EIGHTH - 1][1], _V2_GROUPS[-1][1]),
        stride=stride,
    )


_V3_STEM = 16
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
_LARGE_DUAL = (*_LARGE[:12], _LARGE[12]._replace(stride=2), _LARGE[13]._replace(stride=1), _LARGE[14])
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
    last: int | None  # channels of the last 1×1 convolution, if there is one


_PLANS = {
    ("large", 16): _Plan(_LARGE, (3, 6, 13), 16, 960),
    ("large", 32): _Plan(_LARGE_DUAL, (3, 6, 15), 32, None),
    ("small", 16): _Plan(_SMALL, (1, 3, 6), 16, 576),
    ("small", 32): _Plan(_SMALL, (1, 3, 11), 32, None),
}


def mobilenetv3(
    bands: int, size: Literal["large", "small"], stride: Literal[16, 32], *, full: bool = False
) -> Encoder:
    """MobileNetV3, whose squeeze-and-excitation makes every output depend on the whole image.

    Source: Howard et al., "Searching for MobileNetV3", arXiv 1905.02244v1, Tables 1 and 2, as the Dual ASPP
    paper must have used it. That paper does not describe its encoders: squeeze-and-excitation after the
    projection, a 1×1 expansion in every block, shortcut convolutions and the taps are inferred from its
    figures, and not all of them are equally sure:

    * Heads "none" and "dl": one definition gives three independent figures for Large and three for Small. It
      runs the encoder to its end at 1/32 and takes the deep features on the way, at 1/16: from block 13 of
      Large (160 channels) and block 6 of Small (40). Two others fit as well: the same without BN inside
      squeeze-and-excitation, and, for Small alone, a tap at block 8 without that BN and shortcut
      convolutions.
    * Head "da": fitted to one figure each. No single encoder gives this and the above; here the last 1×1
      convolution is absent, and Large has its last stride in block 13 instead of 14. For Large, blocks as in
      the published MobileNetV3 (960 expanded channels in block 14, no expansion in block 1, no shortcut
      convolutions) fit as well.

    Channels at 1/4, 1/8 and the deepest tap: Large 24, 40 and 160; Small 16, 24 and 40 (1/16) or 96 (1/32).

    Args:
        stride: 16: tapped on the way to 1/32; 32: its end is the tap.
        full: at stride 16, with the blocks after the tap and the last 1×1 convolution, which no output uses
            and the published figures count.
    """
    plan = _PLANS[size, stride]
    blocks: list[nn.Module] = [conv_norm(bands, _V3_STEM, 3, stride=2, activation=nn.Hardswish)]
    inputs = _V3_STEM
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


_RESNET_STEM = 64
_BOTTLENECK_EXPANSION = 4
_IMAGENET_CLASSES = 1000
_RESNET_STAGES = ((64, 3, 1), (128, 4, 2), (256, 23, 2), (512, 3, 1))  # width, blocks, stride of the first


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 to four times the width, plus the input (or its 1×1 convolution), then ReLU."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = _BOTTLENECK_EXPANSION * width
        self.body = nn.Sequential(
            conv_norm(inputs, width, activation=relu),
            conv_norm(width, width, 3, stride=stride, dilation=dilation, activation=relu),
            conv_norm(width, outputs),
        )
        fits = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if fits else conv_norm(inputs, outputs, stride=stride)
        self.activation = relu()

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4·width, ⌈H/stride⌉, ⌈W/stride⌉)."""
        output: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return output


def resnet101(bands: int, *, full: bool = False) -> Encoder:
    """ResNet101: 42,500,160 weights for three bands; 256, 512 and 2048 channels at 1/4, 1/8 and 1/16.

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1, with the stride of
    a bottleneck in its 3×3 convolution: the layers, and the state's order, of torchvision's ``resnet101``
    with ``replace_stride_with_dilation=[False, False, True]``.

    The last stage keeps its input's size; its second and third block are dilated by 2. Which blocks are
    dilated is open: the Dual ASPP paper does not say, and no count depends on it.

    Args:
        full: with ImageNet's classifier, which nothing computes and the published size counts.
    """
    stem: list[nn.Module] = [
        nn.Conv2d(bands, _RESNET_STEM, 7, 2, 3, bias=False),
        BatchNorm(_RESNET_STEM),
        relu(),
        nn.MaxPool2d(3, 2, 1),
    ]
    stages: list[list[nn.Module]] = []
    inputs = _RESNET_STEM
    for number, (width, count, first) in enumerate(_RESNET_STAGES):
        stage: list[nn.Module] = []
        for k in range(count):
            dilation = 2 if number == len(_RESNET_STAGES) - 1 and k else 1
            stage.append(Bottleneck(inputs, width, first if k == 0 else 1, dilation))
            inputs = _BOTTLENECK_EXPANSION * width
        stages.append(stage)
    quarter, eighth, *deep = stages
    widths = (
        _BOTTLENECK_EXPANSION * _RESNET_STAGES[0][0],
        _BOTTLENECK_EXPANSION * _RESNET_STAGES[1][0],
        inputs,
    )
    encoder = Encoder([*stem, *quarter], eighth, chain.from_iterable(deep), widths=widths, stride=16)
    if full:
        encoder.classifier = nn.Linear(inputs, _IMAGENET_CLASSES)
    return encoder

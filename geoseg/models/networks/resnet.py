"""ResNet101 as an encoder of output stride 16.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Table 1, with the stride of a
bottleneck in its 3×3 convolution: the layers, and the state's order, of torchvision's ``resnet101`` with
``replace_stride_with_dilation=[False, False, True]``.
"""

from __future__ import annotations

from itertools import chain

from torch import Tensor, nn

from geoseg.models.networks.encoder import BatchNorm, Encoder, conv_norm, relu

__all__ = ["Bottleneck", "resnet101"]

_STEM = 64
_EXPANSION = 4
_CLASSES = 1000
"""Of ImageNet."""
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 23, 2), (512, 3, 1))  # width, blocks, stride of the first


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 to four times the width, plus the input (or its 1×1 convolution), then ReLU."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = _EXPANSION * width
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
    """42,500,160 weights for three bands; 256, 512 and 2048 channels at 1/4, 1/8 and 1/16.

    The last stage keeps its input's size; its second and third block are dilated by 2. Which blocks are
    dilated is open: the Dual ASPP paper does not say, and no count depends on it.

    Args:
        bands: input channels.
        full: with ImageNet's classifier, which nothing computes and the published size counts.
    """
    stem: list[nn.Module] = [
        nn.Conv2d(bands, _STEM, 7, 2, 3, bias=False),
        BatchNorm(_STEM),
        relu(),
        nn.MaxPool2d(3, 2, 1),
    ]
    stages: list[list[nn.Module]] = []
    inputs = _STEM
    for number, (width, count, first) in enumerate(_STAGES):
        stage: list[nn.Module] = []
        for k in range(count):
            dilation = 2 if number == len(_STAGES) - 1 and k else 1
            stage.append(Bottleneck(inputs, width, first if k == 0 else 1, dilation))
            inputs = _EXPANSION * width
        stages.append(stage)
    quarter, eighth, *deep = stages
    widths = (_EXPANSION * _STAGES[0][0], _EXPANSION * _STAGES[1][0], inputs)
    encoder = Encoder([*stem, *quarter], eighth, chain.from_iterable(deep), widths=widths, stride=16)
    if full:
        encoder.classifier = nn.Linear(inputs, _CLASSES)
    return encoder

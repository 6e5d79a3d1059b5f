"""Gradients of the precisions agree."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from geoseg.models.networks.registry import build
from geoseg.training.precision import TrainingRuntime

pytestmark = pytest.mark.slow


def weight_gradient(conv: nn.Conv2d, image: torch.Tensor, precision: str) -> torch.Tensor:
    runtime = TrainingRuntime.resolve("cpu", precision)
    layout = runtime.layout(conv)
    twin = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        cast("tuple[int, int]", conv.kernel_size),
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        bias=False,
    ).to(memory_format=layout)
    twin.load_state_dict({"weight": conv.weight})
    with runtime.settings(), runtime.autocast():
        output = twin(image.contiguous(memory_format=layout)).float()
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    (output * noise).sum().backward()
    assert twin.weight.grad is not None
    return twin.weight.grad


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("mininet-2", {}),
        ("micronet", {}),
        ("mobilenetv2", {"head": "da"}),
        ("mobilenetv3-small", {"head": "dl"}),
    ],
)
def test_weight_gradients_in_bf16_are_those_of_fp32_but_for_rounding(
    architecture: str, arguments: dict[str, str]
) -> None:
    """MiniNet found it: oneDNN's bf16 gradient of dilated depthwise weights is wrong in channels last."""
    torch.manual_seed(0)
    network = build(architecture, bands=3, classes=2, **arguments)
    kinds = {
        (conv.in_channels, conv.kernel_size, conv.dilation, conv.stride): conv
        for conv in network.modules()
        if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1)
    }
    for kind, conv in kinds.items():
        image = torch.randn(2, conv.in_channels, 48, 48, generator=torch.Generator().manual_seed(1))
        exact = weight_gradient(conv, image, "fp32")
        rounded = weight_gradient(conv, image, "bf16")
        assert float((rounded - exact).abs().max() / exact.abs().max()) < 0.03, kind

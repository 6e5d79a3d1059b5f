"""The receptive field by gradient: an oracle for what networks say of it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it


class Linear(nn.Module):
    """A convolution's support: the sum over its channels, through a kernel of equal positive weights."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.geometry: dict[str, Any] = {
            "stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation
        }  # fmt: skip
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        if self.transposed:
            self.geometry["output_padding"] = conv.output_padding
        self.weight = torch.full((1, 1, *conv.kernel_size), 1 / max(conv.kernel_size), dtype=torch.float64)

    def forward(self, features: Tensor) -> Tensor:
        through = F.conv_transpose2d if self.transposed else F.conv2d
        return through(features.sum(1, keepdim=True), self.weight, **self.geometry)


def made_linear(module: nn.Module) -> nn.Module:
    """Positive weights, norms and activations identities, max pools averages: what is seen has a gradient."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            setattr(module, name, Linear(child))
        elif isinstance(child, nn.MaxPool2d):
            given = (child.kernel_size, child.stride, child.padding, child.ceil_mode)
            setattr(module, name, nn.AvgPool2d(*cast("Any", given)))
        elif any(True for _ in child.children()):
            made_linear(child)
        elif not isinstance(child, nn.AvgPool2d | nn.Upsample | nn.ZeroPad2d | nn.Sequential | nn.ModuleList):
            setattr(module, name, nn.Identity())
    return module


def support(network: nn.Module, alignment: int, radius: int, height: int = 1) -> tuple[int, int]:
    """How far left and right of an output column the gradient reaches, over all phases.

    The network has one input channel and is changed; the image reaches an alignment farther than the radius.
    """
    before = -(-radius // alignment) * alignment + alignment
    phases = torch.arange(alignment)
    image = torch.ones(alignment, 1, height, 2 * before + alignment, dtype=torch.float64, requires_grad=True)
    logits = made_linear(network.eval())(image)
    logits[phases, :, :, before + phases].sum().backward()
    seen = cast("Tensor", image.grad)[:, 0].sum(1) > 0
    columns = torch.arange(seen.shape[1])
    first = torch.where(seen, columns, seen.shape[1]).amin(1)
    last = torch.where(seen, columns, -1).amax(1)
    return int((before + phases - first).max()), int((last - before - phases).max())

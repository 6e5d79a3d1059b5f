"""Parameters and operations of a network, counted without memory for either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.registry import build

__all__ = ["Count", "count"]


@dataclass(frozen=True, slots=True)
class Count:
    """Size of a network for one image."""

    parameters: int
    """Trainable weights: batch normalisation's weight and bias among them, running statistics not."""
    multiply_adds: int
    """Of all convolutions, plain and transposed; biases not counted."""
    normalised: int
    """Output elements of batch normalisations."""
    activated: int
    """Output elements of activation modules."""

    @property
    def operations(self) -> int:
        """FLOPs as the MiniNet paper counts them.

        Multiply-adds, plus one per normalised and per activated element; pooling, upsampling and additions
        are free. The paper does not state its rule; this one gives every figure of its Tables 1, 2 and 4.
        """
        return self.multiply_adds + self.normalised + self.activated


def count(architecture: str, height: int, width: int, **arguments: Any) -> Count:
    """Count one forward pass over one image, in evaluation mode.

    Args:
        architecture: a name of :data:`~geoseg.models.registry.ARCHITECTURES`.
        height: of the image, in pixels.
        width: of the image, in pixels.
        **arguments: as for :func:`~geoseg.models.registry.build`.

    Raises:
        BundleError: as :func:`~geoseg.models.registry.build`.
    """
    multiply_adds = normalised = activated = 0

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal multiply_adds, normalised, activated
        if isinstance(module, nn.ConvTranspose2d):
            multiply_adds += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            multiply_adds += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.BatchNorm2d):
            normalised += output.numel()
        elif isinstance(module, nn.PReLU | nn.ReLU):
            activated += output.numel()

    with torch.device("meta"), torch.inference_mode():
        network = build(architecture, **arguments).eval()
        for module in network.modules():
            module.register_forward_hook(seen)
        network(torch.empty(1, network.bands, height, width))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Count(parameters, multiply_adds, normalised, activated)

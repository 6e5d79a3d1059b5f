"""Parameters, operations and activations of a network, counted without memory for any of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geoseg.models.networks.registry import build

__all__ = ["Count", "Rule", "count", "tally"]

Rule = Literal["mininet", "thop"]
"""How a paper counts operations, defined by :meth:`Count.operations`."""

_ACTIVATIONS = (
    *[nn.PReLU, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish],
    *[nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid],
)
_CONTAINERS = (nn.Sequential, nn.ModuleList)

_WORK: list[tuple[type | tuple[type, ...], str, Callable[[Any, Tensor, Tensor], int]]] = [
    (nn.ConvTranspose2d, "multiply_adds", lambda part, given, _: given.numel() * part.weight[0].numel()),
    (nn.Conv2d, "multiply_adds", lambda part, _, made: made.numel() * part.weight[0].numel()),
    (nn.Linear, "multiply_adds", lambda part, _, made: made.numel() * part.in_features),
    (
        (nn.Conv2d, nn.ConvTranspose2d),
        "biased",
        lambda part, _, made: 0 if part.bias is None else made.numel(),
    ),
    (nn.BatchNorm2d, "normalized", lambda _part, _, made: made.numel()),
    (_ACTIVATIONS, "activated", lambda _part, _, made: made.numel()),
    (nn.AdaptiveAvgPool2d, "pooled", lambda _part, given, _: given.numel()),
]
"""Modules, the figure of :class:`Count` that they add to, and how much, by module, input and output."""


@dataclass(frozen=True, slots=True)
class Count:
    """Size of a network for one image."""

    parameters: int  # trainable weights: batch normalization's weight and bias too, running statistics not
    multiply_adds: int  # of convolutions, plain and transposed, and linear layers; biases not counted
    biased: int  # output elements of convolutions that have a bias
    normalized: int  # output elements of batch normalizations
    activated: int  # output elements of activation modules
    pooled: int  # input elements of adaptive average pools
    outputs: int  # output elements of modules below the root that return a tensor, containers aside

    def operations(self, rule: Rule) -> int:
        """FLOPs as a paper counts them; neither paper states its rule, each gives all figures of its tables.

        * ``mininet`` (Liu et al. 2022, Tables 1, 2, 4): multiply-adds, plus one per normalized and per
          activated element; biases, pooling, upsampling and additions are free.
        * ``thop`` (Xiao et al., Dual ASPP, Tables 1, 2, 4: what the thop profiler of 2020 did):
          multiply-adds, plus one per output element of a convolution with a bias, two per normalized element,
          one per input element of an adaptive average pool; activations, interpolation, additions are free.
        """
        if rule == "mininet":
            return self.multiply_adds + self.normalized + self.activated
        return self.multiply_adds + self.biased + 2 * self.normalized + self.pooled

    @property
    def pass_megabytes(self) -> float:
        """What torchsummary calls "Forward/backward pass size", in MB of 2²⁰ bytes (Cai, Zhang: Tables 3, 4).

        Eight bytes (a float32 and its gradient) per element of :attr:`outputs`. Only networks whose every
        step is a module of its own are counted whole.
        """
        return 8 * self.outputs / 2**20


def count(architecture: str, height: int, width: int, /, **arguments: Any) -> Count:
    """Count one forward pass over one image, in evaluation mode; arguments and errors as of :func:`build`."""
    with torch.device("meta"):
        network = build(architecture, **arguments)
    return tally(network, network.bands, height, width)


def tally(module: nn.Module, bands: int, height: int, width: int) -> Count:
    """Count a forward pass of a module, put into evaluation mode, on meta float (1, bands, height, width)."""
    counted: Counter[str] = Counter()

    def seen(part: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if part is not module and not isinstance(part, _CONTAINERS):
            counted["outputs"] += output.numel()
        for kinds, what, amount in _WORK:
            if isinstance(part, kinds):
                counted[what] += amount(part, inputs[0], output)

    hooks = [part.register_forward_hook(seen) for part in module.modules()]
    with torch.inference_mode():
        module.eval()(torch.empty(1, bands, height, width, device="meta"))
    for hook in hooks:
        hook.remove()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    names = (field.name for field in fields(Count) if field.name != "parameters")
    return Count(parameters, **{name: counted[name] for name in names})

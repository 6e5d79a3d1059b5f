"""What a network's weights are before it learns: the distribution and spread of each layer, by name."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from geoseg.models.networks.network import Network
from geoseg.models.networks.registry import ARCHITECTURES, build

pytestmark = pytest.mark.slow

# As their factories make them; the U-Nets narrower, MiniNet with all heads that it can have.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "micronet-unet": {"widths": (16, 32, 32, 64, 64)},
    "micronet-bm1": {"widths": (32, 64, 64, 128, 128)},
    "unet-base": {"widths": (16, 32, 32, 64, 64)},
    "unet-short": {"widths": (16, 32, 64, 64)},
    "unet-skinny": {"widths": (16, 32, 32, 64, 64, 64, 64)},
    "unet-less-conv": {"widths": (16, 32, 32, 64, 64, 64, 64)},
    "mininet-1": {"auxiliary": True},
    "mininet-2": {"auxiliary": True},
}
KURTOSIS = {"normal": 3.0, "uniform": 1.8}  # fourth moment over the squared second one


def drawn_from(architecture: str, name: str, weight: Tensor) -> tuple[str, float]:
    """Distribution and standard deviation of a convolution: geoseg's, or those that SMP is known to give."""
    fan_in, fan_out = weight[0].numel(), len(weight) * weight[0, 0].numel()
    if ARCHITECTURES[architecture].factory.__module__ != "geoseg.models.networks.smp":
        return "normal", math.sqrt(2 / fan_in)  # He
    if name.startswith("encoder."):
        return "normal", math.sqrt(2 / fan_out)  # He, as torchvision's ResNets
    if architecture == "deeplabv3plus-resnet34":
        return "uniform", math.sqrt(1 / 3 / fan_in)  # torch's own
    if name.startswith("segmentation_head."):
        return "uniform", math.sqrt(2 / (fan_in + fan_out))  # Glorot
    return "uniform", math.sqrt(2 / fan_in)  # He


@pytest.fixture(scope="module", params=ARCHITECTURES)
def made(request: pytest.FixtureRequest) -> tuple[str, Network]:
    architecture = str(request.param)
    torch.manual_seed(3)
    return architecture, build(architecture, bands=3, classes=5, **ARGUMENTS.get(architecture, {}))


def test_convolutions_are_drawn_from_the_stated_distribution(made: tuple[str, Network]) -> None:
    architecture, network = made
    pooled: dict[str, list[Tensor]] = defaultdict(list)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight.detach()
            family, std = drawn_from(architecture, name, weight)
            error = std * math.sqrt((KURTOSIS[family] - 1) / 4 / weight.numel())
            assert float(weight.square().mean().sqrt()) == pytest.approx(std, abs=6 * error), name
            assert abs(float(weight.mean())) < 6 * std / math.sqrt(weight.numel()), name
            pooled[family].append(weight.flatten()[:20_000] / std)
    for family, weights in pooled.items():
        values = torch.cat(weights)
        assert float((values**4).mean()) == pytest.approx(KURTOSIS[family], abs=0.1), family
        assert (float(values.abs().max()) > 3.5) == (family == "normal")


def test_all_else_begins_neutral(made: tuple[str, Network]) -> None:
    architecture, network = made
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            bias = module.bias
            if bias is not None and architecture != "deeplabv3plus-resnet34":  # SMP leaves its head to torch
                assert not bias.any(), name
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            assert (module.weight == 1).all(), name
            assert (module.running_var == 1).all(), name
            assert not module.bias.any(), name
            assert not module.running_mean.any(), name
            assert (module.eps, module.momentum) == (1e-5, 0.1), name
        elif isinstance(module, nn.PReLU):
            assert (module.weight == 0.25).all(), name
        else:
            assert not list(module.parameters(recurse=False)), name

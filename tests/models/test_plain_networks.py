"""Micro-Net, UNet_Skinny and MiniNet #2 once more, written down from their papers as plain formulas.

Nothing here is geoseg's but the weights: layers have the papers' names, padding, pooling, normalization and
upsampling are spelled out. The same weights must give the same logits. ``mutations.txt`` lists the changes
to geoseg's networks that these tests, and those of ``test_forward_passes.py``, were seen to find.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from support.formula_weights import fill, picture
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from geoseg.models.networks.registry import build

Weights = Mapping[str, Tensor]
"""By the paper's name of a layer and torch's of the tensor: ``fm1.squeeze.weight``."""


def conv(image: Tensor, weights: Weights, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
    """A convolution on an image with zeros around it; depthwise where a kernel has one channel of many."""
    kernel, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    border = dilation * (kernel.shape[-1] // 2)
    groups = image.shape[1] // kernel.shape[1]
    image = F.pad(image, (border, border, border, border))
    return F.conv2d(image, kernel, bias, stride=stride, dilation=dilation, groups=groups)


def up_conv(image: Tensor, weights: Weights, name: str) -> Tensor:
    """A transposed convolution 2×2 of stride 2: each pixel becomes four, none of which sees another pixel."""
    count, _, height, width = image.shape
    out = torch.einsum("nihw,ioab->nohawb", image, weights[f"{name}.weight"])
    out = out.reshape(count, -1, 2 * height, 2 * width)
    bias = weights.get(f"{name}.bias")
    return out if bias is None else out + bias[:, None, None]


def pool(image: Tensor) -> Tensor:
    """The largest of 2×2; a last odd row or column stands alone."""
    height, width = image.shape[-2:]
    image = F.pad(image, (0, width % 2, 0, height % 2), value=-math.inf)
    a, b = image[..., 0::2, :], image[..., 1::2, :]
    rows = torch.where(a > b, a, b)
    a, b = rows[..., 0::2], rows[..., 1::2]
    return torch.where(a > b, a, b)


def norm(image: Tensor, weights: Weights, name: str) -> Tensor:
    """Batch normalization by its stored statistics."""
    scale = weights[f"{name}.weight"] / (weights[f"{name}.running_var"] + 1e-5).sqrt()
    shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale
    return image * scale[:, None, None] + shift[:, None, None]


def relu(image: Tensor) -> Tensor:
    return torch.where(image > 0, image, torch.zeros_like(image))


def prelu(image: Tensor, weights: Weights, name: str) -> Tensor:
    return torch.where(image > 0, image, weights[f"{name}.weight"][:, None, None] * image)


def bilinear(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """Between pixel areas: pixel i of n has its center at (i + 1/2) / n."""
    down, right = (_blend(old, new) for old, new in zip(image.shape[-2:], size, strict=True))
    return down @ image @ right.T


def _blend(old: int, new: int) -> Tensor:
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for row in range(new):
        at = min(max((row + 0.5) * old / new - 0.5, 0), old - 1)
        low = math.floor(at)
        matrix[row, low] += 1 - (at - low)
        matrix[row, min(low + 1, old - 1)] += at - low
    return matrix


def micro_net(image: Tensor, weights: Weights) -> Tensor:
    """Chen, Chen, Jing: three levels of fire modules, (1, 1, 2, 3) down and (3, 2, 1) up, joined by sums."""

    def fire(features: Tensor, name: str, dilation: int) -> Tensor:
        squeezed = relu(conv(features, weights, f"{name}.squeeze"))
        one = relu(conv(squeezed, weights, f"{name}.expand1x1"))
        three = relu(conv(squeezed, weights, f"{name}.expand3x3", dilation=dilation))
        return torch.cat([one, three], 1)

    def fires(features: Tensor, *modules: tuple[str, int]) -> Tensor:
        for name, dilation in modules:
            features = fire(features, name, dilation)
        return features

    full = fires(image, ("fm1", 1), ("fm2", 1), ("fm3", 2), ("fm4", 3))
    half = fires(pool(full), ("fm5", 1), ("fm6", 1), ("fm7", 2), ("fm8", 3))
    quarter = fires(pool(half), ("fm9", 1), ("fm10", 1), ("fm11", 2), ("fm12", 3))
    features = fires(quarter, ("dfm9", 3), ("dfm8", 2), ("dfm7", 1))
    features = up_conv(features, weights, "dec1")[..., : half.shape[2], : half.shape[3]] + half
    features = fires(features, ("dfm6", 3), ("dfm5", 2), ("dfm4", 1))
    features = up_conv(features, weights, "dec2")[..., : full.shape[2], : full.shape[3]] + full
    features = fires(features, ("dfm3", 3), ("dfm2", 2), ("dfm1", 1))
    return conv(features, weights, "conv")


def micro_net_names() -> dict[str, str]:
    """geoseg's module to the paper's, as Table 3 numbers them."""
    fires = {f"encoder.{level}.{k}": f"fm{4 * level + k + 1}" for level in range(3) for k in range(4)}
    fires |= {f"decoder.{level}.{k}": f"dfm{3 * level + 3 - k}" for level in range(3) for k in range(3)}
    parts = {"squeeze": "squeeze", "expand1": "expand1x1", "expand3": "expand3x3"}
    names = {
        f"{ours}.{one}": f"{theirs}.{two}" for ours, theirs in fires.items() for one, two in parts.items()
    }
    return names | {"up.1": "dec1", "up.0": "dec2", "head": "conv"}


def unet_skinny(image: Tensor, weights: Weights) -> Tensor:
    """Cai, Zhang: six levels and a bottleneck with one 3×3 convolution each, joined by concatenation."""

    def block(features: Tensor, name: str) -> Tensor:
        return relu(norm(conv(features, weights, f"{name}.conv"), weights, f"{name}.bn"))

    features, skips = image, []
    for level in range(1, 7):
        skips.append(block(features, f"down{level}"))
        features = pool(skips[-1])
    features = block(features, "bottleneck")
    for level in range(6, 0, -1):
        skip = skips[level - 1]
        raised = up_conv(features, weights, f"raise{level}")[..., : skip.shape[2], : skip.shape[3]]
        features = block(torch.cat([raised, skip], 1), f"up{level}")
    return conv(features, weights, "classes")


def unet_skinny_names() -> dict[str, str]:
    blocks = {"bottleneck.layers": "bottleneck"}
    for k in range(6):
        blocks |= {f"encoder.{k}.block.layers": f"down{k + 1}", f"decoder.{k}.block.layers": f"up{k + 1}"}
    parts = {"0": "conv", "1": "bn"}
    names = {
        f"{ours}.{one}": f"{theirs}.{two}" for ours, theirs in blocks.items() for one, two in parts.items()
    }
    return names | {f"decoder.{k}.up": f"raise{k + 1}" for k in range(6)} | {"head": "classes"}


def mininet_2(image: Tensor, weights: Weights) -> Tensor:
    """Liu et al.: in each stage SPP, residual blocks or SPCs, and the long residual; then the decoder."""

    def spc_sum(features: Tensor, name: str, branches: int) -> Tensor:
        squeezed = conv(features, weights, f"{name}.1x1")
        rates = [2**r for r in range(branches)]
        return torch.stack([conv(squeezed, weights, f"{name}.rate{r}", dilation=r) for r in rates]).sum(0)

    def spp(features: Tensor, k: int) -> Tensor:
        if k == 1:
            branch = conv(features, weights, "SPP1.3x3", stride=2)
        else:
            branch = conv(conv(features, weights, f"SPP{k}.1x1"), weights, f"SPP{k}.5x5", stride=2)
        both = norm(torch.cat([pool(features), branch], 1), weights, f"SPP{k}.bn")
        return prelu(both, weights, f"SPP{k}.prelu")

    def stage(features: Tensor, k: int) -> Tensor:
        first = features = spp(features, k)
        for p in range(1, BLOCKS[k] + 1):
            name = f"stage{k}.block{p}"
            if k == 1:
                inner = conv(features, weights, f"{name}.3x3")
            else:
                inner = spc_sum(features, name, 3 if k == 2 else 4)
            features = prelu(norm(inner + features, weights, f"{name}.bn"), weights, f"{name}.prelu")
        name = f"stage{k}.long"
        long = norm(conv(first, weights, f"{name}.1x1"), weights, f"{name}.inner")
        return prelu(norm(long + features, weights, f"{name}.bn"), weights, f"{name}.prelu")

    def decoded(features: Tensor, deeper: Tensor, k: int) -> Tensor:
        lateral = norm(conv(features, weights, f"F{k}.lateral"), weights, f"F{k}.lateral.bn")
        top = spc_sum(bilinear(deeper, features.shape[-2:]), f"F{k}.top", 2)
        return prelu(lateral + norm(top, weights, f"F{k}.top.bn"), weights, f"F{k}.prelu")

    f1 = stage(image, 1)
    f2 = stage(f1, 2)
    f3 = stage(f2, 3)
    features = stage(f3, 4)
    for k, encoded in ((3, f3), (2, f2), (1, f1)):
        features = decoded(encoded, features, k)
    return bilinear(conv(features, weights, "classes"), image.shape[-2:])


BLOCKS = {1: 2, 2: 2, 3: 3, 4: 10}
"""Of MiniNet #2 (Table 1), by stage."""


def mininet_2_names() -> dict[str, str]:
    names = {"stages.0.down.conv.0": "SPP1.3x3", "head": "classes"}
    for k in (1, 2, 3, 4):
        ours = f"stages.{k - 1}"
        if k > 1:
            names |= {f"{ours}.down.conv.0": f"SPP{k}.1x1", f"{ours}.down.conv.1": f"SPP{k}.5x5"}
        names |= {f"{ours}.down.norm": f"SPP{k}.bn", f"{ours}.down.activation": f"SPP{k}.prelu"}
        for p in range(BLOCKS[k]):
            block, theirs = f"{ours}.blocks.{p}", f"stage{k}.block{p + 1}"
            names |= {f"{block}.body.conv": f"{theirs}.{'3x3' if k == 1 else '1x1'}"}
            names |= {f"{block}.body.norm": f"{theirs}.bn", f"{block}.activation": f"{theirs}.prelu"}
            if k > 1:
                names |= {f"{block}.body.branches.{r}": f"{theirs}.rate{2**r}" for r in range(min(k + 1, 4))}
        parts = {"conv": "1x1", "inner": "inner", "norm": "bn", "activation": "prelu"}
        names |= {f"{ours}.long.{one}": f"stage{k}.long.{two}" for one, two in parts.items()}
    for k in (1, 2, 3):
        ours = f"decoder.{k - 1}"
        names |= {f"{ours}.lateral.0": f"F{k}.lateral", f"{ours}.lateral.1": f"F{k}.lateral.bn"}
        names |= {f"{ours}.top.conv": f"F{k}.top.1x1", f"{ours}.top.norm": f"F{k}.top.bn"}
        names |= {f"{ours}.top.branches.{r}": f"F{k}.top.rate{2**r}" for r in range(2)}
        names |= {f"{ours}.activation": f"F{k}.prelu"}
    return names


PLAIN: dict[str, tuple[Callable[[Tensor, Weights], Tensor], Callable[[], dict[str, str]]]] = {
    "micronet": (micro_net, micro_net_names),
    "unet-skinny": (unet_skinny, unet_skinny_names),
    "mininet-2": (mininet_2, mininet_2_names),
}


@pytest.mark.parametrize("size", [(64, 128), (45, 165)], ids=str)
@pytest.mark.parametrize("architecture", PLAIN)
def test_the_network_is_the_papers(architecture: str, size: tuple[int, int]) -> None:
    plain, names = PLAIN[architecture]
    with torch.device("meta"):
        network = build(architecture, bands=4, classes=6).eval()
    fill(network)
    weights, known = {}, names()
    for key, tensor in network.state_dict().items():
        module, _, kind = key.rpartition(".")
        if kind != "num_batches_tracked":
            weights[f"{known[module]}.{kind}"] = tensor
    assert len(set(known.values())) == len(known)
    image = picture(4, *size)
    with torch.inference_mode():
        found, expected = network(image), plain(image, weights)
    assert isinstance(found, Tensor)
    assert expected.shape == (1, 6, *size)
    assert float((found - expected).abs().max()) < 1e-10 * float(expected.std())

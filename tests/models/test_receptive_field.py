"""Fields of view found by following operators, held against the gradient's support."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gradients import support
from torch import Tensor, nn

from geoseg.models.networks.receptive_field import field_of_view

pytestmark = pytest.mark.slow


class Level(nn.Module):
    """A U-Net with random parts: convolutions, a way down, what is below, a way up, a join, convolutions."""

    def __init__(self, draw: st.DrawFn, depth: int) -> None:
        super().__init__()
        self.before = convolutions(draw)
        self.after = convolutions(draw)
        self.joined = draw(st.sampled_from(["cat", "add", "skip nothing"]))
        self.below = Level(draw, depth - 1) if depth else None
        if self.below is not None:
            self.down = draw(st.sampled_from(DOWN))()
            self.up = draw(st.sampled_from(UP))()
            self.merge = nn.Conv2d(2, 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        features = self.before(features)
        if self.below is not None:
            raised = self.up(self.below(self.down(features)))
            if self.joined == "cat":
                raised = self.merge(torch.cat([raised, features], 1))
            features = raised + features if self.joined == "add" else raised
        output: Tensor = self.after(features)
        return output


DOWN: list[Any] = [
    lambda: nn.MaxPool2d(2),
    lambda: nn.MaxPool2d(3, 2, 1),
    lambda: nn.AvgPool2d(2, ceil_mode=True),
    lambda: nn.Conv2d(1, 1, 3, 2, 1, bias=False),
    lambda: nn.Conv2d(1, 1, 7, 2, 3, bias=False),
    lambda: nn.Conv2d(1, 1, 2, 2, bias=False),
    lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 3, 2, bias=False)),
]
UP: list[Any] = [
    lambda: nn.Upsample(scale_factor=2),
    lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    lambda: nn.ConvTranspose2d(1, 1, 2, 2, bias=False),
    lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False),
    lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1, bias=False),
]


def convolutions(draw: st.DrawFn) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(0, 2))):
        kernel, dilation = draw(st.sampled_from([(1, 1), (3, 1), (3, 2), (3, 3), (5, 1)]))
        reach = dilation * (kernel - 1) // 2
        conv = nn.Conv2d(1, 1, kernel, padding=reach, dilation=dilation, bias=False)
        layers += [conv, nn.BatchNorm2d(1), draw(st.sampled_from([nn.ReLU, nn.Hardswish, nn.PReLU]))()]
    return nn.Sequential(*layers)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, int]:
    depth = draw(st.integers(0, 3))
    with torch.device("meta"):
        return nn.Sequential(Level(draw, depth)), 2**depth


@settings(max_examples=30)
@given(networks())
def test_a_field_of_view_is_the_gradients_support(drawn: tuple[nn.Module, int]) -> None:
    network, alignment = drawn
    field = field_of_view(network, 1, alignment)
    assert field is not None
    before, after = max(field.before), max(field.after)
    assert support(network, alignment, max(before, after), 2 * alignment) == (before, after)


@pytest.mark.parametrize(
    "layer",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample(2048)),
        nn.GroupNorm(1, 1),
        nn.InstanceNorm2d(1),
        nn.BatchNorm2d(1, track_running_stats=False),
        nn.Softmax(2),
        nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=4)),  # its period is 4, not 2
        nn.Conv2d(1, 1, 3, padding=5000, dilation=5000),  # in nothing but padding, as far as images go
        nn.Conv2d(1, 1, 3),  # its output is smaller
    ],
    ids=lambda layer: str(layer).partition("(")[0],
)
def test_no_field_is_given_where_none_can_be_shown(layer: nn.Module) -> None:
    assert field_of_view(layer.to("meta"), 1, 2) is None


class Positioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 1, 2048, 2048, device="meta"))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.position


def test_a_map_of_absolute_positions_ties_a_network_to_one_size() -> None:
    assert field_of_view(Positioned(), 1, 1) is None

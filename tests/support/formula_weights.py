"""Weights, statistics and pictures by formula: the same on every machine and in every version of torch."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

_PERIOD = 65_521  # prime, so that no row of a weight repeats the row above


@cache
def _table() -> Tensor:
    """Numbers of [-1, 1), float64 (_PERIOD,), without order: the mixing of MurmurHash3 on 0, 1, 2 …"""
    mixed = np.arange(_PERIOD, dtype=np.uint32) * np.uint32(0x9E3779B1)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    return torch.from_numpy(mixed / 2.0**31 - 1)


def numbers(shape: tuple[int, ...], place: int) -> Tensor:
    """Float64 numbers of [-1, 1) that follow from the shape and a number alone."""
    count = math.prod(shape)
    start = 7919 * place % _PERIOD
    repeated = _table().roll(-start).repeat(-(-count // _PERIOD))
    return repeated[:count].reshape(shape)


def picture(bands: int, height: int, width: int) -> Tensor:
    """A float64 image (1, bands, height, width) of waves and grain, wide enough for ReLU6 to cut some off."""
    rows, cols = torch.arange(height).double()[:, None], torch.arange(width).double()[None]
    waves = [torch.sin(rows / (5 + band) + cols / (11 - band) + band) for band in range(bands)]
    return 4 * (torch.stack(waves)[None] + numbers((1, bands, height, width), 1))


def fill(network: nn.Module) -> None:
    """Replace a network's weights and statistics, wherever they are, by float64 ones by formula, in place.

    A tensor's values follow from its place in the state, its shape and whether it is a scale, a shift, a mean
    or a variance. Signals neither die nor grow: kernels have variance 2 / fan in, depthwise
    ones, which add up, 1 / fan in. No scale is 1, no shift or
    mean 0 and no variance 1, so that a normalization that moves, comes twice or is missing shows.
    """
    state: dict[str, Tensor] = {}
    for place, (name, tensor) in enumerate(network.state_dict().items()):
        free = numbers(tuple(tensor.shape), place)
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            state[name] = torch.zeros((), dtype=torch.int64)
        elif tensor.ndim > 1:
            variance = 2 / tensor[0].numel() if tensor.shape[1] > 1 else 1 / tensor[0].numel()
            state[name] = free * math.sqrt(3 * variance)
        elif kind == "running_var":
            state[name] = 1.1 + 0.6 * free
        elif kind == "weight":  # of a normalization, or the slopes of PReLU
            state[name] = 0.7 + 0.4 * free
        else:
            state[name] = 0.3 * free
    network.load_state_dict(state, assign=True)

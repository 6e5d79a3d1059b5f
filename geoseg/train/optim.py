"""Optimizers and learning rates by recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from geoseg.config.training.train_config import (
    Adam,
    Constant,
    Cosine,
    KerasDecay,
    Optimizer,
    Plateau,
    Poly,
    Schedule,
    Sgd,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Patience", "has_encoder", "make_optimizer", "rate_factor", "set_rate"]


def make_optimizer(network: nn.Module, recipe: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of a network's parameters.

    Parameters fall into groups by whether they decay and whether they are the encoder's: those below a
    submodule called ``encoder``. Each group carries ``factor``, its share of the rate.

    Args:
        network: on the device that it learns on.
        recipe: kind, rate, decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        # Slopes, norms and biases are not to shrink, unless the recipe is one that lets all decay.
        decays = recipe.decays == "all" or parameter.ndim > 1
        groups.setdefault((decays, _in_encoder(name)), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "factor": recipe.encoder_rate_factor if encoder else 1.0,
        }
        for (decays, encoder), parameters in groups.items()
    ]
    match recipe:
        case Sgd():
            return torch.optim.SGD(
                settings, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov
            )
        case Adam(kind="adam"):
            return torch.optim.Adam(settings, lr=recipe.rate, betas=recipe.betas)
        case Adam():
            return torch.optim.AdamW(settings, lr=recipe.rate, betas=recipe.betas)


def has_encoder(network: nn.Module) -> bool:
    """Whether the network has parameters that a recipe's ``encoder_rate_factor`` is for."""
    return any(_in_encoder(name) for name, _ in network.named_parameters())


def _in_encoder(name: str) -> bool:
    return "encoder" in name.split(".")[:-1]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def rate_factor(schedule: Schedule, step: int, steps: int, drops: int = 0) -> float:
    """Share of the peak rate that a step learns with.

    Args:
        schedule: How the rate changes.
        step: The step, from 0.
        steps: Steps in all.
        drops: How often a plateau was met.

    >>> [round(rate_factor(Poly(power=1.0, warmup=2), step, 4), 3) for step in range(5)]
    [0.5, 0.75, 0.5, 0.25, 0.0]
    """
    ramp = min((step + 1) / schedule.warmup, 1.0) if schedule.warmup else 1.0
    match schedule:
        case Constant():
            return ramp
        case Poly():
            return float(ramp * max(1 - step / steps, 0.0) ** schedule.power)
        case Cosine():
            return ramp * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        case KerasDecay():
            return ramp / (1 + schedule.decay * step)
        case Plateau():
            return float(ramp * schedule.factor**drops)


@dataclass(slots=True)
class Patience:
    """Counts validations without improvement, as torch's ``ReduceLROnPlateau`` does.

    An improvement is a loss below ``best × (1 - 1e-4)`` or a score above ``best × (1 + 1e-4)``: torch's own
    threshold.
    """

    watch: Literal["loss", "score"]
    """What has to improve."""
    best: float | None = None
    """Best value so far."""
    bad: int = 0
    """Validations since."""

    def see(self, *, loss: float, score: float) -> int:
        """Take the values of a validation; returns how many in a row brought nothing better."""
        value = loss if self.watch == "loss" else score
        if self.best is None or self._better(value, self.best):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        return self.bad

    def _better(self, value: float, best: float) -> bool:
        return value < best * (1 - 1e-4) if self.watch == "loss" else value > best * (1 + 1e-4)

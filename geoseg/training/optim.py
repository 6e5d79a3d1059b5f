"""Optimizers, and the schedule of a training: its length, its learning rates, when it validates and saves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    from geoseg.config.training.train_config import TrainConfig

__all__ = ["TrainingSchedule", "has_encoder", "make_optimizer", "rate_factor", "set_rate"]


def make_optimizer(network: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """The optimizer of a network's parameters.

    Parameters fall into groups by whether they decay and whether they are the encoder's: those below a
    submodule called ``encoder``. Each group carries ``factor``, its share of the rate.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        # Slopes, norms and biases are not to shrink, unless the config is one that lets all decay.
        decays = config.decays == "all" or parameter.ndim > 1
        groups.setdefault((decays, _in_encoder(name)), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "factor": config.encoder_rate_factor if encoder else 1.0,
        }
        for (decays, encoder), parameters in groups.items()
    ]
    match config:
        case Sgd():
            return torch.optim.SGD(
                settings, lr=config.rate, momentum=config.momentum, nesterov=config.nesterov
            )
        case Adam(kind="adam"):
            return torch.optim.Adam(settings, lr=config.rate, betas=config.betas)
        case Adam():
            return torch.optim.AdamW(settings, lr=config.rate, betas=config.betas)


def has_encoder(network: nn.Module) -> bool:
    """Whether the network has parameters that a config's ``encoder_rate_factor`` is for."""
    return any(_in_encoder(name) for name, _ in network.named_parameters())


def _in_encoder(name: str) -> bool:
    return "encoder" in name.split(".")[:-1]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def rate_factor(schedule: Schedule, step: int, steps: int, drops: int = 0) -> float:
    """Share of the peak rate that a step, from 0, learns with after so many plateaus (``drops``).

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


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """A config's lengths and rates. A step is one change of the weights.

    >>> from geoseg.config.training.presets import PRESETS
    >>> schedule = TrainingSchedule(PRESETS["faster-unet"].train, epoch=1000)
    >>> schedule.chips_per_step, schedule.steps_per_epoch, schedule.steps
    (8, 125, 6250)
    """

    config: TrainConfig
    epoch: int  # chips that cover the labeled area once: an epoch, where the config gives none

    @property
    def chips_per_step(self) -> int:
        """Chips that one step learns from, in all processes."""
        return self.config.batch * self.config.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see an epoch's chips, at least 1."""
        chips = self.epoch if self.config.epoch == "auto" else int(self.config.epoch)
        return max(1, round(chips / self.chips_per_step))

    @property
    def steps(self) -> int:
        """Steps in all, unless the training stops early."""
        return self.config.steps or (self.config.epochs or 1) * self.steps_per_epoch

    def rate(self, step: int, drops: int = 0) -> float:
        """Learning rate of a step, from 0, after so many plateaus."""
        config = self.config
        return config.optimizer.rate * rate_factor(config.schedule, step, self.steps, drops)

    def validates(self, done: int) -> bool:
        """Whether a validation follows after so many steps."""
        return done == self.steps or self._due(self.config.validate_every, done)

    def saves(self, done: int) -> bool:
        """Whether a checkpoint follows after so many steps: after each validation, too."""
        return self.validates(done) or self._due(self.config.checkpoint_every, done)

    def _due(self, every: int | str, done: int) -> bool:
        return done % (self.steps_per_epoch if every == "epoch" else int(every)) == 0

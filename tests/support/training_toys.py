"""A toy training that several tests, and processes of their own, run: a class that is its color."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.config.model.contract import Scaling
from geoseg.config.training.presets import PRESETS, laid_over
from geoseg.config.training.train_config import TrainConfig
from geoseg.config.training.training_file import Hardware
from geoseg.models.networks.network import Network, Span
from geoseg.training.data.augment import ColorSettings
from geoseg.training.data.chips import ChipSampler, ChipSettings
from geoseg.training.data.holdout import Split
from geoseg.training.distributed import SINGLE_PROCESS, ProcessGroup
from geoseg.training.loop import Trainer
from geoseg.training.validate import Validation
from support.array_scene import ArrayScene

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.training.events import Watch

PLAIN = ColorSettings(
    brightness=0, contrast=0, gamma=0, gain=0, saturation=0, hue=0, blur=0, noise=0, holes=0
)
CPU = Hardware(device="cpu", workers=1)
SGD = {"optimizer": {"kind": "sgd", "rate": 0.05}, "loss": {"overlap": None}, "average": None}


class Toy(Network):
    """Two convolutions, with batch normalization and dropout or without."""

    alignment = 1

    def __init__(self, *, normalized: bool = False, dropout: float = 0.0, width: int = 8) -> None:
        super().__init__()
        self.bands, self.classes = 3, 2
        self.encoder = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if normalized else nn.Identity()
        self.drop = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.norm(self.encoder(pixels)).relu()))
        return logits

    def receptive_field(self, span: Span) -> Span:
        return span.widen(1)


def toy(**arguments: Any) -> Toy:
    """With the same first weights each time."""
    torch.manual_seed(4)
    return Toy(**arguments)


def checker(size: int = 96, side: int = 12, name: str = "checker", **changes: Any) -> ArrayScene:
    """A scene whose class is its color: bright squares are class 1."""
    rows, cols = np.indices((size, size)) // side
    labels = ((rows + cols) % 2).astype(np.uint8)
    pixels = np.stack([60 + 120 * labels, 200 - 90 * labels, np.full_like(labels, 90)]).astype(np.uint8)
    scene = ArrayScene(
        name, pixels, np.ones_like(labels, bool), labels, 0.3, split=Split(block=9, every=5, margin=0.6)
    )
    return replace(scene, **changes)


def toy_config(**changes: Any) -> TrainConfig:
    """The default config, short and quick."""
    short = {
        "steps": 12,
        "batch": 4,
        "optimizer": {"rate": 1e-2},
        "schedule": {"warmup": 2},
        "average": 0.9,
        "validate_every": 6,
        "checkpoint_every": 5,
    }
    if "epochs" in changes:
        del short["steps"]
    return TrainConfig.model_validate(laid_over(PRESETS["geoseg"].train, short | changes))


def toy_trainer(
    folder: Path,
    config: TrainConfig | None = None,
    network: Network | None = None,
    scenes: list[ArrayScene] | None = None,
    *,
    group: ProcessGroup = SINGLE_PROCESS,
    chips: int = 24,
    window: int = 64,
    context: int = 8,
    **arguments: Any,
) -> Trainer:
    """A training of the toy on checkers."""
    scenes = scenes or [checker()]
    return Trainer(
        network or toy(),
        ChipSampler(scenes, ChipSettings(size=chips, color=PLAIN), seed=11),
        Validation(scenes, resolution=0.3, classes=2, scored=[1], window=window, context=context),
        config or toy_config(),
        folder,
        **{
            "scaling": Scaling(mean=(120.0, 150.0, 90.0), std=(60.0, 45.0, 1.0)),
            "hardware": CPU,
            "group": group,
            **arguments,
        },
    )


def heavy(folder: Path, width: int, watch: Watch) -> Trainer:
    """Batches of 16 chips whose activations take 2.3 KB × width each."""
    config = toy_config(batch=16, steps=3, clip=None, validate_every=3, **SGD)
    return toy_trainer(folder, config, toy(width=width), watch=watch)


def train_in_group(group: ProcessGroup, folder: Path, config: TrainConfig, normalized: bool) -> Any:  # noqa: FBT001 - passed on
    """What each process of a group does."""
    trainer = toy_trainer(folder, config, toy(normalized=normalized), group=group)
    events: list[Any] = []
    trainer._watch = events.append
    result = trainer.run()
    assert result is not None
    return result, events


def die_in_group(group: ProcessGroup, folder: Path) -> Any:
    """A group of which one process dies in the middle of the training."""
    trainer = toy_trainer(folder, toy_config(steps=50), group=group)
    if group.rank:
        learn = trainer.learner.learn

        def deadly(step: int, *others: Any) -> Any:
            if step == 2:
                os._exit(7)
            return learn(step, *others)

        trainer.learner.learn = deadly
    return trainer.run()

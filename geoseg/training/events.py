"""Events of a training: small values, in order of the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = [
    "Event",
    "Notice",
    "Saved",
    "Stepped",
    "TrainingEnded",
    "TrainingStarted",
    "Validated",
    "Watch",
    "fan_out",
]


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    """Steps begin."""

    step: int
    """Steps done before: 0, or those of the checkpoint that is resumed."""
    steps: int
    """Steps in all."""
    chips: int
    """Chips per step."""
    steps_per_epoch: int
    """Steps of an epoch."""
    where: str
    """Device, precision and processes, in words."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """The weights were changed once."""

    step: int
    """Steps done, this one among them."""
    loss: float
    """Loss of the step's chips."""
    rate: float
    """Learning rate."""
    seconds: float
    """Wall time since the step before."""


@dataclass(frozen=True, slots=True)
class Validated:
    """The network was scored on the held-out blocks."""

    step: int
    """Steps done."""
    epoch: float
    """Epochs done."""
    rate: float
    """Learning rate of the step before."""
    loss: float
    """Mean loss of the steps since the validation before."""
    score: float
    """What weights are chosen by: mean over places of the mean IoU of the scored classes."""
    validation_loss: float
    """Loss on the held-out blocks."""
    iou: Mapping[str, tuple[float | None, ...]]
    """IoU per place and class."""
    kept: bool
    """Whether these weights are the ones to keep so far."""
    seconds: float
    """Wall time of the validation."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written: a training that is killed resumes from here."""

    step: int
    """Steps done."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know, such as a batch that was halved."""

    step: int
    """Steps done."""
    text: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """No more steps."""

    step: int
    """Steps done."""
    reason: str
    """Why, in words."""


Event = TrainingStarted | Stepped | Validated | Saved | Notice | TrainingEnded
Watch = Callable[[Event], None]


def fan_out(*watchers: Watch) -> Watch:
    """One watcher that calls several, in order."""

    def watch(event: Event) -> None:
        for watcher in watchers:
            watcher(event)

    return watch

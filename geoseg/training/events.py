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

    step: int  # steps done before: 0, or those of the checkpoint that is resumed
    steps: int
    chips: int  # chips per step
    steps_per_epoch: int
    where: str  # device, precision and processes, in words


@dataclass(frozen=True, slots=True)
class Stepped:
    """The weights were changed once."""

    step: int  # steps done, this one among them
    loss: float
    rate: float
    seconds: float  # wall time since the step before


@dataclass(frozen=True, slots=True)
class Validated:
    """The network was scored on the held-out blocks."""

    step: int
    epoch: float
    rate: float  # learning rate of the step before
    loss: float  # mean loss of the steps since the validation before
    score: float  # what weights are chosen by: mean over places of the mean IoU of the scored classes
    validation_loss: float
    iou: Mapping[str, tuple[float | None, ...]]  # IoU per place and class
    kept: bool  # whether these weights are the ones to keep so far
    seconds: float


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written: a training that is killed resumes from here."""

    step: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know, such as a batch that was halved."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class TrainingEnded:
    """No more steps."""

    step: int
    reason: str


Event = TrainingStarted | Stepped | Validated | Saved | Notice | TrainingEnded
Watch = Callable[[Event], None]


def fan_out(*watchers: Watch) -> Watch:
    """One watcher that calls several, in order."""

    def watch(event: Event) -> None:
        for watcher in watchers:
            watcher(event)

    return watch

"""What a training has come to: steps, validations, the weights to keep, and whether it is over."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from geoseg.config.training.train_config import Plateau
from geoseg.errors import RunError
from geoseg.training.ema import copy_state
from geoseg.training.validate import Score

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from geoseg.config.training.train_config import TrainConfig

__all__ = ["Progress", "TrainResult"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The weights kept, and why."""

    state: dict[str, Tensor]  # float32 on the CPU: the averaged weights where the config averages
    step: int
    score: Score
    history: list[dict[str, Any]]  # per validation the fields of :class:`~geoseg.training.events.Validated`
    reason: str


@dataclass(slots=True)
class Patience:
    """Counts validations without improvement, as torch's ``ReduceLROnPlateau`` does.

    An improvement is a loss below ``best × (1 - 1e-4)`` or a score above ``best × (1 + 1e-4)``: torch's own
    threshold.
    """

    watch: Literal["loss", "score"]
    best: float | None = None
    bad: int = 0  # validations since

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


@dataclass(slots=True)
class Progress:
    """A checkpoint's part beside the network, its average and its optimizer."""

    step: int = 0
    ended: str = ""  # why the training is over; empty while it is not
    drops: int = 0  # plateaus met: how often the rate has fallen
    plateau: Patience | None = None  # counts towards a plateau, where the schedule is one
    stopping: Patience | None = None  # counts towards early stopping, where the config has it
    losses: list[float] = field(default_factory=list)  # losses of the steps since the last validation
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None  # step, score and state of the weights to keep

    @classmethod
    def begin(cls, config: TrainConfig) -> Self:
        """Of a training that has not begun."""
        schedule, stopping = config.schedule, config.early_stopping
        return cls(
            plateau=Patience(schedule.watch) if isinstance(schedule, Plateau) else None,
            stopping=Patience(stopping.watch) if stopping else None,
        )

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Self:
        """From what :meth:`saved` gave."""
        patience = {key: saved[key] and Patience(**saved[key]) for key in ("plateau", "stopping")}
        return cls(**saved | patience)

    def saved(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        plain = {key: getattr(self, key) for key in ("step", "ended", "drops", "losses", "history", "best")}
        return plain | {
            "plateau": self.plateau and asdict(self.plateau),
            "stopping": self.stopping and asdict(self.stopping),
        }

    def keep(self, config: TrainConfig, score: Score, state: dict[str, Tensor]) -> bool:
        """Keep the weights if they are the ones to keep so far; returns whether."""
        before = None if self.best is None else self.best["score"]
        if before is None or config.keep == "last":
            kept = True
        elif config.keep == "loss":
            kept = _loss(score) < before["loss"]
        else:
            kept = score.chosen > before["chosen"]
        if kept:
            self.best = {"step": self.step, "score": asdict(score), "state": copy_state(state, "cpu")}
        return kept

    def conclude(self, config: TrainConfig, score: Score) -> bool:
        """What a validation means for rate and end; returns whether the rate falls."""
        loss, falls = _loss(score), False
        if self.plateau is not None and isinstance(config.schedule, Plateau):
            falls = self.plateau.see(loss=loss, score=score.chosen) > config.schedule.patience
            if falls:
                self.drops, self.plateau.bad = self.drops + 1, 0
        if self.stopping is not None and config.early_stopping is not None:
            bad = self.stopping.see(loss=loss, score=score.chosen)
            if bad >= config.early_stopping.patience:
                self.ended = f"the {self.stopping.watch} has not improved for {bad} validations"
        return falls

    def result(self, folder: Path) -> TrainResult:
        """The weights kept so far.

        Raises:
            RunError: nothing was validated yet.
        """
        if self.best is None:
            raise RunError(f"no validation yet at step {self.step} of {folder}: train further")
        saved = self.best["score"]
        score = Score(
            saved["chosen"], {k: tuple(v) for k, v in saved["iou"].items()}, saved["pixels"], saved["loss"]
        )
        reason = self.ended or f"stopped at step {self.step}"
        return TrainResult(self.best["state"], self.best["step"], score, list(self.history), reason)


def _loss(score: Score) -> float:
    assert score.loss is not None, "a validation that is given a loss returns it"
    return score.loss

"""The training loop: seeded, resumable, and the same bits again on the same machine and thread count.

Everything random is a function of the seed and the step (:class:`~geoseg.train.chips.ChipSampler`), so a
checkpoint needs no generator's state, and a training that was stopped ends with the weights it would have
had.
"""

from __future__ import annotations

import csv
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from geoseg.errors import RunError
from geoseg.models.infer import scaled
from geoseg.train.losses import SegmentationLoss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from geoseg.train.chips import Chip, ChipSampler
    from geoseg.train.validate import Score, Validation

__all__ = ["TrainResult", "TrainSettings", "Trainer"]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training does; with data and seed it decides the weights."""

    steps: int
    """Optimizer steps."""
    batch: int = 8
    """Chips per step."""
    rate: float = 2e-3
    """Peak learning rate (MiniNet: 2e-3)."""
    power: float = 0.9
    """Of the poly schedule: rate × (1 - step / steps)^power, per step (MiniNet: 0.9)."""
    warmup: int = 100
    """Steps over which the rate rises from zero."""
    decay: float = 1e-4
    """AdamW's decoupled weight decay, on convolutions only."""
    average: float = 0.998
    """Decay of the exponential moving average of the weights; the average is what is scored and kept."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    validate_every: int = 250
    """Steps between scores on the held-out blocks."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    threads: int = 1
    """Intra-op threads; another number gives other last bits."""
    loss: SegmentationLoss = field(default_factory=SegmentationLoss)
    """Loss."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The weights chosen, and why."""

    state: dict[str, Tensor]
    """State of the network: the averaged weights of the best score."""
    step: int
    """Step they are from."""
    score: Score
    """Their score on the held-out blocks."""
    history: list[dict[str, Any]]
    """One row per validation."""


class Trainer:
    """Trains one network in a folder, which holds its checkpoint (``last.pt``) and log (``log.csv``).

    Args:
        network: Freshly built from the seed; in training mode it may return a tuple, the main output first.
        sampler: Chips.
        validation: Held-out blocks.
        mean: Per band, stored units.
        std: Per band, stored units.
        settings: What to do.
        folder: Made when absent. A checkpoint in it is resumed.
        progress: Takes one finished line at a time.

    Raises:
        RunError: the folder's checkpoint belongs to other settings, or the loss is no longer finite.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: ChipSampler,
        validation: Validation,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        settings: TrainSettings,
        folder: Path,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> None:
        torch.set_num_threads(settings.threads)
        self.network = network.to(memory_format=cast("Any", torch.channels_last))
        self.sampler, self.validation, self.settings = sampler, validation, settings
        self.mean, self.std = mean, std
        self.folder, self.progress = folder, progress
        self.optimizer = torch.optim.AdamW(_groups(network, settings.decay), lr=settings.rate)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "last.pt"

    def run(self, *, until: int | None = None) -> TrainResult | None:
        """Train to the end, or to a step.

        Args:
            until: Stop after so many steps in all, checkpoint written (for tests and time limits).

        Returns:
            The chosen weights; None when stopped before the end.
        """
        settings = self.settings
        end = settings.steps if until is None else min(until, settings.steps)
        started, first = time.monotonic(), self.step
        running: list[float] = []
        with ThreadPoolExecutor(1, "chips") as ahead:
            upcoming = ahead.submit(self.sampler.batch, self.step, settings.batch)
            while self.step < end:
                chips = upcoming.result()
                if self.step + 1 < end:
                    upcoming = ahead.submit(self.sampler.batch, self.step + 1, settings.batch)
                running.append(self._learn(chips))
                self.step += 1
                last = self.step == settings.steps
                if self.step % settings.validate_every == 0 or last:
                    speed = (self.step - first) / (time.monotonic() - started)
                    self._validate(sum(running) / len(running), speed)
                    running.clear()
                if self.step % settings.checkpoint_every == 0 or last or self.step == end:
                    self._save()
        return self.result() if self.step == settings.steps else None

    def result(self) -> TrainResult:
        """The best weights so far.

        Raises:
            RunError: nothing was validated yet.
        """
        if self.best is None:
            raise RunError(f"no validation yet at step {self.step} of {self.folder}: train further")
        return TrainResult(self.best["state"], self.best["step"], _score_of(self.best["score"]), self.history)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then poly."""
        settings = self.settings
        ramp = min((step + 1) / settings.warmup, 1.0) if settings.warmup else 1.0
        remaining: float = (1 - step / settings.steps) ** settings.power
        return settings.rate * ramp * remaining

    def _learn(self, chips: Chip) -> float:
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_at(self.step)
        pixels = scaled(chips.pixels, chips.valid, self.mean, self.std)
        outputs = self.network(pixels.contiguous(memory_format=torch.channels_last))
        loss = self.settings.loss(outputs if isinstance(outputs, tuple) else (outputs,), chips.labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                f"the loss is {value} at step {self.step}: lower the rate of {self.settings.rate:g}, "
                f"or look for pixels that are not finite; the last checkpoint is in {self.folder}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimizer.step()
        # The average warms up, or the first random weights would stay in it for long.
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for key, now in self.network.state_dict().items():
                kept = self.average[key]
                if kept.is_floating_point():
                    kept.lerp_(now, 1 - decay)
                else:
                    kept.copy_(now)
        return value

    def _validate(self, loss: float, speed: float) -> None:
        now = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        with torch.inference_mode():
            score = self.validation.score(self._logits)
        self.network.load_state_dict(now)
        row: dict[str, Any] = {
            "step": self.step,
            "rate": self.rate_at(self.step - 1),
            "loss": loss,
            "score": score.chosen,
        }
        row |= {
            f"{place}/{klass}": iou[klass]
            for place, iou in sorted(score.iou.items())
            for klass in range(len(iou))
        }
        self.history.append(row)
        if self.best is None or score.chosen > self.best["score"]["chosen"]:
            state = {k: v.clone() for k, v in self.average.items()}
            self.best = {"step": self.step, "score": asdict(score), "state": state}
        places = " ".join(
            f"{place} {_percent(iou, self.validation.scored)}" for place, iou in sorted(score.iou.items())
        )
        left = (self.settings.steps - self.step) / speed
        self.progress(
            f"step {self.step}/{self.settings.steps} loss {loss:.4f} score {score.chosen:.4f} "
            f"({places}) {speed:.2f} steps/s, {left / 60:.0f} min left"
        )
        with (self.folder / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.history[0]))
            writer.writeheader()
            writer.writerows(self.history)

    def _logits(self, pixels: Tensor, valid: Tensor) -> Tensor:
        image = scaled(pixels, valid, self.mean, self.std)
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def _identity(self) -> str:
        """What must not change between a checkpoint and its resumption."""
        sampler = self.sampler
        names = [(s.name, s.weight) for s in sampler.scenes]
        return repr((self.settings, sampler.settings, sampler.seed, names, self.mean, self.std))

    def _save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        content = {
            "identity": self._identity(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
        }
        temporary = self._checkpoint.with_suffix(".tmp")
        torch.save(content, temporary)
        os.replace(temporary, self._checkpoint)  # noqa: PTH105 - the one call that replaces atomically on every system

    def _resume(self) -> None:
        content = torch.load(self._checkpoint, weights_only=True)
        if content["identity"] != self._identity():
            raise RunError(
                f"{self._checkpoint} was written by a training with other settings, scenes or seed: "
                "go on with those, or train in another folder"
            )
        self.network.load_state_dict(content["network"])
        self.average = content["average"]
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.history, self.best = content["step"], content["history"], content["best"]
        self.progress(f"resumed at step {self.step} of {self._checkpoint}")


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on convolution kernels only: slopes, norms and biases are not to shrink."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _score_of(saved: dict[str, Any]) -> Score:
    from geoseg.train.validate import Score  # noqa: PLC0415 - the checkpoint holds plain values only

    return Score(saved["chosen"], {k: tuple(v) for k, v in saved["iou"].items()}, saved["pixels"])


def _percent(iou: tuple[float | None, ...], scored: tuple[int, ...]) -> str:
    found = [value for c in scored if (value := iou[c]) is not None]
    return f"{100 * sum(found) / len(found):.1f}" if found else "-"

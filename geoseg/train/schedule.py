"""The course of a training: how long it is, how fast it learns at each step, and when it pauses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.train.optim import rate_factor

if TYPE_CHECKING:
    from geoseg.config.training.train_config import TrainConfig

__all__ = ["Course"]


@dataclass(frozen=True, slots=True)
class Course:
    """A recipe's lengths and rates. A step is one change of the weights.

    >>> from geoseg.config.training.presets import PRESETS
    >>> course = Course(PRESETS["faster-unet"].train, epoch=1000)
    >>> course.chips_per_step, course.steps_per_epoch, course.steps
    (8, 125, 6250)
    """

    recipe: TrainConfig
    """How the network learns."""
    epoch: int
    """Chips that cover the labeled area once: an epoch, where the recipe gives none."""

    @property
    def chips_per_step(self) -> int:
        """Chips that one step learns from, in all processes."""
        return self.recipe.batch * self.recipe.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see an epoch's chips, at least 1."""
        chips = self.epoch if self.recipe.epoch == "auto" else int(self.recipe.epoch)
        return max(1, round(chips / self.chips_per_step))

    @property
    def steps(self) -> int:
        """Steps in all, unless the training stops early."""
        return self.recipe.steps or (self.recipe.epochs or 1) * self.steps_per_epoch

    def rate(self, step: int, drops: int = 0) -> float:
        """Learning rate of a step, from 0, after so many plateaus."""
        recipe = self.recipe
        return recipe.optimizer.rate * rate_factor(recipe.schedule, step, self.steps, drops)

    def validates(self, done: int) -> bool:
        """Whether a validation follows after so many steps."""
        return done == self.steps or self._due(self.recipe.validate_every, done)

    def saves(self, done: int) -> bool:
        """Whether a checkpoint follows after so many steps: after each validation, too."""
        return self.validates(done) or self._due(self.recipe.checkpoint_every, done)

    def _due(self, every: int | str, done: int) -> bool:
        return done % (self.steps_per_epoch if every == "epoch" else int(every)) == 0

"""The training loop: seeded, resumable, and the same bits again on the same machine and thread count.

Everything random is a function of the seed and the step, so a checkpoint needs no generator's state, and a
training that was killed ends with the weights it would have had: on a CPU bit for bit, wherever that was.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn

from geoseg.config.training.training_file import Hardware
from geoseg.train.checkpoint import CHECKPOINT_NAME, read_checkpoint, stated_identity, write_checkpoint
from geoseg.train.data.loader import Feed, chip_workers
from geoseg.train.diagnosis import diverged, mislabeled
from geoseg.train.distributed import ALONE, Team, check_shared
from geoseg.train.ema import Average, state_in
from geoseg.train.events import (
    Event,
    Notice,
    Saved,
    Stepped,
    TrainingEnded,
    TrainingStarted,
    Validated,
    Watch,
)
from geoseg.train.learner import Learner, Scale, Stepping
from geoseg.train.optim import Course, has_encoder
from geoseg.train.precision import Arithmetic
from geoseg.train.progress import Progress, TrainResult

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.config.training.train_config import TrainConfig
    from geoseg.config.training.training_file import Distill
    from geoseg.models.networks.network import Network
    from geoseg.train.data.chips import ChipSampler
    from geoseg.train.teacher import Teacher
    from geoseg.train.validate import Score, Validation

__all__ = ["TrainResult", "Trainer"]


class Trainer:
    """Trains one network in a folder, which holds its checkpoint.

    Args:
        network: Freshly built from the seed, or with the weights to start from, on the CPU; in training mode
            it may return a tuple, the main output first. It is changed.
        sampler: Cuts the chips.
        validation: Scores on the held-out blocks; asked in the first process only.
        recipe: How it learns.
        folder: Made when absent. A checkpoint in it is gone on from.
        watch: Takes the events, in the first process only.
        scale: Of the network's input.
        seed: Of what the network draws, such as dropout.
        hardware: Device, threads, workers.
        team: The processes that share each batch.
        distill: How a teacher is imitated; None: there is none.
        teacher: It.
        origin: What the first weights are, beside the seed; empty: random.

    Raises:
        RunError: the folder's checkpoint belongs to another training, the batch does not divide among the
            processes, or there is no such device here.
    """

    def __init__(  # noqa: PLR0917 - the five that every training has, and whoever watches
        self,
        network: Network,
        sampler: ChipSampler,
        validation: Validation,
        recipe: TrainConfig,
        folder: Path,
        watch: Watch = lambda _event: None,
        *,
        scale: Scale,
        seed: int = 0,
        hardware: Hardware | None = None,
        team: Team = ALONE,
        distill: Distill | None = None,
        teacher: Teacher | None = None,
        origin: str = "",
    ) -> None:
        self.hardware = hardware or Hardware()
        check_shared(recipe, team.size)
        self.sampler, self.validation, self.recipe, self.folder = sampler, validation, recipe, folder
        self.team, self._watch = team, watch
        self.course = Course(recipe, sampler.epoch)
        self.progress = Progress.begin(recipe)
        self._early: list[str] = []
        self._running = False
        self.arithmetic = Arithmetic.resolve(
            self.hardware.device, recipe.precision, self.hardware.threads, team.local
        )
        if recipe.optimizer.encoder_rate_factor != 1 and not has_encoder(network):
            self._notice("the network has no encoder of its own: all of it learns at the full rate")
        if team.size > 1 and not self.arithmetic.is_gpu and _normalizes(network):
            self._notice(
                f"each of the {team.size} processes normalizes by its own chips: torch has no batch "
                "normalization over processes on CPUs"
            )
        with self.arithmetic.settings():
            self.learner = Learner(
                network,
                recipe,
                scale,
                self.arithmetic,
                team,
                seed=seed,
                distill=distill,
                teacher=teacher,
                notify=self._notice,
            )
            self.average = None if recipe.average is None else Average(network, recipe.average)
        shapes = repr([(key, tuple(value.shape)) for key, value in network.state_dict().items()])
        self._identity = {
            **stated_identity(recipe, seed, origin, distill, None if teacher is None else teacher.identity),
            "set of chips": sampler.identity,
            "network": hashlib.sha256(shapes.encode()).hexdigest(),
            "scaling": repr(scale),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    def run(self, *, until: int | None = None) -> TrainResult | None:
        """Train to the end, or to a step.

        Args:
            until: Stop after so many steps in all, checkpoint written (for tests and time limits).

        Returns:
            The weights kept; None when stopped before the end.

        Raises:
            RunError: the loss or a weight is no longer finite, or memory does not do for a single chip.
            LabelError: a label is neither a class of the network nor 255.
            OutputError: the checkpoint cannot be written.
        """
        course = self.course
        self._tell(
            TrainingStarted(
                self.step, course.steps, course.chips_per_step, course.steps_per_epoch, self._where
            )
        )
        self._running = True
        for text in self._early:
            self._notice(text)
        self._early.clear()
        if not self.progress.ended:
            with self.arithmetic.settings():
                self._train(course.steps if until is None else min(until, course.steps))
        if not self.progress.ended:
            return None
        self._tell(TrainingEnded(self.step, self.progress.ended))
        return self.result()

    def result(self) -> TrainResult:
        """The weights kept so far; a :class:`RunError` before the first validation."""
        return self.progress.result(self.folder)

    def _train(self, end: int) -> None:
        progress, course, parts = self.progress, self.course, self.recipe.accumulate
        feed = Feed(
            self.sampler,
            self.recipe.batch,
            first=self.step * parts,
            stop=end * parts,
            workers=chip_workers(self.hardware.workers, self.arithmetic.kind, self.team.size),
            part=(self.team.rank, self.team.size),
        )
        unseen: Stepping | None = None
        with feed:
            chips, started = iter(feed), time.perf_counter()
            while self.step < end and not progress.ended:
                batches = [next(chips) for _ in range(parts)]
                rate = course.rate(self.step, progress.drops)
                done = self.learner.learn(self.step, batches, rate)
                if self.average is not None:
                    self.average.update(self.step)
                progress.step += 1
                # A GPU is a step ahead of what is looked at, or each look would make it wait.
                if unseen is not None:
                    started = self._look(unseen, started)
                unseen = done
                saves = self.step == end or course.saves(self.step)
                if saves or not self.arithmetic.is_gpu:
                    started, unseen = self._look(done, started), None
                if course.validates(self.step):
                    self._validate()
                if self.step == course.steps and not progress.ended:
                    progress.ended = f"all {course.steps} steps are done"
                if saves:
                    self._save()
                    started = time.perf_counter()
        if feed.advice:
            self._notice(feed.advice)

    def _look(self, done: Stepping, started: float) -> float:
        """Look at a step's loss, which waits for the device to come to it; returns the time."""
        loss, wrong = float(done.loss), int(done.wrong)
        if wrong:
            raise mislabeled(self.sampler, self.recipe, done.step, self.learner.network.classes)
        if not math.isfinite(loss):
            raise diverged(self.sampler, self.recipe, done.step, f"the loss is {loss}")
        now = time.perf_counter()
        self.progress.losses.append(loss)
        rate = self.course.rate(done.step, self.progress.drops)
        self._tell(Stepped(done.step + 1, loss, rate, now - started))
        return now

    def _validate(self) -> None:
        """Score what would be kept, and draw the recipe's conclusions, the same in all processes."""
        progress = self.progress
        started = time.perf_counter()
        learner, average = self.learner, None if self.average is None else self.average.state
        score: Score | None = None
        if not self.team.rank:
            with state_in(learner.network, average), torch.inference_mode():
                score = self.validation.score(learner.logits, learner.validation_loss)
        score = self.team.told(score)
        assert score is not None
        assert score.loss is not None
        kept = progress.keep(self.recipe, score, average or learner.network.state_dict())
        rate = self.course.rate(self.step - 1, progress.drops)
        event = Validated(
            self.step,
            self.step / self.course.steps_per_epoch,
            rate,
            fmean(progress.losses),
            score.chosen,
            score.loss,
            score.iou,
            kept,
            time.perf_counter() - started,
        )
        progress.losses.clear()
        progress.history.append(asdict(event))
        self._tell(event)
        if progress.conclude(self.recipe, score):
            now = self.course.rate(self.step, progress.drops)
            self._notice(f"no improvement: the rate falls from {rate:g} to {now:g}")

    def _save(self) -> None:
        for key, value in self.learner.network.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise diverged(self.sampler, self.recipe, self.step - 1, f"the weight {key} is not finite")
        if not self.team.rank:
            content = {
                "learner": self.learner.state(),
                "average": None if self.average is None else self.average.state,
                "progress": self.progress.saved(),
                "where": self._where,
            }
            write_checkpoint(self.folder, self._identity, content)
            self._tell(Saved(self.step))

    def _resume(self) -> None:
        content = read_checkpoint(self.folder, self._identity)
        if content is None:
            return
        self.learner.load(content["learner"])
        if self.average is not None:
            self.average.load(content["average"])
        self.progress = Progress.of(content["progress"])
        if content["where"] != self._where:
            self._notice(
                f"goes on with {self._where} what {self.folder / CHECKPOINT_NAME} began with "
                f"{content['where']}: the last bits of the weights will differ"
            )

    @property
    def _where(self) -> str:
        return f"{self.arithmetic}, {self.arithmetic.threads} thread(s), {self.team.size} process(es)"

    def _notice(self, text: str) -> None:
        """Tell a notice; those of before the first step are told with it."""
        if self._running:
            self._tell(Notice(self.step, text))
        else:
            self._early.append(text)

    def _tell(self, event: Event) -> None:
        if not self.team.rank:
            self._watch(event)


def _normalizes(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())

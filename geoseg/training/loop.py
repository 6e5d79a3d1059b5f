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
from geoseg.errors import LabelError, RunError
from geoseg.training.checkpoint import CHECKPOINT_NAME, config_identity, read_checkpoint, write_checkpoint
from geoseg.training.data.loader import ChipLoader, chip_workers
from geoseg.training.distributed import SINGLE_PROCESS, ProcessGroup, check_batch_divides
from geoseg.training.ema import MovingAverage, swapped_state
from geoseg.training.events import (
    Event,
    Notice,
    Saved,
    Stepped,
    TrainingEnded,
    TrainingStarted,
    Validated,
    Watch,
)
from geoseg.training.learner import Learner, StepResult, Teacher
from geoseg.training.losses import invalid_labels
from geoseg.training.optim import TrainingSchedule, has_encoder
from geoseg.training.precision import TrainingRuntime
from geoseg.training.progress import Progress, TrainResult
from geoseg.words import listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from geoseg.config.model.contract import Scaling
    from geoseg.config.training.train_config import TrainConfig
    from geoseg.config.training.training_file import Distill
    from geoseg.models.networks.network import Network
    from geoseg.training.data.chips import ChipSampler
    from geoseg.training.validate import Score, Validation

__all__ = ["Trainer"]


class Trainer:
    """Trains one network in a folder, which holds its checkpoint.

    Args:
        network: Freshly built from the seed, or with the weights to start from, on the CPU; in training mode
            it may return a tuple, the main output first. It is changed.
        validation: Scores on the held-out blocks; asked in the first process only.
        folder: Made when absent. A checkpoint in it is resumed.
        watch: Takes the events, in the first process only.
        seed: Of what the network draws, such as dropout.
        origin: What the first weights are, beside the seed; empty: random.

    Raises:
        RunError: the folder's checkpoint belongs to another training, the batch does not divide among the
            processes, or there is no such device here.
    """

    def __init__(  # noqa: PLR0917 - the five that every training has, and the watcher
        self,
        network: Network,
        sampler: ChipSampler,
        validation: Validation,
        config: TrainConfig,
        folder: Path,
        watch: Watch = lambda _event: None,
        *,
        scaling: Scaling,
        seed: int = 0,
        hardware: Hardware | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        distill: Distill | None = None,
        teacher: Teacher | None = None,
        origin: str = "",
    ) -> None:
        self.hardware = hardware or Hardware()
        check_batch_divides(config, group.size)
        self.sampler, self.validation, self.config, self.folder = sampler, validation, config, folder
        self.group, self._watch = group, watch
        self.schedule = TrainingSchedule(config, sampler.epoch)
        self.progress = Progress.begin(config)
        self._early: list[str] = []
        self._running = False
        self.runtime = TrainingRuntime.resolve(
            self.hardware.device, config.precision, self.hardware.threads, index=group.local
        )
        if config.optimizer.encoder_rate_factor != 1 and not has_encoder(network):
            self._notice("the network has no encoder of its own: all of it learns at the full rate")
        if group.size > 1 and not self.runtime.is_gpu and _normalizes(network):
            self._notice(
                f"each of the {group.size} processes normalizes by its own chips: torch has no batch "
                "normalization over processes on CPUs"
            )
        with self.runtime.settings():
            self.learner = Learner(
                network,
                config,
                scaling,
                self.runtime,
                group,
                seed=seed,
                distill=distill,
                teacher=teacher,
                notify=self._notice,
            )
            self.average = None if config.average is None else MovingAverage(network, config.average)
        shapes = repr([(key, tuple(value.shape)) for key, value in network.state_dict().items()])
        self._identity = {
            **config_identity(config, seed, origin, distill, None if teacher is None else teacher.identity),
            "set of chips": sampler.identity,
            "network": hashlib.sha256(shapes.encode()).hexdigest(),
            "scaling": repr(scaling),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    def run(self, *, until: int | None = None) -> TrainResult | None:
        """Train to the end, or to a step; gives the weights kept, None when stopped before the end.

        Args:
            until: Stop after so many steps in all, checkpoint written (for tests and time limits).

        Raises:
            RunError: the loss or a weight is no longer finite, or memory does not do for a single chip.
            LabelError: a label is neither a class of the network nor 255.
            OutputError: the checkpoint cannot be written.
        """
        schedule = self.schedule
        self._emit(
            TrainingStarted(
                self.step, schedule.steps, schedule.chips_per_step, schedule.steps_per_epoch, self._where
            )
        )
        self._running = True
        for text in self._early:
            self._notice(text)
        self._early.clear()
        if not self.progress.ended:
            with self.runtime.settings():
                self._train(schedule.steps if until is None else min(until, schedule.steps))
        if not self.progress.ended:
            return None
        self._emit(TrainingEnded(self.step, self.progress.ended))
        return self.result()

    def result(self) -> TrainResult:
        """The weights kept so far; a :class:`RunError` before the first validation."""
        return self.progress.result(self.folder)

    def _train(self, end: int) -> None:
        progress, schedule, parts = self.progress, self.schedule, self.config.accumulate
        feed = ChipLoader(
            self.sampler,
            self.config.batch,
            first=self.step * parts,
            stop=end * parts,
            workers=chip_workers(self.hardware.workers, self.runtime.kind, self.group.size),
            part=(self.group.rank, self.group.size),
        )
        unseen: StepResult | None = None
        with feed:
            chips, started = iter(feed), time.perf_counter()
            while self.step < end and not progress.ended:
                batches = [next(chips) for _ in range(parts)]
                rate = schedule.rate(self.step, progress.drops)
                done = self.learner.learn(self.step, batches, rate)
                if self.average is not None:
                    self.average.update(self.step)
                progress.step += 1
                # A GPU is a step ahead of what is looked at, or each look would make it wait.
                if unseen is not None:
                    started = self._look(unseen, started)
                unseen = done
                saves = self.step == end or schedule.saves(self.step)
                if saves or not self.runtime.is_gpu:
                    started, unseen = self._look(done, started), None
                if schedule.validates(self.step):
                    self._validate()
                if self.step == schedule.steps and not progress.ended:
                    progress.ended = f"all {schedule.steps} steps are done"
                if saves:
                    self._save()
                    started = time.perf_counter()
        if feed.advice:
            self._notice(feed.advice)

    def _look(self, done: StepResult, started: float) -> float:
        """Look at a step's loss, which waits for the device to come to it; returns the time."""
        loss, wrong = float(done.loss), int(done.wrong)
        if wrong:
            raise _mislabeled(self.sampler, self.config, done.step, self.learner.network.classes)
        if not math.isfinite(loss):
            raise _diverged(self.sampler, self.config, done.step, f"the loss is {loss}")
        now = time.perf_counter()
        self.progress.losses.append(loss)
        rate = self.schedule.rate(done.step, self.progress.drops)
        self._emit(Stepped(done.step + 1, loss, rate, now - started))
        return now

    def _validate(self) -> None:
        """Score what would be kept, and draw the config's conclusions, the same in all processes."""
        progress = self.progress
        started = time.perf_counter()
        learner, average = self.learner, None if self.average is None else self.average.state
        score: Score | None = None
        if not self.group.rank:
            with swapped_state(learner.network, average), torch.inference_mode():
                score = self.validation.score(learner.logits, learner.validation_loss)
        score = self.group.broadcast(score)
        assert score is not None
        assert score.loss is not None
        kept = progress.keep(self.config, score, average or learner.network.state_dict())
        rate = self.schedule.rate(self.step - 1, progress.drops)
        event = Validated(
            self.step,
            self.step / self.schedule.steps_per_epoch,
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
        self._emit(event)
        if progress.conclude(self.config, score):
            now = self.schedule.rate(self.step, progress.drops)
            self._notice(f"no improvement: the rate falls from {rate:g} to {now:g}")

    def _save(self) -> None:
        for key, value in self.learner.network.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise _diverged(self.sampler, self.config, self.step - 1, f"the weight {key} is not finite")
        if not self.group.rank:
            content = {
                "learner": self.learner.state(),
                "average": None if self.average is None else self.average.state,
                "progress": self.progress.saved(),
                "where": self._where,
            }
            write_checkpoint(self.folder, self._identity, content)
            self._emit(Saved(self.step))

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
                f"{self.folder / CHECKPOINT_NAME} was written with {content['where']}, this process has "
                f"{self._where}: the last bits of the weights will differ"
            )

    @property
    def _where(self) -> str:
        return f"{self.runtime}, {self.runtime.threads} thread(s), {self.group.size} process(es)"

    def _notice(self, text: str) -> None:
        """Report a notice; those of before the first step are reported with it."""
        if self._running:
            self._emit(Notice(self.step, text))
        else:
            self._early.append(text)

    def _emit(self, event: Event) -> None:
        if not self.group.rank:
            self._watch(event)


def _normalizes(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _diverged(sampler: ChipSampler, config: TrainConfig, step: int, what: str) -> RunError:
    """What is no longer finite at a step, from 0; its chips are cut once more, to look at them."""
    chips = list(_chips(sampler, config, step))
    scenes = listed(dict.fromkeys(name for name, *_ in chips))
    spoilt = [
        name for name, pixels, valid, _ in chips if not bool(pixels.movedim(0, -1)[valid].isfinite().all())
    ]
    if spoilt:
        why = f"pixels of {listed(dict.fromkeys(spoilt))} are not finite; declare them as nodata"
    else:
        why = f"its chips are finite, so the training diverged: lower the rate of {config.optimizer.rate:g}"
        why += ", or use precision: bf16" if config.precision == "fp16" else ""
        why += "" if config.clip else ", or set train.clip, such as 5.0"
    return RunError(
        f"{what} at step {step + 1} (batch {step * config.accumulate}, chips from {scenes}): {why}; "
        "a checkpoint, where there is one, is from before it"
    )


def _mislabeled(sampler: ChipSampler, config: TrainConfig, step: int, classes: int) -> LabelError:
    """Labels that are no class of the network."""
    found: dict[str, set[int]] = {}
    for name, _, _, ids in _chips(sampler, config, step):
        wrong = invalid_labels(ids, classes)
        if bool(wrong.any()):
            found.setdefault(name, set()).update(ids[wrong].tolist())
    where = "; ".join(f"{name} has {sorted(ids)[:5]}" for name, ids in found.items())
    return LabelError(
        f"labels at step {step + 1} are no class of the network, which has 0 to {classes - 1}: {where}; "
        "map them by data.classes, or mark them 255"
    )


def _chips(
    sampler: ChipSampler, config: TrainConfig, step: int
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Scene, pixels, validity and ids of each chip of a step."""
    for batch in range(step * config.accumulate, (step + 1) * config.accumulate):
        chips = sampler.batch(batch, config.batch)
        yield from zip(sampler.scenes_of(batch, config.batch), *chips, strict=True)

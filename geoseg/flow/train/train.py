"""Train a network by a training file: from labeled scenes to a bundle that ``geoseg run`` takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg.flow.train.contract import (
    draft_spec,
    halo_of,
    place_metrics,
    procedure_of,
)
from geoseg.flow.train.data import SceneRead, chip_settings, index_data
from geoseg.flow.train.initial_weights import first_network, first_score, origin_of
from geoseg.flow.train.prepare import PreparedTraining, prepare_training
from geoseg.io.files import sweep_temporaries
from geoseg.io.lock import locked
from geoseg.models.bundle import Bundle, save_bundle
from geoseg.models.networks.registry import build
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime
from geoseg.train.data.chips import ChipSampler
from geoseg.train.data.index import scaling
from geoseg.train.distributed import Team, train_together
from geoseg.train.events import Event as LoopEvent
from geoseg.train.events import Notice, fan_out
from geoseg.train.learner import Scale
from geoseg.train.logs import TrainingLog, read_log
from geoseg.train.loop import Trainer, TrainResult
from geoseg.train.precision import Arithmetic
from geoseg.train.teacher import Teacher
from geoseg.train.validate import Score, Validation

if TYPE_CHECKING:
    from geoseg.config.training.training_file import Training

__all__ = [
    "CURVES_NAME",
    "PREDICTIONS_NAME",
    "Event",
    "FirstScored",
    "TrainSummary",
    "Watch",
    "train",
]

CURVES_NAME = "curves.png"
"""Losses and scores over the steps."""
PREDICTIONS_NAME = "predictions.png"
"""Held-out blocks beside their truth."""


@dataclass(frozen=True, slots=True)
class FirstScored:
    """The network was scored before it learns."""

    score: Score
    """On the held-out blocks."""
    start: str
    """What its weights are, in words."""


Event = SceneRead | FirstScored | LoopEvent
Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainSummary:
    """What came of a training."""

    bundle: Bundle
    """The trained model."""
    output: Path
    """Folder of checkpoint, logs, pictures and bundle."""
    before: Score
    """On the held-out blocks, before the first step."""
    result: TrainResult
    """The weights kept, and their score."""
    start: str
    """What the training started from, in words."""
    seconds: float
    """Wall time of this call."""

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures that were drawn; held-out blocks that show nothing of any class give none."""
        both = (self.output / CURVES_NAME, self.output / PREDICTIONS_NAME)
        return tuple(path for path in both if path.is_file())


def train(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    watch: Watch = lambda _event: None,
) -> TrainSummary:
    """Train by a file, or go on with a training that was stopped in the same output folder.

    A script calls it under ``if __name__ == "__main__":``: processes that cut chips import the script.

    Args:
        path: training file.
        overrides: values by dotted key, such as ``{"train.steps": 500}``; text is read as after ``--set``.
        watch: called with each event.

    Raises:
        GeosegError: as :func:`prepare_training`; and what the loop raises, with all that was done until the
            last checkpoint kept.
    """
    started = time.perf_counter()
    prepared = prepare_training(path, overrides)
    loaded, training = prepared.loaded, prepared.training
    with locked(loaded.output):
        sweep_temporaries(loaded.output)
        data = index_data(prepared.scenes, training, watch)
        if prepared.start is None:
            scale = Scale(*scaling(data.scenes, data.indexes))
        else:
            scale = Scale(prepared.start.spec.scaling.mean, prepared.start.spec.scaling.std)
        sampler = ChipSampler(data.scenes, chip_settings(training), seed=training.seed, indexes=data.indexes)
        grounds = [entry.background for entry in training.classes]
        validation = Validation(
            data.scenes,
            resolution=training.resolution.value,
            classes=len(grounds),
            scored=[number for number, ground in enumerate(grounds) if not ground],
            window=prepared.views.window,
            context=prepared.views.context,
            border=bool(training.border),
        )
        network = first_network(training, prepared.start, lambda text: watch(Notice(0, text)))
        before = first_score(network, scale, validation, prepared.arithmetic)
        watch(FirstScored(before, _start_words(prepared)))
        for text in prepared.remarks:
            watch(Notice(0, text))
        job = _Job(training, loaded.output, sampler, validation, scale, prepared.start, loaded.teacher, watch)
        result = train_together(
            _learn,
            training.compute.processes,
            "cuda" if prepared.arithmetic.is_gpu else "cpu",
            job,
        )
        bundle = _publish(prepared, job, result, before)
    return TrainSummary(
        bundle, loaded.output, before, result, _start_words(prepared), time.perf_counter() - started
    )


@dataclass(slots=True)
class _Job:
    """What every process of a training is given."""

    training: Training
    output: Path
    sampler: ChipSampler
    validation: Validation
    scale: Scale
    start: Bundle | None
    teacher: str | None
    watch: Watch

    def __getstate__(self) -> dict[str, Any]:
        # Only the first process, which has this very object, tells what happens.
        return {key: getattr(self, key) for key in self.__slots__} | {"watch": _tell_nobody}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)


def _tell_nobody(_event: Event) -> None:
    """Take an event."""


def _learn(team: Team, job: _Job) -> TrainResult:
    """The training proper, in each of its processes."""
    training = job.training
    compute = training.compute
    arithmetic = Arithmetic.resolve(compute.device, training.train.precision, compute.threads, team.local)
    names = [entry.name for entry in training.classes]
    teacher = (
        None if job.teacher is None else Teacher.load(job.teacher, training.bands, names, arithmetic.device)
    )
    with TrainingLog(job.output) as log:
        trainer = Trainer(
            first_network(training, job.start),
            job.sampler,
            job.validation,
            training.train,
            job.output,
            fan_out(log, job.watch),
            scale=job.scale,
            seed=training.seed,
            hardware=compute,
            team=team,
            distill=training.distill,
            teacher=teacher,
            origin=origin_of(training, job.start),
        )
        result = trainer.run()
    assert result is not None, "it was not told to stop before the end"
    return result


def _publish(prepared: PreparedTraining, job: _Job, result: TrainResult, before: Score) -> Bundle:
    """Measure the halo, draw the pictures, write the bundle."""
    # Importing matplotlib takes a second, which a mistake in the file should not have to wait for.
    from geoseg.flow.train.figures import draw_curves, draw_predictions  # noqa: PLC0415 - see above

    training, views, validation = prepared.training, prepared.views, job.validation
    network = first_network(training, None if prepared.start is None else prepared.start)
    network.load_state_dict(result.state)
    spec = draft_spec(
        training,
        job.scale,
        prepared.scenes[0].value_dtype,
        views,
        procedure_of(training, result.step, None if prepared.start is None else prepared.start.spec.name),
    )
    plain = build(spec.architecture, **cast("dict[str, Any]", spec.arguments))
    own = plain.state_dict()
    plain.load_state_dict({key: value for key, value in result.state.items() if key in own})
    device = "cuda" if prepared.arithmetic.is_gpu else "cpu"
    predictor = Predictor.of(plain, spec, Runtime.resolve(device, threads=prepared.arithmetic.threads))
    halo, agreement = halo_of(predictor, validation.scenes, views, training.seed)
    metrics = place_metrics(training, result.score, validation.choosing)
    output = prepared.loaded.output
    draw_curves(
        output / CURVES_NAME,
        training.model.title or training.model.name,
        [(entry["step"], entry["loss"]) for entry in read_log(output) if entry["event"] == "step"],
        result.history,
        kept=result.step,
        before=before.chosen,
        scored=validation.scored,
        inner=any(key.startswith("auxiliary.") for key in result.state),
    )
    (output / PREDICTIONS_NAME).unlink(missing_ok=True)
    draw_predictions(output / PREDICTIONS_NAME, predictor, validation, spec.classes)
    spec = spec.model_copy(update={"halo": halo, "halo_agreement": agreement, "metrics": tuple(metrics)})
    return save_bundle(prepared.bundle, spec, network)


def _start_words(prepared: PreparedTraining) -> str:
    model = prepared.training.model
    if prepared.start is not None:
        return f"weights of {prepared.start.spec.name}"
    return "a pre-trained encoder" if model.encoder_weights else "random weights"

"""Train a network by a training file: from labeled scenes to a bundle that ``geoseg run`` takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from geoseg.flow.train.contract import Seen, draft_spec, measured_spec, procedure_of
from geoseg.flow.train.data import SceneRead, chip_settings, index_data
from geoseg.flow.train.initial_weights import first_network, first_score, origin_of
from geoseg.flow.train.prepare import PreparedTraining, prepare_training
from geoseg.io.files import check_writable, locked, sweep_temporaries
from geoseg.models.bundle import Bundle
from geoseg.models.networks.registry import build
from geoseg.models.predictor import Predictor
from geoseg.models.runtime import Runtime
from geoseg.models.saving import save_bundle
from geoseg.training.data.chips import ChipSampler
from geoseg.training.data.index import fit_scaling
from geoseg.training.distributed import ProcessGroup, launch
from geoseg.training.events import Event as LoopEvent
from geoseg.training.events import Notice, fan_out
from geoseg.training.learner import Teacher
from geoseg.training.logs import TrainingLog
from geoseg.training.loop import Trainer
from geoseg.training.precision import TrainingRuntime
from geoseg.training.validate import Validation

if TYPE_CHECKING:
    from geoseg.config.model.contract import BundleSpec, Scaling
    from geoseg.config.training.training_file import Training
    from geoseg.models.networks.network import Network
    from geoseg.training.data.file_scene import FileScene
    from geoseg.training.data.index import SceneIndex
    from geoseg.training.progress import TrainResult
    from geoseg.training.validate import Score

__all__ = ["CheckedTraining", "Event", "FirstScored", "TrainSummary", "check_training", "train"]


_CLIPPED = 0.01
"""Share of the values that changes of color may clip without a word."""


@dataclass(frozen=True, slots=True)
class FirstScored:
    """The network was scored before it learns."""

    score: Score  # on the held-out blocks
    start: str  # what its weights are, in words


Event = SceneRead | FirstScored | LoopEvent
Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True, eq=False)
class TrainSummary:
    """The result of a training."""

    bundle: Bundle
    output: Path  # folder of checkpoint, logs, pictures and bundle
    before: Score  # on the held-out blocks, before the first step
    result: TrainResult
    start: str  # what the training started from, in words
    seconds: float
    pictures: tuple[Path, ...]  # curves, and predictions where held-out blocks show anything of a class


def train(
    path: str | Path, overrides: Mapping[str, Any] | None = None, watch: Watch = lambda _event: None
) -> TrainSummary:
    """Train by a file, or continue a training that was stopped in the same output folder.

    A script calls it under ``if __name__ == "__main__":``: processes that cut chips import the script.

    Args:
        overrides: values by dotted key, such as ``{"train.steps": 500}``; text is read as after ``--set``.

    Raises:
        GeosegError: as :func:`prepare_training`; and what the loop raises, with all that was done until the
            last checkpoint kept.
    """
    started = time.perf_counter()
    prepared = prepare_training(path, overrides)
    output = prepared.loaded.output
    with locked(output):
        sweep_temporaries(output)
        job = _read_data(prepared, watch)
        before = _score_start(prepared, job)
        result = launch(_learn, job.training.compute.processes, prepared.runtime.kind, job)
        network, predictor = _trained(prepared, job, result)
        spec = measured_spec(predictor, job.training, prepared.views, job.validation, result.score)
        # Importing matplotlib takes a second, which a mistake in the file should not have to wait for.
        from geoseg.flow.train.figures import draw_figures  # noqa: PLC0415 - see above

        pictures = draw_figures(output, predictor, job.validation, result, before)
        bundle = save_bundle(prepared.bundle, spec, network)
    seconds = time.perf_counter() - started
    return TrainSummary(bundle, output, before, result, prepared.start_text, seconds, pictures)


@dataclass(frozen=True, slots=True)
class CheckedTraining:
    """A training that nothing knowable stands against."""

    prepared: PreparedTraining
    scenes: tuple[tuple[FileScene, SceneIndex], ...]
    """Each scene with the weight that its chips are drawn by, and where its classes lie."""
    notes: tuple[str, ...]
    """What is no mistake but may not be meant, a sentence each."""


def check_training(
    path: str | Path, overrides: Mapping[str, Any] | None = None, watch: Watch = lambda _event: None
) -> CheckedTraining:
    """Find all that :func:`train` would refuse, by reading the scenes once as it does; nothing is written.

    Raises:
        GeosegError: as :func:`train`, before its first step.
    """
    prepared = prepare_training(path, overrides)
    check_writable(prepared.loaded.output)
    job = _read_data(prepared, watch)
    notes: list[str] = list(job.notes)
    first_network(job.training, job.start, notes.append)
    scenes = tuple(zip(job.sampler.scenes, job.sampler.indexes, strict=True))
    return CheckedTraining(prepared, cast("tuple[tuple[FileScene, SceneIndex], ...]", scenes), tuple(notes))


@dataclass(slots=True)
class _Job:
    """The input of every process of a training."""

    training: Training
    output: Path
    sampler: ChipSampler
    validation: Validation
    scaling: Scaling
    seen: Seen
    start: Bundle | None
    teacher: str | None
    watch: Watch
    notes: tuple[str, ...]

    def __getstate__(self) -> dict[str, Any]:
        # Only the first process, which has this very object, reports events.
        return {key: getattr(self, key) for key in self.__slots__} | {"watch": _ignore}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)


def _ignore(_event: Event) -> None:
    """Take an event."""


def _read_data(prepared: PreparedTraining, watch: Watch) -> _Job:
    """Read the scenes once: chips to learn from, windows to score in, the scaling of the network's input."""
    training, loaded = prepared.training, prepared.loaded
    data = index_data(prepared.scenes, training, watch)
    sampler = ChipSampler(data.scenes, chip_settings(training), seed=training.seed, indexes=data.indexes)
    backgrounds = [entry.background for entry in training.classes]
    validation = Validation(
        data.scenes,
        resolution=training.resolution.value,
        classes=len(backgrounds),
        scored=[number for number, background in enumerate(backgrounds) if not background],
        window=prepared.views.window,
        context=prepared.views.context,
        border=bool(training.border),
    )
    return _Job(
        training,
        loaded.output,
        sampler,
        validation,
        fit_scaling(data.scenes, data.indexes) if prepared.start is None else prepared.start.spec.scaling,
        Seen.of(training, data.scenes, data.indexes),
        prepared.start,
        loaded.teacher,
        watch,
        (*prepared.remarks, *data.notes, *_color_notes(sampler)),
    )


def _color_notes(sampler: ChipSampler) -> Iterator[str]:
    """Says where changes of color cost pixels."""
    share = sampler.newly_clipped()
    if share > _CLIPPED:
        yield (
            f"changes of color clip {share:.1%} of the values to the ends of their range, more than "
            f"{_CLIPPED:.0%}: smaller chips.color.brightness, contrast and gain keep them"
        )


def _score_start(prepared: PreparedTraining, job: _Job) -> Score:
    """Score the network before it learns, and report what is known by now."""
    network = first_network(job.training, job.start, lambda text: job.watch(Notice(0, text)))
    before = first_score(network, job.scaling, job.validation, prepared.runtime)
    job.watch(FirstScored(before, prepared.start_text))
    for text in job.notes:
        job.watch(Notice(0, text))
    return before


def _learn(group: ProcessGroup, job: _Job) -> TrainResult:
    """The training loop, in each of its processes."""
    training = job.training
    compute = training.compute
    runtime = TrainingRuntime.resolve(
        compute.device, training.train.precision, compute.threads, index=group.local
    )
    classes = [entry.name for entry in training.classes]
    teacher = (
        None if job.teacher is None else Teacher.load(job.teacher, training.bands, classes, runtime.device)
    )
    with TrainingLog(job.output) as log:
        trainer = Trainer(
            first_network(training, job.start),
            job.sampler,
            job.validation,
            training.train,
            job.output,
            fan_out(log, job.watch),
            scaling=job.scaling,
            seed=training.seed,
            hardware=compute,
            group=group,
            distill=training.distill,
            teacher=teacher,
            origin=origin_of(training, job.start),
        )
        result = trainer.run()
    assert result is not None, "it runs to the end"
    return result


def _trained(prepared: PreparedTraining, job: _Job, result: TrainResult) -> tuple[Network, Predictor]:
    """The trained network without its auxiliary heads, also as a predictor by the draft of its contract."""
    start = None if job.start is None else job.start.spec.name
    spec: BundleSpec = draft_spec(
        job.training,
        job.scaling,
        job.seen,
        prepared.views,
        procedure_of(job.training, result.step, start),
    )
    network = build(spec.architecture, **cast("dict[str, Any]", spec.arguments))
    own = network.state_dict()
    network.load_state_dict(
        {key: value for key, value in result.state.items() if key in own or not key.startswith("auxiliary.")}
    )
    runtime = Runtime.resolve(prepared.runtime.kind, threads=prepared.runtime.threads)
    return network, Predictor.of(network, spec, runtime)

"""Progress of a training: a bar on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from geoseg.cli.report import scene_line
from geoseg.flow.train.data import SceneRead
from geoseg.flow.train.train import Event, FirstScored, TrainSummary
from geoseg.train.events import Notice, Saved, Stepped, TrainingEnded, TrainingStarted, Validated
from geoseg.words import counted

if TYPE_CHECKING:
    from geoseg.config.model.contract import BundleSpec
    from geoseg.train.validate import Score

__all__ = ["TrainWatcher", "open_training_progress"]

_PLAIN_SECONDS = 10.0
"""Seconds between plain lines of steps: a log stays readable overnight."""
_NAMES = {
    SceneRead: "scene",
    FirstScored: "first-score",
    TrainingStarted: "start",
    Stepped: "step",
    Validated: "validated",
    Saved: "saved",
    Notice: "notice",
    TrainingEnded: "ended",
}


class TrainWatcher:
    """Follows a training; says what has to be known, and at the end what became of it."""

    def __init__(self) -> None:
        self.first = self.step = self.steps = 0
        self.chips = 1
        self._recent: deque[float] = deque(maxlen=50)

    @property
    def rate(self) -> float:
        """Steps per second of the last fifty."""
        return 1.0 / fmean(self._recent) if self._recent else 0.0

    def watch(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, TrainingStarted):
            self.first, self.step, self.steps, self.chips = event.step, event.step, event.steps, event.chips
        elif isinstance(event, Stepped):
            self.step = event.step
            self._recent.append(max(event.seconds, 1e-9))
        elif isinstance(event, Notice):
            self.say(f"note: {event.text}")

    def say(self, line: str) -> None:
        """What a person should know whatever the kind of progress."""
        click.echo(line, err=True)

    def finish(self, summary: TrainSummary) -> None:
        """Say what became of it."""
        click.echo(ending(summary))


class _Plain(TrainWatcher):
    def __init__(self) -> None:
        super().__init__()
        self._last = time.perf_counter()

    def say(self, line: str) -> None:
        click.echo(line)

    def watch(self, event: Event) -> None:
        super().watch(event)
        line = told(event)
        if line is not None:
            self.say(line)
        elif isinstance(event, Stepped) and time.perf_counter() - self._last > _PLAIN_SECONDS:
            self._last = time.perf_counter()
            left = (self.steps - self.step) / self.rate
            self.say(
                f"step {event.step:,}/{self.steps:,}  loss {event.loss:.4f}  "
                f"{self.rate * self.chips:.1f} chips/s, {duration(left)} left"
            )


class _Json(TrainWatcher):
    def watch(self, event: Event) -> None:
        super().watch(event)
        click.echo(json.dumps({"event": _NAMES[type(event)], **asdict(event)}))

    def say(self, line: str) -> None:
        """It is an event like any other."""

    def finish(self, summary: TrainSummary) -> None:
        end: dict[str, Any] = {
            "event": "end",
            "bundle": str(summary.bundle.folder),
            "before": asdict(summary.before),
            "after": asdict(summary.result.score),
            "step": summary.result.step,
            "reason": summary.result.reason,
            "seconds": round(summary.seconds, 3),
        }
        click.echo(json.dumps(end))


class _Bar(TrainWatcher):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def watch(self, event: Event) -> None:
        super().watch(event)
        if isinstance(event, TrainingStarted):
            self._task = self._progress.add_task(
                "training", total=event.steps, completed=event.step, loss=float("nan"), rate=0.0
            )
        line = told(event)
        if line is not None:
            self.say(line)
        elif isinstance(event, Stepped):
            assert self._task is not None
            self._progress.update(
                self._task, completed=event.step, loss=event.loss, rate=self.rate * self.chips
            )

    def finish(self, summary: TrainSummary) -> None:
        self._progress.stop()
        super().finish(summary)


def told(event: Event) -> str | None:
    """An event that is worth a line of its own."""
    if isinstance(event, SceneRead):
        repaired = f", {counted(event.repaired, 'polygon')} repaired" if event.repaired else ""
        place = "" if event.place == event.scene else f" ({event.place})"
        return scene_line(
            "read", event.scene, f"{event.pixels:,} px to train on, {event.held:,} held out{repaired}{place}"
        )
    if isinstance(event, FirstScored):
        return f"score before: {event.score.chosen:.3f} with {event.start}"
    if isinstance(event, TrainingStarted):
        gone_on = f", going on from step {event.step:,}" if event.step else ""
        return (
            f"{event.steps:,} steps of {counted(event.chips, 'chip')} on {event.where}; an epoch is "
            f"{counted(event.steps_per_epoch, 'step')}{gone_on}"
        )
    if isinstance(event, Validated):
        kept = "  kept" if event.kept else ""
        return (
            f"step {event.step:,}  loss {event.loss:.4f}  held-out loss {event.validation_loss:.4f}  "
            f"score {event.score:.3f}{kept}"
        )
    if isinstance(event, TrainingEnded):
        return f"ended: {event.reason}"
    return None


def ending(summary: TrainSummary) -> str:
    """Scores before and after, what was written, and what to do next."""
    spec, result = summary.bundle.spec, summary.result
    lines = ["", *_table(summary.before, result.score, spec), ""]
    size = "" if spec.weights is None else f", {spec.weights.size / 1e6:.1f} MB"
    count = "" if spec.weights is None else f"{spec.weights.parameters:,} parameters{size}"
    window = "any window" if spec.window is None else f"windows of {spec.window} px"
    told_bundle = (
        f"bundle: {summary.bundle.folder}  ({count}; {window}, halo {spec.halo} px: "
        f"{spec.halo_agreement:.2%} of the classes as with twice the surroundings)"
    )
    lines += [
        f"kept: step {result.step:,} ({result.reason}); {duration(summary.seconds)} in all",
        told_bundle,
        f"look at: {'  '.join(str(picture) for picture in summary.pictures)}",
        f"next: geoseg run WORKFLOW.yaml --set model={summary.bundle.folder}",
    ]
    return "\n".join(lines)


def _table(before: Score, after: Score, spec: BundleSpec) -> Sequence[str]:
    """IoU by place and class: before and after."""
    shown = [c for c in spec.classes if not c.background] or list(spec.classes)
    places = sorted(after.iou)
    width = max(len("score"), *(len(place) for place in places))
    columns = [max(len(c.name), 13) for c in shown]
    head = "  ".join(c.name.rjust(w) for c, w in zip(shown, columns, strict=True))
    lines = [f"{'IoU held out':<{width}}  {head}"]
    for place in places:
        pairs = [(before.iou[place][c.id], after.iou[place][c.id]) for c in shown]
        cells = [f"{_number(first)} → {_number(last)}" for first, last in pairs]
        row = "  ".join(cell.rjust(w) for cell, w in zip(cells, columns, strict=True))
        lines.append(f"{place:<{width}}  {row}")
    lines.append(f"{'score':<{width}}  {f'{before.chosen:.3f} → {after.chosen:.3f}'.rjust(columns[0])}")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(50), duration(200), duration(7300)
    ('50 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    if whole < 7200:  # noqa: PLR2004 - two hours
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def open_training_progress(kind: str) -> Iterator[TrainWatcher]:
    """The watcher of a kind: ``auto``, ``bar``, ``plain``, ``json`` or ``none``."""
    if kind == "auto":
        kind = "bar" if sys.stdout.isatty() else "plain"
    if kind == "bar":
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,}  loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[rate]:.1f} chips/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console()) as progress:
            yield _Bar(progress)
    else:
        yield {"plain": _Plain, "json": _Json, "none": TrainWatcher}[kind]()

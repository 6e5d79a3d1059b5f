"""Progress of a run or a training: a bar on a terminal, plain lines elsewhere, JSON lines for programs.

A view shows lines, a share of the work and events; a watcher makes them of what a command reports.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from geoseg.cli.report import scene_line
from geoseg.cli.tables import print_report, print_table
from geoseg.config.model.contract import BundleSpec
from geoseg.errors import without_scene
from geoseg.flow.run.events import Event as RunEvent
from geoseg.flow.run.events import RunStarted, RunSummary, SceneOutcome, Status, WindowRowsFinished
from geoseg.flow.run.profile import Profile
from geoseg.score.report.tables import Table
from geoseg.training.events import Notice, Saved, Stepped, TrainingEnded, TrainingStarted, Validated
from geoseg.words import counted

if TYPE_CHECKING:  # a run needs no training
    from geoseg.flow.train.train import Event as TrainEvent
    from geoseg.flow.train.train import TrainSummary
    from geoseg.training.validate import Score

__all__ = ["RunWatcher", "TrainWatcher", "open_view"]

_PLAIN_SECONDS = 10.0
"""Seconds between plain progress lines: a log stays readable overnight."""
_SEVERAL = 2
"""Scenes from which on a run's summary is a table."""
_ENDS: tuple[Status, ...] = ("done", "skipped", "kept", "refused", "failed")


class View:
    """Shows alerts, on stderr, and nothing else."""

    for_programs = False
    """Whether stdout holds events alone."""

    def __init__(self) -> None:
        self.description = ""
        self.total = 1

    def start(self, description: str, total: int) -> None:
        """Work of so many units begins."""
        self.description, self.total = description, total

    def advance(self, done: int, status: str) -> None:
        """So many units are done."""

    def event(self, name: str, values: dict[str, Any]) -> None:
        """Something happened."""

    def line(self, text: str) -> None:
        """A line for people who follow the work."""

    def alert(self, text: str) -> None:
        """A line that people have to see."""
        click.echo(text, err=True)

    def close(self) -> None:
        """Make room for the summary."""


class _Plain(View):
    def __init__(self) -> None:
        super().__init__()
        self._last = time.perf_counter()

    def advance(self, done: int, status: str) -> None:
        if time.perf_counter() - self._last > _PLAIN_SECONDS:
            self._last = time.perf_counter()
            click.echo(f"{100 * done / self.total:5.1f} %  {status}")

    def line(self, text: str) -> None:
        click.echo(text)

    alert = line


class _Json(View):
    for_programs = True

    def event(self, name: str, values: dict[str, Any]) -> None:
        click.echo(json.dumps({"event": name, **values}, default=str))

    def alert(self, text: str) -> None:
        """An alert is an event, too."""


class _Bar(View):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def advance(self, done: int, status: str) -> None:
        if self._task is None:
            self._task = self._progress.add_task(self.description, total=self.total, status="")
        self._progress.update(self._task, completed=done, status=status)

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    alert = line

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def open_view(kind: str) -> Iterator[View]:
    """The view of a kind: ``auto``, ``bar``, ``plain``, ``json`` or ``none``."""
    if kind == "auto":
        kind = "bar" if sys.stdout.isatty() else "plain"
    if kind == "bar":
        text = TextColumn("{task.percentage:3.0f} %  {task.fields[status]}")
        with Progress(TextColumn("{task.description}"), BarColumn(), text, console=Console()) as progress:
            yield _Bar(progress)
    else:
        yield {"plain": _Plain, "json": _Json, "none": View}[kind]()


class RunWatcher:
    """Shows a run in a view."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._start = time.perf_counter()
        self._pixels = self._total = 0

    def watch(self, event: RunEvent) -> None:
        """Take one event."""
        names = {RunStarted: "start", WindowRowsFinished: "window_rows", SceneOutcome: "scene"}
        self._view.event(names[type(event)], asdict(event))
        if isinstance(event, RunStarted):
            self._start, self._total = time.perf_counter(), event.pixels
            self._view.line(
                f"{counted(event.scenes, 'scene')}, {event.pixels / 1e6:.1f} Mpx on {event.where}"
            )
            if event.compiles:
                self._view.line("loops of polygons are compiled beside it, half a minute, once on a machine")
            self._view.start("mapping", event.pixels)
            self._view.advance(0, "")
        elif isinstance(event, WindowRowsFinished):
            self._pixels += event.pixels
            seconds = max(1e-9, time.perf_counter() - self._start)
            left = duration((self._total - self._pixels) * seconds / max(1, self._pixels))
            self._view.advance(self._pixels, f"{self._pixels / 1e6 / seconds:.2f} Mpx/s, {left} left")
        else:
            polygons = "" if event.polygons is None else counted(event.polygons, "polygon")
            line = scene_line(event.status, event.scene, event.reason or polygons)
            (self._view.alert if event.status in ("kept", "refused", "failed") else self._view.line)(line)
            for warning in event.warnings:
                self._view.alert(scene_line("warning", event.scene, warning))

    def finish(self, summary: RunSummary) -> None:
        """Show how the run ended."""
        self._view.close()
        counts = {str(status): summary.count(status) for status in _ENDS}
        if self._view.for_programs:
            end: dict[str, Any] = {
                "output": str(summary.output),
                "seconds": round(summary.seconds, 3),
                **counts,
                "score": None if summary.score is None else summary.score.to_dict(),
                "unscored": summary.unscored or summary.unlabeled,
                "unwritten": summary.unwritten,
                "notes": summary.notes,
                "profile": None if summary.profile is None else summary.profile.to_dict(),
            }
            self._view.event("end", end)
            return
        if len(summary.scenes) >= _SEVERAL:
            click.echo()
            print_table(_run_table(summary))
        if summary.score is not None:
            click.echo()
            print_report(summary.score)
            click.echo()
        if summary.profile is not None:
            _print_profile(summary.profile)
        for note in summary.notes:
            click.echo(f"warning  {note}", err=True)
        for reason in filter(None, (summary.unscored, summary.unlabeled)):
            click.echo(f"not scored: {reason}", err=True)
        if summary.unwritten is not None:
            click.echo(f"not written: {summary.unwritten}", err=True)
        ends = ", ".join(f"{n} {status}" for status, n in counts.items() if n or status != "kept")
        click.echo(f"{ends} in {summary.seconds:.1f} s")
        if counts["done"] or counts["skipped"]:
            project = "" if summary.unwritten else "; run.qgz in it opens them in QGIS"
            click.echo(f"maps: {summary.output}{project}")


def _run_table(summary: RunSummary) -> Table:
    rows = []
    for one in summary.scenes:
        polygons = "" if one.polygons is None else f"{one.polygons:,}"
        rows.append((one.scene, one.status, polygons, without_scene(one.reason, one.scene)))
    return Table("", ("scene", "status", "polygons", "remark"), tuple(rows), left=(0, 1, 3))


def _print_profile(profile: Profile) -> None:
    """Print where the time of a run went."""
    rows = [
        (
            one.name,
            f"{one.count:,}",
            f"{one.cpu:.2f}",
            f"{one.wall:.2f}",
            f"{one.waits:.2f}",
            f"{one.size / 1e6:,.1f}" if one.size else "",
        )
        for one in profile.stages
    ]
    click.echo()
    print_table(Table("", ("stage", "times", "CPU s", "wall s", "waits s", "MB"), tuple(rows)))
    where = "one process" if profile.processes == 1 else f"{profile.processes} processes"
    click.echo(f"{profile.cpu:.1f} CPU s of {where} in {profile.seconds:.1f} s")
    click.echo(f"trace: {profile.trace}; https://ui.perfetto.dev shows it")
    click.echo()


class TrainWatcher:
    """Shows a training in a view."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._steps, self._chips = 0, 1
        self._recent: deque[float] = deque(maxlen=50)

    def watch(self, event: TrainEvent) -> None:
        """Take one event."""
        name, line = _described(event)
        self._view.event(name, asdict(event))
        if line:
            (self._view.alert if isinstance(event, Notice) else self._view.line)(line)
        if isinstance(event, TrainingStarted):
            self._steps, self._chips = event.steps, event.chips
            self._view.start("training", event.steps)
            self._view.advance(event.step, "")
        elif isinstance(event, Stepped):
            self._recent.append(max(event.seconds, 1e-9))
            seconds = fmean(self._recent)
            left = duration((self._steps - event.step) * seconds)
            self._view.advance(
                event.step,
                f"step {event.step:,}/{self._steps:,}  loss {event.loss:.4f}  "
                f"{self._chips / seconds:.1f} chips/s, {left} left",
            )

    def finish(self, summary: TrainSummary) -> None:
        """Show scores before and after, what was written, and what to do next."""
        self._view.close()
        spec, result = summary.bundle.spec, summary.result
        if self._view.for_programs:
            end = {
                "bundle": str(summary.bundle.folder),
                "before": asdict(summary.before),
                "after": asdict(result.score),
                "step": result.step,
                "reason": result.reason,
                "seconds": round(summary.seconds, 3),
            }
            self._view.event("end", end)
            return
        click.echo()
        print_table(_training_table(summary.before, result.score, spec))
        count = ""
        if spec.weights is not None:
            count = f"{spec.weights.parameters:,} parameters, {spec.weights.size / 1e6:.1f} MB; "
        window = "any window" if spec.window is None else f"windows of {spec.window} px"
        click.echo(
            f"\nscore: {summary.before.chosen:.3f} → {result.score.chosen:.3f}\n"
            f"kept: step {result.step:,} ({result.reason}); {duration(summary.seconds)} in all\n"
            f"bundle: {summary.bundle.folder}  ({count}{window}, halo {spec.halo} px: "
            f"{spec.halo_agreement:.2%} of the classes as with twice the surroundings)\n"
            f"look at: {'  '.join(str(picture) for picture in summary.pictures)}\n"
            f"next: geoseg run WORKFLOW.yaml --set model={summary.bundle.folder}"
        )


def _described(event: TrainEvent) -> tuple[str, str]:  # noqa: PLR0911 - one per kind of event
    """An event's name for programs, and its line for people; no line: it is not worth one."""
    from geoseg.flow.train.data import SceneRead
    from geoseg.flow.train.train import FirstScored

    match event:
        case SceneRead():
            repaired = f", {counted(event.repaired, 'polygon')} repaired" if event.repaired else ""
            place = "" if event.place == event.scene else f" ({event.place})"
            read = f"{event.pixels:,} px to train on, {event.held:,} held out{repaired}{place}"
            return "scene", scene_line("read", event.scene, read)
        case FirstScored():
            return "first-score", f"score before: {event.score.chosen:.3f} with {event.start}"
        case TrainingStarted():
            resumed = f", resumed from step {event.step:,}" if event.step else ""
            return "start", (
                f"{event.steps:,} steps of {counted(event.chips, 'chip')} on {event.where}; an epoch is "
                f"{counted(event.steps_per_epoch, 'step')}{resumed}"
            )
        case Stepped():
            return "step", ""
        case Validated():
            return "validated", (
                f"step {event.step:,}  loss {event.loss:.4f}  held-out loss {event.validation_loss:.4f}  "
                f"score {event.score:.3f}{'  kept' if event.kept else ''}"
            )
        case Saved():
            return "saved", ""
        case Notice():
            return "notice", f"note: {event.text}"
        case TrainingEnded():
            return "ended", f"ended: {event.reason}"


def _training_table(before: Score, after: Score, spec: BundleSpec) -> Table:
    """IoU by place and class: before and after."""
    shown = [one for one in spec.classes if not one.background] or list(spec.classes)

    def change(place: str, class_id: int) -> str:
        both = (score.iou[place][class_id] for score in (before, after))
        return " → ".join("–" if value is None else f"{value:.3f}" for value in both)

    rows = tuple((place, *(change(place, one.id) for one in shown)) for place in sorted(after.iou))
    return Table("", ("IoU held out", *(one.name for one in shown)), rows)


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

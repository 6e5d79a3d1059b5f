"""Progress of a run: a bar on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from geoseg.cli.report import scene_line
from geoseg.flow.run.events import Event, RunStarted, SceneFinished, WindowRowsFinished
from geoseg.flow.run.run import RunSummary
from geoseg.words import counted

__all__ = ["Watcher", "open_progress"]

_PLAIN_SECONDS = 10.0
"""Seconds between plain progress lines: a log stays readable overnight."""


class Watcher:
    """Counts the events of a run; says what went wrong, and at the end what became of it."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.pixels = 0
        self.total = 0

    @property
    def rate(self) -> float:
        """Megapixels of the model's grid per second of wall time."""
        return self.pixels / 1e6 / max(1e-9, time.perf_counter() - self.start)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to go; None before the first band."""
        return (self.total - self.pixels) / 1e6 / self.rate if self.pixels else None

    def watch(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self.start, self.total = time.perf_counter(), event.pixels
        elif isinstance(event, WindowRowsFinished):
            self.pixels += event.pixels
        else:
            self.end(event)

    def end(self, event: SceneFinished) -> None:
        """Say how a scene ended, if it needs saying."""
        if event.status in ("refused", "failed"):
            click.echo(_line(event), err=True)

    def finish(self, summary: RunSummary) -> None:
        """Say how the run ended."""
        if summary.score is not None:
            click.echo(f"\n{summary.score.text()}\n")
        if summary.unscored is not None:
            click.echo(f"not scored: {summary.unscored}", err=True)
        if summary.unwritten is not None:
            click.echo(f"not written: {summary.unwritten}", err=True)
        counts = ", ".join(
            f"{summary.count(status)} {status}" for status in ("done", "skipped", "refused", "failed")
        )
        click.echo(f"{counts} in {summary.seconds:.1f} s")
        if summary.count("done") or summary.count("skipped"):
            click.echo(f"maps: {summary.output}")


def _line(event: SceneFinished) -> str:
    told = "" if event.polygons is None else counted(event.polygons, "polygon")
    return scene_line(event.status, event.scene, event.reason or told)


class _Plain(Watcher):
    def __init__(self) -> None:
        super().__init__()
        self._last = time.perf_counter()

    def watch(self, event: Event) -> None:
        super().watch(event)
        if isinstance(event, RunStarted):
            click.echo(f"{counted(event.scenes, 'scene')}, {event.pixels / 1e6:.1f} Mpx on {event.where}")
        elif isinstance(event, WindowRowsFinished) and time.perf_counter() - self._last > _PLAIN_SECONDS:
            self._last = time.perf_counter()
            left = self.seconds_left
            told = "" if left is None else f", {left:.0f} s left"
            click.echo(f"{100 * self.pixels / self.total:5.1f} %  {self.rate:.2f} Mpx/s{told}")

    def end(self, event: SceneFinished) -> None:
        click.echo(_line(event))


class _Json(Watcher):
    def watch(self, event: Event) -> None:
        super().watch(event)
        name = {RunStarted: "start", WindowRowsFinished: "band", SceneFinished: "scene"}[type(event)]
        click.echo(json.dumps({"event": name, **asdict(event)}))

    def end(self, event: SceneFinished) -> None:
        """It is an event like any other."""

    def finish(self, summary: RunSummary) -> None:
        end = {
            "event": "end",
            "output": str(summary.output),
            "seconds": round(summary.seconds, 3),
            **{status: summary.count(status) for status in ("done", "skipped", "refused", "failed")},
            "score": None if summary.score is None else summary.score.to_dict(),
            "unscored": summary.unscored,
            "unwritten": summary.unwritten,
        }
        click.echo(json.dumps(end))


class _Bar(Watcher):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def watch(self, event: Event) -> None:
        super().watch(event)
        if isinstance(event, RunStarted):
            self._task = self._progress.add_task("mapping", total=event.pixels, rate=0.0)
        elif isinstance(event, WindowRowsFinished):
            assert self._task is not None
            self._progress.update(self._task, advance=event.pixels, rate=self.rate)

    def end(self, event: SceneFinished) -> None:
        self._progress.console.print(_line(event), markup=False, highlight=False, soft_wrap=True)

    def finish(self, summary: RunSummary) -> None:
        self._progress.stop()
        super().finish(summary)


@contextmanager
def open_progress(kind: str) -> Iterator[Watcher]:
    """The watcher of a kind: ``auto``, ``bar``, ``plain``, ``json`` or ``none``."""
    if kind == "auto":
        kind = "bar" if sys.stdout.isatty() else "plain"
    if kind == "bar":
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  {task.fields[rate]:.2f} Mpx/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console()) as progress:
            yield _Bar(progress)
    else:
        yield {"plain": _Plain, "json": _Json, "none": Watcher}[kind]()

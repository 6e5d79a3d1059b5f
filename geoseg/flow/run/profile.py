"""Where the time of a run goes: a table of stages, and a trace that Perfetto and chrome://tracing open.

The trace is in the Trace Event Format, an array of JSON objects: a group for each process, a span for each
stage, in microseconds.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.io.files import write_text
from geoseg.stages import Span

__all__ = ["PROFILE_NAME", "Profile", "Profiler", "StageTotal"]

PROFILE_NAME: Final = "profile.json"
"""File of the trace in the run's output folder."""
_MOST_SPANS: Final = 1_000_000
"""Spans in a trace, 200 MB of JSON; later ones are in the table alone."""


@dataclass(slots=True)
class StageTotal:
    """All of a run's spans of one stage, without the stages in them."""

    name: str
    count: int = 0
    cpu: float = 0.0
    """Seconds, of all processes together."""
    wall: float = 0.0
    """Seconds, of all processes together."""
    size: int = 0
    """Bytes read, made or written."""

    @property
    def waits(self) -> float:
        """Seconds in which it computed nothing."""
        return max(0.0, self.wall - self.cpu)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a run went."""

    stages: tuple[StageTotal, ...]
    """The dearest first."""
    processes: int
    seconds: float
    """Wall time of the whole."""
    trace: Path

    @property
    def cpu(self) -> float:
        """CPU seconds of all stages."""
        return sum(stage.cpu for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """All of it for programs, as JSON holds it."""
        stages = [asdict(stage) | {"waits": stage.waits} for stage in self.stages]
        trace = str(self.trace)
        return {"stages": stages, "processes": self.processes, "seconds": self.seconds, "trace": trace}


class Profiler:
    """Takes spans as they come and adds them up."""

    def __init__(self) -> None:
        self._totals: dict[str, StageTotal] = {}
        self._driver = socket.gethostname(), os.getpid()
        self._spans: dict[tuple[str, int], list[Span]] = {self._driver: []}
        self._left = _MOST_SPANS

    def take(self, spans: Iterable[Span], process: tuple[str, int] | None = None) -> None:
        """Take spans of a process, by its machine and number; None: of this one."""
        kept = self._spans.setdefault(process or self._driver, [])
        for span in spans:
            total = self._totals.setdefault(span.name, StageTotal(span.name))
            total.count += 1
            total.cpu += span.own_cpu
            total.wall += span.own_wall
            total.size += span.size
            if self._left:
                self._left -= 1
                kept.append(span)

    def finish(self, folder: Path, seconds: float) -> Profile:
        """Write the trace into a folder; OutputError where it cannot be written."""
        path = folder / PROFILE_NAME
        lines = ",\n".join(json.dumps(event, ensure_ascii=False) for event in self._events())
        write_text(path, f"[\n{lines}\n]\n")
        stages = sorted(self._totals.values(), key=lambda total: total.cpu, reverse=True)
        return Profile(tuple(stages), len(self._spans), seconds, path)

    def _events(self) -> Iterator[dict[str, Any]]:
        for number, (process, spans) in enumerate(self._spans.items()):
            machine, pid = process
            name = f"{'driver' if process == self._driver else 'worker'} {pid} on {machine}"
            yield {"name": "process_name", "ph": "M", "pid": number, "args": {"name": name}}
            for span in spans:
                arguments = {"cpu ms": round(span.cpu * 1e3, 3)} | ({"bytes": span.size} if span.size else {})
                yield {
                    "name": span.name,
                    "ph": "X",
                    "pid": number,
                    "tid": span.thread,
                    "ts": round(span.start * 1e6, 1),
                    "dur": round(span.wall * 1e6, 1),
                    "args": arguments,
                }

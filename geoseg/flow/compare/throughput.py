"""How fast a model mapped scenes: kept beside the maps, since a finished scene is not mapped again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.engine.finished import ITEM_NAME, FinishedMap
from geoseg.engine.plan import Plan
from geoseg.errors import OutputError
from geoseg.flow.run.events import Event, SceneOutcome, WindowRowsFinished
from geoseg.io.files import write_json

__all__ = ["Speed", "Stopwatch", "speed_of"]

TIMING_NAME = "timing.json"
"""Beside the scenes' folders."""


class _Scene(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pixels: str
    """Fingerprint of the prediction."""
    machine: str
    seconds: Annotated[float, Field(gt=0)]
    """Of all its window rows, each in one worker."""
    windows: int
    """Predicted: those without data are not."""


class _Timing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: dict[str, _Scene] = {}


class Stopwatch:
    """Adds up the time of each scene's window rows; watches a run's events."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.done: set[str] = set()

    def watch(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, WindowRowsFinished):
            self.seconds[event.scene] += event.seconds
        elif isinstance(event, SceneOutcome) and event.status == "done":
            self.done.add(event.scene)


@dataclass(frozen=True, slots=True)
class Speed:
    """Megapixels of windows, and of map, that one worker makes in a second."""

    network_mpx: float
    map_mpx: float


def speed_of(folder: Path, plans: Sequence[Plan], watch: Stopwatch, machine: str) -> Speed | None:
    """The speed over all scenes of a run, those of an earlier one on the same machine among them.

    None where a scene was mapped elsewhere, or no time is known.

    Raises:
        OutputError: the measurements cannot be written, or a scene's manifest cannot be read.
    """
    path = folder / TIMING_NAME
    known = dict(_read(path))
    for plan in plans:
        scene = plan.scene.ref.id
        if scene in watch.done and watch.seconds[scene]:  # else its probabilities were reused
            known[scene] = _Scene(
                pixels=plan.prediction_fingerprint,
                machine=machine,
                seconds=watch.seconds[scene],
                windows=_windows(plan),
            )
    write_json(path, _Timing(scenes=known).model_dump(mode="json"))
    network = area = seconds = 0.0
    for plan in plans:
        found = known.get(plan.scene.ref.id)
        if found is None or found.pixels != plan.prediction_fingerprint or found.machine != machine:
            return None
        axes = plan.tiles.grid
        network += found.windows * axes.rows.window * axes.cols.window / 1e6
        area += plan.grid.window.pixels / 1e6
        seconds += found.seconds
    return Speed(network / seconds, area / seconds) if seconds else None


def _read(path: Path) -> Mapping[str, _Scene]:
    """What was measured before; nothing where there is no such file, or none that this version wrote."""
    try:
        return _Timing.model_validate_json(path.read_text(encoding="utf-8")).scenes
    except (FileNotFoundError, UnicodeDecodeError, ValidationError):
        return {}


def _windows(plan: Plan) -> int:
    found = FinishedMap.read(plan.folder)
    if found is None:
        raise OutputError(f"{plan.folder / ITEM_NAME}: cannot be read back; run again")
    return found.windows[0]

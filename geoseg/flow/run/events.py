"""What a run tells whoever watches it: small values, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "RunStarted", "SceneFinished", "Status", "Watch", "WindowRowsFinished"]

Status = Literal["done", "skipped", "refused", "failed"]
"""done: mapped now; skipped: was mapped before; refused: bad input, or no place for the map, nothing of it is
left; failed: the run's own fault, its parts stay for the next one."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Work begins."""

    scenes: int
    """Scenes to map."""
    bands: int
    """Bands of windows to compute, over all scenes."""
    pixels: int
    """Pixels of the model's grids, over all scenes."""
    where: str
    """Executor and number of workers, in words."""


@dataclass(frozen=True, slots=True)
class WindowRowsFinished:
    """A band of windows is predicted."""

    scene: str
    """The scene's id."""
    pixels: int
    """Pixels of the model's grid that the band stands for."""
    seconds: float
    """Wall time of its task."""


@dataclass(frozen=True, slots=True)
class SceneFinished:
    """A scene has come to its end, one way or the other."""

    scene: str
    """The scene's id."""
    status: Status
    """How it ended."""
    reason: str = ""
    """Why; of what is done only where it was not mapped anew."""
    polygons: int | None = None
    """Polygons written."""


Event = RunStarted | WindowRowsFinished | SceneFinished
Watch = Callable[[Event], None]

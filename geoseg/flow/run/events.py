"""What a run reports while it goes on, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geoseg.flow.run.profile import Profile
from geoseg.score.report.values import ScoreReport

__all__ = ["Event", "RunStarted", "RunSummary", "SceneOutcome", "Status", "Watch", "WindowRowsFinished"]

Status = Literal["done", "skipped", "kept", "refused", "failed"]
"""done: mapped now; skipped: was mapped before; kept: another configuration or version has mapped it here,
whose map stays; refused: bad input, or no place for the map, nothing of it is left; failed: the run's own
fault, its partial results stay for the next run."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Work begins, on so many pixels of the models' grids; ``where`` is executor and number of workers."""

    scenes: int
    window_rows: int
    """Tasks: consecutive rows of windows, over all scenes."""
    pixels: int
    where: str
    compiles: bool = False
    """Whether loops have to be compiled for the first polygons: about half a minute, once on a machine."""


@dataclass(frozen=True, slots=True)
class WindowRowsFinished:
    """The window rows of one task are predicted: pixels of the model's grid, wall time in seconds."""

    scene: str
    pixels: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """How a scene ended; reported once for every scene."""

    scene: str
    status: Status
    reason: str = ""
    """Why; of a scene that is done, only where its probabilities were reused."""
    folder: Path | None = None
    polygons: int | None = None
    """Polygons written; None: none were asked for, or the scene is not done."""
    warnings: tuple[str, ...] = ()
    """What the user should know of a map that was made now, each in one sentence."""


Event = RunStarted | WindowRowsFinished | SceneOutcome
Watch = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did; every scene of the workflow is in it exactly once."""

    output: Path
    scenes: tuple[SceneOutcome, ...]
    seconds: float
    score: ScoreReport | None = None
    """The map's score, where the workflow asks for one."""
    unscored: str | None = None
    """Why there is no score though the workflow asks for one and the scenes have labels."""
    unlabeled: str | None = None
    """That there is nothing to score against: a score is for scenes that have labels, and none has any."""
    notes: tuple[str, ...] = ()
    """What was left out of a folder that stands for a catalog, each in one sentence."""
    unwritten: str | None = None
    """Why the merged layer or the QGIS project is missing or not up to date."""
    profile: Profile | None = None
    """Where its time went; None: nobody asked."""
    errors: tuple[BaseException, ...] = ()
    """What failed scenes failed with."""

    def count(self, status: Status) -> int:
        """Scenes with this end."""
        return sum(outcome.status == status for outcome in self.scenes)

    @property
    def exit_code(self) -> int:
        """0: every scene mapped, and all else as asked; 2: some refused, or of other maps; 1: some failed."""
        lacking = self.count("refused") or self.count("kept") or self.unscored or self.unwritten
        return 1 if self.count("failed") else 2 if lacking else 0

"""How a run ended, scene by scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.flow.run.events import Status
from geoseg.score.report.values import ScoreReport

__all__ = ["RunSummary", "SceneOutcome"]


@dataclass(frozen=True, slots=True)
class SceneOutcome:
    """How one scene ended."""

    scene: str
    """The catalog's id."""
    status: Status
    """done, skipped, refused or failed."""
    reason: str = ""
    """Why; of what is done only where it was not mapped anew."""
    folder: Path | None = None
    """Where its map is."""
    polygons: int | None = None
    """Polygons written."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did; every scene of the workflow is in it exactly once."""

    output: Path
    """Folder of the run."""
    scenes: tuple[SceneOutcome, ...]
    """One per scene."""
    seconds: float
    """Wall time."""
    score: ScoreReport | None = None
    """The map's score, where the workflow asks for one."""
    unscored: str | None = None
    """Why there is no score though the workflow asks for one."""
    unwritten: str | None = None
    """Why the merged layer or the QGIS project is missing or not up to date."""
    errors: tuple[BaseException, ...] = ()
    """What failed scenes failed with."""

    def count(self, status: Status) -> int:
        """Scenes with this end."""
        return sum(outcome.status == status for outcome in self.scenes)

    @property
    def exit_code(self) -> int:
        """0: every scene mapped, and all else as asked; 2: some refused; 1: some failed."""
        lacking = self.count("refused") or self.unscored or self.unwritten
        return 1 if self.count("failed") else 2 if lacking else 0

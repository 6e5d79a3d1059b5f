"""``geoseg.run``: a workflow becomes maps that can be held in Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich.console import Console

from geoseg.cli.progress import RunWatcher, open_view
from geoseg.config.workflow import Workflow
from geoseg.engine.finished import CLASSES_NAME, PROBABILITY_NAME, FinishedMap
from geoseg.errors import OutputError, without_scene
from geoseg.flow.run.events import Event, Status, Watch
from geoseg.flow.run.run import run as run_workflow
from geoseg.grid.encoding import BORDER_NAME
from geoseg.io.raster.data_array import colors_of, open_map
from geoseg.io.vector.frame import read_frame
from geoseg.io.vector.writer import FORMATS
from geoseg.score.report.values import ScoreReport
from geoseg.words import listed

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Run", "SceneMap", "run"]


@dataclass(frozen=True, slots=True)
class SceneMap:
    """One scene of a run: how it ended, and its map.

    Rasters are opened when asked for and read when computed; polygons are read when asked for.
    """

    id: str
    """The catalog's id of the scene."""
    status: Status
    """done, skipped (its map was there already), kept (that of another configuration), refused or failed."""
    reason: str
    """Why it was skipped, kept, refused or failed; empty: it was mapped."""
    folder: Path | None
    """Folder of the map; None: there is none."""
    warnings: tuple[str, ...] = ()
    """What its user should know, each in one sentence; of a map that was made now."""

    @property
    def polygons(self) -> gpd.GeoDataFrame:
        """The polygons, in the scene's CRS; columns as in :data:`geoseg.polygons.attributes.FIELDS`.

        Raises:
            OutputError: there is no map, or the workflow asks for no polygons.
        """
        path = self._polygons_path
        if path is None:
            raise OutputError("its map has no polygons; run it with a section vectorize", scene=self.id)
        return read_frame(path, path.stem)

    @property
    def _polygons_path(self) -> Path | None:
        found = FinishedMap.read(self._folder)
        if found is None:
            raise OutputError(f"{self._folder} holds no finished map any more; run it again", scene=self.id)
        return next((path for path in found.sizes if path.suffix in FORMATS.values()), None)

    @property
    def classes(self) -> xr.DataArray:
        """Class ids: uint8 (y, x), 255 where the scene has no data; lazy, with CRS.

        Raises:
            OutputError: there is no map.
        """
        return open_map(self._folder / CLASSES_NAME, masked=False).isel(band=0, drop=True).rename("classes")

    @property
    def probability(self) -> xr.DataArray:
        """Probabilities 0 to 1: float32 (class, y, x), NaN where the scene has no data; lazy, with CRS.

        Raises:
            OutputError: there is no map.
        """
        opened = self._stored_probability
        return opened.isel({"class": opened["class"] != BORDER_NAME})

    @property
    def border(self) -> xr.DataArray | None:
        """Probability of the border between objects, like a class of :attr:`probability`, a part of it.

        None where the model knows no borders.

        Raises:
            OutputError: there is no map.
        """
        opened = self._stored_probability
        known = BORDER_NAME in opened["class"]
        return opened.sel({"class": BORDER_NAME}, drop=True).rename(BORDER_NAME) if known else None

    @property
    def _stored_probability(self) -> xr.DataArray:
        opened = open_map(self._folder / PROBABILITY_NAME, masked=True)
        names = opened.attrs.pop("long_name")
        listed = [names] if isinstance(names, str) else list(names)
        return opened.rename(band="class").assign_coords({"class": listed}).rename("probability")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the map: classes below, outlines of the polygons above.

        Args:
            ax: where to draw; None: a new figure.

        Raises:
            OutputError: there is no map.
            ModuleNotFoundError: matplotlib is not installed; ``pip install 'geoseg[notebook]'``.
        """
        from geoseg.api.plot import draw_map  # noqa: PLC0415 - matplotlib is an extra

        polygons = None if self._polygons_path is None else self.polygons
        return draw_map(self.classes, colors_of(self._folder / CLASSES_NAME), polygons, self.id, ax)

    @property
    def _folder(self) -> Path:
        if self.folder is None:
            raise OutputError(
                f"there is no map of this run; the scene was {self.status}: {self.reason}", scene=self.id
            )
        return self.folder


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did: every scene of the workflow is in it once.

    ``run[id]`` is a scene, ``len(run)`` their number; iterating gives them in the order in which they ended.
    In a notebook it shows itself as a table.
    """

    output: Path
    """Folder of the run."""
    scenes: tuple[SceneMap, ...]
    """One per scene."""
    summary: pd.DataFrame
    """One row per scene: scene, status, polygons, reason, warnings."""
    seconds: float
    """Wall time."""
    score: ScoreReport | None
    """The score of the maps, where the workflow asks for one."""
    missing: tuple[str, ...]
    """Why what the workflow asks for beside the maps is not there: score, merged layer, QGIS project."""
    notes: tuple[str, ...]
    """What was left out of a folder that stands for a catalog, each in one sentence."""

    def __len__(self) -> int:
        return len(self.scenes)

    def __iter__(self) -> Iterator[SceneMap]:
        return iter(self.scenes)

    def __getitem__(self, scene: str) -> SceneMap:
        for found in self.scenes:
            if found.id == scene:
                return found
        known = listed((found.id for found in self.scenes), limit=10)
        raise KeyError(f"the run has no scene {scene!r}; it has {known}")

    def __repr__(self) -> str:
        ends = self.summary["status"].value_counts()
        counts = ", ".join(f"{count} {status}" for status, count in ends.items())
        head = f"Run({str(self.output)!r}: {counts} in {self.seconds:.1f} s)"
        return f"{head}\n{self.summary.to_string(index=False)}"

    def _repr_html_(self) -> str:
        return f"<p><b>geoseg run</b> {self.output}</p>{self.summary.to_html(index=False)}"


def run(
    workflow: str | Path | Workflow,
    overrides: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    progress: Literal["auto", "bar", "plain", "none"] = "auto",
    watch: Watch | None = None,
) -> Run:
    """Map every scene of a workflow; finished scenes are skipped.

    Small runs stay in this process. Larger ones start worker processes, which import the calling script: call
    this function under ``if __name__ == "__main__":`` there, or set ``compute.executor`` to ``threads``.

    Args:
        workflow: workflow file, or a workflow; relative paths of the latter are relative to the working
            directory.
        overrides: values by dotted key, such as ``{"compute.workers": 2, "vectorize.min_area": "8 m2"}``.
        overwrite: map scenes again whose map was made by another configuration, model or version.
        progress: auto: a bar in a terminal or notebook, else nothing.
        watch: called with each event of the run.

    Returns:
        How each scene ended, with its map. A scene that is refused or fails raises nothing: see
        ``summary`` and ``SceneMap.reason``.

    Raises:
        ConfigError, CatalogError, BundleError, GridError: nothing can be run.
        OutputError: the output folder cannot be written.
        RunError: another run holds the output folder, or the cluster is gone.
    """
    if progress == "auto":
        progress = "bar" if sys.stdout.isatty() or Console().is_jupyter else "none"
    with open_view(progress) as view:
        watcher = RunWatcher(view)

        def both(event: Event) -> None:
            watcher.watch(event)
            if watch is not None:
                watch(event)

        summary = run_workflow(workflow, overrides, overwrite=overwrite, watch=both)
    columns = ("scene", "status", "polygons", "reason", "warnings")
    reasons = [without_scene(o.reason, o.scene) for o in summary.scenes]
    ended = list(zip(summary.scenes, reasons, strict=True))
    rows = [(o.scene, o.status, o.polygons, reason, "; ".join(o.warnings)) for o, reason in ended]
    table = pd.DataFrame(rows, columns=columns).astype({"polygons": "Int64"})
    return Run(
        output=summary.output,
        scenes=tuple(SceneMap(o.scene, o.status, reason, o.folder, o.warnings) for o, reason in ended),
        summary=table,
        seconds=summary.seconds,
        score=summary.score,
        missing=tuple(filter(None, (summary.unlabeled, summary.unscored, summary.unwritten))),
        notes=summary.notes,
    )

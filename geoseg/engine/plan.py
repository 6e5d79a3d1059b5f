"""A plan: one scene, one model and every choice made, as a value. Nothing runs, nothing is left to ``auto``.

What a plan holds decides every pixel, and its fingerprint names it: the same plan gives the same map on any
executor, and a finished map with another fingerprint was made by another plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg._version import __version__
from geoseg.config.digest import digest
from geoseg.config.model.contract import Calibration
from geoseg.config.slug import scene_slug
from geoseg.config.stac.refs import BandRef
from geoseg.config.vectorize import Vectorize
from geoseg.config.workflow import Workflow, Write
from geoseg.engine.bounds import assembly_bytes, cache_bytes, disk_bytes, process_bytes
from geoseg.engine.contract import check_header, image_of, sample_scene
from geoseg.engine.partials import partials_folder
from geoseg.engine.tiles import Tiles, resolve_tiles
from geoseg.errors import ConfigError
from geoseg.grid.encoding import ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import model_grid
from geoseg.grid.stitch import Stitcher
from geoseg.grid.tiling import WindowRows
from geoseg.grid.window import Window
from geoseg.io.raster.sample import Sample
from geoseg.io.raster.scene import Scene
from geoseg.models.bundle import Bundle
from geoseg.models.cost.memory import weights_bytes
from geoseg.models.runtime import Runtime
from geoseg.words import did_you_mean

__all__ = ["RULES", "Plan", "PredictTask", "check_classes", "make_plan"]

RULES: Final = 2
"""Number of the rules by which pixels get their meaning.

It rises with every change of what a file's pixels mean to a network; a map or partial result made under a
lower number is neither skipped nor reused.

1. A pixel was nodata where all its bands held the value; bands were called by their color interpretation;
   grids were read as they were stored.
2. The rules of ``docs/data.md``.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know of a scene: small, picklable, without open files."""

    scene: Scene
    """The scene's own grid, files and bands."""
    grid: GeoBox
    """The model's grid: the same footprint at the model's ground resolution."""
    tiles: Tiles
    encoding: ProbabilityEncoding
    """How logits become encoded probabilities and classes."""
    bundle: Bundle
    runtime: Runtime
    """Device, precision, threads and library versions that a worker must match."""
    stretch: tuple[float, float] | None
    """Values after scale and offset that become 0 and 255, or None."""
    vectorize: Vectorize | None
    write: Write
    folder: Path
    warnings: tuple[str, ...] = ()
    """What the user should know of the scene and how it is mapped; nothing of it decides a pixel."""

    @property
    def fingerprint(self) -> str:
        """Sha256 over everything that decides the scene's outputs (not over executors, tasks or batches)."""
        polygons = self.vectorize
        content = self._prediction_inputs | {
            "encoding": asdict(self.encoding),
            # Merging decides nothing of the scene's own files.
            "vectorize": None if polygons is None else polygons.model_dump(mode="json", exclude={"merge"}),
            "write": self.write.model_dump(mode="json"),
        }
        if self.calibration is not None:
            content["calibration"] = self.calibration.model_dump(mode="json", include={"class_name", "knots"})
        return digest(content)

    @property
    def prediction_fingerprint(self) -> str:
        """Sha256 over everything that decides the scene's probabilities."""
        return digest(self._prediction_inputs)

    @property
    def is_reusable(self) -> bool:
        """Whether the probability raster holds all probabilities, so that another run can reuse them."""
        return self.write.grid == "model" and self.write.probability == "classes"

    @property
    def _prediction_inputs(self) -> dict[str, Any]:
        axes = (self.tiles.grid.rows, self.tiles.grid.cols)
        return {
            "geoseg": __version__,
            "rules": RULES,
            "scene": [self.scene.ref.id, self.scene.identity, self.scene.ref.acquired],
            "nodata": self.scene.ref.nodata,
            "bands": [_read_of(band) for band in self.scene.bands],
            "grid": [*self.grid.shape, *self.grid.transform[:6], self.grid.crs],
            "axes": [asdict(axis) for axis in axes],
            "blend": self.tiles.blend,
            "model": self.bundle.spec.identity,
            "runtime": asdict(self.runtime),
            "graph": self._graph,
            "stretch": self.stretch,
        }

    @property
    def _graph(self) -> str | None:
        """Sha256 of what the backend computes, where that is not torch's network."""
        graph, int8 = self.bundle.spec.graph, self.bundle.spec.int8
        if self.runtime.precision == "int8" and int8 is not None:
            return digest([int8.operations.sha256, int8.weights.sha256])
        return None if graph is None or self.runtime.backend == "torch" else graph.sha256

    @property
    def calibration(self) -> Calibration | None:
        """The model's, where the scene's polygons are objects, to which alone it belongs; None: none."""
        objects = self.vectorize is not None and self.vectorize.mode == "objects"
        return self.bundle.spec.calibration if objects else None

    @property
    def tasks(self) -> tuple[PredictTask, ...]:
        """What is to be predicted, from the top and the left."""
        return tuple(
            PredictTask(self, rows, cols) for rows in self.tiles.window_rows for cols in self.tiles.columns
        )

    @property
    def partials_folder(self) -> Path:
        """Where tasks leave their partial results until the scene is assembled."""
        return partials_folder(self.folder, self.fingerprint)

    @property
    def outlined(self) -> dict[int, str]:
        """Id and name of each class that becomes polygons."""
        options = self.vectorize
        chosen = (
            c
            for c in self.bundle.spec.classes
            if options is not None and options.outlines(c.name, background=c.background)
        )
        return {c.id: c.name for c in chosen}

    @property
    def stitcher(self) -> Stitcher:
        """The scene's stitching."""
        return Stitcher(self.tiles.grid, self.tiles.blend, self.encoding.channels)

    @property
    def worker_bytes(self) -> int:
        """Bound on the memory of a worker, in bytes: it grows with the scene's width, not with its height.

        See :mod:`geoseg.engine.bounds` for what it cannot know.
        """
        source = _raster_bytes(self.scene)
        predicting = cache_bytes(source) + self.tiles.task_bytes
        rasters, resampled = self._rasters
        bands = 1 if self.write.probability == "top" else self.encoding.count
        # Sections are traced while the scene is still open.
        assembling = cache_bytes(max(source, rasters.window.pixels * bands)) + assembly_bytes(
            *rasters.shape[::-1],
            self.encoding.count,
            resampled=resampled,
            mode=None if self.vectorize is None else self.vectorize.mode,
            aligned=self.vectorize is not None and self.vectorize.regularize.align.value > 0,
            border=self.encoding.border,
        )
        return (
            process_bytes(self.runtime.backend)
            + weights_bytes(self.bundle.spec)
            + max(predicting, assembling)
        )

    @property
    def disk_bytes(self) -> int:
        """Bound on the disk that the scene takes while it is mapped, in bytes.

        It counts partial results, temporary files and outputs; polygons, and the objects that tasks found, as
        a byte for each pixel and band of the probabilities, about what ragged maps of real imagery take:
        where most pixels differ from their neighbors, they may take more than the bound.
        """
        stored = self.encoding.count
        polygons = self.grid.window.pixels * stored if self.vectorize is not None else 0
        return polygons + disk_bytes(
            self.tiles.grid,
            0 if self.tiles.blend == "crop" else len(self.tiles.window_rows) - 1,
            self._rasters[0].window.pixels,
            classes=self.encoding.channels,
            stored=stored,
            bands=1 if self.write.probability == "top" else stored,
        )

    @property
    def _rasters(self) -> tuple[GeoBox, bool]:
        """The grid that rasters are written on, and whether it is another one than the model's."""
        if self.write.grid == "model":
            return self.grid, False
        return self.scene.stored, self.scene.stored != self.grid


@dataclass(frozen=True, slots=True)
class PredictTask:
    """What one task predicts."""

    plan: Plan
    rows: WindowRows
    cols: range | None = None
    """Some of the columns of windows, where windows need no neighbors; None: all."""
    ahead: tuple[Window, ...] = ()
    """What its worker will probably read next."""

    @property
    def name(self) -> str:
        """File stem of the partial result."""
        rows = f"rows-{self.rows.first:05d}-{self.rows.stop:05d}"
        return rows if self.cols is None else f"{rows}-columns-{self.cols.start:05d}-{self.cols.stop:05d}"

    @property
    def is_first(self) -> bool:
        """Whether it has the scene's upper left window."""
        return self.rows.first == 0 and (self.cols is None or self.cols.start == 0)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Its windows, in the order in which they are computed."""
        grid = self.plan.tiles.grid
        cols = range(len(grid.cols)) if self.cols is None else self.cols
        return tuple(grid.window(row, col) for row in range(self.rows.first, self.rows.stop) for col in cols)


def make_plan(
    scene: Scene,
    bundle: Bundle,
    workflow: Workflow,
    runtime: Runtime,
    output: Path,
    *,
    sample: Callable[[Scene, GeoBox], Sample] | None = sample_scene,
) -> Plan:
    """Plan one scene; every ``auto`` is resolved here.

    The runtime is resolved once, on the driver. ``output`` is the folder of the run; the scene gets one in
    it. ``sample`` reads pixels of a scene that needs a stretch and has none, to propose one in its refusal;
    None: no pixel is read.

    Raises:
        SceneError: the scene breaks the model's contract.
        GridError: windows, halo and memory do not fit together, or the grid has no place on the ground.
    """
    spec = bundle.spec
    stretch = workflow.scenes.stretch
    grid = model_grid(scene.geobox, spec.resolution, spec.resolution_tolerance)
    doubts = check_header(
        image_of(scene),
        spec,
        stretch=stretch,
        any_resolution=workflow.scenes.resolution == "any",
        sample=None if sample is None else lambda: sample(scene, grid),
    )
    tiles = resolve_tiles(
        grid.shape,
        bundle,
        workflow.tiling,
        workflow.compute.memory_bytes,
        runtime,
        raster=_raster_bytes(scene),
    )
    vectorize = workflow.vectorize
    encoding = spec.encoding(0.5 if vectorize is None else vectorize.threshold)
    if vectorize is not None:
        vectorize = vectorize.resolved(binary=encoding.binary, border=encoding.border)
    folder = output / scene_slug(scene.ref.id)
    return Plan(
        scene=scene,
        grid=grid,
        tiles=tiles,
        encoding=encoding,
        bundle=bundle,
        runtime=runtime,
        stretch=stretch,
        vectorize=vectorize,
        write=workflow.write,
        folder=folder,
        warnings=(*scene.warnings, *doubts),
    )


def _read_of(band: BandRef) -> dict[str, Any]:
    """What of a band decides its values: neither its place nor what else a catalog says.

    Fields that came after 0.1.0 and decide none are left out, so that fingerprints stay.
    """
    fields = asdict(band) | {"href": None}
    del fields["listed_by"], fields["texts"]
    return fields


def _raster_bytes(scene: Scene) -> int:
    """Bytes of a scene's pixels as GDAL decodes them."""
    return scene.geobox.window.pixels * len(scene.bands) * np.dtype(scene.dtype).itemsize


def check_classes(workflow: Workflow, bundle: Bundle) -> None:
    """Compare the classes that a workflow names with the model's; ConfigError where one is unknown."""
    vectorize = workflow.vectorize
    if vectorize is None:
        return
    if vectorize.split.method == "border" and not bundle.spec.border:
        raise ConfigError(
            f"vectorize.split.method: border needs a model that knows borders between objects, and "
            f"{bundle.spec.name} has no such channel; use auto, seeds or necks"
        )
    names = [c.name for c in bundle.spec.classes]
    for name in vectorize.classes or ():
        if name not in names:
            raise ConfigError(
                f"vectorize.classes: the model {bundle.spec.name} has no class {name!r}, only "
                f"{', '.join(names)}{did_you_mean(name, names)}"
            )

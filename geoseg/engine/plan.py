"""A plan: one scene, one model and every choice made, as a value. Nothing runs, nothing is left to ``auto``.

What a plan holds decides every pixel, and its fingerprint names it: the same plan gives the same map on any
executor, and a finished map with another fingerprint was made by another plan.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.engine.stitch import Stitcher
from geoseg.engine.store import StoreLayout
from geoseg.errors import GridError, RecipeError, SceneError
from geoseg.grid.blend import Blend, axis_weights
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import model_grid
from geoseg.grid.tiling import Band, TileGrid, tile_grid
from geoseg.io.parts import parts_folder
from geoseg.io.raster import Scene
from geoseg.models.bundle import Bundle
from geoseg.models.memory import bytes_per_pixel
from geoseg.models.runtime import Runtime
from geoseg.recipe.slug import scene_slug
from geoseg.recipe.units import Pixels
from geoseg.recipe.words import did_you_mean
from geoseg.recipe.workflow import Tiling, Vectorize, Workflow, Write

__all__ = ["BandTask", "Plan", "Tiles", "check_classes", "check_contract", "make_plan", "resolve_tiles"]

_LARGEST_WINDOW = 1024
"""Larger windows save little context and cost memory (see CONTRIBUTING.md)."""
_EXACT_RADIUS = 100
"""Largest receptive-field radius, in pixels, for which an exact halo is the default."""
_BAND_PIXELS = 4_000_000
"""Pixels of a band: enough work to outweigh a task, few enough that a lost one costs little."""
_PROCESS_BYTES = 700_000_000
"""A worker before any window: Python, torch and GDAL."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """How a scene is cut, with every ``auto`` resolved."""

    grid: TileGrid
    """Windows on the model's grid."""
    blend: Blend
    """Weights of overlapping windows."""
    exact: bool
    """Whether the halo covers the network's receptive field: the map does not depend on the windows."""
    batch: int
    """Windows per forward pass."""
    bands: tuple[Band, ...]
    """Rows of windows per task."""
    window_bytes: int
    """Memory of one forward pass, in bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know of a scene: small, picklable, without open files."""

    scene: Scene
    """The scene's own grid, files and bands."""
    grid: GeoBox
    """The model's grid: the same footprint at the model's ground resolution."""
    tiles: Tiles
    """Windows, blend, batch, bands."""
    layout: StoreLayout
    """How logits become stored probabilities and classes."""
    bundle: Bundle
    """The model: a path and its contract."""
    runtime: Runtime
    """Device, precision, threads and library versions that a worker must match."""
    stretch: tuple[float, float] | None
    """Stored values mapped linearly to 0 … 255, or None."""
    vectorize: Vectorize | None
    """How classes become polygons; None: they do not."""
    write: Write
    """Which rasters are written."""
    folder: Path
    """Where the scene's outputs go."""

    @property
    def fingerprint(self) -> str:
        """Sha256 over everything that decides the scene's outputs (not over executors, bands or batches)."""
        axes = (self.tiles.grid.rows, self.tiles.grid.cols)
        content: dict[str, Any] = {
            "geoseg": __version__,
            "scene": [self.scene.ref.id, self.scene.identity, self.scene.ref.acquired],
            "nodata": self.scene.ref.nodata,
            "bands": [asdict(band) | {"href": None} for band in self.scene.bands],
            "grid": [*self.grid.shape, *self.grid.transform[:6], self.grid.crs],
            "axes": [asdict(axis) for axis in axes],
            "blend": self.tiles.blend,
            "layout": asdict(self.layout),
            "model": self.bundle.spec.identity,
            "runtime": asdict(self.runtime),
            "stretch": self.stretch,
            "vectorize": None if self.vectorize is None else self.vectorize.model_dump(mode="json"),
            "write": self.write.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def parts_folder(self) -> Path:
        """Where the bands leave their parts until the scene is assembled."""
        return parts_folder(self.folder, self.fingerprint)

    @property
    def stitcher(self) -> Stitcher:
        """The scene's stitching."""
        return Stitcher(self.tiles.grid, self.tiles.blend, len(self.bundle.spec.classes))

    @property
    def worker_bytes(self) -> int:
        """Bound on the memory of a worker, in bytes: it grows with the scene's width, not with its height."""
        classes, width = len(self.bundle.spec.classes), self.grid.width
        rows = max(b - a for a, b in map(self.stitcher.finished_rows, self.tiles.bands))
        axis = self.tiles.grid.rows
        seams = 0 if self.tiles.blend == "crop" else 4 * classes * 2 * axis.halo * width * 4
        sums = 4 * classes * axis.window * (self.tiles.batch + 1) * self.tiles.grid.cols.window * 4
        read = 8 * len(self.scene.bands) * axis.window * self.tiles.grid.cols.window * self.tiles.batch
        store = len(self.layout.bands) * rows * width
        return _PROCESS_BYTES + self.tiles.batch * self.tiles.window_bytes + seams + sums + read + store

    @property
    def disk_bytes(self) -> int:
        """Bound on the disk that the scene takes while it is made, in bytes: parts, temporary, outputs."""
        pixels = self.grid.height * self.grid.width
        bands = len(self.layout.bands)
        seams = 0
        if self.tiles.blend != "crop":
            rows = 2 * self.tiles.grid.rows.halo * 2 * (len(self.tiles.bands) - 1)
            seams = 4 * len(self.bundle.spec.classes) * rows * self.grid.width
        # Parts once, each raster once plain and once as COG with overviews (4/3), polygons at most as much.
        return pixels * bands + seams + int(pixels * (bands + 1) * (1 + 4 / 3)) + pixels


@dataclass(frozen=True, slots=True)
class BandTask:
    """What one task computes."""

    plan: Plan
    """The scene's plan."""
    band: Band
    """Rows of windows."""

    @property
    def name(self) -> str:
        """File stem of the part."""
        return f"rows-{self.band.first:05d}-{self.band.stop:05d}"


def check_contract(scene: Scene, bundle: Bundle, stretch: tuple[float, float] | None) -> None:
    """Compare a scene's header with the model's contract.

    Raises:
        SceneError: the scene breaks the contract; says how to mend it.
    """
    spec = bundle.spec
    name = f"scene {scene.ref.id}"
    if len(scene.bands) != len(spec.bands):
        raise SceneError(
            f"{name}: {len(scene.bands)} bands ({', '.join(b.name for b in scene.bands)}) but the model "
            f"{spec.name} needs {len(spec.bands)} ({', '.join(spec.bands)}); name them in scenes.bands"
        )
    scaled = any(band.scale != 1 or band.offset != 0 for band in scene.bands)
    seen = "float32" if scaled else scene.dtype
    if seen != spec.value_dtype and stretch is None:
        what, such_as = ("values of a raster:scale", "[0, 0.4]") if scaled else ("pixels", "[0, 10000]")
        raise SceneError(
            f"{name}: {seen} {what} but the model {spec.name} was trained on {spec.value_dtype}; set "
            f"scenes.stretch to the values that mean black and white, such as {such_as}"
        )


def _halo(tiling: Tiling, bundle: Bundle) -> tuple[int, bool]:
    """Halo in pixels, and whether it covers the receptive field."""
    spec = bundle.spec
    radius = spec.radius
    if isinstance(tiling.halo, Pixels):
        return tiling.halo.count, radius is not None and tiling.halo.count >= radius
    if tiling.halo == "exact" and radius is None:
        raise GridError(
            f"tiling.halo: exact is impossible with the model {spec.name}, every output of which sees the "
            "whole window; use auto or a number of pixels"
        )
    if radius is not None and (tiling.halo == "exact" or radius <= _EXACT_RADIUS):
        return radius, True
    return spec.halo, False


def resolve_tiles(shape: tuple[int, int], bundle: Bundle, tiling: Tiling, memory: int, device: str) -> Tiles:
    """Resolve every ``auto`` of the tiling for one grid.

    Args:
        shape: ``(height, width)`` of the model's grid.
        bundle: the model.
        tiling: the workflow's choices.
        memory: bytes that one worker may use.
        device: ``cpu`` or ``cuda``.

    Raises:
        GridError: the choices do not fit together, or not into the memory.
    """
    spec = bundle.spec
    halo, exact = _halo(tiling, bundle)
    halo = -(-halo // spec.alignment) * spec.alignment
    blend: Blend = ("crop" if exact else "hann") if tiling.blend == "auto" else tiling.blend
    per_pixel = bytes_per_pixel(spec.architecture, spec.arguments)
    # Six halos leave room for blending however the scene's length divides; see grid.tiling.
    least = 6 * halo if blend != "crop" else 3 * halo
    budget = max(0, memory - _PROCESS_BYTES)
    if isinstance(tiling.window, Pixels):
        window = tiling.window.count
        if window**2 * per_pixel > budget:
            raise GridError(
                f"tiling.window: {window} px needs about {window**2 * per_pixel / 1e9:.1f} GB for the model "
                f"{spec.name} but compute.memory leaves {budget / 1e9:.1f} GB; use a smaller window or give "
                "more memory"
            )
    else:
        fits = int(math.sqrt(budget / (1.25 * per_pixel)))
        wanted = _LARGEST_WINDOW if exact or spec.window is None else spec.window
        window = max(min(wanted, fits), least, 2 * spec.alignment)
        if window > fits:
            raise GridError(
                f"compute.memory: the model {spec.name} needs windows of at least {window} px, about "
                f"{window**2 * per_pixel / 1e9 + _PROCESS_BYTES / 1e9:.1f} GB; give more memory or a smaller "
                "tiling.halo"
            )
    grid = tile_grid(shape, window, halo, spec.alignment)
    for axis in (grid.rows, grid.cols):
        axis_weights(axis, blend)  # refuses what cannot be blended, before any work
    window_bytes = int(grid.rows.window * grid.cols.window * per_pixel)
    if tiling.batch != "auto":
        batch = tiling.batch
    elif device == "cuda":
        batch = max(1, min(16, budget // max(1, window_bytes)))
    else:
        batch = 1  # on a CPU batching buys nothing and costs memory (see CONTRIBUTING.md)
    stride = grid.rows.stride
    if isinstance(tiling.block, Pixels):
        rows = max(1, tiling.block.count // stride)
    else:
        rows = max(1, _BAND_PIXELS // (stride * shape[1]))
        if len(grid.rows) // rows < 8:  # noqa: PLR2004 - a small scene still feeds several workers
            rows = max(1, len(grid.rows) // 8)
    return Tiles(grid, blend, exact, batch, grid.bands(rows), window_bytes)


def make_plan(scene: Scene, bundle: Bundle, workflow: Workflow, runtime: Runtime, output: Path) -> Plan:
    """Plan one scene.

    Args:
        scene: from :func:`geoseg.io.raster.describe`.
        bundle: the model.
        workflow: the recipe.
        runtime: resolved once, on the driver.
        output: folder of the run; the scene gets one of its own in it.

    Raises:
        SceneError: the scene breaks the model's contract.
        GridError: windows, halo and memory do not fit together.
    """
    spec = bundle.spec
    stretch = workflow.scenes.stretch
    check_contract(scene, bundle, stretch)
    try:
        grid = model_grid(scene.geobox, spec.resolution, spec.resolution_tolerance)
    except GridError as error:
        raise SceneError(f"scene {scene.ref.id}: {error}") from error
    tiles = resolve_tiles(grid.shape, bundle, workflow.tiling, workflow.compute.memory.bytes, runtime.device)
    threshold = 0.5 if workflow.vectorize is None else workflow.vectorize.threshold
    plan = Plan(
        scene=scene,
        grid=grid,
        tiles=tiles,
        layout=StoreLayout.of(spec, threshold),
        bundle=bundle,
        runtime=runtime,
        stretch=stretch,
        vectorize=workflow.vectorize,
        write=workflow.write,
        folder=output / scene_slug(scene.ref.id),
    )
    if workflow.tiling.batch == "auto" and plan.worker_bytes > workflow.compute.memory.bytes:
        plan = replace(plan, tiles=replace(tiles, batch=1))
    return plan


def check_classes(workflow: Workflow, bundle: Bundle) -> None:
    """Compare the classes that a workflow names with the model's.

    Raises:
        RecipeError: the model has no such class.
    """
    names = [c.name for c in bundle.spec.classes]
    wanted = workflow.vectorize.classes if workflow.vectorize is not None else None
    for name in wanted or ():
        if name not in names:
            raise RecipeError(
                f"vectorize.classes: the model {bundle.spec.name} has no class {name!r}, only "
                f"{', '.join(names)}{did_you_mean(name, names)}"
            )

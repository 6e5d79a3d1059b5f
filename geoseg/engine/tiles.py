"""How a scene is cut: every ``auto`` of the tiling resolved, within the memory that a worker may use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from geoseg.config.model.contract import BundleSpec
from geoseg.config.units import Pixels
from geoseg.config.workflow import Tiling
from geoseg.engine.bounds import cache_bytes, prediction_bytes, process_bytes
from geoseg.errors import GridError
from geoseg.grid.blend import Blend, axis_weights
from geoseg.grid.tiling import TileGrid, WindowRows, align_up, tile_grid
from geoseg.models.bundle import Bundle
from geoseg.models.cost.memory import model_pass_bytes, weights_bytes
from geoseg.models.runtime import Backend, Runtime

__all__ = ["Tiles", "resolve_tiles"]

_LARGEST_WINDOWS: Final[dict[Backend, int]] = {"torch": 1024, "onnxruntime": 1024, "openvino": 3072}
"""Larger windows save little context and cost memory, of which OpenVINO takes a third (docs/decisions, 4)."""
_USUAL_WINDOW: Final = 1024
_USUAL_BYTES: Final = 1_200_000_000
_MOST_BYTES: Final = 4_000_000_000
_EDGE: Final = 16
"""Reflected pixels past a scene's edges, at most the halo: more bring the map no nearer to the one that the
ground beyond would give (docs/decisions, 51)."""
_EXACT_RADIUS = 100
"""Largest receptive-field radius, in pixels, for which an exact halo is the default."""
_TASK_PIXELS = 4_000_000
"""Pixels of a task: enough work to outweigh its overhead, few enough that a lost one costs little."""
_LEAST_TASKS = 8
"""Tasks of a small scene, where it has so many window rows: it still feeds several workers."""
_LARGEST_BATCH = 16
"""Of windows on a GPU."""
_STEP = 32
"""Pixels by which windows are made smaller until they fit the memory, or the alignment where it is larger."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """How a scene is cut, with every ``auto`` resolved."""

    grid: TileGrid
    blend: Blend
    exact: bool
    """Whether the halo covers the network's receptive field: the map does not depend on the windows."""
    batch: int
    """Windows per forward pass."""
    window_rows: tuple[WindowRows, ...]
    """Those of each task, or of some tasks (see :attr:`columns`), from the top."""
    task_bytes: int
    """Bound on what the prediction of one task adds to its worker's memory, in bytes, GDAL's cache aside."""

    @property
    def columns(self) -> tuple[range | None, ...]:
        """Columns of windows of each task of some window rows; None: all.

        Cropped windows need no neighbors, so few window rows become several tasks each.
        """
        count, parts = len(self.grid.cols), -(-_LEAST_TASKS // len(self.window_rows))
        parts = min(parts, max(1, count // self.batch)) if self.blend == "crop" else 1
        if parts == 1:
            return (None,)
        each = count // parts  # tasks of equal size: workers end together
        return tuple(range(first, min(first + each, count)) for first in range(0, count, each))


def _context(tiling: Tiling, spec: BundleSpec) -> tuple[int, bool, Blend]:
    """Halo in pixels, whether it covers the receptive field, and how windows are joined."""
    radius, cropping = spec.receptive_field_radius, spec.cropping
    if tiling.halo == "exact" and radius is None:
        raise GridError(
            f"tiling.halo: exact is impossible with the model {spec.name}, every output of which sees the "
            "whole window; use auto or a number of pixels"
        )
    crops = cropping is not None and cropping.is_seamless and tiling.blend in ("auto", "crop")
    if isinstance(tiling.halo, Pixels):
        halo = tiling.halo.count
    elif tiling.halo == "auto" and cropping is not None and crops:
        halo = cropping.halo
    elif radius is not None and (tiling.halo == "exact" or radius <= _EXACT_RADIUS):
        halo = radius
    else:
        halo = spec.halo
    exact = radius is not None and halo >= radius
    crops = exact or (crops and cropping is not None and halo >= cropping.halo)
    blend: Blend = ("crop" if crops else "hann") if tiling.blend == "auto" else tiling.blend
    # The others average what lies within the halo, too.
    return align_up(halo, spec.alignment), exact and blend == "crop", blend


def resolve_tiles(
    shape: tuple[int, int],
    bundle: Bundle,
    tiling: Tiling,
    memory: int | None,
    runtime: Runtime,
    *,
    raster: int = 0,
) -> Tiles:
    """Resolve every ``auto`` of the tiling for one grid: the largest windows, up to those that pay, that fit.

    Args:
        shape: ``(height, width)`` of the model's grid.
        memory: bytes that one worker may use; None: 1.2 GB where windows of 1024 px, or the largest there
            are, fit into it, else 4 GB.
        runtime: what computes the windows.
        raster: bytes of the scene's pixels, uncompressed, of which GDAL caches some; 0: no file is read.

    Raises:
        GridError: the choices do not fit together, or not into the memory.
    """
    spec = bundle.spec
    halo, exact, blend = _context(tiling, spec)
    # Six halos leave room for blending however the scene's length divides; see grid.tiling.
    least = max((6 if blend != "crop" else 3) * halo, 2 * spec.alignment)
    if isinstance(tiling.window, Pixels):
        least = largest = tiling.window.count
    else:
        wanted = _LARGEST_WINDOWS[runtime.backend] if exact or spec.window is None else spec.window
        largest = max(wanted, least)
    usual = max(least, min(_USUAL_WINDOW, largest))
    needed = 0
    for limit, smallest in ((memory, least),) if memory else ((_USUAL_BYTES, usual), (_MOST_BYTES, least)):
        for window in (*range(largest, smallest, -math.lcm(_STEP, spec.alignment)), smallest):
            grid = tile_grid(shape, window, halo, spec.alignment, None if exact else _EDGE)
            for axis in (grid.rows, grid.cols):
                axis_weights(axis, blend)  # refuses what cannot be blended, before any work
            for batch in _batches(tiling, runtime.device):
                rows = _rows_per_task(grid, tiling)
                bound = _task_bytes(grid, spec, runtime, rows=rows, batch=batch, blend=blend)
                needed = process_bytes(runtime.backend) + weights_bytes(spec) + cache_bytes(raster) + bound
                if needed <= limit:
                    return Tiles(grid, blend, exact, batch, grid.window_rows(rows), bound)
    raise GridError(
        f"compute.memory: windows of {window} px{f', {batch} at a time,' if batch > 1 else ''} take up to "
        f"{needed / 1e9:.2f} GB with the model {spec.name}, and a worker may use "
        f"{limit / 1e9:.2f} GB; give more memory, or a smaller "
        f"{'tiling.batch' if batch > 1 else 'tiling.window' if tiling.window != 'auto' else 'tiling.halo'}"
    )


def _task_bytes(
    grid: TileGrid, spec: BundleSpec, runtime: Runtime, *, rows: int, batch: int, blend: Blend
) -> int:
    """Bound on what the prediction of so many window rows adds to a worker, in bytes."""
    # A CPU computes windows one by one; see models.predictor.
    pixels = (batch if runtime.device == "cuda" else 1) * grid.rows.window * grid.cols.window
    return prediction_bytes(
        grid,
        rows=rows,
        overlaps=blend != "crop",
        batch=batch,
        channels=len(spec.bands),
        classes=spec.channels,
        stored=spec.encoding(0.5).count,
        passes=model_pass_bytes(spec, pixels, runtime.backend, runtime.precision),
        backend=runtime.backend,
    )


def _batches(tiling: Tiling, device: str) -> tuple[int, ...]:
    """Numbers of windows at a time to try, the best first."""
    if tiling.batch != "auto":
        return (tiling.batch,)
    if device == "cuda":
        return tuple(_LARGEST_BATCH >> k for k in range(_LARGEST_BATCH.bit_length()))
    return (1,)  # on a CPU batching buys nothing and costs memory (docs/decisions, 20)


def _rows_per_task(grid: TileGrid, tiling: Tiling) -> int:
    stride, width = grid.rows.stride, grid.cols.length
    if isinstance(tiling.block, Pixels):
        return max(1, tiling.block.count // stride)
    rows = max(1, _TASK_PIXELS // (stride * width))
    if len(grid.rows) // rows < _LEAST_TASKS:
        rows = max(1, len(grid.rows) // _LEAST_TASKS)
    return rows

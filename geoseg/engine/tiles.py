"""How a scene is cut: every ``auto`` of the tiling resolved, within the memory that a worker may use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geoseg.config.units import Pixels
from geoseg.config.workflow import Tiling
from geoseg.engine.bounds import PROCESS_BYTES, cache_bytes, prediction_bytes
from geoseg.errors import GridError
from geoseg.grid.blend import Blend, axis_weights
from geoseg.grid.tiling import TileGrid, WindowRows, align_up, tile_grid
from geoseg.models.bundle import Bundle
from geoseg.models.cost.memory import model_pass_bytes, weights_bytes
from geoseg.models.runtime import Runtime

__all__ = ["Tiles", "resolve_tiles"]

_LARGEST_WINDOW = 1024
"""Larger windows save little context and cost memory (docs/decisions, 4)."""
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
    """Those of each task, from the top."""
    task_bytes: int
    """Bound on what the prediction of one task adds to its worker's memory, in bytes, GDAL's cache aside."""


def _halo(tiling: Tiling, bundle: Bundle) -> tuple[int, bool]:
    """Halo in pixels, and whether it covers the receptive field."""
    spec = bundle.spec
    radius = spec.receptive_field_radius
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


def resolve_tiles(
    shape: tuple[int, int], bundle: Bundle, tiling: Tiling, memory: int, runtime: Runtime, *, raster: int = 0
) -> Tiles:
    """Resolve every ``auto`` of the tiling for one grid: the largest windows, up to those that pay, that fit.

    Args:
        shape: ``(height, width)`` of the model's grid.
        memory: bytes that one worker may use.
        runtime: what computes the windows.
        raster: bytes of the scene's pixels, uncompressed, of which GDAL caches some; 0: no file is read.

    Raises:
        GridError: the choices do not fit together, or not into the memory.
    """
    spec = bundle.spec
    halo, exact = _halo(tiling, bundle)
    halo = align_up(halo, spec.alignment)
    blend: Blend = ("crop" if exact else "hann") if tiling.blend == "auto" else tiling.blend
    exact = exact and blend == "crop"  # the others average what lies within the halo, too
    # Six halos leave room for blending however the scene's length divides; see grid.tiling.
    least = max((6 if blend != "crop" else 3) * halo, 2 * spec.alignment)
    aside = PROCESS_BYTES + weights_bytes(spec) + cache_bytes(raster)
    if isinstance(tiling.window, Pixels):
        least = largest = tiling.window.count
    else:
        wanted = _LARGEST_WINDOW if exact or spec.window is None else spec.window
        largest = max(wanted, least)
    for window in (*range(largest, least, -math.lcm(_STEP, spec.alignment)), least):
        grid = tile_grid(shape, window, halo, spec.alignment)
        for axis in (grid.rows, grid.cols):
            axis_weights(axis, blend)  # refuses what cannot be blended, before any work
        for batch in _batches(tiling, runtime.device):
            rows = _rows_per_task(grid, tiling)
            # A CPU computes windows one by one; see models.predictor.
            pixels = (batch if runtime.device == "cuda" else 1) * grid.rows.window * grid.cols.window
            needed = prediction_bytes(
                grid,
                rows=rows,
                overlaps=blend != "crop",
                batch=batch,
                channels=len(spec.bands),
                classes=spec.channels,
                stored=spec.encoding(0.5).count,
                passes=model_pass_bytes(spec, pixels, runtime.backend, runtime.precision),
            )
            if aside + needed <= memory:
                return Tiles(grid, blend, exact, batch, grid.window_rows(rows), needed)
    raise GridError(
        f"compute.memory: windows of {window} px{f', {batch} at a time,' if batch > 1 else ''} take up to "
        f"{(aside + needed) / 1e9:.2f} GB with the model {spec.name}, and a worker may use "
        f"{memory / 1e9:.2f} GB; give more memory, or a smaller "
        f"{'tiling.batch' if batch > 1 else 'tiling.window' if tiling.window != 'auto' else 'tiling.halo'}"
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

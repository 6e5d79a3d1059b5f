"""Labelled scenes from files: the pixels that maps are made from, and the labels that score them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import LabelError
from geoseg.grid.ground import ground_resolution, model_grid
from geoseg.grid.window import Window
from geoseg.io.labels import LabelReader
from geoseg.io.raster import SceneReader, describe
from geoseg.train.losses import IGNORE
from geoseg.train.scenes import LabelledScene, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.recipe.scene import LabelRef, SceneRef

__all__ = ["load_scene"]

_SURROUNDINGS = 64
"""Pixels kept around the labelled area."""


def load_scene(
    ref: SceneRef,
    label: LabelRef,
    *,
    resolution: float,
    bands: Sequence[str | int] | None = None,
    limit: Window | None = None,
    weight: float = 1.0,
    split: Split | None = None,
    chooses: bool = True,
) -> LabelledScene:
    """Read the labelled part of a scene, resampled to about the resolution, into memory.

    Args:
        ref: The scene.
        label: Its labels.
        resolution: Metres on the ground per pixel; a scene that is coarser keeps its own pixels.
        bands: As in :func:`geoseg.io.raster.describe`.
        limit: Nothing outside this window of the scene's own pixels is read; the scene must not need
            resampling then.
        weight: See :class:`LabelledScene`.
        split: Which blocks validate.
        chooses: See :class:`LabelledScene`.

    Raises:
        SceneError: the scene cannot be read.
        LabelError: the labels cannot be read, nothing is labelled, or a limit on a scene to be resampled.
    """
    scene = describe(ref, bands)
    own = ground_resolution(scene.geobox).mean
    grid = model_grid(scene.geobox, resolution, 0.02) if own < resolution else scene.geobox
    if limit is not None and grid is not scene.geobox:
        raise LabelError(
            f"{ref.id}: a limit counts the scene's own pixels ({own:.3g} m), so it cannot be resampled "
            f"to {resolution:g} m: ask for its own resolution"
        )
    whole = Window(0, 0, *grid.shape)
    allowed = whole if limit is None else whole.intersect(limit)
    if allowed is None:
        raise LabelError(
            f"{ref.id}: the limit {limit} lies outside the scene of {grid.height}×{grid.width} pixels"
        )
    labels = LabelReader(label, grid, scene.geobox).read(allowed)
    rows = np.flatnonzero((labels != IGNORE).any(1))
    cols = np.flatnonzero((labels != IGNORE).any(0))
    if not rows.size:
        raise LabelError(f"{ref.id}: nothing is labelled there")
    area = Window(
        allowed.row + int(rows[0]),
        allowed.col + int(cols[0]),
        int(rows[-1] - rows[0]) + 1,
        int(cols[-1] - cols[0]) + 1,
    )
    window = area.pad(_SURROUNDINGS).intersect(allowed)
    assert window is not None
    with SceneReader(scene, grid) as reader:
        raster = reader.read(window)
    dtype = np.dtype(scene.dtype)
    pixels = raster.pixels
    if dtype.kind in "ui":
        # Resampling gives fractions; a training set in memory is worth a quarter of the bytes.
        limits = np.iinfo(dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max).astype(dtype)
    return LabelledScene(
        ref.id,
        pixels,
        raster.valid,
        labels[window.relative_to(allowed).slices],
        ground_resolution(grid).mean,
        weight=weight,
        split=split or Split(),
        chooses=chooses,
    )

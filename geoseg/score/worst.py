"""Where a map is worst: the windows with the most wrong pixels, none over another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from geoseg.grid.window import Window
from geoseg.score.tally import SceneTally

__all__ = ["WINDOW", "worst_windows"]

WINDOW = 256
"""Side of a window in pixels of the map; more where a scene's cells are larger."""


def worst_windows(
    scenes: Sequence[tuple[SceneTally, tuple[int, int]]], count: int, side: int = WINDOW
) -> list[tuple[int, Window]]:
    """The windows with the most wrong pixels, the worst one first.

    Found in what was counted per cell, so no map is read for it: windows start on cells, or end with the
    scene. One after another is taken, and what overlaps it is not.

    Args:
        scenes: tallies, each with the height and width of its map in pixels.
        count: windows to find; fewer where no others are wrong.
        side: of a window; a scene that is smaller is one window.

    Returns:
        Place of the scene in ``scenes``, and the window.
    """
    side = max(side, *(scene.side for scene, _ in scenes)) if scenes else side
    found: list[tuple[int, int, Window]] = []
    for index, (scene, shape) in enumerate(scenes):
        table = _summed_area(scene)
        starts = [_starts(length, side, scene.side) for length in shape]
        for row, col in product(*starts):
            window = Window(row, col, min(side, shape[0]), min(side, shape[1]))
            wrong = _wrong(table, window, scene.side)
            if wrong:
                found.append((wrong, index, window))
    found.sort(key=lambda one: (-one[0], *one[1:]))
    chosen: list[tuple[int, Window]] = []
    for _, index, window in found:
        if len(chosen) == count:
            break
        if all(index != other or window.intersect(taken) is None for other, taken in chosen):
            chosen.append((index, window))
    return chosen


def _starts(length: int, side: int, cell: int) -> list[int]:
    last = max(0, length - side)
    return sorted({*range(0, last + 1, cell), last})


def _summed_area(scene: SceneTally) -> NDArray[np.int64]:
    """Wrong pixels of all cells above and left of each corner of cells."""
    rows, cols = (scene.places.max(axis=0) + 1).tolist() if len(scene.places) else (0, 0)
    table = np.zeros((rows + 1, cols + 1), np.int64)
    wrong = scene.cells.sum(axis=(1, 2)) - np.trace(scene.cells, axis1=1, axis2=2)
    table[scene.places[:, 0] + 1, scene.places[:, 1] + 1] = wrong
    summed: NDArray[np.int64] = table.cumsum(axis=0).cumsum(axis=1)
    return summed


def _wrong(table: NDArray[np.int64], window: Window, cell: int) -> int:
    """Wrong pixels of the cells that a window touches."""
    top, left = window.row // cell, window.col // cell
    bottom, right = -(-window.row_stop // cell), -(-window.col_stop // cell)
    rows = np.minimum((top, bottom), table.shape[0] - 1)
    cols = np.minimum((left, right), table.shape[1] - 1)
    corners = table[np.ix_(rows, cols)]
    return int(corners[1, 1] - corners[0, 1] - corners[1, 0] + corners[0, 0])

"""Counts per square of ground: what a streamed score keeps of a scene, and what a bootstrap draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.score.confusion import Confusion, pair_index

__all__ = ["FEWEST_CELLS", "LARGEST_SIDE", "SMALLEST_SIDE", "CellCounter", "SceneTally", "widest_cells"]

SMALLEST_SIDE = 64
"""Side of the cells that are counted, in pixels of the map."""
LARGEST_SIDE = 512
"""Side of the largest cells that are drawn, in pixels of the map."""
FEWEST_CELLS = 30
"""Cells that a bootstrap should have to draw from."""

_MOST_CELLS = 8192
"""Cells kept of a scene; beyond, four become one. Bounds memory: 50 MB for 27 classes."""


@dataclass(frozen=True, eq=False, slots=True)
class SceneTally:
    """What was counted of one scene: all that a report is made of."""

    scene: str
    """The scene's id."""
    side: int
    """Side of a cell, in pixels of the map."""
    places: NDArray[np.int64]
    """int64, shape (N, 2): row and column of each cell, in cells; in order."""
    cells: NDArray[np.int64]
    """int64, shape (N, K, K): confusion matrix of each cell that has pixels."""
    excluded: int = 0
    """Labelled pixels where the map has nodata."""
    repaired: int = 0
    """Invalid reference polygons that were repaired."""
    features: int = 0
    """Reference polygons over the scene; 0 for a raster."""

    @property
    def confusion(self) -> Confusion:
        """The scene's matrix."""
        return Confusion(self.cells.sum(axis=0), self.excluded)

    def in_cells_of(self, side: int) -> NDArray[np.int64]:
        """The matrices of larger cells, int64, shape (M, K, K).

        Raises:
            GridError: the side is no multiple of this one.
        """
        if side % self.side:
            raise GridError(f"scene {self.scene}: cells of {self.side} px do not make cells of {side} px")
        merged, cell = np.unique(self.places // (side // self.side), axis=0, return_inverse=True)
        sums = np.zeros((len(merged), *self.cells.shape[1:]), np.int64)
        np.add.at(sums, cell.ravel(), self.cells)
        return sums


@dataclass(slots=True)
class CellCounter:
    """Confusion matrices of square cells of pixels, counted from the scene's first pixel.

    Blocks may come in any order, size and place; the result is the same. Memory is one matrix per cell that
    has a labelled and mapped pixel, plus one block. Of a scene with too many cells, each four become one.

    Raises:
        GridError: cells of less than a pixel.
    """

    classes: int
    """K, ids are 0..K-1."""
    side: int = SMALLEST_SIDE
    """Pixels along a cell's side; doubled when there are too many cells."""
    most: int = _MOST_CELLS
    """Cells that are too many when exceeded."""
    excluded: int = 0
    """Labelled pixels that the map has no class for."""
    _counts: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.side < 1:
            raise GridError(f"a cell needs at least 1×1 pixel, got a side of {self.side}")

    def add(self, row: int, col: int, truth: NDArray[Any], mapped: NDArray[Any]) -> None:
        """Count a block of pixels.

        Args:
            row: its first row in the scene.
            col: its first column.
            truth: shape (H, W), class ids, 255 = not labelled.
            mapped: shape (H, W), class ids, 255 = nodata.

        Raises:
            LabelError: different shapes, or values that are neither a class nor 255.
        """
        side, size = self.side, self.classes * self.classes
        rows = np.arange(row, row + truth.shape[0]) // side
        cols = np.arange(col, col + truth.shape[1]) // side
        # A band of cells at a time: what counting needs beyond the block stays below one row of cells.
        for band in np.unique(rows).tolist():
            chosen = rows == band
            labels, values = truth[chosen], mapped[chosen]
            both, index, excluded = pair_index(labels, values, self.classes)
            self.excluded += excluded
            if not index.size:
                continue
            cell = np.broadcast_to(cols - cols[0], labels.shape)[both]
            counts = np.bincount(cell * size + index, minlength=(int(cols[-1] - cols[0]) + 1) * size)
            for offset, matrix in enumerate(counts.reshape(-1, self.classes, self.classes)):
                if matrix.any():
                    self._put((band, int(cols[0]) + offset), matrix.astype(np.int64))
        while len(self._counts) > self.most:
            self._double()

    def tally(self, scene: str, *, repaired: int = 0, features: int = 0) -> SceneTally:
        """What was counted, as a value."""
        places = sorted(self._counts)
        return SceneTally(
            scene=scene,
            side=self.side,
            places=np.array(places, np.int64).reshape(-1, 2),
            cells=np.array([self._counts[place] for place in places], np.int64).reshape(
                -1, self.classes, self.classes
            ),
            excluded=self.excluded,
            repaired=repaired,
            features=features,
        )

    def _put(self, place: tuple[int, int], matrix: NDArray[np.int64]) -> None:
        known = self._counts.get(place)
        self._counts[place] = matrix if known is None else known + matrix

    def _double(self) -> None:
        # Cells only ever appear, so the side that is reached does not depend on the order of blocks.
        counts, self._counts = self._counts, {}
        self.side *= 2
        for (row, col), matrix in counts.items():
            self._put((row // 2, col // 2), matrix)


def widest_cells(scenes: Sequence[SceneTally]) -> tuple[int, NDArray[np.int64]]:
    """The largest cells, up to :data:`LARGEST_SIDE`, of which all scenes together have enough.

    Errors come in neighbourhoods, so small cells promise too much: on four real scenes of 0.3 to 1 m, mapped
    by colour alone, the interval of the building IoU grew by 1.1 to 1.5 times with each doubling of the side
    from 64 to 512 px. But few large cells cannot say how much they differ.

    Args:
        scenes: of the same classes, at least one.

    Returns:
        Side in pixels, and all cells, int64, shape (N, K, K). Where even the smallest are fewer than
        :data:`FEWEST_CELLS`, those.
    """
    smallest = side = max(scene.side for scene in scenes)
    while side < LARGEST_SIDE:
        side *= 2
    while True:
        cells = np.concatenate([scene.in_cells_of(side) for scene in scenes])
        if len(cells) >= FEWEST_CELLS or side == smallest:
            return side, cells
        side //= 2

"""Counts per square of ground: what a streamed score keeps of a scene, and what a bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.score.confusion import Confusion, pair_index

__all__ = ["CELL_PIXELS", "CellCounter", "SceneTally"]

CELL_PIXELS = 128
"""Side of a cell by default, in pixels of the map; :mod:`geoseg.score.bootstrap` says why."""


@dataclass(slots=True)
class CellCounter:
    """A confusion matrix per cell: a square of pixels, counted from the scene's first.

    Blocks may come in any order, size and place; the sums are the same. Memory is one matrix per cell that
    has a labelled and mapped pixel, plus one block.

    Raises:
        GridError: cells of less than a pixel.
    """

    classes: int
    """K, ids are 0..K-1."""
    side: int = CELL_PIXELS
    """Pixels along a cell's side."""
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
        height, width = truth.shape
        size = self.classes * self.classes
        rows, cols = np.arange(row, row + height) // self.side, np.arange(col, col + width) // self.side
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
                    key = band, int(cols[0]) + offset
                    known = self._counts.get(key)
                    self._counts[key] = matrix.astype(np.int64) if known is None else known + matrix

    @property
    def cells(self) -> NDArray[np.int64]:
        """int64, shape (N, K, K): the cells that have pixels, in order of row and column."""
        if not self._counts:
            return np.zeros((0, self.classes, self.classes), np.int64)
        return np.stack([self._counts[key] for key in sorted(self._counts)])

    @property
    def confusion(self) -> Confusion:
        """The matrix of the whole scene."""
        return Confusion(self.cells.sum(axis=0), self.excluded)


@dataclass(frozen=True, eq=False, slots=True)
class SceneTally:
    """What was counted of one scene: all that a report is made of."""

    scene: str
    """The scene's id."""
    cells: NDArray[np.int64]
    """int64, shape (N, K, K): confusion matrix of each cell."""
    cell_pixels: int
    """Side of a cell, in pixels of the map."""
    excluded: int
    """Labelled pixels where the map has nodata."""
    repaired: int
    """Invalid reference polygons that were repaired."""
    features: int
    """Reference polygons over the scene; 0 for a raster."""

    @property
    def confusion(self) -> Confusion:
        """The scene's matrix."""
        return Confusion(self.cells.sum(axis=0), self.excluded)

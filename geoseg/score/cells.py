"""Counting pixels per square of ground, block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.score.pixels.boundary import Reach
from geoseg.score.pixels.calibration import BINS, Reliability, binned, tally
from geoseg.score.pixels.confusion import margins, pair_index
from geoseg.score.tally import SceneTally

__all__ = ["SMALLEST_SIDE", "CellCounter", "Extra"]

SMALLEST_SIDE = 64
"""Side of the cells that are counted, in pixels of the map."""
_MOST_CELLS = 4096
"""Cells kept of a scene; beyond, four become one. Bounds memory: 55 MB for 27 classes."""


_Parts = tuple[NDArray[np.int64], ...]
"""Of a cell: its matrix, then near contours (3, K), then of probabilities (K + 1, bins, 3), where counted."""


@dataclass(frozen=True, eq=False, slots=True)
class Extra:
    """What can be counted of a block of pixels beyond its classes."""

    near: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    """Which pixels lie near a contour, in the reference and in the map, each (H, W); None: not counted."""
    stored: NDArray[np.uint8] | None = None
    """Probability of each class, 0 … 200, uint8 (K, H, W); None: not known."""
    confidence: NDArray[np.uint8] | None = None
    """Probability of the mapped class, uint8 (H, W); None: not counted."""

    def at(self, rows: slice, chosen: NDArray[np.bool_]) -> Extra:
        """The chosen pixels (h, W) of some rows, in order: (N,), those of classes (K, N)."""
        return Extra(
            None if self.near is None else (self.near[0][rows][chosen], self.near[1][rows][chosen]),
            None if self.stored is None else self.stored[:, rows][:, chosen],
            None if self.confidence is None else self.confidence[rows][chosen],
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Block:
    """Pixels that have a label and a class, each (N,)."""

    truth: NDArray[np.intp]
    mapped: NDArray[np.intp]
    cell: NDArray[np.intp]
    """Which cell of a row of cells a pixel lies in, 0 … cells - 1."""
    cells: int
    extra: Extra


@dataclass(slots=True)
class CellCounter:
    """What is counted of square cells of pixels, counted from the scene's first pixel.

    Blocks may come in any order, size and place; the result is the same. Memory is a confusion matrix and
    some sums per cell that has a labeled and mapped pixel, plus one block. Of a scene with too many cells,
    each four become one.

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
    """Labeled pixels that the map has no class for."""
    _counts: dict[tuple[int, int], _Parts] = field(default_factory=dict)
    _reliability: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.side < 1:
            raise GridError(f"a cell needs at least 1×1 pixel, got a side of {self.side}")

    def add(
        self, row: int, col: int, truth: NDArray[Any], mapped: NDArray[Any], extra: Extra | None = None
    ) -> None:
        """Count a block of pixels.

        Args:
            row: its first row in the scene.
            col: its first column.
            truth: shape (H, W), class ids, 255 = not labeled.
            mapped: shape (H, W), class ids, 255 = nodata.
            extra: what else to count; the same for every block of a scene.

        Raises:
            LabelError: different shapes, or values that are neither a class nor 255.
        """
        side, extra = self.side, extra or Extra()
        rows = np.arange(row, row + truth.shape[0]) // side
        cols = np.arange(col, col + truth.shape[1]) // side
        # A band of cells at a time: what counting needs beyond the block stays below one row of cells.
        for band in np.unique(rows).tolist():
            chosen = slice(*np.searchsorted(rows, (band, band + 1)).tolist())
            labels, values = truth[chosen], mapped[chosen]
            both, index, excluded = pair_index(labels, values, self.classes)
            self.excluded += excluded
            if not index.size:
                continue
            block = _Block(
                labels[both].astype(np.intp),
                values[both].astype(np.intp),
                np.broadcast_to(cols - cols[0], labels.shape)[both],
                int(cols[-1] - cols[0]) + 1,
                extra.at(chosen, both),
            )
            parts = [_matrices(block, index, self.classes)]
            if extra.near is not None:
                parts.append(_boundary(block, self.classes))
            if extra.confidence is not None:
                parts.append(self._calibration(block))
            for offset in np.flatnonzero(parts[0].any(axis=(1, 2))).tolist():
                self._put((band, int(cols[0]) + offset), tuple(part[offset] for part in parts))
        while len(self._counts) > self.most:
            self._double()

    def _calibration(self, block: _Block) -> NDArray[np.int64]:
        if self._reliability is None:
            self._reliability = Reliability.zeros(self.classes).counts
        sums = np.zeros((block.cells, self.classes + 1, BINS, 3), np.int64)
        assert block.extra.confidence is not None
        rows = [(self.classes, block.extra.confidence, block.truth == block.mapped)]
        if block.extra.stored is not None:
            rows += [(i, said, block.truth == i) for i, said in enumerate(block.extra.stored)]
        for index, said, hit in rows:
            counts = tally(said, hit, block.cell, block.cells)
            self._reliability[index] += counts.sum(axis=0)
            sums[:, index] = binned(counts)
        return sums

    def tally(
        self, scene: str, *, repaired: int = 0, features: int = 0, reach: Reach | None = None
    ) -> SceneTally:
        """What was counted, as a value."""
        places = sorted(self._counts)
        shapes: list[tuple[int, ...]] = [(self.classes, self.classes)]
        shapes += [(3, self.classes)] if reach is not None else []
        shapes += [(self.classes + 1, BINS, 3)] if self._reliability is not None else []
        stacked = [
            np.array([self._counts[place][index] for place in places], np.int64).reshape(-1, *shape)
            for index, shape in enumerate(shapes)
        ]
        return SceneTally(
            scene=scene,
            side=self.side,
            places=np.array(places, np.int64).reshape(-1, 2),
            cells=stacked[0],
            excluded=self.excluded,
            repaired=repaired,
            features=features,
            boundary=stacked[1] if reach is not None else None,
            calibration=stacked[-1] if self._reliability is not None else None,
            reliability=None if self._reliability is None else Reliability(self._reliability),
            reach=reach,
        )

    def _put(self, place: tuple[int, int], parts: _Parts) -> None:
        known = self._counts.get(place)
        if known is not None:
            parts = tuple(one + other for one, other in zip(known, parts, strict=True))
        self._counts[place] = parts

    def _double(self) -> None:
        # Cells only ever appear, so the side that is reached does not depend on the order of blocks.
        counts, self._counts = self._counts, {}
        self.side *= 2
        for (row, col), parts in counts.items():
            self._put((row // 2, col // 2), parts)


def _matrices(block: _Block, index: NDArray[np.intp], classes: int) -> NDArray[np.int64]:
    """Confusion matrices of cells, int64 (cells, classes, classes), of each pixel's place in a flat one."""
    size = classes * classes
    counts = np.bincount(block.cell * size + index, minlength=block.cells * size)
    return counts.reshape(block.cells, classes, classes).astype(np.int64, copy=False)


def _boundary(block: _Block, classes: int) -> NDArray[np.int64]:
    """Of confusion matrices with one more class for what is not near a contour, all but that class."""
    assert block.extra.near is not None
    rows = np.where(block.extra.near[0], block.truth, classes)
    cols = np.where(block.extra.near[1], block.mapped, classes)
    matrices = _matrices(block, rows * (classes + 1) + cols, classes + 1)
    return np.stack(margins(matrices), axis=-2)[..., :classes]

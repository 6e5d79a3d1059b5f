"""Stitching: from window logits to a scene without seams. Arithmetic only.

The stitched logits of a pixel are ``Σ rows (Σ columns weight · logits)``: first over the windows of one
row, left to right, then over the at most two rows that share the pixel, top to bottom. The order is fixed,
and so are the bits, whatever the tasks, the batches or the executor. No window is computed twice: a task
keeps the row sums that it shares with its neighbors as *window overlaps*, and the assembler adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Bool, Float32
from geoseg.grid.blend import Blend, axis_weights
from geoseg.grid.loops import add_weighted
from geoseg.grid.tiling import TileGrid, WindowRows
from geoseg.grid.window import Window

__all__ = ["Prediction", "Stitcher", "WindowOverlaps"]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A network's logits for one window, or what is stitched of several."""

    logits: Float32 | None
    """Shape (classes, height, width) of the window; None where no pixel of the window is valid. What invalid
    pixels hold does not matter."""
    valid: Bool
    """Shape (height, width); True where the scene has data."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowOverlaps:
    """Row sums of a task's window rows that its neighbors complete: NaN where the scene has no data."""

    top: Float32 | None
    """Shape (classes, rows, scene width): shared with the window row above; None where nothing is shared."""
    bottom: Float32 | None
    """The same, shared with the window row below."""


Emit = Callable[[Window, Prediction], None]
"""Receives finished logits, each pixel of the scene once."""
Predict = Callable[[Sequence[Window]], Sequence[Prediction]]


@dataclass(frozen=True, slots=True, eq=False)
class Stitcher:
    """Stitches the window rows of one scene.

    Laws: over all window rows, emitted windows and overlaps cover each pixel of the scene exactly once; the
    bits do not depend on tasks or batches; a network that returns a constant gives it back, an identity
    network gives the scene back (exactly under crop, to 1e-5 under blending).
    """

    tiles: TileGrid
    blend: Blend
    classes: int  # channels of the logits

    def overlap_above(self, row: int) -> tuple[int, int]:
        """Scene rows (half-open, possibly empty) shared by a row of windows and the row above it."""
        weights = axis_weights(self.tiles.rows, self.blend)
        first = weights.support(row)[0]
        return (first, weights.support(row - 1)[1]) if row > 0 else (first, first)

    def finished_rows(self, rows: WindowRows) -> tuple[int, int]:
        """Scene rows (half-open) that window rows finish without their neighbors."""
        first = self.overlap_above(rows.first)[1]
        return first, (
            self.overlap_above(rows.stop)[0] if rows.stop < len(self.tiles.rows) else self.tiles.rows.length
        )

    def finished_cols(self, cols: range) -> tuple[int, int]:
        """Scene columns (half-open) that some columns of windows finish under crop."""
        axis = self.tiles.cols
        return axis.core(cols[0])[0], axis.core(cols[-1])[1]

    def stitch(
        self, rows: WindowRows, predict: Predict, batch: int, emit: Emit, cols: range | None = None
    ) -> WindowOverlaps:
        """Predict and stitch the window rows of one task.

        Args:
            cols: under crop, some of the columns of windows; None: all.
            predict: gives the predictions of a batch of windows of one row, in order.
            batch: largest number of windows per call.
            emit: receives finished pixels.

        Returns:
            The row sums that neighbors complete; none under crop. Floats held at once: one window row's
            overlap over the scene's width, twice, and a batch of windows.
        """
        if self.blend == "crop":
            self._emit_cores(rows, cols or range(len(self.tiles.cols)), predict, batch, emit)
            return WindowOverlaps(None, None)
        assert cols is None, "blended windows need their neighbors in the row"
        top: Float32 | None = None
        above: Float32 | None = None
        for row in range(rows.first, rows.stop):
            lo, hi = axis_weights(self.tiles.rows, self.blend).support(row)
            upper = self.overlap_above(row)[1]
            lower = self.overlap_above(row + 1)[0] if row + 1 < len(self.tiles.rows) else hi
            width = self.tiles.cols.length
            below = np.empty((self.classes, hi - lower, width), np.float32) if hi > lower else None
            if row == rows.first and upper > lo:
                top = np.empty((self.classes, upper - lo, width), np.float32)
            for col, sums, valid in self._row_sums(row, predict, batch):
                across = slice(col, col + sums.shape[2])
                if upper > lo:
                    shared, known = sums[:, : upper - lo], valid[: upper - lo]
                    if row == rows.first:
                        assert top is not None
                        _keep(top[:, :, across], shared, known)
                    else:
                        assert above is not None
                        emit(Window(lo, col, *known.shape), Prediction(above[:, :, across] + shared, known))
                if lower > upper:
                    own, known = sums[:, upper - lo : lower - lo], valid[upper - lo : lower - lo]
                    emit(Window(upper, col, *known.shape), Prediction(own, known))
                if below is not None:
                    _keep(below[:, :, across], sums[:, lower - lo :], valid[lower - lo :])
            above = below
        return WindowOverlaps(top, above)

    def _emit_cores(self, rows: WindowRows, chosen: range, predict: Predict, batch: int, emit: Emit) -> None:
        """Under crop each pixel is finished by the window whose core it is in: nothing is summed or kept."""
        axes = self.tiles.rows, self.tiles.cols
        for row in range(rows.first, rows.stop):
            for first in range(0, len(chosen), batch):
                cols = chosen[first : first + batch]
                predictions = predict([self.tiles.window(row, col) for col in cols])
                for col, prediction in zip(cols, predictions, strict=True):
                    (top, stop), (left, right) = axes[0].core(row), axes[1].core(col)
                    core = Window(top, left, stop - top, right - left)
                    inside = core.shift(-axes[0].start(row), -axes[1].start(col)).slices
                    logits = None if prediction.logits is None else prediction.logits[:, *inside]
                    emit(core, Prediction(logits, prediction.valid[inside]))

    def _row_sums(self, row: int, predict: Predict, batch: int) -> Iterator[tuple[int, Float32, Bool]]:
        """Σ over the windows of one row, left to right.

        First column, sums (classes, rows, columns), and where the scene has data (rows, columns).
        """
        rows, cols = self.tiles.rows, axis_weights(self.tiles.cols, self.blend)
        across = axis_weights(rows, self.blend)
        lo, hi = across.support(row)
        inner_rows = slice(lo - rows.start(row), hi - rows.start(row))
        down = across.weights(row)
        count = len(self.tiles.cols)
        carry = np.zeros((self.classes, hi - lo, 0), np.float32)
        carry_valid = np.zeros((hi - lo, 0), np.bool_)
        for first in range(0, count, batch):
            indices = range(first, min(first + batch, count))
            left, right = cols.support(indices[0])[0], cols.support(indices[-1])[1]
            sums = np.zeros((self.classes, hi - lo, right - left), np.float32)
            valid = np.zeros((hi - lo, right - left), np.bool_)
            sums[:, :, : carry.shape[2]] = carry
            valid[:, : carry.shape[2]] = carry_valid
            predictions = predict([self.tiles.window(row, col) for col in indices])
            for col, prediction in zip(indices, predictions, strict=True):
                a, b = cols.support(col)
                start = self.tiles.cols.start(col)
                inner = (inner_rows, slice(a - start, b - start))
                valid[:, a - left : b - left] = prediction.valid[inner]
                if prediction.logits is not None:
                    place = inner_rows.start, a - start
                    add_weighted(sums, a - left, prediction.logits, place, down, cols.weights(col))
            done = (cols.support(indices[-1] + 1)[0] if indices[-1] + 1 < count else right) - left
            carry, carry_valid = sums[:, :, done:].copy(), valid[:, done:].copy()
            if done:
                yield left, sums[:, :, :done], valid[:, :done]


def _keep(target: Float32, sums: Float32, valid: Bool) -> None:
    """Copy row sums, NaN where the scene has no data."""
    target[...] = sums
    np.copyto(target, np.float32(np.nan), where=~valid)

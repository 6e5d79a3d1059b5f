"""The finished probability store of a scene, read from its parts row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.arrays import UInt8
from geoseg.engine.partials import PartialManifest, open_partial
from geoseg.engine.plan import Plan
from geoseg.errors import OutputError
from geoseg.grid.encoding import resampled, row_pieces
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window

__all__ = ["PartialProbabilities"]


class PartialProbabilities:
    """Rows of the store on the model's grid, or on the scene's.

    Args:
        plan: the scene's plan.
        receipts: of all its parts, top to bottom.

    Raises:
        OutputError: parts are missing or do not cover the scene.
    """

    def __init__(self, plan: Plan, receipts: Sequence[PartialManifest]) -> None:
        self._plan = plan
        self._receipts = receipts
        self._pieces: list[tuple[int, int, int, bool]] = []
        row = 0
        for index, band in enumerate(plan.tiles.bands):
            first, stop = plan.stitcher.finished_rows(band)
            for lo, hi, seam in ((row, first, True), (first, stop, False)):
                if hi > lo:
                    self._pieces.append((lo, hi, index, seam))
            row = max(row, stop)
        if len(receipts) != len(plan.tiles.bands) or row != plan.grid.height:
            raise OutputError(
                f"{plan.partials_folder}: {len(receipts)} parts cover {row} of {plan.grid.height} rows; run "
                "again to make them anew"
            )

    def _part(self, index: int, array: str) -> npt.NDArray[Any]:
        found = open_partial(self._plan.partials_folder, self._receipts[index], array)
        if found is None:
            raise OutputError(
                f"{self._plan.partials_folder}: part {self._receipts[index].name} has no {array}; run again"
            )
        return found

    def rows(self, first: int, stop: int) -> UInt8:
        """Stored values of some rows of the model's grid: uint8 (bands, stop - first, width)."""
        out = np.empty((self._plan.layout.planes, stop - first, self._plan.grid.width), np.uint8)
        for lo, hi, index, seam in self._pieces:
            a, b = max(lo, first), min(hi, stop)
            if a >= b:
                continue
            inside, target = slice(a - lo, b - lo), out[:, a - first : b - first]
            if seam:
                upper = self._part(index - 1, "bottom")[:, inside]
                lower = self._part(index, "top")[:, inside]
                for some in row_pieces(target.shape[1:]):
                    target[:, some] = self._plan.layout.quantize(upper[:, some] + lower[:, some])
            else:
                target[...] = self._part(index, "store")[:, inside]
        return out

    def strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """The store on the model's grid, from the top: windows of the full width and their values."""
        grid = self._plan.grid
        for first in range(0, grid.height, rows):
            stop = min(first + rows, grid.height)
            yield Window(first, 0, stop - first, grid.width), self.rows(first, stop)

    def scene_strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """The store resampled to the scene's own grid, from the top."""
        scene = self._plan.scene.geobox
        resampler = Resampler.between(self._plan.grid, scene)
        for first in range(0, scene.height, rows):
            window = Window(first, 0, min(rows, scene.height - first), scene.width)
            source = resampler.source_window(window)
            stored = self.rows(source.row, source.row_stop)[:, :, source.col : source.col_stop]
            yield window, resampled(stored, resampler, window)

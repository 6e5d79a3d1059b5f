"""Encoded probabilities of a scene that is being mapped, as its partial results hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Array, UInt8
from geoseg.engine.partials import PartialManifest, open_partial
from geoseg.engine.plan import Plan
from geoseg.errors import OutputError
from geoseg.grid.encoding import resampled, row_pieces
from geoseg.grid.orientation import Orientation
from geoseg.grid.resample import Resampler
from geoseg.grid.window import Window, row_windows
from geoseg.stages import stage

__all__ = ["PartialProbabilities", "needed_partials"]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows ``[first, stop)`` of the model's grid, some or all of their columns, by what they are made of."""

    first: int
    stop: int
    cols: slice
    partials: tuple[str, ...]
    """Name of the partial result that holds them; or of two that share them, the upper one first."""


def _pieces(plan: Plan) -> Iterator[_Piece]:
    """All rows of a scene, from the top."""
    row, above = 0, ""
    for task in plan.tasks:
        first, stop = plan.stitcher.finished_rows(task.rows)
        if first > row and task.cols is None:
            yield _Piece(row, first, slice(None), (above, task.name))
        if stop > first:
            cols = slice(None) if task.cols is None else slice(*plan.stitcher.finished_cols(task.cols))
            yield _Piece(first, stop, cols, (task.name,))
        row, above = max(row, stop), task.name


def needed_partials(plan: Plan, first: int, stop: int) -> list[str]:
    """Names of the partial results that some rows of the model's grid are made of, from the top."""
    wanted = (piece.partials for piece in _pieces(plan) if piece.first < stop and first < piece.stop)
    return list(dict.fromkeys(name for partials in wanted for name in partials))


class PartialProbabilities:
    """Encoded probabilities on the model's grid, or on the scene's, read from partial results row by row."""

    def __init__(self, plan: Plan, manifests: Sequence[PartialManifest]) -> None:
        self._plan = plan
        self._manifests = {manifest.name: manifest for manifest in manifests}
        self._pieces = tuple(_pieces(plan))

    def _open(self, name: str, array: str) -> Array:
        if name not in self._manifests:
            raise OutputError(f"{self._plan.partials_folder}: {name} is not there; run again to compute it")
        return open_partial(self._plan.partials_folder, self._manifests[name], array)

    def rows(self, first: int, stop: int) -> UInt8:
        """Encoded rows of the model's grid: uint8 (bands, stop - first, width)."""
        with stage("read back") as reading:
            rows = self._rows(first, stop)
            reading.count(rows.nbytes)
        return rows

    def _rows(self, first: int, stop: int) -> UInt8:
        encoding = self._plan.encoding
        out = np.empty((encoding.count, stop - first, self._plan.grid.width), np.uint8)
        for piece in self._pieces:
            a, b = max(piece.first, first), min(piece.stop, stop)
            if a >= b:
                continue
            inside, target = (
                slice(a - piece.first, b - piece.first),
                out[:, a - first : b - first, piece.cols],
            )
            if len(piece.partials) > 1:
                upper = self._open(piece.partials[0], "bottom")[:, inside]
                lower = self._open(piece.partials[1], "top")[:, inside]
                for some in row_pieces(target.shape[1:]):
                    target[:, some] = encoding.encode(upper[:, some] + lower[:, some])
            else:
                target[...] = self._open(piece.partials[0], "probabilities")[:, inside]
        return out

    def strips(self, rows: int, between: tuple[int, int] | None = None) -> Iterator[tuple[Window, UInt8]]:
        """Windows of the model's grid over its full width, from the top, and their values.

        ``between``: a first row and the one after the last; None: all.
        """
        first, stop = between or (0, self._plan.grid.height)
        for part in row_windows((stop - first, self._plan.grid.width), rows):
            window = part.shift(first, 0)
            yield window, self.rows(window.row, window.row_stop)

    def scene_strips(self, rows: int) -> Iterator[tuple[Window, UInt8]]:
        """The same of the scene's own grid as it is stored, resampled."""
        scene = Orientation.of(self._plan.scene.stored)
        resampler = Resampler.between(self._plan.grid, scene.grid)
        for window in row_windows(scene.stored.shape, rows):
            read = scene.window(window)
            source = resampler.source_window(read)
            known = self.rows(source.row, source.row_stop)[:, :, source.col : source.col_stop]
            yield window, scene.pixels(resampled(known, resampler, read))

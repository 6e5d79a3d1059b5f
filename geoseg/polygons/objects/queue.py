"""Objects that wait until all that may matter to them is known."""

from __future__ import annotations

import numpy as np

from geoseg.arrays import Float64, Objects
from geoseg.polygons.shapes import Shapes

__all__ = ["Waiting"]


class Waiting:
    """A queue of objects in the order of their last rows, with their contours and directions.

    Objects are taken once, in that order, when all rows that could hold a neighbor have come; they are held
    for a while after that, as neighbors of those behind them.
    """

    def __init__(self) -> None:
        self.shapes = Shapes.none()
        """Objects held, taken ones first."""
        self.contours: Objects = np.zeros(0, np.object_)
        """What each was fitted to."""
        self.direction: Float64 = np.zeros(0)
        """Direction of its walls, radians; NaN: none."""
        self._taken = 0

    def add(self, shapes: Shapes, contours: Objects, direction: Float64) -> None:
        """Put objects behind those that are there; their last rows are not before those'."""
        self.shapes = Shapes.join([self.shapes, shapes])
        self.contours = np.concatenate([self.contours, contours])
        self.direction = np.concatenate([self.direction, direction])

    def take(self, before: int | None) -> slice:
        """Take the objects that end before a row; None: all. Returns where they are."""
        stop = len(self.shapes) if before is None else int(np.searchsorted(self.shapes.last_row, before))
        taken = slice(self._taken, max(stop, self._taken))
        self._taken = taken.stop
        return taken

    def forget(self, before: int) -> None:
        """Let go of taken objects that end before a row."""
        gone = min(int(np.searchsorted(self.shapes.last_row, before)), self._taken)
        self.shapes = self.shapes.choose(np.arange(gone, len(self.shapes)))
        self.contours, self.direction = self.contours[gone:], self.direction[gone:]
        self._taken -= gone

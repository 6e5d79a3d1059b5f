"""The last rows of a scene that was read strip by strip: what an object's window is cut from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.components import NODATA

__all__ = ["RowBuffer"]


class RowBuffer:
    """Holds a fixed number of the latest rows, whatever the strips that they came in.

    Args:
        width: columns of the scene.
        kept: rows to hold; memory is ``kept × width`` bytes.
    """

    def __init__(self, width: int, kept: int) -> None:
        self._ring = np.full((kept, width), NODATA, np.uint8)
        self._end = 0

    def append(self, rows: NDArray[np.uint8]) -> None:
        """Take in the rows below the last one, uint8 (any number, width)."""
        latest = rows[-len(self._ring) :]
        self._end += len(rows)
        self._ring[np.arange(self._end - len(latest), self._end) % len(self._ring)] = latest

    def crop(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        """Pixels of a window, uint8 (bottom - top, right - left); no data beyond the scene's edge.

        Raises:
            IndexError: some of its rows have gone.
        """
        if max(top, 0) < self._end - len(self._ring):
            raise IndexError(f"row {top} has gone: of {self._end} rows the last {len(self._ring)} are held")
        out = np.full((bottom - top, right - left), NODATA, np.uint8)
        a, b = max(top, 0), min(bottom, self._end)
        c, d = max(left, 0), min(right, self._ring.shape[1])
        out[a - top : b - top, c - left : d - left] = self._ring[np.arange(a, b) % len(self._ring), c:d]
        return out

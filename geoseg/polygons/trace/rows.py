"""The last rows of a scene that was read strip by strip: what an object's window is cut from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.grid.encoding import NODATA

__all__ = ["RowBuffer"]


class RowBuffer:
    """Holds a fixed number of the latest rows, whatever the strips that they came in.

    Args:
        width: columns of the scene.
        kept: rows to hold; memory is ``kept × width × layers`` bytes.
        layers: bytes of a pixel.
    """

    def __init__(self, width: int, kept: int, layers: int = 1) -> None:
        self._ring = np.full((kept, layers, width), NODATA, np.uint8)
        self._end = 0

    def append(self, *layers: NDArray[np.uint8]) -> None:
        """Take in the rows below the last one, uint8 (any number, width) of each layer."""
        self._end += len(layers[0])
        latest = min(len(layers[0]), len(self._ring))
        places = np.arange(self._end - latest, self._end) % len(self._ring)
        for layer, rows in enumerate(layers):
            self._ring[places, layer] = rows[-latest:]

    def crop(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        """Pixels of a window, uint8 (layers, bottom - top, right - left); no data beyond the scene's edge.

        Raises:
            IndexError: some of its rows have gone.
        """
        if max(top, 0) < self._end - len(self._ring):
            raise IndexError(f"row {top} has gone: of {self._end} rows the last {len(self._ring)} are held")
        _, layers, width = self._ring.shape
        out = np.full((layers, bottom - top, right - left), NODATA, np.uint8)
        a, b = max(top, 0), min(bottom, self._end)
        c, d = max(left, 0), min(right, width)
        found = self._ring[np.arange(a, b) % len(self._ring), :, c:d]
        out[:, a - top : b - top, c - left : d - left] = found.swapaxes(0, 1)
        return out

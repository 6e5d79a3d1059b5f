"""A reader without file or array: pixels by a function of the place, for tests of what reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.raster.reader import Raster

__all__ = ["MemoryReader"]


@dataclass
class MemoryReader:
    """A :class:`~geoseg.io.raster.reader.Reader` that remembers what was asked of it."""

    grid: GeoBox
    bands: int
    value: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
    """Pixels of rows (height, 1) and columns (1, width), any place: (height, width); NaN: no data."""
    windows: list[Window] = field(default_factory=list)

    def read(self, window: Window) -> Raster:
        self.windows.append(window)
        rows, cols = np.arange(window.row, window.row_stop), np.arange(window.col, window.col_stop)
        plane = np.asarray(self.value(rows[:, None], cols[None, :]), np.float32)
        valid = np.isfinite(plane)
        pixels = np.repeat(np.where(valid, plane, np.float32(0))[None], self.bands, axis=0)
        return Raster(pixels, valid, self.grid[window])

"""Windows of the rasters that a run wrote: bytes, as stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.raster.gdal import GDAL_ERRORS, environment, reason
from geoseg.io.raster.scene import grid_of

__all__ = ["BORDER_TAG", "TOP_BAND", "MapReader"]

BORDER_TAG = "GEOSEG_BORDER"
"""Tag of a probability raster whose last band, of this number, is the border between objects."""

TOP_BAND = "probability of the class"
"""Description of the only band of a raster that holds the mapped class's probability alone."""


class MapReader:
    """Reads windows of a class or probability raster; a context manager.

    Args:
        path: a GeoTIFF of bytes.

    Raises:
        OutputError: the file cannot be read, or holds no bytes.
        SceneError: it has no georeference.
    """

    grid: GeoBox
    """Where its pixels lie."""
    bands: tuple[str, ...]
    """Description of each band; empty where it has none."""
    border: bool
    """Whether the last one is the border between objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.grid = grid_of(path)
        with self._gdal():
            self._source = rasterio.open(path, driver="GTiff")
            self.bands = tuple(text or "" for text in self._source.descriptions)
            self.border = self._source.tags().get(BORDER_TAG) == str(len(self.bands))
        if set(self._source.dtypes) != {"uint8"}:
            self.close()
            raise OutputError(f"{path} holds {self._source.dtypes[0]}, needed uint8; make the scene anew")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """The pixels of a window inside the raster: uint8, shape (bands, height, width).

        Raises:
            OutputError: the pixels cannot be decoded.
        """
        with self._gdal():
            place = RasterWindow(window.col, window.row, window.width, window.height)
            pixels: NDArray[np.uint8] = self._source.read(window=place)
        return pixels

    @contextmanager
    def _gdal(self) -> Iterator[None]:
        with environment("catalog"):
            try:
                yield
            except GDAL_ERRORS as error:
                raise OutputError(
                    f"{self.path} cannot be read back ({reason(error)}); make the scene anew"
                ) from error

"""The rasters that a run wrote, read back: bytes, as stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import rasterio
from rasterio.io import DatasetReader

from geoseg.arrays import UInt8
from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.grid.orientation import Orientation
from geoseg.grid.window import Window, row_windows
from geoseg.io.raster.gdal import raster_window, reading_back
from geoseg.io.raster.scene import grid_of

__all__ = ["BORDER_TAG", "TOP_BAND", "MapReader", "read_strips"]

BORDER_TAG = "GEOSEG_BORDER"
"""Tag of a probability raster whose last band, of this number, is the border between objects."""

TOP_BAND = "probability of the class"
"""Description of the only band of a raster that holds the mapped class's probability alone."""


class MapReader:
    """Reads windows of a class or probability raster (a GeoTIFF of bytes), unmirrored; a context manager.

    Raises:
        OutputError: the file cannot be read, or holds no bytes.
        SceneError: it has no georeference.
    """

    grid: GeoBox
    bands: tuple[str, ...]
    """Description of each band; empty where it has none."""
    border: bool
    """Whether the last one is the border between objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._orientation = Orientation.of(grid_of(path))
        self.grid = self._orientation.grid
        self._source = _open(path)
        with reading_back(path):
            self.bands = tuple(text or "" for text in self._source.descriptions)
            self.border = self._source.tags().get(BORDER_TAG) == str(len(self.bands))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def read(self, window: Window) -> UInt8:
        """The pixels of a window inside the grid: uint8, shape (bands, height, width)."""
        stored = _read(self.path, self._source, None, self._orientation.window(window))
        return self._orientation.pixels(stored)


def read_strips(path: Path, bands: Sequence[int], rows: int) -> Iterator[UInt8]:
    """Stream bands (by number, from 1) of a byte raster from the top, as stored: uint8 (bands, rows, width).

    A strip has so many rows; the last may have fewer.

    Raises:
        OutputError: the file cannot be read, has no such band or holds no bytes.
    """
    with _open(path) as source:
        if max(bands) > source.count:
            raise OutputError(
                f"{path} has {source.count} bands, needed bands {list(bands)}; map the scene again"
            )
        for window in row_windows(source.shape, rows):
            yield _read(path, source, bands, window)


def _open(path: Path) -> DatasetReader:
    with reading_back(path):
        source: DatasetReader = rasterio.open(path, driver="GTiff")
    if set(source.dtypes) != {"uint8"}:
        source.close()
        raise OutputError(f"{path} holds {source.dtypes[0]}, needed uint8; map the scene again")
    return source


def _read(path: Path, source: DatasetReader, bands: Sequence[int] | None, window: Window) -> UInt8:
    with reading_back(path):
        pixels: UInt8 = source.read(None if bands is None else list(bands), window=raster_window(window))
    return pixels

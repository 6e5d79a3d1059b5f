"""Bounds on the memory and disk of a scene.

``tests/engine/test_memory.py`` holds them against real processes.

A worker's memory grows with a scene's width and with its windows, not with its height. Two things that no
plan can know are set to what is beyond any usual map: how ragged the classes are, and how many corners the
largest object has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from geoseg.grid.tiling import TileGrid
from geoseg.io.raster.cog import strip_rows
from geoseg.io.raster.gdal import CACHE_BYTES
from geoseg.models.runtime import Backend
from geoseg.polygons.objects.limits import TALLEST

__all__ = [
    "LIBRARY_BYTES",
    "POLYGON_STRIP",
    "assembly_bytes",
    "cache_bytes",
    "disk_bytes",
    "prediction_bytes",
    "process_bytes",
]

LIBRARY_BYTES: Final[Mapping[Backend, int]] = {
    "torch": 300_000_000,
    "openvino": 230_000_000,
    "onnxruntime": 200_000_000,
}
"""Pages of the backend's and GDAL's files that a worker maps, as far as it touches them. Workers share them
and the kernel may drop them; where a file lies in its cache in large pages, it counts up to 200 MB more."""

_OWN_BYTES: Final[Mapping[Backend, int]] = {
    "torch": 450_000_000,
    "openvino": 215_000_000,
    "onnxruntime": 250_000_000,
}
"""Of a worker before any window: Python, the backend, two GDALs, dask, compiled loops."""

POLYGON_STRIP = 1 << 19
"""Pixels that are traced at a time."""

_POLYGON_BYTES = 400_000_000
"""A strip in which every pixel differs from its neighbors, traced and written (of real imagery: a tenth), or
an object of a million corners (the largest of a city, mapped raggedly, has forty thousand)."""

_OBJECT_BYTES = 7
"""For each pixel of three times the tallest object's rows: objects that wait for their neighbors, and stored
rows. Measured on houses of 5 m in rows of 8 m, at 0.3 m, as 6.2."""

_HEAP = 1.3
"""What glibc's heap takes for windows' copies, once some have come and gone: measured. For a network's own
tensors, see :mod:`geoseg.models.cost.memory`."""

_COPIES = 5
"""Copies of a window's pixels from reading to torch (read, stacked, shifted, scaled, reordered), and of its
logits from there to probabilities (of the network, of the batch, weighted, summed, finished)."""

_AHEAD = 1
"""Copies of the pixels of the window that is read while another is computed."""

_LEAN_COPIES = 3, 1, 3
"""The same beside what other backends hold themselves: of pixels (decoded, mirrored, read), and of logits
where windows are cropped and where they are blended."""

_FLOAT = 4
"""Bytes of a float32."""

_SMALL_FILES = 1_000_000
"""Styles, the item, an empty GeoPackage with its style, headers."""


def process_bytes(backend: Backend) -> int:
    """A worker before any window, in bytes."""
    return _OWN_BYTES[backend] + LIBRARY_BYTES[backend]


def cache_bytes(raster: int) -> int:
    """GDAL's cache while it reads or writes a raster of so many bytes, uncompressed.

    It is larger where the variable ``GDAL_CACHEMAX`` says so.
    """
    return min(CACHE_BYTES, raster)


def prediction_bytes(
    grid: TileGrid,
    *,
    rows: int,
    overlaps: bool,
    batch: int,
    channels: int,
    classes: int,
    stored: int,
    passes: int,
    backend: Backend = "torch",
) -> int:
    """What a task adds to its worker while it predicts, in bytes.

    It reads and stitches ``batch`` windows at a time; ``passes``: what a forward pass takes (see
    :func:`geoseg.models.cost.memory.pass_bytes`). ``overlaps``: whether neighboring windows overlap, so that
    rows wait for those below; ``stored``: bands of the encoded probabilities.
    """
    window = grid.rows.window * grid.cols.window
    copies = _FLOAT * (_COPIES * (channels + classes) + _AHEAD * channels)
    if backend != "torch":
        read, cropped, blended = _LEAN_COPIES
        copies = _FLOAT * ((read + _AHEAD) * channels + (blended if overlaps else cropped) * classes)
    width = grid.cols.length
    # A task's uppermost overlap is kept to its end; the last row's and this one's are there at once.
    overlap = 3 * _FLOAT * classes * 2 * grid.rows.halo * width if overlaps else 0
    finished = stored * min(rows * grid.rows.stride + 2 * grid.rows.halo, grid.rows.length) * width
    return passes + int(window * _HEAP * batch * copies) + overlap + finished


def assembly_bytes(
    width: int,
    height: int,
    bands: int,
    *,
    resampled: bool,
    mode: str | None,
    aligned: bool = False,
    border: bool = False,
) -> int:
    """What a task adds to its worker while it assembles rasters of so many pixels and bands, in bytes.

    ``resampled``: whether they are on another grid than the model's; ``mode`` of the polygons, None: there
    are none; ``aligned``: whether objects wait twice, first for the directions of their neighbors;
    ``border``: whether the borders between objects are known.
    """
    strip = strip_rows(width) * width
    # As read, classified and compared, and GDAL's rows of tiles and of overviews; in float while resampled.
    rasters = strip * (bands * (8 + (_FLOAT if resampled else 0)) + (16 if resampled else 4))
    held = 0
    if mode == "objects":
        held = min(height, (6 if aligned else 3) * TALLEST) * width * _OBJECT_BYTES
        held += border * min(height, 2 * TALLEST) * width  # the rows of the borders wait, too
    return max(rasters, _POLYGON_BYTES + held if mode else 0)


def disk_bytes(grid: TileGrid, overlaps: int, pixels: int, *, classes: int, stored: int, bands: int) -> int:
    """What a scene takes on disk at its fullest, polygons aside, in bytes.

    ``overlaps``: places where two tasks share rows; ``pixels`` of the rasters; ``classes``: channels of the
    logits; ``stored`` and ``bands``: of the encoded probabilities and of their raster.
    """
    shared = 2 * 2 * grid.rows.halo * overlaps
    partials = grid.cols.length * (stored * grid.rows.length + _FLOAT * classes * shared)
    # Of each raster the finished one with its overviews (4/3); of the larger one also the plain one that it
    # is made from, and GDAL's own overviews beside it. As if nothing could be compressed.
    return partials + int(pixels * (4 / 3 * (1 + bands) + 4 / 3 * bands)) + _SMALL_FILES

"""Cloud-optimized GeoTIFFs of bytes: streamed in, overviews built, read back, then put in place."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError
from rasterio.io import DatasetWriter

from geoseg.arrays import UInt8
from geoseg.errors import GridError, OutputError
from geoseg.grid.encoding import NODATA
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.crs import same_crs, written_crs
from geoseg.io.files import output_error, staged
from geoseg.io.raster.gdal import environment, gdal_errors, raster_window, reading_back

__all__ = ["strip_rows", "write_cog"]

BLOCK = 512  # side of a tile, in pixels

_SCRATCH = {
    "dtype": "uint8",
    "tiled": True,
    "interleave": "pixel",
    "bigtiff": "if_safer",
}
"""Of the file that blocks are written to, uncompressed; the COG is made of it."""

_COG = {
    "driver": "COG",
    "BLOCKSIZE": str(BLOCK),
    "COMPRESS": "DEFLATE",
    "LEVEL": "1",  # 6: the file takes twice as long, for 7 % less of probabilities, a third of classes
    "OVERVIEWS": "IGNORE_EXISTING",
    "BIGTIFF": "IF_SAFER",
}

_OVERVIEWS = {"COG_TMP_COMPRESSION": "PACKBITS"}
"""How GDAL keeps overviews until they are in the COG. With its own choice the file takes 1.4 times as long;
with NONE each nearest pixel is picked from the full raster, not from the overview before."""

_OVERHEAD = 1 << 20
"""Bytes of a file that are not pixels, and what GDAL holds back, generously."""

_STRIP_PIXELS = 1 << 22
_Written = list[tuple[Window, int]]
"""What went into a file: each window and the checksum of its pixels, all bands."""


def write_cog(
    path: Path,
    geobox: GeoBox,
    bands: Sequence[str],
    blocks: Iterable[tuple[Window, UInt8]],
    *,
    colormap: Mapping[int, tuple[int, int, int]] | None = None,
    scale: float | None = None,
    overviews: Literal["nearest", "average"] = "nearest",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a COG: Deflate, tiles of 512 px, overviews down to one tile, bands pixel-interleaved, nodata 255.

    The file is read back and compared with what was put in before it gets its name. The same pixels give the
    same bytes with the same GDAL, in whatever blocks and order they came. Memory: a block, a block row of
    tiles, GDAL's cache (128 MB). Disk while writing: about twice the result.

    Args:
        geobox: where the pixels lie; rotated and south-up grids are written as they are.
        blocks: windows that cover every pixel once, in any order, each with uint8 (bands, height, width).
        colormap: value → red, green, blue (0..255) for a file of one band.
        scale: what one step of the stored value is worth; clients show value × scale.
        overviews: ``nearest`` for classes; ``average`` for quantities, pixels without data left out.

    Raises:
        OutputError: the disk is full or read-only, the CRS cannot be stored, or other pixels read back.
        GridError: the blocks do not cover the grid once, or have another shape or type.
    """
    profile = _profile(path, geobox, len(bands), palette=bool(colormap))
    needed = _OVERHEAD + 3 * len(bands) * geobox.height * geobox.width  # if nothing compresses
    written: _Written = []
    with staged(path, verify=lambda temporary: _verify(temporary, path, geobox, bands, written)) as temporary:
        scratch = temporary.with_name(f"{temporary.stem}.scratch.tif")
        with _writing(path, needed):
            target = rasterio.open(scratch, "w", **profile)
        try:
            with _writing(path, needed):
                _set_metadata(target, bands, colormap, scale, tags)
            for window, pixels in blocks:
                _check_block(geobox, len(bands), window, pixels)
                with _writing(path, needed):
                    target.write(pixels, window=raster_window(window))
                written.append((window, _checksum(pixels)))
        finally:
            with _writing(path, needed):
                target.close()
        _check_cover(geobox, [window for window, _ in written])
        # Neighboring probabilities differ little, classes do not.
        predictor = "NO" if colormap else "STANDARD"
        with _writing(path, needed, **_OVERVIEWS):
            rasterio.shutil.copy(
                scratch, temporary, **_COG, PREDICTOR=predictor, OVERVIEW_RESAMPLING=overviews.upper()
            )
        scratch.unlink()


def _profile(path: Path, geobox: GeoBox, count: int, *, palette: bool) -> dict[str, Any]:
    if _is_lost(geobox.transform):
        raise OutputError(
            f"{path}: a GeoTIFF cannot hold a transform that counts pixels; georeference the scene"
        )
    return {
        "driver": "GTiff",
        "height": geobox.height,
        "width": geobox.width,
        "count": count,
        "crs": _raster_crs(geobox.crs),
        "transform": geobox.transform,
        "nodata": NODATA,
        "photometric": "palette" if palette else "minisblack",
        **_SCRATCH,
        # A tile is written whole: of a small raster it is no larger than that.
        "blockxsize": min(BLOCK, -(-geobox.width // 16) * 16),
        "blockysize": min(BLOCK, -(-geobox.height // 16) * 16),
    }


def _set_metadata(
    target: DatasetWriter,
    bands: Sequence[str],
    colormap: Mapping[int, tuple[int, int, int]] | None,
    scale: float | None,
    tags: Mapping[str, str] | None,
) -> None:
    target.descriptions = tuple(bands)
    if colormap:
        target.write_colormap(1, {value: (*rgb, 255) for value, rgb in colormap.items()})
    else:
        target.colorinterp = (ColorInterp.gray, *[ColorInterp.undefined] * (len(bands) - 1))
    if scale is not None:
        target.scales = (scale,) * len(bands)
    target.update_tags(**(tags or {}))


def strip_rows(width: int) -> int:
    """Rows of a strip of about 4 million pixels; whole tiles where the scene is narrow enough."""
    rows = max(1, _STRIP_PIXELS // width)
    return rows // BLOCK * BLOCK if rows >= BLOCK else rows


@contextmanager
def _writing(path: Path, needed: int, **options: str) -> Iterator[None]:
    """Settings and errors of GDAL for writing, while the disk still shows why; see :func:`reading_back`."""
    with environment("catalog", **options), gdal_errors(lambda error: output_error(path, error, needed)):
        yield


def _raster_crs(text: str) -> CRS:
    text = written_crs(text)
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise OutputError(
            f"the CRS {text[:60]!r} is unknown to GDAL: {error}; give the scene another one"
        ) from error


def _same_transform(found: Affine, geobox: GeoBox) -> bool:
    """Whether each corner is where it should be, within a millionth of a pixel."""
    back = ~geobox.transform @ found
    moves = [abs(a - b) for end in geobox.pixel_corners for a, b in zip(back @ end, end, strict=True)]
    return not _is_lost(found) and max(moves) < 1e-6  # noqa: PLR2004 - a millionth of a pixel


def _is_lost(transform: Affine) -> bool:
    """Whether a transform is what GDAL takes for none and does not store: pixels, rows up or down."""
    return tuple(transform[:6]) in {(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0)}


def _checksum(pixels: UInt8) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _check_block(geobox: GeoBox, bands: int, window: Window, pixels: UInt8) -> None:
    if not geobox.window.contains(window):
        raise GridError(f"{window} reaches past the grid of {geobox.height}×{geobox.width} pixels")
    if pixels.shape != (bands, *window.shape) or pixels.dtype != np.uint8:
        raise GridError(
            f"the block of {window} is {pixels.dtype} of shape {pixels.shape}, needed uint8 of "
            f"{(bands, *window.shape)}"
        )


def _check_cover(geobox: GeoBox, windows: list[Window]) -> None:
    """Every pixel once: counted on the grid that all the windows' edges draw."""
    rows = np.unique([0, geobox.height, *(edge for w in windows for edge in (w.row, w.row_stop))])
    cols = np.unique([0, geobox.width, *(edge for w in windows for edge in (w.col, w.col_stop))])
    times = np.zeros((rows.size - 1, cols.size - 1), np.int32)
    for window in windows:
        top, bottom = np.searchsorted(rows, (window.row, window.row_stop))
        left, right = np.searchsorted(cols, (window.col, window.col_stop))
        times[top:bottom, left:right] += 1
    wrong = np.argwhere(times != 1)
    if wrong.size:
        row, col = wrong[0]
        raise GridError(
            f"the blocks must cover each pixel once; pixel (row {rows[row]}, column {cols[col]}) is covered "
            f"{times[row, col]} times"
        )


def _verify(temporary: Path, path: Path, geobox: GeoBox, bands: Sequence[str], written: _Written) -> None:
    """Read the file back, overviews too, and compare it with what was put in."""
    with reading_back(temporary, path):
        with rasterio.open(temporary, driver="GTiff") as source:
            _check_header(source, path, geobox, bands)
            for window, checksum in written:
                if _checksum(source.read(window=raster_window(window))) != checksum:
                    raise OutputError(
                        f"{path} reads back with other pixels in {window}; check the disk and run again"
                    )
            levels = len(source.overviews(1))
        for level in range(levels):
            with rasterio.open(temporary, driver="GTiff", overview_level=level) as overview:
                for row in range(0, overview.height, BLOCK):
                    rows = min(BLOCK, overview.height - row)
                    overview.read(window=raster_window(Window(row, 0, rows, overview.width)))


def _check_header(source: Any, path: Path, geobox: GeoBox, bands: Sequence[str]) -> None:
    found = (source.height, source.width, source.count, source.dtypes[0])
    needed = (geobox.height, geobox.width, len(bands), "uint8")
    if found != needed:
        raise OutputError(f"{path} reads back as {found}, needed {needed}; run again")
    if not same_crs(source.crs.to_wkt() if source.crs else None, geobox):
        raise OutputError(
            f"{path} reads back with the CRS {str(source.crs)[:60]!r}: a GeoTIFF cannot hold "
            f"{geobox.crs[:60]!r}; give the scene another CRS"
        )
    if not _same_transform(source.transform, geobox):
        raise OutputError(
            f"{path} reads back with the transform {tuple(source.transform[:6])}, needed "
            f"{tuple(geobox.transform[:6])}; a GeoTIFF cannot hold this one, georeference the scene"
        )

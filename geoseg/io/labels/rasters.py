"""A raster of labels, seen through the pixels of another grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geoseg.arrays import Array, Bool, UInt8
from geoseg.errors import GridError, LabelError, SceneError, without_scene
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.pixel_map import PixelMap
from geoseg.grid.window import Window
from geoseg.io.crs import crs_of, datum_gap
from geoseg.io.raster.gdal import PNG_SIGNATURE, environment, gdal_errors, raster_window, reason
from geoseg.io.raster.scene import grid_of

__all__ = ["LabelRaster", "holds_mask", "label_grid", "lies_on_scene"]


_CLASSES = (
    'geoseg:classes {"255": 1} in the catalog, --value 255=1 beside --reference, data.classes in a training'
)
_BLOCK_PIXELS = 1 << 22
"""Source pixels of one block of the gather (about 4 million): what bounds its memory."""


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A GeoTIFF or PNG by itself: no side files, no other driver."""
    with (
        gdal_errors(lambda error: LabelError(f"labels {path}: cannot be read ({reason(error)})")),
        warnings.catch_warnings(),
        environment("catalog"),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a PNG is placed by its scene
        with path.open("rb") as file:
            driver = "PNG" if file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE else "GTiff"
        with rasterio.open(path, driver=driver) as source:
            yield source


def _has_alpha(source: Any) -> bool:
    """Whether an open raster has one band and its alpha."""
    return bool(source.count == 2 and source.colorinterp[1] == ColorInterp.alpha)  # noqa: PLR2004 - bands


def label_grid(path: Path) -> GeoBox | None:
    """The grid of a label raster; None: a picture without a place, which is laid on its scene.

    Raises:
        LabelError: it cannot be read, or has no grid that can be used.
    """
    if lies_on_scene(path):
        return None
    try:
        return grid_of(path)
    except SceneError as error:
        raise LabelError(f"labels {without_scene(str(error), path.stem)}") from error


def lies_on_scene(path: Path) -> bool:
    """Whether a raster has no georeferencing of its own, and is laid on its scene pixel by pixel."""
    with _open(path) as source:
        return not source.crs


def holds_mask(path: Path) -> bool:
    """Whether a raster of bytes holds 0 and 255 alone, 255 being no nodata value: a mask, no class ids.

    Its first four million pixels are looked at.
    """
    with _open(path) as source:
        if source.dtypes[0] != "uint8" or source.nodata == IGNORE:
            return False
        rows = min(source.height, max(1, _BLOCK_PIXELS // source.width))
        found = np.unique(source.read(1, window=raster_window(Window(0, 0, rows, source.width))))
    return bool(np.array_equal(found, [0, IGNORE]))


@dataclass(frozen=True, slots=True)
class LabelRaster:
    """A raster of class ids or mask values and where it lies; nothing stays open."""

    path: Path
    grid: GeoBox
    """Where its pixels lie: its own georeferencing, or the scene's where it has none."""
    classes: tuple[tuple[float, int], ...]

    @classmethod
    def open(cls, path: Path, classes: tuple[tuple[float, int], ...], scene_grid: GeoBox) -> LabelRaster:
        """Look at a raster's header.

        Args:
            classes: value → class id (0..254, or 255: not labeled); empty: values are ids.
            scene_grid: the scene's own pixels, which a raster without CRS is laid on.

        Raises:
            LabelError: unreadable, several bands, no numbers, a nodata value that is a class, in a CRS that
                has no place on the globe, or without CRS and of another shape.
        """
        for value, index in classes:
            if not 0 <= index <= IGNORE:
                raise LabelError(
                    f"labels {path}: {value:g} is to become class {index}, needed 0 to 254 (255: none)"
                )
        with _open(path) as source:
            if source.count != 1 and not _has_alpha(source):
                raise LabelError(
                    f"labels {path}: has {source.count} bands, needed one band of class ids (and an "
                    "alpha band, if any): extract it with gdal_translate -b 1"
                )
            if np.dtype(source.dtypes[0]).kind not in "iuf":
                raise LabelError(f"labels {path}: holds {source.dtypes[0]}, needed whole numbers")
            _check_nodata(path, source.nodata, classes)
            if source.crs:
                try:
                    crs = crs_of(
                        source.crs,
                        lambda fault: LabelError(
                            f"labels {path}: {fault}: assign the right CRS with gdal_edit.py -a_srs EPSG:n"
                        ),
                    )
                    grid = GeoBox(source.height, source.width, source.transform, crs)
                except (GridError, CRSError) as error:
                    raise LabelError(f"labels {path}: {error}") from error
                gap = datum_gap(crs, scene_grid)
                if gap is not None:
                    raise LabelError(f"labels {path}: {gap} with gdal_edit.py -a_srs EPSG:n")
            elif source.shape == scene_grid.shape:
                grid = scene_grid
            else:
                raise LabelError(
                    f"labels {path}: have no CRS and are {source.shape[0]}×{source.shape[1]} pixels, so they "
                    f"cannot lie on the scene of {scene_grid.height}×{scene_grid.width}; georeference them"
                )
        return cls(path, grid, classes)

    def read(self, grid: GeoBox, window: Window) -> UInt8:
        """Class ids at the centers of a window of any grid: the source pixel that holds each center.

        Uint8, shape (height, width) of the window; 255 outside the raster, at its nodata, where its alpha
        band is 0, and where a value maps to it.

        Raises:
            LabelError: unreadable pixels, or values that are no class ids and not in ``classes``.
        """
        out = np.full(window.shape, IGNORE, np.uint8)
        pixels = PixelMap.between(grid, self.grid)
        with _open(self.path) as source:
            for block in _blocks(window, pixels.magnification):
                rows, cols, inside = pixels.source_pixels(block)
                if not inside.any():
                    continue
                r0, c0 = int(rows[inside].min()), int(cols[inside].min())
                extent = ((r0, int(rows[inside].max()) + 1), (c0, int(cols[inside].max()) + 1))
                values = source.read(1, window=extent)
                valid = source.read_masks(1, window=extent) != 0
                opaque = source.read(2, window=extent) != 0 if _has_alpha(source) else np.True_
                ids = self._to_ids(values, valid & opaque)
                ids[~np.broadcast_to(opaque, ids.shape)] = IGNORE  # whatever value is named
                out[block.relative_to(window).slices][inside] = ids[rows[inside] - r0, cols[inside] - c0]
        return out

    def _to_ids(self, values: Array, valid: Bool) -> UInt8:
        ids = np.full(values.shape, IGNORE, np.uint8)
        known = ~valid | ~np.isfinite(values)
        if self.classes:
            # A value that is named counts, even where the file calls it nodata; zero is class 0 unless named.
            for value, index in ((0.0, 0), *self.classes):
                chosen = (values == value) & (valid | any(value == named for named, _ in self.classes))
                ids[chosen] = index
                known |= chosen
            advice = f"name their classes too (255: not labeled): {_CLASSES}"
        else:
            chosen = ~known & (values >= 0) & (values < IGNORE) & (values == np.floor(values))
            ids[chosen] = values[chosen].astype(np.uint8)
            known |= chosen
            advice = f"say what each stands for: {_CLASSES}"
        if not known.all():
            strange = ", ".join(f"{value:g}" for value in np.unique(values[~known])[:5])
            raise LabelError(
                f"labels {self.path}: hold the values {strange}, which are no class ids; {advice}"
            )
        return ids


def _check_nodata(path: Path, nodata: float | None, classes: tuple[tuple[float, int], ...]) -> None:
    """Refuse a nodata value that is also a class: leaving out the background would flatter every score.

    Ids 0 and 1 are classes of every model. Where values are named, 0 alone counts unnamed: as class 0, unless
    another value stands for that.
    """
    if nodata is None or nodata not in (0, 1) or any(value == nodata for value, _ in classes):
        return
    if classes and (nodata == 1 or any(index == 0 for _, index in classes)):
        return
    number = int(nodata)
    named = [(number, IGNORE), *(classes or [(1 - number, 1 - number)])]
    catalog = ", ".join(f'"{value:g}": {index}' for value, index in named)
    options = " ".join(f"--value {value:g}={index}" for value, index in named)
    raise LabelError(
        f"labels {path}: declare {number} as nodata, and {number} is also a class of the model"
        f"{' (mostly the background)' if number == 0 else ''}; if it is the class, remove the tag with "
        "gdal_edit.py -unsetnodata; if it means not labeled, name all values, this one without a class: "
        f"geoseg:classes {{{catalog}}} in the catalog, {options} beside --reference, data.classes with "
        f"{{{number}: null}} in a training"
    )


def _blocks(window: Window, magnification: float) -> Iterator[Window]:
    """The window in squares whose source pixels are bounded."""
    side = int(min(1024, max(8, (_BLOCK_PIXELS / magnification) ** 0.5)))
    for row in range(window.row, window.row_stop, side):
        for col in range(window.col, window.col_stop, side):
            yield Window(row, col, min(side, window.row_stop - row), min(side, window.col_stop - col))

"""Rasters as tests need them: a GeoTIFF of given pixels, and how they are cut into strips."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from geoseg.arrays import UInt8
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.trace.regions import Strip

__all__ = ["CRS", "TRANSFORM", "cut_scene", "cut_strips", "write_raster"]

CRS = "EPSG:26914"
TRANSFORM = Affine(0.3, 0, 621_000, 0, -0.3, 3_350_000)


def write_raster(
    path: Path,
    pixels: NDArray[Any],
    grid: GeoBox | None = None,
    *,
    crs: str | None = CRS,
    transform: Affine | None = TRANSFORM,
    mask: NDArray[np.bool_] | None = None,
    names: Sequence[str] = (),
    scale: float | None = None,
    interpretation: Sequence[ColorInterp] | None = None,
    colors: Mapping[int, tuple[int, ...]] | None = None,
    tags: Mapping[str, str] | None = None,
    **profile: Any,
) -> Path:
    """Write a raster of one band (2-D pixels) or several (3-D): a GeoTIFF, or a bare ``.png``.

    The grid says where, or ``crs`` and ``transform``; None leaves them out. The mask is internal, True where
    there is data; the scale holds for all bands, the colors are the first band's table.
    """
    bands = pixels if pixels.ndim == 3 else pixels[None]
    place = {"crs": grid.crs, "transform": grid.transform} if grid else {"crs": crs, "transform": transform}
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    given = {"driver": "GTiff", **shape, **place} | profile
    given |= {"driver": "PNG", "crs": None, "transform": None} if path.suffix == ".png" else {}
    given = {key: value for key, value in given.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), warnings.catch_warnings():
        if "transform" not in given:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # made to have no place
        with rasterio.open(path, "w", **given) as out:
            if interpretation is not None:
                out.colorinterp = interpretation
            out.write(bands)
            out.update_tags(**tags or {})
            for band, name in enumerate(names, start=1):
                out.set_band_description(band, name)
            if scale is not None:
                out.scales = (scale,) * len(bands)
            if colors is not None:
                out.write_colormap(1, colors)
            if mask is not None:
                out.write_mask(mask)
    return path


def cut_strips(heights: Sequence[int], *arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Arrays (..., rows, columns) cut into strips of these heights, over and over."""
    start = 0
    for height in cycle(heights):
        if start >= arrays[0].shape[-2]:
            return
        yield tuple(array[..., start : start + height, :] for array in arrays)
        start += height


def cut_scene(scene: tuple[UInt8, UInt8], heights: Sequence[int]) -> Iterator[Strip]:
    """Classes and stored scores of all bands, cut into strips of these heights, over and over."""
    classes, scores = scene
    own = np.take_along_axis(scores, np.minimum(classes, len(scores) - 1)[None], axis=0)[0]
    return (Strip(*strip) for strip in cut_strips(heights, classes, own, scores))

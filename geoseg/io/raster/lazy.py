"""Maps as lazy xarray grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import rioxarray
import xarray as xr

from geoseg.arrays import UInt8
from geoseg.io.raster.gdal import reading_back

__all__ = ["colors_of", "open_map"]


def open_map(path: Path, *, masked: bool) -> xr.DataArray:
    """Open a raster that geoseg wrote, without reading its pixels.

    Args:
        path: GeoTIFF.
        masked: give values as float32 in physical units (stored × scale), NaN where there is no data; else
            the stored values.

    Returns:
        Dimensions (band, y, x), dask-backed in the blocks of the file, with CRS and transform.
    """
    with reading_back(path):
        opened = rioxarray.open_rasterio(path, chunks={}, masked=masked, mask_and_scale=masked, lock=False)
    assert isinstance(opened, xr.DataArray), "a single raster is a single array"
    return opened


def colors_of(classes: xr.DataArray) -> UInt8:
    """The color table of the file that an array of class ids was opened from: uint8 (256, 4), RGBA."""
    colors = np.zeros((256, 4), np.uint8)
    source = Path(classes.encoding["source"])
    with reading_back(source), rasterio.open(source) as dataset:
        for value, color in dataset.colormap(1).items():
            colors[value] = color
    return colors

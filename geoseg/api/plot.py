"""A map drawn with matplotlib: classes below, outlines of the polygons above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.grid.encoding import NODATA
from geoseg.io.raster.data_array import colors_of

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["draw_map"]

_LARGEST = 1600
"""Pixels of the longer side that are drawn: more are not seen."""


def draw_map(classes: xr.DataArray, polygons: gpd.GeoDataFrame | None, title: str, ax: Axes | None) -> Axes:
    """Draw class ids in their colors and the outlines of polygons, in map units.

    Args:
        classes: uint8 (y, x) with the path of its file in ``encoding["source"]``; 255 is left out.
        polygons: in the same CRS; None: none.
        title: above the map.
        ax: where to draw; None: a new figure.
    """
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "drawing a map needs matplotlib: pip install 'geoseg[notebook]'", name="matplotlib"
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 8))
    step = max(1, max(classes.shape) // _LARGEST)
    drawn = classes[::step, ::step].compute()
    image = colors_of(classes)[drawn.to_numpy()]
    image[..., 3] = np.where(drawn.to_numpy() == NODATA, 0, 255)
    left, bottom, right, top = classes.rio.bounds()
    ax.imshow(image, extent=(left, right, bottom, top), interpolation="nearest")
    if polygons is not None and len(polygons):
        polygons.boundary.plot(ax=ax, color="black", linewidth=0.7)
    ax.set(title=title, xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax

"""A map drawn with matplotlib: classes below, outlines of the polygons above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.arrays import UInt8
from geoseg.grid.encoding import NODATA

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["draw_map"]

_LARGEST = 1600
"""Pixels of the longer side that are drawn: more are not seen."""


def draw_map(
    classes: xr.DataArray, colors: UInt8, polygons: gpd.GeoDataFrame | None, title: str, ax: Axes | None
) -> Axes:
    """Draw class ids in their colors and the outlines of polygons, in map units.

    Args:
        classes: uint8 (y, x) with a transform, turned or not; 255 is left out.
        colors: uint8 (256, 4), RGBA of each id.
        polygons: in the same CRS; None: none.
        title: above the map.
        ax: where to draw; None: a new figure.
    """
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra
        from matplotlib.transforms import Affine2D  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "drawing a map needs matplotlib: pip install 'geoseg[notebook]'", name="matplotlib"
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 8))
    step = max(1, max(classes.shape) // _LARGEST)
    drawn = classes[::step, ::step].compute()
    image = colors[drawn.to_numpy()]
    image[..., 3] = np.where(drawn.to_numpy() == NODATA, 0, 255)
    transform, (height, width) = classes.rio.transform(), classes.shape
    shown = ax.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
    to_map = (transform.a, transform.d, transform.b, transform.e, transform.c, transform.f)
    shown.set_transform(Affine2D.from_values(*to_map) + ax.transData)
    x, y = np.transpose([transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))])
    if polygons is not None and len(polygons):
        polygons.boundary.plot(ax=ax, color="black", linewidth=0.7)
    ax.set(title=title, xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    ax.ticklabel_format(useOffset=False, style="plain")
    return ax

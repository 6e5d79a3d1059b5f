"""Vector layers as tests need them, and polygons as pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer

from geoseg.arrays import Objects
from geoseg.grid.encoding import NODATA
from support.rasters import CRS

__all__ = ["burned", "geoms", "write_layer"]

IDENTITY = Affine.identity()


def geoms(*shapes: shapely.Geometry | None) -> Objects:
    """Geometries in an array of objects."""
    out = np.empty(len(shapes), np.object_)
    out[:] = shapes
    return out


def write_layer(
    path: Path,
    shapes: Iterable[shapely.Geometry],
    crs: str | None = CRS,
    layer: str | None = None,
    *,
    to_crs: str | None = None,
    driver: str | None = None,
    **attributes: ArrayLike,
) -> Path:
    """Write a layer beside those of the file, by default of the file's name; attributes are its fields."""
    geometry = geoms(*shapes)
    if crs is not None and to_crs is not None:
        project = Transformer.from_crs(crs, to_crs, always_xy=True).transform
        geometry = shapely.transform(geometry, lambda xy: np.column_stack(project(*xy.T)))
    values = [np.asarray(column) for column in attributes.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    pyogrio.raw.write(
        path,
        geometry=np.array(shapely.to_wkb(geometry), object),
        field_data=[column.astype(object) if column.dtype.kind == "U" else column for column in values],
        fields=list(attributes),
        layer=layer or path.stem,
        driver=driver,
        geometry_type="Unknown",
        crs=to_crs or crs,
        append=path.exists(),
    )
    return path


def burned(
    polygons: NDArray[Any],
    values: NDArray[Any],
    shape: tuple[int, ...],
    transform: Affine = IDENTITY,
    *,
    finer: int = 1,
    fill: int = NODATA,
) -> NDArray[np.int32]:
    """Values of the polygons that cover the centers of pixels, or of parts of pixels; elsewhere ``fill``."""
    pairs = list(zip(polygons, values.tolist(), strict=True))
    if not pairs:
        return np.full(shape, fill, np.int32)
    out: NDArray[np.int32] = rasterio.features.rasterize(
        pairs, shape, fill=fill, transform=transform @ Affine.scale(1 / finer), dtype="int32"
    )
    return out

"""Layers and features as GeoDataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import geopandas as gpd
import pandas as pd

from geoseg.errors import OutputError
from geoseg.io.ogr import DataLayerError, DataSourceError
from geoseg.io.vector import geoparquet
from geoseg.io.vector.arrow import import_arrow
from geoseg.io.vector.features import Features, Table, joined

__all__ = ["frame_of", "read_frame"]

_PANDAS: Mapping[str, str] = {"text": "str", "integer": "int64", "real": "float64", "boolean": "bool"}
"""Kind of a field → dtype of its column."""


def frame_of(batches: Iterable[Features], table: Table) -> gpd.GeoDataFrame:
    """Features in the table's CRS, in memory, with the columns that a layer of this table has in a file."""
    held = joined([*batches] or [table.nothing()], list(table.schema))
    columns = {
        field: pd.Series(held.attributes[field], dtype=_PANDAS[kind]) for field, kind in table.schema.items()
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(held.geometry, crs=table.geobox.crs))


def read_frame(path: Path, layer: str) -> gpd.GeoDataFrame:
    """Read a layer that geoseg wrote, with its CRS.

    Raises:
        OutputError: the file is absent or damaged or lacks the layer, or GeoParquet without pyarrow.
    """
    try:
        if path.suffix == geoparquet.SUFFIX:
            import_arrow()
            return gpd.read_parquet(path)
        return gpd.read_file(path, layer=layer if path.suffix == ".gpkg" else None, engine="pyogrio")
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); run the workflow again") from error

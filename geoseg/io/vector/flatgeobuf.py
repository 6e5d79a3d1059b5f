"""FlatGeobuf with its spatial index.

The format cannot be appended to: its index stands before the features. GDAL sorts a stream of features by
their boxes on disk, so a layer is gathered in a GeoPackage first and then streamed, without a copy of it in
memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyogrio.raw
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.io.crs import written_crs
from geoseg.io.files import output_error
from geoseg.io.vector.features import Table

__all__ = ["SUFFIX", "convert"]

SUFFIX: Final = ".fgb"
_ROWS: Final = 1 << 14
"""Features that are held in memory at once."""


def convert(source: Path, temporary: Path, path: Path, table: Table, description: str) -> None:
    """Stream a GeoPackage's layer into a FlatGeobuf.

    Args:
        source: the GeoPackage.
        temporary: where to write.
        path: the final name, which errors speak of.
        table: the layer.
        description: what the layer is, for people.

    Raises:
        OutputError: the disk is full or read-only.
    """
    try:
        with pyogrio.raw.open_arrow(source, layer=table.layer, use_pyarrow=False, batch_size=_ROWS) as (
            about,
            stream,
        ):
            pyogrio.raw.write_arrow(
                stream,
                temporary,
                driver="FlatGeobuf",
                layer=table.layer,
                geometry_type="Polygon",
                geometry_name=about["geometry_name"],
                crs=written_crs(table.geobox.crs),
                layer_options={"SPATIAL_INDEX": "YES", "DESCRIPTION": description},
            )
    except (DataSourceError, DataLayerError) as error:
        # The features, and once more while they are sorted.
        raise output_error(path, error, 2 * source.stat().st_size) from error

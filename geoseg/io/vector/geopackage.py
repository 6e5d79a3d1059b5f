"""GeoPackage 1.2, which QGIS and GDAL of many years read without a warning; and FlatGeobuf made of one.

Everything is written to a temporary file; ``path`` is its final name, which errors speak of. Every function
raises an OutputError where the disk is full or read-only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import shapely

from geoseg.errors import OutputError
from geoseg.io.crs import written_crs
from geoseg.io.files import output_error
from geoseg.io.ogr import DataLayerError, DataSourceError, pyogrio
from geoseg.io.vector.features import Features, LayerStyle, Table

__all__ = ["append", "check_database", "create", "style", "to_flatgeobuf"]

_OVERHEAD: Final = 1 << 20
"""Bytes of a database without features, and what SQLite holds back, generously."""
_STREAMED: Final = 1 << 14
"""Features that are held in memory at once on the way to a FlatGeobuf."""
_GEOMETRY: Final = "geom"
_SQLITE: Final = b"SQLite format 3\0"
"""How every database begins."""
_USER_VERSION: Final = 10_200
"""GeoPackage 1.2, as the database's header says it, at byte 60."""

# As QGIS itself makes it: the two empty texts, the exact names and update_time are all needed for the style
# to load.
_STYLES_TABLE = """
CREATE TABLE "layer_styles" (
  "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  "f_table_catalog" TEXT(256), "f_table_schema" TEXT(256), "f_table_name" TEXT(256),
  "f_geometry_column" TEXT(256), "styleName" TEXT(30), "styleQML" TEXT, "styleSLD" TEXT,
  "useAsDefault" BOOLEAN, "description" TEXT, "owner" TEXT(30), "ui" TEXT(30),
  "update_time" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
_REGISTER_STYLES = """
INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)
VALUES ('layer_styles', 'attributes', 'layer_styles', 'QGIS layer styles', 0)
"""
_ADD_STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,
  styleName, styleQML, styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '')
"""


def create(temporary: Path, path: Path, table: Table, description: str) -> None:
    """Add a layer without features, with a description for people; the first one makes the file."""
    first = not temporary.exists()
    _write(
        temporary,
        path,
        table,
        table.nothing(),
        **({"dataset_options": {"VERSION": "1.2"}} if first else {}),
        layer_options={"GEOMETRY_NAME": _GEOMETRY, "DESCRIPTION": description},
    )
    # On a full disk GDAL may report success and leave half a database, whose opening would fail oddly.
    with temporary.open("rb") as file:
        header = file.read(100)
    if not header.startswith(_SQLITE) or int.from_bytes(header[60:64], "big") != _USER_VERSION:
        raise output_error(path, OSError("GDAL left half a database"), _OVERHEAD)


def append(temporary: Path, path: Path, table: Table, groups: Iterable[Features]) -> int:
    """Append features to a layer that is there; returns how many."""
    count = 0
    for group in groups:
        _write(temporary, path, table, group, append=True)
        count += group.geometry.size
    return count


def _write(temporary: Path, path: Path, table: Table, batch: Features, **options: Any) -> None:
    columns = table.columns(batch, path)
    geometry = shapely.to_wkb(batch.geometry)
    try:
        pyogrio.raw.write(
            temporary,
            geometry=geometry,
            field_data=columns,
            fields=list(table.schema),
            layer=table.layer,
            driver="GPKG",
            geometry_type="Polygon",
            crs=written_crs(table.geobox.crs),
            promote_to_multi=False,
            **options,
        )
    except (DataSourceError, DataLayerError) as error:
        # The pages, the journal that undoes them, the index: SQLite has given them back by now.
        needed = _OVERHEAD + 3 * sum(map(len, geometry)) + 1000 * len(geometry)
        raise output_error(path, error, needed) from error


def style(temporary: Path, path: Path, styles: Sequence[tuple[str, LayerStyle]]) -> None:
    """Store the styles of layers, as (layer, style), so that QGIS applies them."""
    rows = [(layer, _GEOMETRY, one.name, one.qml, one.description) for layer, one in styles]
    try:
        with closing(sqlite3.connect(temporary)) as database, database:
            database.execute(_STYLES_TABLE)
            database.execute(_REGISTER_STYLES)
            database.executemany(_ADD_STYLE, rows)
    except sqlite3.Error as error:
        raise output_error(path, error, _OVERHEAD) from error


def check_database(temporary: Path, path: Path, counts: dict[str, int], styles: int) -> None:
    """Look at every page of the database, the counts of its tables and of their indexes.

    ``counts``: layer → features; ``styles``: number of styles. What is damaged or absent is an OutputError.
    """
    tables = [*counts, *(f"rtree_{layer}_{_GEOMETRY}" for layer in counts), *["layer_styles"] * (styles > 0)]
    expected = [*counts.values(), *counts.values(), *[styles] * (styles > 0)]
    place = f"{temporary.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True)) as database:
            (healthy,) = database.execute("PRAGMA quick_check(1)").fetchone()
            found = [
                database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 layers' names are checked
                for table in tables
            ]
    except sqlite3.Error as error:
        raise output_error(path, error, _OVERHEAD) from error
    if healthy != "ok":
        raise OutputError(f"{path} reads back damaged ({healthy}); check the disk and run again")
    if found != expected:
        raise OutputError(f"{path} reads back with {found} rows, needed {expected}; run again")


def to_flatgeobuf(source: Path, temporary: Path, path: Path, table: Table, description: str) -> None:
    """Stream a GeoPackage's layer into a FlatGeobuf with its spatial index.

    That format cannot be appended to: its index stands before the features. GDAL sorts a stream of features
    by their boxes on disk, so no copy of the layer is in memory.
    """
    try:
        with pyogrio.raw.open_arrow(source, layer=table.layer, use_pyarrow=False, batch_size=_STREAMED) as (
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

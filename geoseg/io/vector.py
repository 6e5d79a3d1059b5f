"""GeoPackage layers: written in batches, styled, checked, then put in place."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import same_crs, written_crs
from geoseg.io.files import output_error, staged

__all__ = ["Features", "LayerStyle", "write_features"]

_DTYPES: Final[Mapping[str, Any]] = {
    "text": np.object_,
    "integer": np.int64,
    "real": np.float64,
    "boolean": np.bool_,
}
_GEOMETRY = "geom"
_APPENDED = 1 << 14
"""Features of one append, at least."""
_SQLITE = b"SQLite format 3\0"
"""How every database begins."""
_USER_VERSION = 10_200
"""GeoPackage 1.2, as the database's header says it, at byte 60."""
_OVERHEAD = 1 << 20
"""Bytes of a database without features, and what SQLite holds back, generously."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_RESERVED = re.compile(
    r"(gpkg|sqlite|rtree)_.*|layer_styles|qgis_projects|fid|ogc_fid|rowid|oid|geom", re.IGNORECASE
)
"""Names with a meaning for SQLite, GeoPackage or QGIS; as a layer or column they are refused or swallowed."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A batch of features."""

    geometry: NDArray[np.object_]
    """Shapely Polygons in the layer's CRS, x (easting or longitude) first, shape (n,)."""
    attributes: Mapping[str, NDArray[Any]]
    """Field → values, each of shape (n,)."""


@dataclass(frozen=True, slots=True)
class LayerStyle:
    """A style that QGIS applies when it opens the layer."""

    qml: str
    """The style, as :mod:`geoseg.io.style` writes it."""
    name: str = "geoseg"
    """Its name in QGIS's list, at most 30 characters."""
    description: str = "default style of geoseg"
    """Its description there."""


def write_features(
    path: Path,
    layer: str,
    batches: Iterable[Features],
    *,
    geobox: GeoBox,
    schema: Mapping[str, str],
    style: LayerStyle | None = None,
    description: str = "",
) -> int:
    """Write one layer of polygons to a GeoPackage 1.2, which QGIS and GDAL of many years read without a word.

    Batches are appended as they come, so memory holds one at a time. A layer without features has all its
    fields. The file is opened again and counted before it gets its name.

    Args:
        path: final name.
        layer: a letter, then letters, digits and underscores, at most 63.
        batches: features in the order of the layer.
        geobox: the grid whose CRS the coordinates are in.
        schema: field → ``text``, ``integer``, ``real`` or ``boolean``, in the order of the table; fields are
            named like layers.
        style: default style.
        description: what the layer is, for people.

    Returns:
        The number of features.

    Raises:
        OutputError: a bad name, a full or read-only disk, features that do not fit the schema, or a file that
            does not read back as it was written.
    """
    _check_names(path, layer, schema)
    count = 0

    def verify(temporary: Path) -> None:
        _Writer(temporary, path, layer, geobox, schema).verify(count, styled=style is not None)

    with staged(path, verify) as temporary:
        writer = _Writer(temporary, path, layer, geobox, schema)
        writer.create(description)
        for batch in _grouped(batches):
            writer.append(batch)
            count += batch.geometry.size
        if style is not None:
            writer.add_style(style)
    return count


@dataclass(frozen=True, slots=True)
class _Writer:
    """A layer in the making."""

    temporary: Path
    path: Path
    """Final name, which errors speak of."""
    layer: str
    geobox: GeoBox
    schema: Mapping[str, str]

    def create(self, description: str) -> None:
        nothing = {field: np.zeros(0, _DTYPES[kind]) for field, kind in self.schema.items()}
        self._write(
            Features(np.zeros(0, np.object_), nothing),
            dataset_options={"VERSION": "1.2"},
            layer_options={"GEOMETRY_NAME": _GEOMETRY, "DESCRIPTION": description},
        )

        # On a full disk GDAL may report success and leave half a database, whose opening would fail oddly.
        with self.temporary.open("rb") as file:
            header = file.read(100)
        if not header.startswith(_SQLITE) or int.from_bytes(header[60:64], "big") != _USER_VERSION:
            raise output_error(self.path, OSError("GDAL left half a database"), _OVERHEAD)

    def append(self, batch: Features) -> None:
        wrong = set(self.schema) ^ set(batch.attributes)
        if wrong:
            raise OutputError(f"{self.path}: the features and the layer differ in the fields {sorted(wrong)}")
        if not (shapely.get_type_id(batch.geometry) == shapely.GeometryType.POLYGON).all():
            raise OutputError(f"{self.path}: the layer holds single polygons only, and another geometry came")
        self._write(batch, append=True)

    def _write(self, batch: Features, **options: Any) -> None:
        geometry = shapely.to_wkb(batch.geometry)
        try:
            pyogrio.raw.write(
                self.temporary,
                geometry=geometry,
                field_data=[
                    np.asarray(batch.attributes[field], _DTYPES[kind]) for field, kind in self.schema.items()
                ],
                fields=list(self.schema),
                layer=self.layer,
                driver="GPKG",
                geometry_type="Polygon",
                crs=written_crs(self.geobox.crs),
                promote_to_multi=False,
                **options,
            )
        except (DataSourceError, DataLayerError) as error:
            # The pages, the journal that undoes them, the index: SQLite has given them back by now.
            needed = _OVERHEAD + 3 * sum(map(len, geometry)) + 1000 * len(geometry)
            raise output_error(self.path, error, needed) from error

    def add_style(self, style: LayerStyle) -> None:
        row = (self.layer, _GEOMETRY, style.name, style.qml, style.description)
        try:
            with closing(sqlite3.connect(self.temporary)) as database, database:
                database.execute(_STYLES_TABLE)
                database.execute(_REGISTER_STYLES)
                database.execute(_ADD_STYLE, row)
        except sqlite3.Error as error:
            raise output_error(self.path, error, _OVERHEAD) from error

    def verify(self, count: int, *, styled: bool) -> None:
        """Every page of the database, the counts and the CRS."""
        place = f"{self.temporary.absolute().as_uri()}?mode=ro"
        try:
            info = pyogrio.read_info(self.temporary, layer=self.layer, force_feature_count=True)
            with closing(sqlite3.connect(place, uri=True)) as database:
                (healthy,) = database.execute("PRAGMA quick_check(1)").fetchone()
                counts = [
                    database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 the layer's name is checked
                    for table in (self.layer, f"rtree_{self.layer}_{_GEOMETRY}", *["layer_styles"] * styled)
                ]
        except (DataSourceError, DataLayerError, sqlite3.Error) as error:
            raise output_error(self.path, error, _OVERHEAD) from error
        if healthy != "ok":
            raise OutputError(f"{self.path} reads back damaged ({healthy}); check the disk and run again")
        if [info["features"], *counts] != [count] * 3 + [1] * styled:
            raise OutputError(
                f"{self.path} reads back with {info['features']} of {count} features; run again"
            )
        if not same_crs(info["crs"], self.geobox):
            raise OutputError(
                f"{self.path} reads back with the CRS {str(info['crs'])[:60]!r}: a GeoPackage cannot hold "
                f"{self.geobox.crs[:60]!r}; give the scene another CRS"
            )


def _grouped(batches: Iterable[Features]) -> Iterator[Features]:
    """The same features in batches of some thousands: each append opens the file anew."""
    held: list[Features] = []
    count = 0
    for batch in batches:
        if batch.geometry.size:
            held.append(batch)
            count += batch.geometry.size
        if count >= _APPENDED:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(batches: list[Features]) -> Features:
    if len({tuple(batch.attributes) for batch in batches}) > 1:
        raise OutputError("the batches of a layer differ in their fields")
    return Features(
        np.concatenate([batch.geometry for batch in batches]),
        {
            name: np.concatenate([batch.attributes[name] for batch in batches])
            for name in batches[0].attributes
        },
    )


def _check_names(path: Path, layer: str, schema: Mapping[str, str]) -> None:
    for what, name in (("layer", layer), *(("field", field) for field in schema)):
        if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            raise OutputError(
                f"{path}: {name!r} cannot be the name of a {what}; use a letter, then letters, digits and "
                "underscores, at most 63, and no name that SQLite, GeoPackage or QGIS reserves"
            )
    if len({field.lower() for field in schema}) < len(schema):
        raise OutputError(f"{path}: two fields differ by case only; SQLite takes them for one, rename one")
    for field, kind in schema.items():
        if kind not in _DTYPES:
            raise OutputError(
                f"{path}: field {field} is of kind {kind!r}, needed one of {', '.join(_DTYPES)}"
            )

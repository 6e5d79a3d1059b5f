"""Layers of polygons that geoseg wrote, read again: in pieces, or what lies within bounds.

Paths are those of :func:`geoseg.io.vector.writer.write_features`. A Parquet file has no name for its only
layer. What cannot be read, or lacks a layer or a field, is an OutputError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from geoseg.arrays import Int64
from geoseg.errors import OutputError
from geoseg.io.ogr import DataLayerError, DataSourceError, pyogrio
from geoseg.io.vector import geojson, geoparquet
from geoseg.io.vector.features import Features, joined

__all__ = ["LayerInfo", "Piece", "layer_info", "layer_style", "read_pieces", "read_within"]

_PIECE: Final = 1 << 14
"""Features of one piece."""
_KINDS: Final = {"O": "text", "i": "integer", "f": "real", "b": "boolean"}
"""numpy's letter of a column → kind of field."""

_STYLE: Final = (
    "SELECT styleQML FROM layer_styles WHERE f_table_name = ? "
    "ORDER BY useAsDefault DESC, update_time DESC LIMIT 1"
)
"""As QGIS chooses it."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What a file says of a layer."""

    count: int
    crs: str | None
    """Its CRS, a code or WKT; None: it has none."""
    kinds: dict[str, str]
    """Field → kind (``text``, ``integer``, ``real``, ``boolean``, or the file's own word), in its order."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some features of a file."""

    numbers: Int64
    """The number that each has in its file, rising where pieces follow each other, shape (n,)."""
    features: Features


def layer_info(path: Path, layer: str) -> LayerInfo:
    """What a file says of a layer, without its features."""
    with _reading(path):
        if path.suffix == geoparquet.SUFFIX:
            return LayerInfo(*geoparquet.info(path))
        info = pyogrio.read_info(path, layer=layer, force_feature_count=True, encoding=None)
    kinds = {
        str(name): _KINDS.get(np.dtype(dtype).kind, str(dtype))
        for name, dtype in zip(info["fields"], info["dtypes"], strict=True)
    }
    return LayerInfo(max(0, info["features"]), info["crs"], kinds)


def layer_style(path: Path, layer: str) -> str | None:
    """The QML that QGIS shows a layer with, in the GeoPackage or beside the file; None: there is none."""
    with _reading(path):
        if path.suffix != ".gpkg":
            beside = path.with_suffix(".qml")
            return beside.read_text(encoding="utf-8") if beside.is_file() else None
        place = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(place, uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone():
                return None
            found = database.execute(_STYLE, (layer,)).fetchone()
    return None if found is None else str(found[0])


def read_pieces(path: Path, layer: str, fields: Sequence[str]) -> Iterator[Piece]:
    """A layer from its first feature to its last, some thousands at a time.

    Pieces have the fields in the order wanted, and hold each feature once.
    """
    if path.suffix == geoparquet.SUFFIX:
        with _reading(path):
            for first, geometry, values in geoparquet.pieces(path, fields):
                yield Piece(first + np.arange(geometry.size), Features(shapely.from_wkb(geometry), values))
        return
    if path.suffix == geojson.SUFFIX:  # GDAL holds all of it anyway
        if layer_info(path, layer).count:
            yield _read(path, layer, fields, {})
        return
    count, last = layer_info(path, layer).count, 0
    for first in range(0, count, _PIECE):
        if path.suffix == ".gpkg":  # by key: to skip features, SQLite would read all before
            how: dict[str, Any] = {"where": f"fid > {last}", "max_features": _PIECE}
        else:  # FlatGeobuf's index finds a feature by its number
            how = {"fids": np.arange(first, min(first + _PIECE, count))}
        piece = _read(path, layer, fields, how)
        if not piece.numbers.size:
            return
        last = int(piece.numbers[-1])
        yield piece


def read_within(path: Path, layer: str, fields: Sequence[str], bounds: Bounds) -> Piece:
    """The features whose boxes meet bounds, in the order of their numbers.

    Bounds are ``(min x, min y, max x, max y)`` in the layer's CRS.
    """
    if path.suffix != geoparquet.SUFFIX:
        found = _read(path, layer, fields, {"bbox": bounds})
        order = np.argsort(found.numbers)
        return Piece(found.numbers[order], found.features[order])
    met = [_met(piece, bounds) for piece in read_pieces(path, layer, fields)]
    numbers = np.concatenate([np.zeros(0, np.int64), *(piece.numbers for piece in met)])
    return Piece(numbers, joined([piece.features for piece in met], fields))


def _met(piece: Piece, bounds: Bounds) -> Piece:
    found = shapely.bounds(piece.features.geometry)
    inside = (
        (found[:, 0] <= bounds[2])
        & (found[:, 2] >= bounds[0])
        & (found[:, 1] <= bounds[3])
        & (found[:, 3] >= bounds[1])
    )
    return Piece(piece.numbers[inside], piece.features[inside])


def _read(path: Path, layer: str, fields: Sequence[str], how: dict[str, Any]) -> Piece:
    with _reading(path):
        about, numbers, geometry, values = pyogrio.raw.read(
            path, layer=layer, columns=list(fields), return_fids=True, **how
        )
    found = dict(zip(about["fields"].tolist(), values, strict=True))
    missing = [name for name in fields if name not in found]
    if missing:
        raise OutputError(f"{path} has no fields {missing}; make the scene again")
    attributes = {name: found[name] for name in fields}
    return Piece(numbers.astype(np.int64), Features(shapely.from_wkb(geometry), attributes))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError, sqlite3.Error, ValueError, OSError) as error:
        message = " ".join(str(error).split())
        raise OutputError(f"{path} cannot be read back ({message:.160}); make it again") from error

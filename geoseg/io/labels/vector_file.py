"""Polygons in the files that people have: their layers, what a layer says of itself, and its features.

GDAL reads GeoPackage, FlatGeobuf, GeoJSON (also one feature a line) and Shapefile (also zipped; text in the
encoding that its .cpg or .dbf states), pyarrow reads GeoParquet. A file of one layer calls it by its own
stem.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import shapely

from geoseg.arrays import Array, Objects
from geoseg.errors import LabelError, OutputError
from geoseg.io.ogr import DataLayerError, DataSourceError, pyogrio
from geoseg.io.vector.arrow import import_arrow

__all__ = ["VECTOR_FORMATS", "Bounds", "Layer", "is_vector", "layer_names", "open_layer"]

Bounds = tuple[float, float, float, float]
"""(min x, min y, max x, max y)."""

VECTOR_FORMATS: Final = "GeoPackage, GeoJSON, FlatGeobuf, Shapefile, GeoParquet"
_SIGNATURES: Final = (b"SQLite format 3\0", b"fgb", b"\0\0\x27\x0a")
"""GeoPackage, FlatGeobuf, Shapefile."""
_ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"
_READ_ERRORS: Final = (DataSourceError, DataLayerError, OutputError, ValueError, OSError, zipfile.BadZipFile)
_SHAPEFILE: Final = ".shp"


def is_vector(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a format that is read here."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n\x1e")  # RFC 8142 begins each line with 0x1e
    return head.startswith((*_SIGNATURES, _ZIP, _PARQUET)) or text.startswith(b"{")


@dataclass(frozen=True, slots=True)
class Layer:
    """What a file says of a layer."""

    path: Path
    name: str
    place: str
    """What GDAL opens: the file, or its part of an archive."""
    crs: str | None
    fields: tuple[str, ...]
    count: int
    """Number of features."""
    bounds: Bounds | None
    """Of all its features, in its CRS; None: it has none."""

    @property
    def where(self) -> str:
        """As an error names it."""
        return f"labels {self.path}, layer {self.name}"

    def read(self, attribute: str | None, bounds: Bounds | None) -> tuple[Objects, Array | None]:
        """Geometries that may meet bounds, in the file's order, and an attribute of each.

        ``bounds`` are in the layer's CRS; None: all features.

        Raises:
            LabelError: the features cannot be read.
        """
        columns = [] if attribute is None else [attribute]
        try:
            if _head(self.path).startswith(_PARQUET):
                frame = _frame(self.path)
                shapes = np.asarray(shapely.force_2d(frame.geometry.to_numpy()), object)
                return shapes, None if attribute is None else frame[attribute].to_numpy()
            _, numbers, wkb, fields = pyogrio.raw.read(
                self.place, layer=self.name, columns=columns, force_2d=True, return_fids=True, bbox=bounds
            )
            shapes = np.asarray(shapely.from_wkb(wkb), object)
        except (*_READ_ERRORS, shapely.errors.GEOSException) as error:
            raise LabelError(f"{self.where}: cannot be read ({_why(error)})") from error
        order = np.argsort(numbers, kind="stable")  # a spatial index answers in any order
        return shapes[order], fields[0][order] if fields else None


def layer_names(path: Path) -> tuple[str, ...]:
    """Names of a file's layers that have geometries, in its order; LabelError where it cannot be opened."""
    return tuple(name for name, _ in _places(path))


def open_layer(path: Path, name: str) -> Layer:
    """What a file says of one of its layers; LabelError where it cannot be opened."""
    place = dict(_places(path))[name]
    try:
        if _head(path).startswith(_PARQUET):
            frame = _frame(path)
            crs = None if frame.crs is None else frame.crs.to_wkt()
            fields = tuple(column for column in frame.columns if column != frame.geometry.name)
            return Layer(path, name, place, crs, fields, len(frame), _bounds(frame.total_bounds))
        info = pyogrio.read_info(place, layer=name, force_feature_count=True, force_total_bounds=True)
    except _READ_ERRORS as error:
        raise LabelError(f"labels {path}, layer {name}: cannot be read ({_why(error)})") from error
    count = info["features"]
    bounds = _bounds(info["total_bounds"]) if count else None  # zeros, where a Shapefile is empty
    return Layer(path, name, place, info["crs"], tuple(info["fields"]), count, bounds)


def _places(path: Path) -> list[tuple[str, str]]:
    """Each layer with geometries, and what GDAL opens to read it."""
    try:
        head = _head(path)
        if head.startswith(_PARQUET):
            _frame(path)
            return [(path.stem, str(path))]
        if head.startswith(_ZIP):
            return _zipped(path)
        return [(str(name), str(path)) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except _READ_ERRORS as error:
        raise LabelError(f"labels {path}: no vector file that can be read ({_why(error)})") from error


def _zipped(path: Path) -> list[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    found = [name for name in names if PurePosixPath(name).suffix.lower() == _SHAPEFILE]
    if not found:
        raise LabelError(f"labels {path}: is an archive without a Shapefile (.shp); unzip it")
    return [(PurePosixPath(name).stem, f"/vsizip/{{{path.absolute()}}}/{name}") for name in found]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _frame(path: Path) -> Any:
    """A GeoParquet as a GeoDataFrame; the last ones are kept, since a town's file serves all its scenes."""
    status = path.stat()
    return _read_frame(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read_frame(path: Path, _time: int, _size: int) -> Any:
    import_arrow()
    import geopandas as gpd  # noqa: PLC0415 - pandas takes half a second, and only this format needs it

    return gpd.read_parquet(path)


def _bounds(found: Any) -> Bounds | None:
    if found is None or not np.isfinite(found).all():
        return None
    west, south, east, north = (float(value) for value in found)
    return west, south, east, north


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:200]

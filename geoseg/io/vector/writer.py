"""Layers of polygons: written in batches, styled, checked, then put in place.

The file's ending is the format: ``.gpkg`` (GeoPackage 1.2), ``.fgb`` (FlatGeobuf with its index),
``.parquet`` (GeoParquet 1.1) or ``.geojson`` (RFC 7946, so on WGS 84). A GeoPackage holds its style; the
others have a ``.qml`` beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from geoseg.config.layer_name import sql_name
from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import same_crs
from geoseg.io.files import staged, write_text
from geoseg.io.vector import geojson, geopackage, geoparquet
from geoseg.io.vector.features import DTYPES, Features, LayerStyle, Table, grouped
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.polygons.simplify import simplified_coverage, simplified_objects

__all__ = [
    "FORMATS",
    "Overview",
    "find_layer",
    "layer_crs",
    "layer_file",
    "layer_files",
    "overview_layer",
    "write_features",
]

FORMATS: Final = {
    "gpkg": ".gpkg",
    "parquet": geoparquet.SUFFIX,
    "fgb": ".fgb",
    "geojson": geojson.SUFFIX,
}
"""Format, as a workflow names it → ending of its files."""
_OVERVIEW = "_overview"


@dataclass(frozen=True, slots=True)
class Overview:
    """A second layer, generalized for small scales, in the same GeoPackage."""

    tolerance: float
    """How far outlines may move, in the layer's CRS units."""
    min_area: float
    """Objects below this area are left out, in square CRS units; 0 in a coverage, which has no gaps."""
    coverage: bool = False
    """Whether the polygons share their edges and stay a coverage."""
    style: LayerStyle | None = None


def overview_layer(layer: str) -> str:
    """Name of the generalized layer.

    >>> overview_layer("buildings")
    'buildings_overview'
    """
    stem = layer[: 63 - len(_OVERVIEW)]
    if f"{stem}{_OVERVIEW}".lower() == layer.lower():
        stem = stem[:-1]
    return stem + _OVERVIEW


def layer_crs(path: Path, geobox: GeoBox) -> str:
    """The CRS that a layer has in a file: the grid's, but for GeoJSON."""
    return geojson.CRS if path.suffix == geojson.SUFFIX else geobox.crs


def layer_file(folder: Path, layer: str, format_name: str) -> Path:
    """The file of a layer in a folder, by the format that a workflow names."""
    return folder / f"{layer}{FORMATS[format_name]}"


def find_layer(folder: Path, layer: str) -> Path | None:
    """The file of a layer in a folder, in whatever format it is; None: there is none."""
    paths = (layer_file(folder, layer, name) for name in FORMATS)
    return next((path for path in paths if path.is_file()), None)


def layer_files(path: Path, *, styled: bool = True) -> tuple[Path, ...]:
    """The files that :func:`write_features` makes: the layer, and its style where that stands beside it."""
    return (path, path.with_suffix(".qml")) if styled and path.suffix != ".gpkg" else (path,)


def write_features(
    path: Path,
    layer: str,
    batches: Iterable[Features],
    *,
    geobox: GeoBox,
    schema: Mapping[str, str],
    style: LayerStyle | None = None,
    description: str = "",
    overview: Overview | None = None,
) -> int:
    """Write one layer of polygons; returns the number of features.

    Batches are written as they come, so memory holds one at a time. A layer without features has all its
    fields. Before the file gets its name it is read again from end to end: its features are counted, their
    outlines checked, and its fields and CRS compared with what was written.

    Args:
        path: final name; its ending is one of :data:`FORMATS`.
        layer: by the rule of :mod:`geoseg.config.layer_name`.
        batches: features in the order of the layer (FlatGeobuf sorts them by place).
        geobox: the grid whose CRS the coordinates are in.
        schema: field → kind (a key of :data:`geoseg.io.vector.features.DTYPES`), in the order of the table.
        overview: a generalized second layer; a GeoPackage only.

    Raises:
        OutputError: a bad name or ending, a full disk, features that do not fit the schema, no pyarrow,
            or a file that does not read back as it was written.
    """
    _check_names(path, layer, schema)
    if overview is not None and path.suffix != FORMATS["gpkg"]:
        raise OutputError(f"{path}: only a GeoPackage holds an overview beside its layer; write .gpkg")
    table = Table(layer, geobox, schema)
    counts: dict[str, int] = {}

    def verify(temporary: Path) -> None:
        for name, count in counts.items():
            _verify(temporary, path, replace(table, layer=name), count)
        if path.suffix == FORMATS["gpkg"]:
            styles = sum(one is not None for one in (style, overview and overview.style))
            geopackage.check_database(temporary, path, counts, styles)

    with staged(path, verify) as temporary:
        groups = grouped(batches)
        if path.suffix == FORMATS["gpkg"]:
            counts |= _geopackage(
                temporary, path, table, groups, style=style, description=description, overview=overview
            )
        elif path.suffix == FORMATS["fgb"]:
            counts[layer] = _flatgeobuf(temporary, path, table, groups, description)
        elif path.suffix == geojson.SUFFIX:
            counts[layer] = geojson.write(temporary, path, table, groups, description)
        else:
            counts[layer] = geoparquet.write(temporary, path, table, groups, description)
    if style is not None and path.suffix != FORMATS["gpkg"]:
        write_text(path.with_suffix(".qml"), style.qml)
    return counts[layer]


def _geopackage(
    temporary: Path,
    path: Path,
    table: Table,
    groups: Iterator[Features],
    *,
    style: LayerStyle | None,
    description: str,
    overview: Overview | None,
) -> dict[str, int]:
    geopackage.create(temporary, path, table, description)
    counts = {table.layer: geopackage.append(temporary, path, table, groups)}
    styles = [] if style is None else [(table.layer, style)]
    if overview is not None:
        second = replace(table, layer=overview_layer(table.layer))
        geopackage.create(temporary, path, second, f"{description} (generalized for small scales)".lstrip())
        batches = _generalized(temporary, table, overview)
        counts[second.layer] = geopackage.append(temporary, path, second, batches)
        if overview.style is not None:
            styles.append((second.layer, overview.style))
    if styles:
        geopackage.style(temporary, path, styles)
    return counts


def _generalized(temporary: Path, table: Table, overview: Overview) -> Iterator[Features]:
    """The features of a layer that is there, piece by piece, as the overview shows them."""
    for piece in read_pieces(temporary, table.layer, list(table.schema)):
        found = piece.features
        if overview.coverage:
            simple = simplified_coverage(found.geometry, overview.tolerance)
            yield Features(simple, found.attributes)
        else:
            simple, kept = simplified_objects(found.geometry, overview.tolerance, overview.min_area)
            if kept.any():
                yield Features(simple, found[kept].attributes)


def _flatgeobuf(
    temporary: Path, path: Path, table: Table, groups: Iterator[Features], description: str
) -> int:
    # Its name starts like the temporary file's: after an error it is removed with it.
    gathered = temporary.with_name(f"{temporary.stem}.gathered.gpkg")
    geopackage.create(gathered, path, table, description)
    count = geopackage.append(gathered, path, table, groups)
    geopackage.to_flatgeobuf(gathered, temporary, path, table, description)
    gathered.unlink()
    return count


def _verify(temporary: Path, path: Path, table: Table, count: int) -> None:
    """Read a layer from end to end."""
    info = layer_info(temporary, table.layer)
    found, invalid = 0, 0
    for piece in read_pieces(temporary, table.layer, []):
        found += piece.numbers.size
        invalid += int(np.count_nonzero(~shapely.is_valid(piece.features.geometry)))
    if (info.count, found) != (count, count):
        raise OutputError(f"{path} reads back with {found} of {count} features; run again")
    if invalid:
        raise OutputError(
            f"{path} reads back with {invalid} of {count} outlines that are no valid polygons; this is a "
            "mistake of geoseg's: please report it"
        )
    if path.suffix == geojson.SUFFIX:  # it states no types and no CRS
        same = not count or list(info.kinds) == list(table.schema)
    else:
        same = list(info.kinds.items()) == list(table.schema.items())
    if not same:
        raise OutputError(
            f"{path} reads back with the fields {info.kinds}, needed {dict(table.schema)}; run again"
        )
    if path.suffix != geojson.SUFFIX and not same_crs(info.crs, table.geobox):
        raise OutputError(
            f"{path} reads back with the CRS {str(info.crs)[:60]!r}: its format cannot hold "
            f"{table.geobox.crs[:60]!r}; give the scene another CRS"
        )


def _check_names(path: Path, layer: str, schema: Mapping[str, str]) -> None:
    if path.suffix not in FORMATS.values():
        raise OutputError(f"{path}: needed an ending of {', '.join(FORMATS.values())}")
    for what, name in (("layer", layer), *(("field", field) for field in schema)):
        try:
            sql_name(name, what)
        except ValueError as error:
            raise OutputError(f"{path}: {error}") from error
    if len({field.lower() for field in schema}) < len(schema):
        raise OutputError(f"{path}: two fields differ by case only; SQLite takes them for one, rename one")
    for field, kind in schema.items():
        if kind not in DTYPES:
            raise OutputError(f"{path}: field {field} is of kind {kind!r}, needed one of {', '.join(DTYPES)}")

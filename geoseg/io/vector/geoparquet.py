"""GeoParquet 1.1, by pyarrow: the GDAL that comes with pyogrio has no driver for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from pyproj import CRS

from geoseg.arrays import Array, Objects
from geoseg.io.crs import written_crs
from geoseg.io.files import output_error
from geoseg.io.vector.arrow import import_arrow
from geoseg.io.vector.features import Features, Table

__all__ = ["SUFFIX", "info", "pieces", "write"]

SUFFIX: Final = ".parquet"
_GEOMETRY: Final = "geometry"
_BOX: Final = "bbox"
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")
_ROWS: Final = 1 << 14
"""Rows that are read at once."""


def _types() -> dict[str, Any]:
    arrow = import_arrow()
    return {
        "text": arrow.string(), "integer": arrow.int64(), "real": arrow.float64(), "boolean": arrow.bool_()
    }  # fmt: skip


def write(temporary: Path, path: Path, table: Table, groups: Iterable[Features], description: str) -> int:
    """Write a layer, one row group for each group of features; returns the number of features.

    Every feature's box is a column, so that readers skip row groups far from where they look. ``temporary``
    is written; ``path`` is its final name, which errors speak of.

    Raises:
        OutputError: pyarrow is absent, features do not fit the layer, or the disk is full or read-only.
    """
    arrow, parquet = import_arrow(), import_arrow("pyarrow.parquet")
    types = _types()
    box = arrow.struct([arrow.field(side, arrow.float64(), nullable=False) for side in _SIDES])
    schema = arrow.schema(
        [
            *(arrow.field(name, types[kind]) for name, kind in table.schema.items()),
            arrow.field(_GEOMETRY, arrow.binary(), nullable=False),
            arrow.field(_BOX, box, nullable=False),
        ]
    )
    count, bounds = 0, np.array((np.inf, np.inf, -np.inf, -np.inf))
    try:
        with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for group in groups:
                columns = [
                    arrow.array(values, type=types[kind])
                    for values, kind in zip(table.columns(group, path), table.schema.values(), strict=True)
                ]
                boxes = shapely.bounds(group.geometry)
                geometry = arrow.array(shapely.to_wkb(group.geometry), type=arrow.binary())
                struct = arrow.StructArray.from_arrays(list(boxes.T), fields=list(box))
                writer.write_table(arrow.Table.from_arrays([*columns, geometry, struct], schema=schema))
                bounds = np.concatenate(
                    [np.fmin(bounds[:2], boxes[:, :2].min(0)), np.fmax(bounds[2:], boxes[:, 2:].max(0))]
                )
                count += len(group.geometry)
            about = _metadata(table, bounds.tolist() if count else None)
            writer.add_key_value_metadata(
                {"geo": json.dumps(about), "layer": table.layer, "description": description}
            )
    except (arrow.ArrowException, OSError) as error:
        raise output_error(path, error) from error
    return count


def _metadata(table: Table, bounds: list[float] | None) -> dict[str, Any]:
    """The ``geo`` metadata of GeoParquet 1.1."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": CRS.from_user_input(written_crs(table.geobox.crs)).to_json_dict(),
        "edges": "planar",
        "covering": {"bbox": {side: [_BOX, side] for side in _SIDES}},
        **({} if bounds is None else {"bbox": bounds}),
    }
    return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}


def info(path: Path) -> tuple[int, str | None, dict[str, str]]:
    """Rows, CRS and fields with their kinds; a ValueError or OSError where the file is not GeoParquet."""
    with import_arrow("pyarrow.parquet").ParquetFile(path) as file:
        stored: Mapping[bytes, bytes] = file.metadata.metadata or {}
        schema, rows = file.schema_arrow, file.metadata.num_rows
    if b"geo" not in stored:
        raise ValueError("no GeoParquet: it lacks the key geo")
    about = json.loads(stored[b"geo"])
    crs = about["columns"][about["primary_column"]].get("crs")
    kinds = {str(kind): name for name, kind in _types().items()}
    return (
        rows,
        None if crs is None else CRS.from_json_dict(crs).to_wkt(),
        {f.name: kinds.get(str(f.type), str(f.type)) for f in schema if f.name not in (_GEOMETRY, _BOX)},
    )


def pieces(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, Objects, dict[str, Array]]]:
    """Number of the first row, WKB and attributes, some thousands of rows at a time.

    A file that cannot be read, or lacks a field, is a ValueError or OSError.
    """
    first = 0
    with import_arrow("pyarrow.parquet").ParquetFile(path) as file:
        missing = [name for name in fields if name not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"no fields {missing}")
        for batch in file.iter_batches(batch_size=_ROWS, columns=[*fields, _GEOMETRY]):
            geometry = batch.column(_GEOMETRY).to_numpy(zero_copy_only=False)
            values = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in fields}
            yield first, geometry, values
            first += len(geometry)

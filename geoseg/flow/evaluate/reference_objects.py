"""The objects of a scene: those that were mapped and those of the reference, in the map's pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import shapely

from geoseg.arrays import Array, Bool, Float64, Int64, Objects, UInt8
from geoseg.errors import OutputError
from geoseg.grid.encoding import IGNORE
from geoseg.grid.geobox import GeoBox
from geoseg.grid.window import Window
from geoseg.io.crs import same_crs
from geoseg.io.labels.reader import LabelReader
from geoseg.io.raster.cog import strip_rows
from geoseg.io.raster.maps import MapReader
from geoseg.io.vector.reader import layer_info, read_pieces
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.trace.exact import exact_polygons
from geoseg.polygons.trace.regions import to_ground

__all__ = ["CONFIDENCE_FIELDS", "Ground", "Side", "mapped_objects", "reference_objects"]

CONFIDENCE_FIELDS: Final = ("conf_mean", "confidence")
"""Attributes that may hold how sure the map is of an object, 0 to 1; the first that is there counts."""
_BESIDE: Final = 0.75
"""Pixels from the edge of the labeled area within which an object counts as cut: a drawn edge lies up to √½
of a pixel beside that of the pixels in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Objects of one side of a scene, each array of shape (n,)."""

    shapes: Objects
    """Single polygons in pixels of the map, (column, row)."""
    class_id: Int64
    id: Objects
    confidence: Float64
    """NaN: not known, of a reference."""
    ground: Objects
    """The same polygons in the map's CRS."""
    area: Float64
    """In m²."""
    cut: Bool
    """Whether the edge of what is labeled and mapped cuts it, or it lies outside."""

    def of(self, class_id: int) -> Side:
        """The objects of a class."""
        chosen = self.class_id == class_id
        return Side(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def _strips(grid: GeoBox) -> Iterator[Window]:
    rows = strip_rows(grid.width)
    for row in range(0, grid.height, rows):
        yield Window(row, 0, min(rows, grid.height - row), grid.width)


def _components(strips: Iterator[UInt8], width: int, classes: Sequence[int]) -> tuple[Objects, Int64]:
    """Outlines of the 4-connected components of a raster, in its pixels, and their classes."""
    found = list(exact_polygons(((strip, np.zeros_like(strip)) for strip in strips), width, classes))
    none = np.zeros(0, np.object_)
    return (
        np.concatenate([none, *(batch.polygons for batch in found)]),
        np.concatenate([np.zeros(0, np.int64), *(batch.components.class_id for batch in found)]),
    )


def _labeled(reader: MapReader, labels: LabelReader) -> shapely.MultiPolygon:
    """Where there is both a label and a map, in pixels."""

    def strips() -> Iterator[UInt8]:
        for window in _strips(reader.grid):
            (mapped,) = reader.read(window)
            counted = (labels.read(window) != IGNORE) & (mapped != IGNORE)
            yield np.where(counted, 0, IGNORE).astype(np.uint8)

    parts, _ = _components(strips(), reader.grid.width, [0])
    return shapely.MultiPolygon(list(parts))


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What objects of a scene are measured on."""

    grid: GeoBox
    """The map's pixels."""
    meter: AreaMeter
    """Measures areas in its CRS."""
    whole: shapely.MultiPolygon
    """Where there is both a label and a map, in pixels."""
    edge: shapely.Geometry
    """Its boundary."""

    @classmethod
    def of(cls, reader: MapReader, labels: LabelReader) -> Self:
        """The ground of a map and its labels.

        Raises:
            LabelError, OutputError: one of them cannot be read.
            GridError: the map has no longitude and latitude.
        """
        whole = _labeled(reader, labels)
        edge = whole.boundary
        shapely.prepare(whole)
        shapely.prepare(edge)
        return cls(reader.grid, AreaMeter.of(reader.grid), whole, edge)

    def side(
        self,
        shapes: Objects,
        class_id: Array,
        names: Array,
        confidence: Array,
    ) -> Side:
        """Objects from single valid polygons in pixels, each with its class, id and confidence: (n,)."""
        ground = to_ground(shapely.orient_polygons(shapes), self.grid.transform)
        return Side(
            shapes=shapes,
            class_id=class_id.astype(np.int64),
            id=names,
            confidence=confidence.astype(np.float64),
            ground=ground,
            area=self.meter.measure(ground),
            cut=~shapely.covers(self.whole, shapes) | shapely.dwithin(self.edge, shapes, _BESIDE),
        )


def mapped_objects(path: Path, layer: str, ground: Ground) -> Side:
    """The polygons that a run wrote.

    Args:
        path: their file.
        layer: their layer.
        ground: of the scene.

    Raises:
        OutputError: they cannot be read, lie in another CRS, or say nothing of how sure they are.
    """
    info = layer_info(path, layer)
    if not same_crs(info.crs, ground.grid):
        raise OutputError(f"{path} has the CRS {str(info.crs)[:60]!r}, not the map's; make the scene anew")
    sure = next((name for name in CONFIDENCE_FIELDS if name in info.kinds), None)
    if sure is None:
        raise OutputError(
            f"{path} has no attribute {' or '.join(CONFIDENCE_FIELDS)}, needed to rank its objects; make the "
            "scene anew"
        )
    fields = ("id", "class_id", sure)
    pieces = [piece.features for piece in read_pieces(path, layer, fields)]
    columns = {
        name: np.concatenate([np.zeros(0, kind), *(piece.attributes[name] for piece in pieces)])
        for name, kind in zip(fields, (np.object_, np.int64, np.float64), strict=True)
    }
    polygons = np.concatenate([np.zeros(0, np.object_), *(piece.geometry for piece in pieces)])
    shapes, owner = _single(_to_pixels(polygons, ground.grid))
    return ground.side(shapes, *(columns[name][owner] for name in ("class_id", "id", sure)))


def reference_objects(labels: LabelReader, classes: Sequence[int], slug: str, ground: Ground) -> Side:
    """The objects of a reference, numbered in its order.

    Args:
        labels: the reference on the map's grid.
        classes: ids of the classes wanted.
        slug: the scene's folder name, with which ids start.
        ground: of the scene.

    Raises:
        LabelError: the reference cannot be read.
    """
    found = labels.polygons
    if found is not None:
        shapes, owner = _single(found.shapes)
        class_id = found.values[owner].astype(np.int64)
    else:
        strips = (labels.read(window) for window in _strips(labels.grid))
        shapes, class_id = _components(strips, labels.grid.width, classes)
    names = np.array([f"{slug}-reference-{number}" for number in range(len(shapes))], np.object_)
    wanted = np.isin(class_id, classes)
    return ground.side(shapes[wanted], class_id[wanted], names[wanted], np.full(int(wanted.sum()), np.nan))


def _to_pixels(polygons: Objects, grid: GeoBox) -> Objects:
    pixels = ~grid.transform

    def place(xy: Float64) -> Float64:
        x, y = xy.T
        return np.column_stack(
            (pixels.a * x + pixels.b * y + pixels.c, pixels.d * x + pixels.e * y + pixels.f)
        )

    return np.asarray(shapely.transform(polygons, place), object)


def _single(shapes: Objects) -> tuple[Objects, Int64]:
    """Valid single polygons with an area, and which shape each comes from."""
    valid = shapely.is_valid(shapes)
    shapes = shapes.copy()
    shapes[~valid] = shapely.make_valid(shapes[~valid], method="structure", keep_collapsed=False)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    some = shapely.area(parts) > 0
    return parts[some], owner[some].astype(np.int64)

"""What a layer of polygons is made of, whatever file it goes into: batches of features, table and style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import shapely

from geoseg.arrays import Array, Objects
from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.attributes import Calibrated, Provenance, object_attributes
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.regions import to_ground

__all__ = ["DTYPES", "Features", "LayerStyle", "Table", "features_of", "grouped", "joined"]

DTYPES: Final[Mapping[str, Any]] = MappingProxyType(
    {"text": np.object_, "integer": np.int64, "real": np.float64, "boolean": np.bool_}
)
"""Kind of a field → numpy type of its values."""

_GROUP = 1 << 14
"""Features of one write, at least: each opens the file again."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A batch of features."""

    geometry: Objects
    """Shapely Polygons in the layer's CRS, x (easting or longitude) first, shape (n,)."""
    attributes: Mapping[str, Array]
    """Field → values, each of shape (n,)."""

    def __getitem__(self, chosen: Array) -> Features:
        """The features of a mask or of an array of positions."""
        values = {name: values[chosen] for name, values in self.attributes.items()}
        return Features(self.geometry[chosen], values)


@dataclass(frozen=True, slots=True)
class LayerStyle:
    """A style that QGIS applies when it opens the layer."""

    qml: str
    """The style, as :mod:`geoseg.io.qgis.style` writes it."""
    name: str = "geoseg"
    """Its name in QGIS's list, at most 30 characters."""
    description: str = "default style of geoseg"


@dataclass(frozen=True, slots=True)
class Table:
    """A layer's name, place and fields."""

    layer: str
    geobox: GeoBox
    """The grid whose CRS the coordinates are in; all features lie on it."""
    schema: Mapping[str, str]
    """Field → ``text``, ``integer``, ``real`` or ``boolean``, in the order of the table."""

    def nothing(self) -> Features:
        """A batch of no features with all fields."""
        nothing = {field: np.zeros(0, DTYPES[kind]) for field, kind in self.schema.items()}
        return Features(np.zeros(0, np.object_), nothing)

    def columns(self, batch: Features, path: Path) -> list[Array]:
        """A batch's values in the order of the fields; an OutputError where anything does not fit."""
        wrong = set(self.schema) ^ set(batch.attributes)
        if wrong:
            raise OutputError(f"{path}: the features and the layer differ in the fields {sorted(wrong)}")
        if not (shapely.get_type_id(batch.geometry) == shapely.GeometryType.POLYGON).all():
            raise OutputError(f"{path}: the layer holds single polygons only, and another geometry came")
        return [np.asarray(batch.attributes[field], DTYPES[kind]) for field, kind in self.schema.items()]


def grouped(batches: Iterable[Features]) -> Iterator[Features]:
    """The same features in batches of some thousands; an OutputError where their fields differ."""
    held: list[Features] = []
    count = 0
    for batch in batches:
        if batch.geometry.size:
            held.append(batch)
            count += batch.geometry.size
        if count >= _GROUP:
            yield joined(held, list(held[0].attributes))
            held, count = [], 0
    if held:
        yield joined(held, list(held[0].attributes))


def joined(batches: Sequence[Features], fields: Sequence[str]) -> Features:
    """Batches as one, with these fields; an OutputError where theirs differ."""
    if len({tuple(batch.attributes) for batch in batches}) > 1:
        raise OutputError("the batches of a layer differ in their fields")
    nothing = np.zeros(0, np.object_)
    return Features(
        np.concatenate([batch.geometry for batch in batches] or [nothing]),
        {name: np.concatenate([batch.attributes[name] for batch in batches] or [nothing]) for name in fields},
    )


def features_of(
    batches: Iterable[Shapes],
    geobox: GeoBox,
    names: Mapping[int, str],
    provenance: Provenance,
    calibrated: Mapping[int, Calibrated] | None = None,
) -> Iterator[Features]:
    """Shapes of a grid, each on the ground, with attributes.

    Features are in the order of the shapes, with the fields of :data:`geoseg.polygons.attributes.FIELDS`.
    ``names``: class id → class name; ``calibrated``: class id → its calibration.

    Raises:
        GridError: parts of the grid have no longitude and latitude, so areas cannot be measured.
    """
    meter = AreaMeter.of(geobox)
    for shapes in batches:
        polygons = to_ground(shapes.polygons, geobox.transform)
        attributes = object_attributes(
            shapes,
            polygons,
            width=geobox.width,
            meter=meter,
            names=names,
            provenance=provenance,
            calibrated=calibrated,
        )
        yield Features(polygons, attributes)

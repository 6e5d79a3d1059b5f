"""Polygons on the ground, with attributes, batch by batch: what a layer is written from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.writer import Features
from geoseg.polygons.attributes import Calibrated, Provenance, object_attributes
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.regions import to_ground

__all__ = ["features_of"]


def features_of(
    batches: Iterable[Shapes],
    geobox: GeoBox,
    names: Mapping[int, str],
    provenance: Provenance,
    calibrated: Mapping[int, Calibrated] | None = None,
) -> Iterator[Features]:
    """Shapes on the ground, with attributes.

    Args:
        batches: polygons in pixels.
        geobox: the grid of these pixels.
        names: class id → class name.
        provenance: scene, model and run.
        calibrated: class id → its calibration; None: there is none.

    Yields:
        As many features as shapes came, in the same order; their fields are
        :data:`geoseg.polygons.attributes.FIELDS`.

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

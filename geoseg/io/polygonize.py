"""Polygons on the ground, with attributes, batch by batch: what a layer is written from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from geoseg.grid.geobox import GeoBox
from geoseg.io.vector import Features
from geoseg.polygons.area import AreaMeter
from geoseg.polygons.attributes import Provenance, object_attributes
from geoseg.polygons.exact import Regions, to_ground

__all__ = ["exact_features"]


def exact_features(
    regions: Iterable[Regions],
    geobox: GeoBox,
    names: Mapping[int, str],
    provenance: Provenance,
) -> Iterator[Features]:
    """Regions on the ground, with attributes.

    Args:
        regions: from :func:`geoseg.polygons.exact.exact_polygons`.
        geobox: the grid of their pixels.
        names: class id → class name.
        provenance: scene, model and run.

    Yields:
        As many as regions came, in the same order; fields are :data:`geoseg.polygons.attributes.FIELDS`.

    Raises:
        GridError: parts of the grid have no longitude and latitude, so areas cannot be measured.
    """
    meter = AreaMeter.of(geobox)
    for batch in regions:
        polygons = to_ground(batch.polygons, geobox.transform)
        attributes = object_attributes(
            batch, polygons, width=geobox.width, meter=meter, names=names, provenance=provenance
        )
        yield Features(polygons, attributes)

"""Polygons of a scene's committed rasters, streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import GridError, OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.cog import read_strips
from geoseg.io.vector import Features
from geoseg.polygons.area import AreaMeter
from geoseg.polygons.attributes import Provenance, object_attributes
from geoseg.polygons.exact import Regions, exact_polygons, to_ground

__all__ = ["exact_features", "exact_regions"]


def exact_regions(
    classes: Path, probability: Path, geobox: GeoBox, bands: Mapping[int, int], rows: int | None = None
) -> Iterator[Regions]:
    """Exact polygons of a class raster, in pixel coordinates, with the sums of their stored probability.

    Args:
        classes: GeoTIFF of class ids, one band.
        probability: GeoTIFF of stored probabilities on the same grid.
        geobox: that grid.
        bands: class id → band of ``probability`` that holds it, from 1. Other classes get no polygons.
        rows: rows read at a time; the polygons do not depend on it.

    Yields:
        See :func:`geoseg.polygons.exact.exact_polygons`; memory is bounded as said there.

    Raises:
        OutputError: a file cannot be read, or the two do not belong together.
    """
    try:
        yield from exact_polygons(
            _strips(classes, probability, geobox, bands, rows), geobox.width, sorted(bands)
        )
    except GridError as error:
        raise OutputError(
            f"{classes} and {probability.name} cannot be made into polygons: {error}"
        ) from error


def exact_features(
    regions: Iterable[Regions],
    geobox: GeoBox,
    names: Mapping[int, str],
    provenance: Provenance,
) -> Iterator[Features]:
    """Regions on the ground, with attributes.

    Args:
        regions: from :func:`exact_regions`.
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


def _strips(
    classes: Path, probability: Path, geobox: GeoBox, bands: Mapping[int, int], rows: int | None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Class ids and, for each pixel, the stored probability of its own class."""
    wanted = sorted(set(bands.values())) or [1]
    place = np.zeros(256, np.intp)
    for class_id, band in bands.items():
        place[class_id] = wanted.index(band)
    seen = 0
    for (ids,), scores in zip(
        read_strips(classes, [1], rows), read_strips(probability, wanted, rows), strict=True
    ):
        if scores.shape[1:] != ids.shape:
            raise GridError(f"they have {ids.shape[1]} and {scores.shape[2]} columns; make the scene anew")
        own = scores[0] if len(wanted) == 1 else np.take_along_axis(scores, place[ids][None], axis=0)[0]
        seen += ids.shape[0]
        yield ids, own
    if seen != geobox.height:
        raise GridError(f"they have {seen} rows, needed {geobox.height}; make the scene anew")

"""Layers of scenes in one CRS: where each lies, and its objects there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from geoseg.errors import OutputError
from geoseg.grid.geobox import GeoBox
from geoseg.io.crs import written_crs
from geoseg.io.features import Features
from geoseg.io.vector_read import Piece, read_pieces, read_within

__all__ = ["PlacedLayer", "SceneLayer", "grid_over", "overlapping", "placed"]

_POINTS: Final = 16
"""Points on each edge of a footprint: a straight edge is none in another CRS."""


@dataclass(frozen=True, slots=True)
class SceneLayer:
    """The polygons of a finished scene."""

    scene: str
    """The catalog's id of the scene."""
    path: Path
    """The file, as :func:`geoseg.io.vector.write_features` wrote it."""
    geobox: GeoBox
    """The grid that its objects lie on."""


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """A scene's layer, and the way from its CRS to the merged one's."""

    source: SceneLayer
    """Its file and grid."""
    layer: str
    """The layer's name in the file."""
    crs: str
    """The merged CRS."""
    way: Transformer | None
    """None: both are the same."""
    footprint: shapely.Polygon
    """In the merged CRS."""

    @classmethod
    def of(cls, source: SceneLayer, layer: str, target: str) -> PlacedLayer:
        """Place a scene in a CRS.

        Raises:
            OutputError: it lies nowhere in that CRS.
        """
        ring = shapely.LinearRing(source.geobox.corners)
        outline = shapely.Polygon(shapely.segmentize(ring, ring.length / (4 * _POINTS)))
        try:
            theirs, ours = CRS.from_user_input(written_crs(source.geobox.crs)), CRS.from_user_input(target)
            same = theirs.equals(ours, ignore_axis_order=True)
            way = None if same else Transformer.from_crs(theirs, ours, always_xy=True)
        except CRSError as error:
            raise OutputError(f"{source.path} cannot be taken to the CRS {target[:60]!r}: {error}") from error
        moved = _transformed(np.array([outline], object), way)[0]
        if not np.isfinite(moved.bounds).all():
            raise OutputError(
                f"scene {source.scene} has no place in the CRS {target[:60]!r}; choose another for merging"
            )
        return cls(source, layer, target, way, moved)

    def within(self, area: BaseGeometry, fields: Sequence[str]) -> Piece:
        """Objects that meet the box of an area of the merged CRS, in that CRS."""
        outline = shapely.segmentize(area, area.length / (4 * _POINTS))
        west, south, east, north = _transformed(np.array([outline], object), self.way, back=True)[0].bounds
        margin = 1e-3 * max(east - west, north - south)  # for what lies between the points
        bounds = west - margin, south - margin, east + margin, north + margin
        found = read_within(self.source.path, self.layer, fields, bounds)
        geometry = _moved(found.features.geometry, self.way)
        return Piece(found.numbers, Features(geometry, found.features.attributes))

    def pieces(self, fields: list[str]) -> Iterator[Piece]:
        """All objects, in the merged CRS."""
        for piece in read_pieces(self.source.path, self.layer, fields):
            moved = _moved(piece.features.geometry, self.way)
            yield Piece(piece.numbers, Features(moved, piece.features.attributes))


def placed(scenes: Sequence[SceneLayer], layer: str, crs: str | None) -> list[PlacedLayer]:
    """The scenes by id, in one CRS."""
    ordered = sorted(scenes, key=lambda one: one.scene)
    target = written_crs(crs or ordered[0].geobox.crs)
    return [PlacedLayer.of(one, layer, target) for one in ordered]


def grid_over(layers: Sequence[PlacedLayer]) -> GeoBox:
    """A grid over all scenes, with pixels about as large as the first one's."""
    bounds = np.array([one.footprint.bounds for one in layers])
    (west, south), (east, north) = bounds[:, :2].min(0).tolist(), bounds[:, 2:].max(0).tolist()
    first = layers[0]
    pixel = math.sqrt(first.footprint.area / first.source.geobox.window.pixels)
    height, width = math.ceil((north - south) / pixel), math.ceil((east - west) / pixel)
    return GeoBox(height, width, Affine(pixel, 0, west, 0, -pixel, north), first.crs)


def _transformed(
    polygons: NDArray[np.object_], way: Transformer | None, *, back: bool = False
) -> NDArray[np.object_]:
    """Polygons in another CRS, vertex by vertex."""
    if way is None:
        return polygons
    direction = TransformDirection.INVERSE if back else TransformDirection.FORWARD

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(way.transform(xy[:, 0], xy[:, 1], direction=direction), axis=1)

    return np.asarray(shapely.transform(polygons, move))


def _moved(polygons: NDArray[np.object_], way: Transformer | None) -> NDArray[np.object_]:
    """Valid polygons in another CRS; where rounding makes rings cross, the largest part enclosed."""
    moved = _transformed(polygons, way)
    if moved is not polygons:
        for n in np.flatnonzero(~shapely.is_valid(moved)).tolist():
            parts = shapely.get_parts(shapely.make_valid(moved[n], method="structure", keep_collapsed=False))
            if parts.size:
                moved[n] = parts[np.argmax(shapely.area(parts))]
    return moved


def overlapping(scenes: Sequence[PlacedLayer]) -> list[tuple[int, int]]:
    """Pairs of scenes whose footprints share ground."""
    outlines = np.array([one.footprint for one in scenes], object)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects").T.tolist()
    return sorted((a, b) for a, b in pairs if a < b and outlines[a].intersection(outlines[b]).area > 0)

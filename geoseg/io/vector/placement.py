"""Layers of scenes in one CRS: where each lies, and its objects there.

Longitudes of a scene across the antimeridian run on past 180°, and scenes that share its ground lie there,
too: nothing is torn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geoseg.arrays import Float64, Objects
from geoseg.errors import OutputError
from geoseg.grid.crs import between
from geoseg.grid.geobox import GeoBox
from geoseg.grid.polygons import repaired
from geoseg.io.crs import written_crs
from geoseg.io.vector.features import Features
from geoseg.io.vector.reader import Piece, read_pieces, read_within

__all__ = ["PlacedLayer", "SceneLayer", "grid_over", "near_pairs", "overlapping", "placed"]

_POINTS: Final = 16
"""Points on each edge of a footprint: a straight edge is none in another CRS."""
_TURN: Final = 360.0


@dataclass(frozen=True, slots=True)
class SceneLayer:
    """The polygons of a finished scene, and the file that holds them."""

    scene: str
    path: Path
    geobox: GeoBox
    """The grid that its objects lie on."""


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """A scene's layer, and its place (its footprint, too) in the merged CRS, ``crs``."""

    source: SceneLayer
    layer: str
    crs: str
    project: Transformer | None
    """From its CRS to the merged one; None: both are the same."""
    footprint: shapely.Polygon
    here: float | None
    """Longitude of its middle in the merged CRS, near which all of it lies; None: that has no longitudes."""
    there: float | None
    """The same in its own CRS."""

    @classmethod
    def of(cls, source: SceneLayer, layer: str, target: str) -> PlacedLayer:
        """Place a scene in a CRS; an OutputError where it lies nowhere in it, or across its edge."""
        ring = shapely.LinearRing(source.geobox.corners)
        outline = shapely.Polygon(shapely.segmentize(ring, ring.length / (4 * _POINTS)))
        try:
            origin = written_crs(source.geobox.crs)
            project = between(origin, target)
        except CRSError as error:
            raise OutputError(f"{source.path} cannot be taken to the CRS {target[:60]!r}: {error}") from error
        middle = source.geobox.transform @ (source.geobox.width / 2, source.geobox.height / 2)
        there = middle[0] if _has_longitudes(origin) else None
        lies = middle if project is None else project.transform(*middle)
        here = lies[0] if _has_longitudes(target) else None
        moved = _transformed(np.array([outline], object), project, there, here)[0]
        if not np.isfinite(moved.bounds).all():
            raise OutputError(
                f"has no place in the CRS {target[:60]!r}; choose another for merging", scene=source.scene
            )
        if not shapely.intersects_xy(moved, *lies):
            raise OutputError(
                f"lies across the edge of the CRS {target[:60]!r}, such as the antimeridian or a pole; "
                "choose another for merging",
                scene=source.scene,
            )
        return cls(source, layer, target, project, moved, here, there)

    @property
    def pixel(self) -> float:
        """Side of a pixel in the merged CRS."""
        return math.sqrt(self.footprint.area / self.source.geobox.window.pixels)

    @property
    def grid(self) -> GeoBox:
        """The grid of its objects; in the merged CRS, where that is its own, turned as its footprint is."""
        grid = self.source.geobox
        if self.project is not None or self.here == self.there:
            return grid
        turn = Affine.translation((self.here or 0.0) - (self.there or 0.0), 0)
        return GeoBox(grid.height, grid.width, turn @ grid.transform, grid.crs)

    def to_grid(self, polygons: Objects) -> Objects:
        """Polygons of the merged CRS, in that of :attr:`grid`."""
        if self.project is None:
            return polygons
        return _transformed(polygons, self.project, self.here, self.there, back=True)

    def from_grid(self, polygons: Objects) -> Objects:
        """Polygons of the CRS of :attr:`grid`, valid in the merged one."""
        return polygons if self.project is None else _moved(polygons, self)

    def within(self, area: BaseGeometry, fields: Sequence[str]) -> Piece:
        """Objects that meet the box of an area of the merged CRS, in that CRS."""
        outline = shapely.segmentize(area, area.length / (4 * _POINTS))
        back = _transformed(np.array([outline], object), self.project, self.here, self.there, back=True)
        west, south, east, north = back[0].bounds
        margin = 1e-3 * max(east - west, north - south)  # for what lies between the points
        bounds = west - margin, south - margin, east + margin, north + margin
        found = read_within(self.source.path, self.layer, fields, bounds)
        geometry = _moved(found.features.geometry, self)
        return Piece(found.numbers, Features(geometry, found.features.attributes))

    def pieces(self, fields: list[str]) -> Iterator[Piece]:
        """All objects, in the merged CRS."""
        for piece in read_pieces(self.source.path, self.layer, fields):
            moved = _moved(piece.features.geometry, self)
            yield Piece(piece.numbers, Features(moved, piece.features.attributes))


def placed(scenes: Sequence[SceneLayer], layer: str, crs: str | None) -> list[PlacedLayer]:
    """The scenes by id, in one CRS."""
    ordered = sorted(scenes, key=lambda one: one.scene)
    target = written_crs(crs or ordered[0].geobox.crs)
    return _together([PlacedLayer.of(one, layer, target) for one in ordered])


def _has_longitudes(text: str) -> bool:
    crs = CRS.from_user_input(text)
    return crs.is_geographic and crs.axis_info[0].unit_name == "degree"


def _together(layers: list[PlacedLayer]) -> list[PlacedLayer]:
    """Layers a turn on or back where they then share ground with one across the antimeridian."""
    boxes = [one.footprint.bounds for one in layers]
    if layers[0].here is None or all(west >= -_TURN / 2 and east <= _TURN / 2 for west, _, east, _ in boxes):
        return layers
    out, left, near = dict[int, PlacedLayer](), list(range(len(layers))), list[int]()
    while left:
        if not near:
            near.append(left.pop(0))
            out[near[0]] = layers[near[0]]
        one = out[near.pop(0)].footprint
        for other in left.copy():
            for turn in (0.0, _TURN, -_TURN):
                moved = translate(layers[other].footprint, turn)
                if moved.intersects(one):
                    out[other] = replace(
                        layers[other], footprint=moved, here=(layers[other].here or 0) + turn
                    )
                    left.remove(other)
                    near.append(other)
                    break
    return [out[n] for n in range(len(layers))]


def grid_over(layers: Sequence[PlacedLayer]) -> GeoBox:
    """A grid over all scenes, with pixels about as large as the first one's."""
    bounds = np.array([one.footprint.bounds for one in layers])
    (west, south), (east, north) = bounds[:, :2].min(0).tolist(), bounds[:, 2:].max(0).tolist()
    first = layers[0]
    pixel = first.pixel
    height, width = math.ceil((north - south) / pixel), math.ceil((east - west) / pixel)
    return GeoBox(height, width, Affine(pixel, 0, west, 0, -pixel, north), first.crs)


def _transformed(
    polygons: Objects,
    project: Transformer | None,
    before: float | None,
    middle: float | None,
    *,
    back: bool = False,
) -> Objects:
    """Polygons in another CRS, vertex by vertex, those with longitudes near a middle one.

    Without a projection all move by the difference of both: a scene round the world has no side to be near.
    """
    if project is None:
        turn = np.array([(middle or 0.0) - (before or 0.0), 0.0])
        return np.asarray(shapely.transform(polygons, lambda xy: xy + turn)) if turn.any() else polygons
    direction = TransformDirection.INVERSE if back else TransformDirection.FORWARD

    def move(xy: Float64) -> Float64:
        x, y = project.transform(xy[:, 0], xy[:, 1], direction=direction)
        if middle is not None:
            x = x + _TURN * np.round((middle - x) / _TURN)
        return np.stack([x, y], axis=1)

    return np.asarray(shapely.transform(polygons, move))


def _moved(polygons: Objects, layer: PlacedLayer) -> Objects:
    """Valid polygons in another CRS; where rounding makes rings cross, the largest part enclosed."""
    moved = _transformed(polygons, layer.project, layer.there, layer.here)
    if moved is not polygons:
        crossing = np.flatnonzero(~shapely.is_valid(moved))
        for n, shape in zip(crossing.tolist(), repaired(moved[crossing]), strict=True):
            parts = shapely.get_parts(shape)
            if parts.size:
                moved[n] = parts[np.argmax(shapely.area(parts))]
    return moved


def overlapping(scenes: Sequence[PlacedLayer]) -> list[tuple[int, int]]:
    """Pairs of scenes whose footprints share ground."""
    outlines = np.array([one.footprint for one in scenes], object)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects").T.tolist()
    return sorted((a, b) for a, b in pairs if a < b and outlines[a].intersection(outlines[b]).area > 0)


def near_pairs(scenes: Sequence[PlacedLayer], pixels: float) -> list[tuple[int, int]]:
    """Pairs of scenes whose footprints are at most so many pixels of the first one apart."""
    outlines = np.array([one.footprint for one in scenes], object)
    reach = np.array([pixels * one.pixel for one in scenes])
    pairs = shapely.STRtree(outlines).query(outlines, predicate="dwithin", distance=reach).T.tolist()
    return sorted((a, b) for a, b in pairs if a < b)

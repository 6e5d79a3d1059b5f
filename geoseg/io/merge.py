"""One layer for a run: the objects of all scenes, each once.

Scenes are read piece by piece. What is held of them all is a box for each scene, and for objects that have a
counterpart in another scene a few words; outlines are compared two scenes at a time, where they overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
from geoseg.io.features import Features, LayerStyle
from geoseg.io.vector import Overview, write_features
from geoseg.io.vector_read import Piece, read_pieces, read_within
from geoseg.polygons.duplicates import CONFIDENCE, Rank, counterparts, dropped

__all__ = ["Merged", "SceneLayer", "merge_layers", "merged_grid"]

_POINTS: Final = 16
"""Points on each edge of a footprint: a straight edge is none in another CRS."""
_RANKED: Final = ("id", CONFIDENCE, "touches_edge")
"""Fields that decide which of two objects stays."""


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
class Merged:
    """What became of the scenes' objects."""

    features: int
    """Objects in the merged layer."""
    duplicates: int
    """Objects left out, since another scene shows them too."""
    geobox: GeoBox
    """:func:`merged_grid` of the scenes."""


def merged_grid(scenes: Sequence[SceneLayer], crs: str | None = None) -> GeoBox:
    """A grid over all scenes, with pixels about as large as those of the scene whose id comes first.

    Args:
        scenes: at least one.
        crs: its CRS; None: that of the scene whose id comes first.

    Raises:
        OutputError: a scene lies nowhere in the CRS.
    """
    return _grid(_placed(scenes, "", crs))


def merge_layers(
    path: Path,
    layer: str,
    scenes: Sequence[SceneLayer],
    *,
    schema: Mapping[str, str],
    crs: str | None = None,
    style: LayerStyle | None = None,
    description: str = "",
    overview: Overview | None = None,
) -> Merged:
    """Write the objects of several scenes to one layer, each once.

    An object that two scenes show (:mod:`geoseg.polygons.duplicates` says when) stays from the scene whose
    edge it does not touch, then the one that is surer of it, then the one whose id comes first. The layer
    does not depend on the order of the scenes: it holds them by id, each in the order of its own file. All
    attributes stay as they are; areas were measured on the ellipsoid, so another CRS does not change them.

    Args:
        path: final name; its ending is the format.
        layer: the layer's name, in every scene's file and in the merged one.
        scenes: at least one; ids are unique.
        schema: the fields, as they are in every scene's file, with ``id``, ``touches_edge`` and
            :data:`geoseg.polygons.duplicates.CONFIDENCE`.
        crs: CRS of the merged layer; None: that of the scene whose id comes first.
        style: default style.
        description: what the layer is, for people.
        overview: a generalised second layer; a GeoPackage only.

    Returns:
        How many objects there are.

    Raises:
        OutputError: a scene's file cannot be read or lies nowhere in the CRS, or the layer cannot be written.
    """
    placed = _placed(scenes, layer, crs)
    geobox = _grid(placed)
    gone = _duplicates(placed)
    features = write_features(
        path,
        layer,
        (batch for number, one in enumerate(placed) for batch in one.kept(list(schema), gone[number])),
        geobox=geobox,
        schema=schema,
        style=style,
        description=description,
        overview=overview,
    )
    return Merged(features, sum(map(len, gone)), geobox)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A scene's layer, and the way from its CRS to the merged one's."""

    source: SceneLayer
    layer: str
    crs: str
    """The merged CRS."""
    way: Transformer | None
    """None: both are the same."""
    footprint: shapely.Polygon
    """In the merged CRS."""

    @classmethod
    def of(cls, source: SceneLayer, layer: str, target: str) -> _Placed:
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

    def within(self, area: BaseGeometry) -> Piece:
        """Objects that meet an area of the merged CRS, in that CRS, with what ranks them."""
        outline = shapely.segmentize(area, area.length / (4 * _POINTS))
        west, south, east, north = _transformed(np.array([outline], object), self.way, back=True)[0].bounds
        margin = 1e-3 * max(east - west, north - south)  # for what lies between the points
        bounds = west - margin, south - margin, east + margin, north + margin
        found = read_within(self.source.path, self.layer, _RANKED, bounds)
        geometry = _moved(found.features.geometry, self.way)
        return Piece(found.numbers, Features(geometry, found.features.attributes))

    def kept(self, fields: list[str], gone: set[int]) -> Iterator[Features]:
        """The objects that stay, in the merged CRS."""
        numbers = np.array(sorted(gone), np.int64)
        for piece in read_pieces(self.source.path, self.layer, fields):
            stay = piece.features[~np.isin(piece.numbers, numbers)]
            yield Features(_moved(stay.geometry, self.way), stay.attributes)


def _placed(scenes: Sequence[SceneLayer], layer: str, crs: str | None) -> list[_Placed]:
    """The scenes by id, in one CRS."""
    ordered = sorted(scenes, key=lambda one: one.scene)
    target = written_crs(crs or ordered[0].geobox.crs)
    return [_Placed.of(one, layer, target) for one in ordered]


def _grid(placed: Sequence[_Placed]) -> GeoBox:
    bounds = np.array([one.footprint.bounds for one in placed])
    (west, south), (east, north) = bounds[:, :2].min(0).tolist(), bounds[:, 2:].max(0).tolist()
    first = placed[0]
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


def _duplicates(scenes: Sequence[_Placed]) -> list[set[int]]:
    """Numbers of the objects that go, for each scene."""
    index: dict[tuple[int, int], int] = {}
    ranks: list[Rank] = []
    areas: list[float] = []
    alike: list[tuple[int, int]] = []
    within: list[tuple[int, int]] = []

    def node(scene: int, piece: Piece, position: int) -> int:
        key = (scene, int(piece.numbers[position]))
        if key not in index:
            index[key] = len(ranks)
            values = piece.features.attributes
            ranks.append(
                (
                    bool(values["touches_edge"][position]),
                    -float(values[CONFIDENCE][position]),
                    scenes[scene].source.scene,
                    str(values["id"][position]),
                )
            )
            areas.append(shapely.area(piece.features.geometry[position]))
        return index[key]

    for one, other in _overlapping(scenes):
        shared = scenes[one].footprint.intersection(scenes[other].footprint)
        first, second = scenes[one].within(shared), scenes[other].within(shared)
        found = counterparts(
            first.features.geometry,
            second.features.geometry,
            first.features.attributes["touches_edge"].astype(np.bool_),
            second.features.attributes["touches_edge"].astype(np.bool_),
        )
        alike += [(node(one, first, a), node(other, second, b)) for a, b in found.alike.tolist()]
        for (a, b), holds in zip(found.within.tolist(), found.first_holds.tolist(), strict=True):
            pair = node(one, first, a), node(other, second, b)
            within.append(pair if holds else pair[::-1])
    gone = dropped(ranks, areas, alike, within)
    numbers: list[set[int]] = [set() for _ in scenes]
    for (scene, number), position in index.items():
        if position in gone:
            numbers[scene].add(number)
    return numbers


def _overlapping(scenes: Sequence[_Placed]) -> list[tuple[int, int]]:
    """Pairs of scenes whose footprints share ground."""
    outlines = np.array([one.footprint for one in scenes], object)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects").T.tolist()
    return sorted((a, b) for a, b in pairs if a < b and outlines[a].intersection(outlines[b]).area > 0)

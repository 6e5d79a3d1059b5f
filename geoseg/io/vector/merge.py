"""One layer for a run: the objects of all scenes, each once.

Scenes are read piece by piece. What is held of them all is a box for each scene, and for objects that have a
counterpart in another scene a few words; outlines are compared two scenes at a time, where they overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from geoseg.arrays import Objects
from geoseg.grid.geobox import GeoBox
from geoseg.io.vector.features import Features, LayerStyle
from geoseg.io.vector.placement import PlacedLayer, SceneLayer, grid_over, overlapping, placed
from geoseg.io.vector.reader import Piece, layer_info
from geoseg.io.vector.writer import Overview, write_features
from geoseg.polygons.attributes import CONFIDENCE
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.mosaic import Rank, counterparts, difference, dropped

__all__ = ["Join", "Joined", "Merged", "merge_layers", "merged_grid"]

_RANKED: Final = ("id", CONFIDENCE, "touches_edge")
"""Fields that decide which of two objects stays."""
_SLIVER: Final = 1e-3
"""Part of a pixel below which what is left of a polygon is rounding."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of the scenes' objects: how many there are now, and their :func:`merged_grid`."""

    features: int
    duplicates: int
    """Objects left out, since another scene shows them too (of a coverage, less those that were parted)."""
    pieces: int
    """Objects that scenes' edges have cut, replaced by what they are pieces of."""
    joined: int
    """What replaced them."""
    geobox: GeoBox


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Objects on the edges of scenes, made whole."""

    features: Features
    """They, in the merged CRS, with the fields of the layer."""
    pieces: Sequence[AbstractSet[int]]
    """Numbers of the objects that they replace, for each scene."""


Join = Callable[[Sequence[PlacedLayer], Sequence[AbstractSet[int]]], Joined]
"""The scenes, and for each the numbers of objects that are left out as duplicates → what is joined."""


def merged_grid(scenes: Sequence[SceneLayer], crs: str | None = None) -> GeoBox:
    """A grid over all scenes, with pixels about as large as those of the scene whose id comes first.

    Its CRS is ``crs``; None: that scene's. A scene that lies nowhere in it is an OutputError.
    """
    return grid_over(placed(scenes, "", crs))


def merge_layers(
    path: Path,
    layer: str,
    scenes: Sequence[SceneLayer],
    *,
    schema: Mapping[str, str],
    crs: str | None = None,
    coverage: bool = False,
    join: Join | None = None,
    style: LayerStyle | None = None,
    description: str = "",
    overview: Overview | None = None,
) -> Merged:
    """Write the objects of several scenes to one layer, each once.

    An object that two scenes show (:mod:`geoseg.polygons.mosaic` says when) stays from the scene
    whose edge it does not touch, then the one that is surer of it, then the one whose id comes first. The
    layer does not depend on the order of the scenes: it holds them by id, each in the order of its file. All
    attributes stay as they are; areas were measured on the ellipsoid, so another CRS does not change them.
    What ``join`` makes of pieces follows after all others.

    Of coverages, the scene whose id comes first keeps all its polygons, and every other one fills what is
    left (:mod:`geoseg.polygons.mosaic`): no ground is covered twice, none that a scene covers is lost.
    What is cut is measured again. A second part of a polygon has the first one's id with ``.2`` appended.

    Args:
        path: final name; its ending is the format.
        layer: its name, in every scene's file, too.
        scenes: at least one; ids are unique.
        schema: the fields, as they are in every scene's file, with ``id``, ``touches_edge`` and
            :data:`geoseg.polygons.attributes.CONFIDENCE`.
        crs: CRS of the merged layer; None: that of the scene whose id comes first.
        coverage: whether each scene's polygons cover their ground without overlaps.
        join: makes one object of pieces that scenes' edges have cut; of a coverage, nothing is joined.
        overview: a generalized second layer; a GeoPackage only.

    Raises:
        OutputError: a scene's file cannot be read or lies nowhere in the CRS, or the layer cannot be written.
        GridError: parts of a coverage have no longitude and latitude, so areas cannot be measured.
    """
    layers, fields = placed(scenes, layer, crs), list(schema)
    geobox = grid_over(layers)
    gone = [set[int]() for _ in layers] if coverage else _duplicates(layers)
    joined = None if coverage or join is None else join(layers, gone)
    features = write_features(
        path,
        layer,
        _covering(layers, fields) if coverage else _distinct(layers, fields, gone, joined),
        geobox=geobox,
        schema=schema,
        style=style,
        description=description,
        overview=overview,
    )
    read = sum(layer_info(one.path, layer).count for one in scenes)
    pieces = 0 if joined is None else sum(map(len, joined.pieces))
    made = 0 if joined is None else joined.features.geometry.size
    return Merged(features, read - pieces - (features - made), pieces, made, geobox)


def _distinct(
    layers: Sequence[PlacedLayer], fields: list[str], gone: Sequence[set[int]], joined: Joined | None
) -> Iterator[Features]:
    """The objects of all scenes but those that another scene shows better, then what was joined."""
    for n, layer in enumerate(layers):
        left_out = sorted(gone[n] if joined is None else gone[n] | joined.pieces[n])
        for piece in layer.pieces(fields):
            yield piece.features[~np.isin(piece.numbers, left_out)]
    if joined is not None:
        yield joined.features


def _covering(layers: Sequence[PlacedLayer], fields: list[str]) -> Iterator[Features]:
    """The polygons of all scenes of a coverage, each on the ground that the scenes before it leave."""
    for number, layer in enumerate(layers):
        rest = _Rest.beside(layers, number)
        for piece in layer.pieces(fields):
            yield rest.of(piece.features)


@dataclass(frozen=True, slots=True)
class _Rest:
    """The ground that is left to a scene of a coverage."""

    taken: Objects
    """Polygons of the scenes before, where they share ground with this one."""
    meter: AreaMeter
    least: float
    """Area of the smallest part that counts, in square CRS units."""

    @classmethod
    def beside(cls, scenes: Sequence[PlacedLayer], number: int) -> _Rest:
        mine = scenes[number].footprint
        before = [one for one in scenes[:number] if one.footprint.intersects(mine)]
        taken = [one.within(one.footprint.intersection(mine), ()).features.geometry for one in before]
        grid = grid_over([scenes[number]])
        pixel = abs(grid.transform.determinant)
        return cls(np.concatenate([np.zeros(0, object), *taken]), AreaMeter.of(grid), _SLIVER * pixel)

    def of(self, found: Features) -> Features:
        parts, source = difference(found.geometry, self.taken, self.least)
        values = {name: column[source] for name, column in found.attributes.items()}
        nth = np.arange(source.size) - np.searchsorted(source, source)
        second = np.flatnonzero(nth)
        values["id"][second] = [f"{values['id'][n]}.{nth[n] + 1}" for n in second.tolist()]
        cut = np.flatnonzero(parts != found.geometry[source])
        area, perimeter = self.meter.sizes(parts[cut])
        for name, sizes in (("area_m2", area), ("perimeter_m", perimeter)):
            if name in values:
                values[name][cut] = sizes
        return Features(parts, values)


def _duplicates(scenes: Sequence[PlacedLayer]) -> list[set[int]]:
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

    for one, other in overlapping(scenes):
        shared = scenes[one].footprint.intersection(scenes[other].footprint)
        first, second = scenes[one].within(shared, _RANKED), scenes[other].within(shared, _RANKED)
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

"""Pieces of objects that the edges of scenes have cut become one object again.

An object goes on in the next scene where pixels beside it, beyond its own scene's data, are data there. Then
the probabilities of all scenes around it are laid on one grid, its region is found there whole, and what the
scenes themselves are vectorized with makes polygons of that region; they replace all objects that lie in it:

       scene a   │   scene b                 ┌───────────────┐
      ┌──────────┤├──────────┐               │               │
      │  piece   ││  piece   │      ->       │    object     │
      └──────────┤├──────────┘               │               │
                 │                           └───────────────┘

A region is what it is whichever piece it was found from, so the order of scenes does not matter. Where the
probabilities cannot be laid together, or the region is too large, the polygons of the pieces are united.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geoseg.engine.plan import Plan
from geoseg.flow.run.join.regions import REACH, Region, Regions, extent, pixels_in
from geoseg.grid.polygons import moved
from geoseg.io.vector.features import Features, joined
from geoseg.io.vector.merge import Join, Joined
from geoseg.io.vector.placement import PlacedLayer, grid_over, near_pairs
from geoseg.io.vector.reader import Piece
from geoseg.io.vector.writer import FORMATS
from geoseg.polygons.attributes import CONFIDENCE, FIELDS
from geoseg.polygons.geodesic import AreaMeter
from geoseg.polygons.mosaic import touching, united

__all__ = ["joiner"]

_LOST: Final = 0.2
"""Part of the replaced objects' pixels that may be another scene's, in which they are none of the region."""
_OVERLAP: Final = 1e-3
"""Area in square pixels below which an overlap is rounding."""
_SAME: Final = 1e-3
"""Pixels by which outlines of the same object may differ: rounding of the grids' places."""
_HELD: Final = 4
"""Layers that are held whole, of files without an index."""
_FIELDS: Final = ("class_id", "touches_edge")
_UNITED: Final = "united"
"""Kind of shape of what is no fit but the union of fitted pieces."""


def joiner(plans: Sequence[Plan]) -> Join:
    """What joins the objects of finished scenes, for :func:`geoseg.io.vector.merge.merge_layers`.

    All plans are of one workflow, with ``objects`` or ``exact`` polygons.
    """
    options = plans[0].vectorize
    assert options is not None
    is_cut = options.mode != "objects" or options.overlaps == "cut"
    by_scene = {plan.scene.ref.id: plan for plan in plans}

    def join(layers: Sequence[PlacedLayer], gone: Sequence[AbstractSet[int]]) -> Joined:
        regions = Regions([by_scene[layer.source.scene] for layer in layers], layers)
        try:
            return _Joining(regions, layers, gone, is_cut=is_cut).run()
        finally:
            regions.close()

    return join


Key = tuple[int, int]
"""A scene's place among the layers, and the number of an object in its file."""


@dataclass(frozen=True, slots=True, eq=False)
class _SceneObject:
    """An object of a scene."""

    scene: int
    number: int
    polygon: shapely.Polygon
    """In the merged CRS."""
    class_id: int
    touches_edge: bool

    @property
    def key(self) -> Key:
        return self.scene, self.number


class _Joining:
    """One merging on its way; see the module."""

    def __init__(
        self,
        regions: Regions,
        layers: Sequence[PlacedLayer],
        gone: Sequence[AbstractSet[int]],
        *,
        is_cut: bool,
    ) -> None:
        self._regions, self._layers, self._gone, self._is_cut = regions, layers, gone, is_cut
        self._tree = shapely.STRtree([layer.footprint for layer in layers])
        self._meters: dict[str, AreaMeter] = {}
        self._held: dict[int, Piece] = {}
        self._settled: set[Key] = set()
        """Objects whose region was looked at."""
        self._replaced: set[Key] = set()
        self._apart: dict[Key, tuple[_SceneObject, int]] = {}
        """Pieces to be united as polygons with those of another number, of which those have the same whose
        probabilities say already that they end."""
        self._made: list[Features] = []
        """One object each."""
        self._beside: list[list[_SceneObject]] = []
        """For each of these, objects that share ground with it and stay, as far as is known."""

    def run(self) -> Joined:
        pieces = self._cut_pieces()
        for _, piece in sorted(pieces.items()):
            if piece.key not in self._settled:
                self._settled.add(piece.key)
                self._refit(piece)
        self._find_unseen(list(pieces.values()))
        self._unite()
        numbers: list[set[int]] = [set() for _ in self._layers]
        for scene, number in self._replaced:
            numbers[scene].add(number)
        return Joined(self._parted(), numbers)

    def _cut_pieces(self) -> dict[Key, _SceneObject]:
        """Objects at an edge of their scene where another scene is near."""
        found: dict[Key, _SceneObject] = {}
        for pair in near_pairs(self._layers, REACH):
            for mine, other in (pair, pair[::-1]):
                layer = self._layers[mine]
                near = shapely.buffer(self._layers[other].footprint, REACH * layer.pixel, join_style="mitre")
                for piece in self._objects(mine, near.intersection(layer.footprint)):
                    if piece.touches_edge:
                        found[piece.key] = piece
        return found

    def _objects(self, scene: int, area: BaseGeometry) -> Iterator[_SceneObject]:
        """Objects of a scene that meet an area of the merged CRS and are there still."""
        found = self._near(scene, area)
        values = found.features.attributes
        for n in np.flatnonzero(shapely.intersects(found.features.geometry, area)).tolist():
            number = int(found.numbers[n])
            if number not in self._gone[scene] and (scene, number) not in self._replaced:
                yield _SceneObject(
                    scene,
                    number,
                    found.features.geometry[n],
                    int(values["class_id"][n]),
                    bool(values["touches_edge"][n]),
                )

    def _near(self, scene: int, area: BaseGeometry) -> Piece:
        """Objects of a scene, at least those that meet an area; files without an index are held."""
        layer = self._layers[scene]
        if layer.source.path.suffix != FORMATS["parquet"]:
            return layer.within(area, _FIELDS)
        if scene not in self._held:
            if len(self._held) >= _HELD:
                del self._held[next(iter(self._held))]
            self._held[scene] = layer.within(layer.footprint, _FIELDS)
        return self._held[scene]

    def _refit(self, piece: _SceneObject) -> None:
        """Find the region of a piece and replace all objects in it, or leave the piece to be united."""
        group = self._regions.group(piece.scene)
        (outline,) = self._layers[piece.scene].to_grid(np.array([piece.polygon], object))
        if group is None or self._regions.is_large(piece.scene, outline):
            self._apart[piece.key] = piece, -1 - piece.scene
            return
        if not self._regions.goes_on(piece.scene, outline):
            self._apart[piece.key] = piece, group
            return
        region = self._regions.find(piece.scene, outline, piece.class_id)
        if region is None:
            return
        members, beside = self._objects_of(region)
        self._settled |= {one.key for one in members}
        if not region.is_whole:
            self._apart |= {one.key: (one, -1 - one.scene) for one in (piece, *members)}
        elif self._agree(region, members):
            made = self._regions.polygons(region)
            same = self._unchanged(made, members)
            self._replaced |= {one.key for one in members if one.key not in same.values()}
            for n in range(made.geometry.size):
                if n not in same:
                    self._add(made[np.array([n])], beside)

    def _objects_of(self, region: Region) -> tuple[list[_SceneObject], list[_SceneObject]]:
        """Objects of all scenes that lie in a region, and others near it."""
        layer, grid = self._layers[region.scene], region.patch.grid
        rows, cols = extent(region.inside)
        box = shapely.box(cols.start - 2, rows.start - 2, cols.stop + 2, rows.stop + 2)
        (area,) = layer.from_grid(moved(np.array([box], object), grid.transform))
        members, beside = list[_SceneObject](), list[_SceneObject]()
        for scene in np.sort(self._tree.query(area, predicate="intersects")).tolist():
            for one in self._objects(scene, area):
                pixels = pixels_in(layer.to_grid(np.array([one.polygon], object))[0], grid)
                held = np.count_nonzero(pixels & region.inside)
                is_in = one.class_id == region.class_id and 0 < np.count_nonzero(pixels) <= 2 * held
                (members if is_in else beside).append(one)
        return members, beside

    def _agree(self, region: Region, members: Sequence[_SceneObject]) -> bool:
        """Whether a region holds the objects in it also where scenes overlap: they may be of other years."""
        layer, patch = self._layers[region.scene], region.patch
        pixels, lost = np.zeros(patch.grid.shape, np.bool_), np.zeros(patch.grid.shape, np.bool_)
        for one in members:
            inside = pixels_in(layer.to_grid(np.array([one.polygon], object))[0], patch.grid)
            pixels |= inside
            lost |= inside & (patch.owner >= 0) & (patch.owner != one.scene)
        return bool(np.count_nonzero(lost & ~region.inside) <= _LOST * np.count_nonzero(pixels))

    def _unchanged(self, made: Features, members: Sequence[_SceneObject]) -> dict[int, Key]:
        """Which of the new objects a scene has just so, and its object."""
        out: dict[int, Key] = {}
        for n, polygon in enumerate(made.geometry):
            for one in members:
                near = _SAME * self._layers[one.scene].pixel
                if one.touches_edge == made.attributes["touches_edge"][n] and shapely.equals_exact(
                    shapely.normalize(polygon), shapely.normalize(one.polygon), near
                ):
                    out[n] = one.key
        return out

    def _add(self, made: Features, beside: Sequence[_SceneObject]) -> None:
        (polygon,) = made.geometry
        shared = shapely.area(shapely.intersection(polygon, [one.polygon for one in beside]))
        least = [_OVERLAP * self._layers[one.scene].pixel ** 2 for one in beside]
        self._made.append(made)
        self._beside.append([beside[n] for n in np.flatnonzero(shared > least).tolist()])

    def _find_unseen(self, pieces: Sequence[_SceneObject]) -> None:
        """Add objects that a cut has made too small for both scenes."""
        seen = shapely.STRtree(
            [*(piece.polygon for piece in pieces), *(one.geometry[0] for one in self._made)]
        )
        added: list[shapely.Polygon] = []
        for scene, class_id, grid, pixels in self._regions.crossings():
            points = moved(np.asarray(shapely.points(pixels[:, ::-1] + 0.5)), grid.transform)
            merged = self._layers[scene].from_grid(points)
            if (
                seen.query(merged, predicate="intersects").size
                or shapely.intersects(merged[:, None], np.array(added, object)).any()
            ):
                continue
            row, col = pixels[0].tolist()
            (pixel,) = moved(np.array([shapely.box(col, row, col + 1, row + 1)], object), grid.transform)
            region = self._regions.find(scene, pixel, class_id)
            if region is None or not region.is_whole:
                continue
            members, beside = self._objects_of(region)
            if members:
                continue
            made = self._regions.polygons(region)
            for n in range(made.geometry.size):
                self._add(made[np.array([n])], beside)
                added.append(made.geometry[n])

    def _unite(self) -> None:
        """Make one polygon of those that touch across the edges of scenes."""
        found = [one for key, one in sorted(self._apart.items()) if key not in self._replaced]
        found += [one for piece, source in found if source < 0 for one in self._beyond(piece)]
        if not found:
            return
        pixel = max(self._layers[piece.scene].pixel for piece, _ in found)
        polygons = np.array([piece.polygon for piece, _ in found], object)
        sources = np.array([source for _, source in found])
        classes = np.array([piece.class_id for piece, _ in found])
        for group in touching(polygons, sources, classes, pixel):
            whole = united(polygons[group], pixel)
            keys = {found[n][0].key for n in group.tolist()}
            parts = [self._apart[key][0] for key in sorted(keys & self._apart.keys())]
            if whole is not None and parts:
                self._made.append(self._summed(whole, parts))
                self._beside.append([])
                self._replaced |= {one.key for one in parts}

    def _beyond(self, piece: _SceneObject) -> Iterator[tuple[_SceneObject, int]]:
        """What duplicates of a piece show of its object beyond its own scene, with a number for uniting."""
        layer = self._layers[piece.scene]
        for scene in np.sort(self._tree.query(piece.polygon, predicate="intersects")).tolist():
            near = self._near(scene, piece.polygon)
            geometry, values = near.features.geometry, near.features.attributes
            alike = values["touches_edge"].astype(np.bool_) & (values["class_id"] == piece.class_id)
            alike &= np.isin(near.numbers, sorted(self._gone[scene]))
            for n in np.flatnonzero(alike & shapely.intersects(geometry, piece.polygon)).tolist():
                rest = shapely.difference(geometry[n], layer.footprint)
                if rest.area > layer.pixel**2:
                    for part in shapely.get_parts(rest).tolist():
                        number = int(near.numbers[n])
                        yield _SceneObject(scene, number, part, piece.class_id, touches_edge=True), -1 - scene

    def _summed(self, whole: shapely.Polygon, pieces: Sequence[_SceneObject]) -> Features:
        """A united polygon with attributes from those of its pieces, weighted by their areas."""
        read = []
        for one in pieces:
            found = self._layers[one.scene].within(one.polygon, list(FIELDS))
            read.append(found.features[found.numbers == one.number])
        parts = joined(read, list(FIELDS))
        values = {name: column[:1].copy() for name, column in parts.attributes.items()}
        weights = parts.attributes["area_m2"]
        for name in (CONFIDENCE, "conf_edge", "conf_right"):
            values[name][0] = np.average(parts.attributes[name], weights=weights)
        values["conf_p10"][0] = parts.attributes["conf_p10"].min()
        values["reg_iou"][0] = np.nan
        if not (parts.attributes["shape"] == "exact").all():
            values["shape"][0] = _UNITED
        made = Features(np.array([whole], object), values)
        self._measure(made, 0)
        return made

    def _measure(self, made: Features, n: int) -> None:
        """Measure an object again, as its scene lies in the merged CRS."""
        scene = str(made.attributes["scene"][n])
        if scene not in self._meters:
            layer = next(one for one in self._layers if one.source.scene == scene)
            self._meters[scene] = AreaMeter.of(grid_over([layer]))
        area, perimeter = self._meters[scene].sizes(made.geometry[n : n + 1])
        made.attributes["area_m2"][n], made.attributes["perimeter_m"][n] = area[0], perimeter[0]

    def _parted(self) -> Features:
        """All that was made, without the ground of what stays and of each other, with ids of their own."""
        if not self._made:
            return Features(np.zeros(0, np.object_), {name: np.zeros(0, np.object_) for name in FIELDS})
        made = joined(self._made, list(FIELDS))
        if self._is_cut:
            taken = [
                [one.polygon for one in beside if one.key not in self._replaced] for beside in self._beside
            ]
            self._cut(made, taken)
        ids: dict[str, int] = {}
        for n, name in enumerate(made.attributes["id"].tolist()):
            ids[name] = ids.get(name, 0) + 1
            if ids[name] > 1:
                made.attributes["id"][n] = f"{name}.{ids[name]}"
        return made

    def _cut(self, made: Features, taken: Sequence[list[shapely.Polygon]]) -> None:
        """Leave out of each object what is taken of it, and what those before it cover."""
        polygons = made.geometry
        pixel = max(layer.pixel for layer in self._layers)
        later, before = shapely.STRtree(polygons).query(polygons, predicate="intersects")
        later, before = later[before < later], before[before < later]
        order = np.lexsort((before, later))
        later, before = later[order], before[order]
        for n in range(polygons.size):
            first, stop = np.searchsorted(later, (n, n + 1))
            others = np.array([*taken[n], *polygons[before[first:stop]]], object)
            others = others[shapely.area(shapely.intersection(polygons[n], others)) > _OVERLAP * pixel**2]
            if not others.size:
                continue
            parts = shapely.get_parts(shapely.difference(polygons[n], shapely.union_all(others)))
            parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
            if parts.size:
                polygons[n] = shapely.orient_polygons(parts[np.argmax(shapely.area(parts))])
                self._measure(made, n)

"""Regions of a class across the edges of scenes, and the polygons that the scenes together have of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import shapely
from scipy import ndimage

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.engine.bounds import POLYGON_STRIP
from geoseg.engine.finished import PROBABILITY_NAME
from geoseg.engine.outputs import calibrated_by_class, provenance_of
from geoseg.engine.plan import Plan
from geoseg.engine.vectorize import ProbabilityRaster, find_shapes
from geoseg.flow.run.join.probabilities import Patch, ProbabilityMosaic, StoredScene
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.grid.polygons import moved
from geoseg.grid.window import Window, row_windows
from geoseg.io.vector.features import Features, features_of
from geoseg.io.vector.placement import PlacedLayer, near_pairs
from geoseg.polygons.objects.overlaps import within_area
from geoseg.polygons.shapes import Shapes

__all__ = ["REACH", "Region", "Regions", "extent", "pixels_in"]

REACH: Final = 3
"""Pixels from a scene's edge within which an object is that touches it."""
_AROUND: Final = 32
"""Pixels around a region that its polygons are fitted in: neighbors take part of the ground."""
_LARGEST: Final = 1 << 21
"""Stored values, of all bands, of the largest window that probabilities are laid together in: 100 MB."""
_OF_SCENE: Final = ("scene", "acquired", "model", "model_sha256", "run_id")


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A region of one class and what lies around it."""

    scene: int
    """The scene, by its place among the layers, whose pixels the patch has."""
    class_id: int
    patch: Patch
    """Scenes that own its pixels are by their places among the layers, too."""
    inside: Bool
    """Its pixels, shape of the patch."""
    is_whole: bool
    """Whether it is in the patch whole, or too large for that."""


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Scenes whose probabilities can be laid together."""

    number: int
    mosaic: ProbabilityMosaic
    places: Mapping[int, int]
    """Place among the layers → place in the mosaic, both rising."""


class Regions:
    """The regions of a run's scenes, which are known by their places among the layers.

    Outlines are in the CRS of a scene's own grid, polygons that come back in the merged one.
    """

    def __init__(self, plans: Sequence[Plan], layers: Sequence[PlacedLayer]) -> None:
        self._plans, self._layers = plans, layers
        self._groups = self._grouped()

    def _grouped(self) -> dict[int, _Group]:
        """The groups, by the place of each scene whose probabilities are stored."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for n, (plan, layer) in enumerate(zip(self._plans, self._layers, strict=True)):
            if plan.is_reusable:
                sides = np.array(layer.grid.transform[:6])[[0, 1, 3, 4]]
                direction = np.round(sides / math.sqrt(abs(layer.grid.transform.determinant)), 6) + 0.0
                alike.setdefault((layer.grid.crs, layer.project is None, *direction.tolist()), []).append(n)
        groups: dict[int, _Group] = {}
        for number, scenes in enumerate(alike.values()):
            stored = [
                StoredScene(self._plans[n].folder / PROBABILITY_NAME, self._layers[n].grid) for n in scenes
            ]
            mosaic = ProbabilityMosaic(stored, self._plans[scenes[0]].encoding.count)
            group = _Group(number, mosaic, {n: place for place, n in enumerate(scenes)})
            groups |= dict.fromkeys(scenes, group)
        return groups

    def close(self) -> None:
        """Close all files."""
        for group in self._groups.values():
            group.mosaic.close()

    def group(self, scene: int) -> int | None:
        """The number of those that a scene's probabilities can be laid together with; None: not stored."""
        return None if scene not in self._groups else self._groups[scene].number

    def is_large(self, scene: int, outline: shapely.Polygon) -> bool:
        """Whether an object is too large for its region to be found."""
        window = _window(outline, self._layers[scene].grid).pad(REACH + 1)
        return window.pixels * self._plans[scene].encoding.count > _LARGEST

    def goes_on(self, scene: int, outline: shapely.Polygon) -> bool:
        """Whether others have data beside an object of a scene, where that has none."""
        group = self._groups[scene]
        place, window = group.places[scene], _window(outline, self._layers[scene].grid).pad(REACH + 1)
        patch, own = group.mosaic.patch(place, window), group.mosaic.has_data(place, window)
        near = ndimage.binary_dilation(pixels_in(outline, patch.grid), iterations=REACH)
        return bool((near & (patch.owner >= 0) & ~own).any())

    def find(self, scene: int, outline: shapely.Polygon, class_id: int) -> Region | None:
        """The region of a class that most of an outline's pixels are of; None: there is none.

        The window grows until the region is in it whole. It is then laid around the region, so that it is the
        same from wherever the region was found.
        """
        group, plan = self._groups[scene], self._plans[scene]
        place, window = group.places[scene], _window(outline, self._layers[scene].grid).pad(1)
        while True:
            patch = group.mosaic.patch(place, window)
            inside = _connected(patch, outline, plan, class_id)
            if inside is None:
                return None
            grown = _grown(window, inside)
            if grown == window:
                break
            if grown.pixels * plan.encoding.count > _LARGEST:
                return Region(scene, class_id, patch, inside, is_whole=False)
            window = grown
        assert plan.vectorize is not None
        align = plan.vectorize.regularize.align.pixels(ground_resolution(patch.grid).mean)
        rows, cols = extent(inside)
        around = Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        around = around.shift(window.row, window.col).pad(_AROUND + math.ceil(align))
        patch = group.mosaic.patch(place, group.mosaic.clipped(place, around))
        inside = _connected(patch, outline, plan, class_id)
        if inside is None:
            return None
        scenes = np.array([*group.places, -1])  # in the order of their places; the last one is for no scene
        return Region(scene, class_id, replace(patch, owner=scenes[patch.owner]), inside, is_whole=True)

    def polygons(self, region: Region) -> Features:
        """The polygons of a region, in the merged CRS."""
        plan, patch = self._plans[region.scene], region.patch
        assert plan.vectorize is not None

        def strips() -> Iterator[UInt8]:
            for part in row_windows(patch.grid.shape, max(1, POLYGON_STRIP // patch.grid.width)):
                yield patch.stored[:, part.row : part.row_stop]

        names = plan.outlined
        raster = ProbabilityRaster(patch.grid, plan.encoding, strips)
        shapes = Shapes.join(list(find_shapes(raster, list(names), plan.vectorize)))
        shapes = shapes.choose(np.flatnonzero(region.inside.ravel()[shapes.first]))
        clipped = within_area(shapes.polygons, self._groups[region.scene].mosaic.ground(patch.grid))[0]
        shapes = replace(shapes, polygons=clipped)
        found = features_of([shapes], patch.grid, names, provenance_of(plan), calibrated_by_class(plan))
        made = self._owned(next(iter(found)), shapes, patch)
        return Features(self._layers[region.scene].from_grid(made.geometry), made.attributes)

    def _owned(self, made: Features, shapes: Shapes, patch: Patch) -> Features:
        """The same as objects of the scenes in which they start."""
        values = {name: column.copy() for name, column in made.attributes.items()}
        for n, first in enumerate(shapes.first.tolist()):
            row, col = divmod(first, patch.grid.width)
            scene = int(patch.owner[row, col])
            provenance = provenance_of(self._plans[scene])
            to_scene = ~self._layers[scene].grid.transform @ patch.grid.transform
            x, y = to_scene @ (col + 0.5, row + 0.5)
            values["id"][n] = f"{provenance.slug}-{math.floor(y)}-{math.floor(x)}"
            for name in _OF_SCENE:
                values[name][n] = getattr(provenance, name)
        return Features(made.geometry, values)

    def crossings(self) -> Iterator[tuple[int, int, GeoBox, Int64]]:
        """Pixels of a class that touch each other across an edge: scene, class, grid, (row, column) there."""
        for one, other in near_pairs(self._layers, REACH):
            group = self._groups.get(one)
            if group is None or other not in group.places:
                continue
            names = self._plans[one].outlined
            for window in group.mosaic.borders(group.places[one], group.places[other]):
                patch = group.mosaic.patch(group.places[one], window)
                classes = self._plans[one].encoding.classify(patch.stored)
                for class_id in names:
                    for pixels in _of_two(classes == class_id, patch.owner):
                        yield one, class_id, patch.grid, pixels


def _in_pixels(polygon: shapely.Polygon, grid: GeoBox) -> shapely.Polygon:
    found: shapely.Polygon = moved(np.array([polygon], object), ~grid.transform)[0]
    return found


def _window(polygon: shapely.Polygon, grid: GeoBox) -> Window:
    """The pixels of a grid that a polygon meets; they may lie beyond its edge."""
    west, north, east, south = _in_pixels(polygon, grid).bounds
    row, col = math.floor(north), math.floor(west)
    return Window(row, col, max(1, math.ceil(south) - row), max(1, math.ceil(east) - col))


def pixels_in(polygon: shapely.Polygon, grid: GeoBox) -> Bool:
    """Pixels whose centers lie in a polygon, shape of the grid."""
    outline = _in_pixels(polygon, grid)
    west, north, east, south = outline.bounds
    rows = slice(max(0, math.floor(north)), min(grid.height, math.ceil(south)))
    cols = slice(max(0, math.floor(west)), min(grid.width, math.ceil(east)))
    out = np.zeros(grid.shape, np.bool_)
    if rows.stop > rows.start and cols.stop > cols.start:
        x, y = np.meshgrid(np.arange(cols.start, cols.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5)
        shapely.prepare(outline)
        out[rows, cols] = shapely.contains_xy(outline, x, y)
    return out


def _connected(patch: Patch, polygon: shapely.Polygon, plan: Plan, class_id: int) -> Bool | None:
    """The region of a class that holds most of a polygon's pixels; None: none holds half of them."""
    labels, _ = ndimage.label(plan.encoding.classify(patch.stored) == class_id)
    found = labels[pixels_in(polygon, patch.grid)]
    counts = np.bincount(found, minlength=2)
    label = 1 + int(np.argmax(counts[1:]))
    if not found.size or 2 * counts[label] < found.size:
        return None
    region: Bool = labels == label
    return region


def extent(inside: Bool) -> tuple[slice, slice]:
    """Rows and columns from the first to the last pixel."""
    rows, cols = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def _grown(window: Window, inside: Bool) -> Window:
    """The window, twice as far on the sides that a region reaches."""
    rows, cols = extent(inside)
    up, left = window.height * (rows.start == 0), window.width * (cols.start == 0)
    down = window.height * (rows.stop == window.height)
    right = window.width * (cols.stop == window.width)
    return Window(window.row - up, window.col - left, window.height + up + down, window.width + left + right)


def _of_two(mask: Bool, owner: Int64) -> Iterator[Int64]:
    """Pixels, (row, column) of shape (n, 2), of each connected part of a mask that two scenes own."""
    labels, count = ndimage.label(mask & (owner >= 0))
    parts = np.arange(1, count + 1)
    is_crossing = ndimage.minimum(owner, labels, parts) != ndimage.maximum(owner, labels, parts)
    places = np.argwhere(np.isin(labels, parts[is_crossing]))
    part = labels[places[:, 0], places[:, 1]]
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.diff(part[order])) + 1
    if order.size:
        yield from np.split(places[order], starts)

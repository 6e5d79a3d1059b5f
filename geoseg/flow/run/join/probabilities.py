"""Probabilities of several finished scenes as one raster: any window, on the pixels of one of them.

Scenes whose grids are one but for whole pixels are copied; others are resampled. Where scenes overlap, each
pixel is of the one in which it lies farthest from the edges: what a network sees there is the most.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import shapely

from geoseg.arrays import Bool, Float64, Int64, UInt8
from geoseg.grid.encoding import NODATA, resampled
from geoseg.grid.geobox import GeoBox
from geoseg.grid.polygons import moved
from geoseg.grid.resample import Axis, Resampler
from geoseg.grid.window import Window
from geoseg.io.raster.maps import MapReader

__all__ = ["Patch", "ProbabilityMosaic", "StoredScene"]

_OPEN: Final = 8
"""Rasters that are held open."""
_ROUNDING: Final = 0.01
"""Pixels by which grids may be off and still count as one: rounding in the files' transforms."""
_GAP: Final = 0.5
"""Half of the gap between scenes, in pixels, that is no gap."""
_BESIDE: Final = 2
"""Pixels beside the ground that two scenes share."""
_THIN: Final = 20
"""Width in pixels up to which scenes hardly overlap: what is so small lies in a wider overlap whole."""
_LONG: Final = 1 << 15
"""Pixels along an edge that are read at a time."""
_EQUAL: Final = 1e-6
"""Relative difference below which a pixel is as deep in two scenes; then the first one is taken."""


@dataclass(frozen=True, slots=True)
class StoredScene:
    """A raster of encoded probabilities and the grid that it lies on."""

    path: Path
    grid: GeoBox


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A window of the mosaic."""

    grid: GeoBox
    stored: UInt8
    """Encoded probabilities, shape (bands, height, width)."""
    owner: Int64
    """Which scene each pixel is of, shape (height, width); -1: none has data there."""


class ProbabilityMosaic:
    """Scenes of one CRS, encoding and orientation; a few files stay open until :meth:`close`."""

    def __init__(self, scenes: Sequence[StoredScene], bands: int) -> None:
        self._scenes, self._bands = scenes, bands
        self._footprints = shapely.polygons([scene.grid.corners for scene in scenes])
        self._tree = shapely.STRtree(self._footprints)
        self._readers: OrderedDict[int, MapReader] = OrderedDict()

    def close(self) -> None:
        """Close all files."""
        while self._readers:
            self._readers.popitem()[1].__exit__()

    def patch(self, base: int, window: Window) -> Patch:
        """The mosaic in a window of a scene's pixels, which may reach beyond that scene."""
        grid = self._scenes[base].grid[window]
        stored = np.full((self._bands, *grid.shape), NODATA, np.uint8)
        owner = np.full(grid.shape, -1, np.int64)
        depth = np.zeros(grid.shape)
        for scene in self.scenes_at(grid):
            found = self._on(scene, grid)
            deep = _depth(self._scenes[scene].grid, grid)
            better = (found[0] != NODATA) & (
                (owner < 0) | (deep > depth + _EQUAL * np.maximum(1, np.abs(depth)))
            )
            stored[:, better] = found[:, better]
            owner[better], depth[better] = scene, deep[better]
        return Patch(grid, stored, owner)

    def has_data(self, scene: int, window: Window) -> Bool:
        """Where a scene itself has data, in a window of its pixels: shape (height, width)."""
        has_data: Bool = self._on(scene, self._scenes[scene].grid[window])[0] != NODATA
        return has_data

    def scenes_at(self, grid: GeoBox) -> list[int]:
        """The scenes that share ground with a grid of their CRS, in their order."""
        found = self._tree.query(shapely.Polygon(grid.corners), predicate="intersects")
        return sorted(found.tolist())

    def borders(self, one: int, other: int) -> Iterator[Window]:
        """Windows of a scene's pixels, over the ground where it meets another that it hardly overlaps."""
        grid = self._scenes[one].grid
        (footprint,) = moved(self._footprints[[other]], ~grid.transform)
        west, north, east, south = footprint.bounds
        row, col = max(0, math.floor(north)) - _BESIDE, max(0, math.floor(west)) - _BESIDE
        height = min(grid.height, math.ceil(south)) + _BESIDE - row
        width = min(grid.width, math.ceil(east)) + _BESIDE - col
        if height < 1 or width < 1 or min(height, width) > _THIN:
            return
        for start in range(0, max(height, width), _LONG):
            if height < width:
                yield Window(row, col + start, height, min(_LONG, width - start))
            else:
                yield Window(row + start, col, min(_LONG, height - start), width)

    def clipped(self, base: int, window: Window) -> Window:
        """A window of a scene's pixels, as far as scenes reach that meet it."""
        place = self._scenes[base].grid
        met = self._footprints[self.scenes_at(place[window])]
        west, north, east, south = shapely.total_bounds(moved(met, ~place.transform))
        row, col = math.floor(north + _ROUNDING), math.floor(west + _ROUNDING)
        stop = math.ceil(south - _ROUNDING), math.ceil(east - _ROUNDING)
        return window.intersect(Window(row, col, stop[0] - row, stop[1] - col)) or window

    def ground(self, grid: GeoBox) -> shapely.Geometry:
        """What scenes cover of a grid, in its pixels; gaps between them below a pixel do not count."""
        met = moved(self._footprints[self.scenes_at(grid)], ~grid.transform)
        wider = shapely.union_all(shapely.buffer(met, _GAP, join_style="mitre"))
        return shapely.buffer(wider, _ROUNDING - _GAP, join_style="mitre")

    def _on(self, scene: int, grid: GeoBox) -> UInt8:
        """A scene's probabilities on a grid, nodata beyond it."""
        source = self._scenes[scene].grid
        move = ~source.transform @ grid.transform
        is_shift = _is_shift(move.a, move.c, grid.width) and _is_shift(move.e, move.f, grid.height)
        # What is resampled reaches half a pixel further: two scenes may lie a part of a pixel apart.
        beyond = -_ROUNDING if is_shift else 0.5
        row = _inside(move.e, move.f, grid.height, source.height, beyond)
        col = _inside(move.a, move.c, grid.width, source.width, beyond)
        out = np.full((self._bands, *grid.shape), NODATA, np.uint8)
        height, width = row.stop - row.start, col.stop - col.start
        if not height or not width:
            return out
        if is_shift:
            window = Window(round(move.f) + row.start, round(move.c) + col.start, height, width)
            out[:, row, col] = self._reader(scene).read(window)
            return out
        resampler = Resampler(
            Axis(source.height, height, move.e * height, move.e * row.start + move.f),
            Axis(source.width, width, move.a * width, move.a * col.start + move.c),
        )
        window = Window(0, 0, height, width)
        pixels = self._reader(scene).read(resampler.source_window(window))
        out[:, row, col] = resampled(pixels, resampler, window)
        return out

    def _reader(self, scene: int) -> MapReader:
        if scene not in self._readers:
            if len(self._readers) >= _OPEN:
                self._readers.popitem(last=False)[1].__exit__()
            self._readers[scene] = MapReader(self._scenes[scene].path)
        self._readers.move_to_end(scene)
        return self._readers[scene]


def _is_shift(scale: float, offset: float, pixels: int) -> bool:
    """Whether pixels of one axis are those of another, whole pixels away."""
    return abs(offset - round(offset)) <= _ROUNDING and abs(scale - 1) * pixels <= _ROUNDING


def _inside(scale: float, offset: float, pixels: int, source: int, beyond: float) -> slice:
    """Pixels of an axis whose centers lie on the source, or so little beyond it, in the source's pixels."""
    centers = scale * (np.arange(pixels) + 0.5) + offset
    inside = np.flatnonzero((centers >= -beyond) & (centers <= source + beyond))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def _depth(scene: GeoBox, grid: GeoBox) -> Float64:
    """How deep in a scene each pixel of a grid lies: the product of its distances from the nearest sides.

    Not the smaller distance, which two scenes side by side have in common along their upper and lower edges.
    In square pixels of the grid; beyond the edge, the distance from it, negative.
    """
    move = ~scene.transform @ grid.transform
    rows = move.e * (np.arange(grid.height) + 0.5) + move.f
    cols = move.a * (np.arange(grid.width) + 0.5) + move.c
    down = (np.minimum(rows, scene.height - rows) / move.e)[:, None]
    across = np.minimum(cols, scene.width - cols) / move.a
    smaller = np.minimum(down, across)
    depth: Float64 = np.where(smaller < 0, smaller, down * across)
    return depth

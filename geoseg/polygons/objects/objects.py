"""Objects: one clean polygon for each building, from scores that come strip by strip.

    regions of the mask → split where buildings touch → sub-pixel contour → small holes filled → walls fitted
    → overlaps of neighbors cut

Everything is a function of the region and its neighbors within :data:`TALLEST` rows, so strips of any height
give the same polygons, bit for bit. Memory: the strip, ``TALLEST`` rows of one byte a pixel, the objects of
twice as many rows, and, where something is longer than that, its outline and the objects beside and below it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import shapely

from geoseg.arrays import Array, Bool, Float64, Int64, Objects
from geoseg.grid.encoding import NODATA
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.geodesic import Frames, ground_frames
from geoseg.polygons.objects.limits import TALLEST
from geoseg.polygons.objects.overlaps import cut_overlaps, within_scene, without_others
from geoseg.polygons.objects.watershed import RowBuffer, Seeds, find_segments
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.shared_area import iou_of_pairs
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Regions, Strip
from geoseg.polygons.trace.rings import Rings
from geoseg.polygons.walls.fit import Fits
from geoseg.stages import each, stage

__all__ = ["Fitted", "ObjectOptions", "Realign", "Regularize", "Sweep", "find_objects", "too_tall"]

_PIECE: Final = 256
"""Rows that are taken at a time, at most."""
_NEAR: Final = 16
"""Rows that a fit may reach beyond its contour, generously."""

Regularize = Callable[[Objects], Fits]
"""Contours in a frame with square pixels of size 1 → polygons there."""

Realign = Callable[[Objects, Fits, slice], tuple[Int64, Fits]]
"""Contours in such frames, what was fitted to them, and which of them are to be fitted again where their
neighbors tell more of their direction → which of those, by place, and what was fitted."""


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """How objects are made."""

    min_area: float = 0.0
    """Smallest object, in m²."""
    min_pixels: float = 0.0
    min_hole: float = 0.0
    """Smallest hole that stays, in m²."""
    min_hole_pixels: float = 0.0
    least_max_score: int = 0
    """Stored score that some pixel of an object must reach."""
    seeds: Seeds | None = None
    """How touching objects are separated; None: they are not."""
    regularize: Regularize | None = None
    realign: Realign | None = None
    reach: float = 0.0
    """How far away a neighbor may be that ``realign`` looks at, in pixels."""
    cut_overlaps: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Objects that have not seen their neighbors yet: each a function of its own region."""

    shapes: Shapes
    """What was fitted; contours of those that are too tall."""
    contours: Objects
    """What each was fitted to."""
    direction: Float64
    """Direction of its walls, radians; NaN: none."""

    def __len__(self) -> int:
        return len(self.shapes)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The objects of several, in the order of (last row, first pixel)."""
        shapes = Shapes.join(part.shapes for part in parts)
        contours = np.concatenate([np.zeros(0, np.object_), *(part.contours for part in parts)])
        direction = np.concatenate([np.zeros(0), *(part.direction for part in parts)])
        return cls(shapes, contours, direction).choose(np.lexsort((shapes.first, shapes.last_row)))

    def choose(self, chosen: Array | slice) -> Self:
        """The objects of a mask, of indices or of a slice."""
        return type(self)(self.shapes.choose(chosen), self.contours[chosen], self.direction[chosen])


def find_objects(
    strips: Iterable[Strip],
    box: GeoBox,
    classes: Collection[int],
    level: float | None,
    options: ObjectOptions,
) -> Iterator[Shapes]:
    """The objects of a scene, in the order of (last row, first pixel); those that are too tall last.

    Strips are consecutive rows from the top, of any height, with all stored bands. ``level`` is the stored
    value that separates one foreground class from its background, in the only band; None where there is a
    band per class (then nothing is split).

    Raises:
        GridError: as :func:`geoseg.polygons.trace.exact.trace_regions`, or an object lies nowhere on the
            ground.
    """
    sweep = Sweep(box, level, options)
    found = trace_regions(sweep.pieces(strips), box.width, classes, level=level, touching=False)
    for regions in each("trace", found):
        if len(regions):
            row = int(regions.components.last_row[-1])
            yield from sweep.advance(sweep.fit(regions), row, regions.oldest)
    yield from sweep.finish()


def too_tall(first: Int64, last_row: Int64, width: int) -> Bool:
    """Which objects are too tall to be fitted, by their first pixels and last rows in a scene of a width."""
    tall: Bool = last_row - first // width + 1 > TALLEST
    return tall


class Sweep:
    """Objects on their way down the scene: contours → ``fitted`` → ``final`` → cut and given out.

    An object that is fitted is at most :data:`TALLEST` rows tall, and its fit lies within :data:`_NEAR` rows
    of it. So what can overlap an object ends within ``near = TALLEST + _NEAR`` rows below its last row, and
    what tells of its direction within ``wide = near + reach``. Objects are queued by their last row, and move
    on when the rows swept are so far below it that all of these are known:

        last row   swept - wide - 2 near   swept - wide - near        swept - wide              swept
        ───────────────────┼───────────────────────┼───────────────────────┼──────────────────────┼──▶ rows
        final    forgotten │ given out; neighbors  │ waits for those that  │
                           │ of those behind       │ may overlap it        │
        fitted   …  (forgotten at swept - 2 wide)  │ aligned; neighbors    │ waits for those that may
                                                     of those behind       │ tell of its direction

    Without ``realign`` ``wide`` is 0 and nothing passes through ``fitted``. Taller objects are put aside and
    come last, without the ground that the others took.
    """

    def __init__(self, box: GeoBox, level: float | None, options: ObjectOptions) -> None:
        self._box, self._level, self._options = box, level, options
        self._near = TALLEST + _NEAR
        self._wide = self._near + int(np.ceil(options.reach)) if options.realign else 0
        self.row = 0
        """Rows that were swept."""
        self._oldest = self._oldest_above = box.height
        """Row where the oldest region begins that goes on below the latest piece; below the one before."""
        self._realigns = options.realign is not None and options.regularize is not None
        self._rows: RowBuffer | None = None
        self._layers = 1 if options.seeds is None or options.seeds.border is None else 2
        if options.seeds is not None and level is not None:
            self._rows = RowBuffer(box.width, TALLEST + _PIECE + 2, self._layers)
        self._fitted, self._final = _Queue(), _Queue()
        self._tall: list[Shapes] = []
        self._beside_tall: list[Objects] = []
        """What was given out and may lie beside an object that is too tall."""

    def pieces(self, strips: Iterable[Strip]) -> Iterator[Strip]:
        """The strips, in pieces of a few rows; the latest rows are held for what is split."""
        seeds = self._options.seeds
        for strip in strips:
            for first in range(0, len(strip.classes), _PIECE):
                part = slice(first, first + _PIECE)
                assert strip.stored is not None
                piece = Strip(strip.classes[part], strip.scores[part], strip.stored[:, part])
                if self._rows is not None and seeds is not None:
                    border = () if seeds.border is None or strip.border is None else (strip.border[part],)
                    self._rows.append(strip.stored[0, part], *border)
                self.row += len(piece.classes)
                self._oldest_above = self._oldest
                yield piece

    def skip(self, stop: int) -> None:
        """Leave the rows up to ``stop`` out: no region in them is given to :meth:`fit`."""
        if self._rows is not None and stop > self.row:
            blank = np.broadcast_to(np.uint8(NODATA), (stop - self.row, self._box.width))
            self._rows.append(*([blank] * self._layers))
        self.row = stop

    def fit(self, regions: Regions) -> Fitted:
        """Objects of complete regions, in the order of (last row, first pixel); those that are too tall last.

        The rows of the regions, and one above and below, are among the latest pieces.
        """
        with stage("contours"):
            found = Shapes.join(_contours(regions, self._rows, self._box, self._level, self._options))
        with stage("fit"):
            return self._fit(found)

    def _fit(self, found: Shapes) -> Fitted:
        is_tall = too_tall(found.first, found.last_row, self._box.width)
        tall, low = found.choose(is_tall), _ordered(found.choose(~is_tall))
        contours = np.concatenate([low.polygons, tall.polygons])
        direction = np.full(len(found), np.nan)
        if self._options.regularize is not None and len(low):
            frames = _frames(low, self._box)
            fits = self._options.regularize(frames.to_frame(low.polygons))
            direction[: len(low)] = fits.direction
            low = _with_fits(low, fits, frames, self._box)
        return Fitted(Shapes.join([low, tall]), contours, direction)

    def advance(self, found: Fitted, row: int, oldest: int | None) -> Iterator[Shapes]:
        """Take objects in, in their order; give out those that nothing below can change.

        All objects that end above ``row`` are in. ``oldest`` is the row where the oldest region begins that
        goes on below the latest piece.
        """
        is_tall = too_tall(found.shapes.first, found.shapes.last_row, self._box.width)
        self._tall.append(found.shapes.choose(is_tall))
        low = found.choose(~is_tall)
        queue = self._fitted if self._realigns else self._final
        queue.add(low.shapes, low.contours, low.direction)
        self._oldest = self._box.height if oldest is None else oldest
        self._align(self._fitted.take(row - self._wide))
        which = self._final.take(row - self._wide - self._near)
        if which.stop > which.start:
            out = self._cut(which)
            # Only what is as tall as this already, or was, can reach down to objects that are forgotten.
            is_open = min(self._oldest, self._oldest_above) <= self.row - TALLEST
            if is_open or any(map(len, self._tall)):
                self._beside_tall.append(out.polygons)
            yield out
        self._fitted.forget(row - 2 * self._wide)
        self._final.forget(row - self._wide - 2 * self._near)

    def finish(self) -> Iterator[Shapes]:
        """Give out what is left when all rows were swept."""
        self._align(self._fitted.take(None))
        out = self._cut(self._final.take(None))
        yield out
        tall = _ordered(Shapes.join(self._tall))
        if not len(tall):
            return
        if self._options.cut_overlaps:
            polygons = without_others(tall.polygons, np.concatenate([*self._beside_tall, out.polygons]))
            tall = replace(tall, polygons=polygons, fit=iou_of_pairs(polygons, tall.polygons))
        yield tall

    def _align(self, which: slice) -> None:
        """Fit objects again with what their neighbors know of their direction."""
        if self._options.realign is None or which.stop == which.start:
            return
        with stage("align"):
            self._align_some(self._options.realign, which)

    def _align_some(self, realign: Realign, which: slice) -> None:
        held, contours = self._fitted.shapes, self._fitted.contours
        frames = _frames(replace(held, polygons=contours), self._box)
        known = Fits(frames.to_frame(held.polygons), held.kind, held.fit, self._fitted.direction)
        again, fits = realign(frames.to_frame(contours), known, which)
        own = held.choose(np.arange(which.start, which.stop))
        chosen = replace(own.choose(again), polygons=contours[which][again])
        fitted = _with_fits(chosen, fits, frames.choose(which).choose(again), self._box)
        stays = ~np.isin(np.arange(len(own)), again)
        out = _ordered(Shapes.join([own.choose(stays), fitted]))
        self._final.add(out, contours[which], np.full(len(out), np.nan))

    def _cut(self, which: slice) -> Shapes:
        """Some of the final objects, without what belongs to their neighbors."""
        held, contours = self._final.shapes, self._final.contours
        out = held.choose(np.arange(which.start, which.stop))
        if self._options.regularize is None or not self._options.cut_overlaps or not len(out):
            return out
        wanted = np.zeros(len(held), np.bool_)
        wanted[which] = True
        with stage("ownership"):
            polygons, lost = cut_overlaps(held.polygons, contours, wanted)
            return _measured(replace(out, polygons=polygons), lost, contours[which])


class _Queue:
    """Objects in the order of their last rows, with their contours and directions.

    They are taken once, in that order, and held for a while after that, as neighbors of those behind them.
    """

    def __init__(self) -> None:
        self.shapes = Shapes.none()
        """Objects held, taken ones first."""
        self.contours: Objects = np.zeros(0, np.object_)
        """What each was fitted to."""
        self.direction: Float64 = np.zeros(0)
        """Direction of its walls, radians; NaN: none."""
        self._taken = 0

    def add(self, shapes: Shapes, contours: Objects, direction: Float64) -> None:
        """Put objects behind those that are there; their last rows are not before those'."""
        self.shapes = Shapes.join([self.shapes, shapes])
        self.contours = np.concatenate([self.contours, contours])
        self.direction = np.concatenate([self.direction, direction])

    def take(self, before: int | None) -> slice:
        """Take the objects that end before a row; None: all. Returns where they are."""
        stop = len(self.shapes) if before is None else int(np.searchsorted(self.shapes.last_row, before))
        taken = slice(self._taken, max(stop, self._taken))
        self._taken = taken.stop
        return taken

    def forget(self, before: int) -> None:
        """Drop taken objects that end before a row."""
        gone = min(int(np.searchsorted(self.shapes.last_row, before)), self._taken)
        self.shapes = self.shapes.choose(np.arange(gone, len(self.shapes)))
        self.contours, self.direction = self.contours[gone:], self.direction[gone:]
        self._taken -= gone


def _ordered(shapes: Shapes) -> Shapes:
    """In the order of (last row, first pixel)."""
    return shapes.choose(np.lexsort((shapes.first, shapes.last_row)))


def _contours(
    regions: Regions, rows: RowBuffer | None, box: GeoBox, level: float | None, options: ObjectOptions
) -> Iterator[Shapes]:
    """Contours of regions and of their segments, without what is too small or too faint."""
    if not len(regions):
        return
    whole = regions
    if rows is not None and options.seeds is not None and level is not None:
        with stage("split"):
            is_split, segments = find_segments(regions, rows, options.seeds, level, TALLEST)
        if segments is not None:
            whole = regions.choose(~is_split)
            yield _drawn(segments, box, options)
    yield _drawn(whole, box, options)


def _drawn(regions: Regions, box: GeoBox, options: ObjectOptions) -> Shapes:
    if not len(regions):
        return Shapes.none()
    assert regions.detail is not None
    rings, exterior = regions.rings, regions.ring_start[:-1]
    owner = np.repeat(np.arange(len(regions)), np.diff(regions.ring_start))
    area, bounds = _ring_sizes(rings)
    frames = ground_frames(box, bounds[exterior].mean(axis=1))
    stays = (area * frames.pixel_area[owner] >= options.min_hole) & (area >= options.min_hole_pixels)
    stays[exterior] = True
    is_hole = np.ones(len(rings), np.bool_)
    is_hole[exterior] = False
    total = np.bincount(owner, np.where(is_hole, -area, area) * stays, minlength=len(regions))
    kept = (total * frames.pixel_area >= options.min_area) & (total >= options.min_pixels)
    kept &= regions.detail.max_score >= options.least_max_score
    stays &= kept[owner]
    counts = np.bincount(owner[stays], minlength=len(regions))[kept]
    start = np.concatenate([[0], np.cumsum(counts)])
    return Shapes.of(replace(regions.choose(kept), rings=rings.choose(stays), ring_start=start), "contour")


def _ring_sizes(rings: Rings) -> tuple[Float64, Float64]:
    """Area of each ring, and its lower and upper corner, shape (n, 2, 2).

    Vertices are multiples of 1/256 pixel, so areas of less than 2^36 pixels are exact.
    """
    start, size = rings.start[:-1], np.diff(rings.start)
    after = np.arange(1, len(rings.xy) + 1)
    after[rings.start[1:] - 1] = start
    local = rings.xy - np.repeat(rings.xy[start], size, axis=0)
    (x, y), (x1, y1) = local.T, local[after].T
    area = np.abs(np.add.reduceat(x * y1 - x1 * y, start)) / 2
    bounds = [extreme.reduceat(rings.xy, start, axis=0) for extreme in (np.minimum, np.maximum)]
    return area, np.stack(bounds, axis=1)


def _frames(shapes: Shapes, box: GeoBox) -> Frames:
    """The ground at the middle of each object."""
    bounds = shapely.bounds(shapes.polygons).reshape(-1, 4)
    return ground_frames(box, (bounds[:, :2] + bounds[:, 2:]) / 2)


def _with_fits(contours: Shapes, fits: Fits, frames: Frames, box: GeoBox) -> Shapes:
    """Contours replaced by what was made of them."""
    polygons, clipped = within_scene(frames.to_pixels(fits.polygons), box)
    fitted = replace(contours, polygons=polygons, kind=fits.kind, fit=fits.iou)
    return _measured(fitted, clipped, contours.polygons)


def _measured(shapes: Shapes, changed: Bool, contours: Objects) -> Shapes:
    """Fits, some of which were cut, with the IoU of what is left of those."""
    iou = shapes.fit.copy()
    iou[changed] = iou_of_pairs(shapes.polygons[changed], contours[changed])
    return replace(shapes, fit=iou)

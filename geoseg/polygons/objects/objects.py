"""Objects: one clean polygon for each building, from scores that come strip by strip.

    regions of the mask → split where buildings touch → sub-pixel contour → small holes filled → walls fitted
    → overlaps of neighbors parted

Everything is a function of the region and its neighbors within :data:`TALLEST` rows, so strips of any height
give the same polygons, bit for bit. Memory: the strip, ``TALLEST`` rows of one byte a pixel, the objects of
twice as many rows, and, where something is longer than that, its outline and the objects beside and below it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects.local_frame import Frames, ground_frames
from geoseg.polygons.objects.overlaps import iou_of, part_neighbors, within_scene, without
from geoseg.polygons.objects.queue import Waiting
from geoseg.polygons.objects.watershed import Parts, Seeds, find_parts
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Regions, Strip
from geoseg.polygons.trace.rings import Rings
from geoseg.polygons.trace.rows import RowBuffer
from geoseg.polygons.trace.subpixel import edge_contrast, outline, polygons_of

__all__ = ["TALLEST", "Fitted", "ObjectOptions", "Realign", "Regularize", "find_objects"]

TALLEST: Final = 1024
"""Rows of the tallest object that is split or fitted: no building; what is longer keeps its contour."""
_PIECE: Final = 256
"""Rows that are taken at a time, at most."""
_NEAR: Final = 16
"""Rows that a fit may reach beyond its contour, generously."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What regularization makes of contours, as equal-length arrays."""

    polygons: NDArray[np.object_]
    """Shapely Polygons in the contours' frame."""
    kind: NDArray[np.object_]
    """What each is: text."""
    iou: NDArray[np.float64]
    """IoU with the contour."""
    direction: NDArray[np.float64]
    """Direction of the walls, radians; NaN: none."""


Regularize = Callable[[NDArray[np.object_]], Fitted]
"""Contours in a frame with square pixels of size 1 → polygons there."""

Realign = Callable[[NDArray[np.object_], Fitted, slice], tuple[NDArray[np.int64], Fitted]]
"""Contours in such frames, what was fitted to them, and which of them are to be fitted again where their
neighbors tell more of their direction → which of those, by place, and what was fitted."""


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """How objects are made."""

    min_area: float = 0.0
    """Smallest object, in m²."""
    min_pixels: float = 0.0
    """Smallest object, in pixels."""
    min_hole: float = 0.0
    """Smallest hole that stays, in m²."""
    min_hole_pixels: float = 0.0
    """The same in pixels."""
    peak: int = 0
    """Stored score that some pixel of an object must reach."""
    seeds: Seeds | None = None
    """How touching objects are told apart; None: they are not."""
    regularize: Regularize | None = None
    """What is made of the contours; None: nothing."""
    realign: Realign | None = None
    """What is made of the fits of neighbors; None: nothing."""
    reach: float = 0.0
    """How far away a neighbor may be that ``realign`` looks at, in pixels."""
    cut_overlaps: bool = True
    """Whether neighbors are parted where their fits overlap."""


def find_objects(
    strips: Iterable[Strip],
    box: GeoBox,
    classes: Collection[int],
    level: float | None,
    options: ObjectOptions,
) -> Iterator[Shapes]:
    """The objects of a scene.

    Args:
        strips: consecutive rows from the top, with all stored bands; the heights may differ.
        box: the grid of the pixels.
        classes: ids to make objects of.
        level: the stored value that separates one foreground class from its background, in the only band;
            None where there is a band per class (then nothing is split).
        options: how.

    Yields:
        Objects in the order of (last row, first pixel), whatever the strips; the too tall ones last.

    Raises:
        GridError: as :func:`geoseg.polygons.trace.exact.trace_regions`, or an object lies nowhere on the
            ground.
    """
    seeds, rows = options.seeds, None
    if seeds is not None and level is not None:
        rows = RowBuffer(box.width, TALLEST + _PIECE + 2, 1 if seeds.border is None else 2)
    swept = [0]

    def fed() -> Iterator[Strip]:
        for strip in strips:
            for first in range(0, len(strip.classes), _PIECE):
                part = slice(first, first + _PIECE)
                assert strip.stored is not None
                piece = Strip(strip.classes[part], strip.scores[part], strip.stored[:, part])
                if rows is not None and seeds is not None:
                    border = () if seeds.border is None or strip.border is None else (strip.border[part],)
                    rows.append(strip.stored[0, part], *border)
                swept[0] += len(piece.classes)
                yield piece

    near = TALLEST + _NEAR
    wide = near + int(np.ceil(options.reach)) if options.realign else 0
    fitted, final, tall = Waiting(), Waiting(), []
    released: list[NDArray[np.object_]] = []
    for regions in trace_regions(fed(), box.width, classes, level=level, touching=False):
        fresh = Shapes.join(_contours(regions, rows, box, level, options))
        is_tall = _height(fresh, box.width) > TALLEST
        tall.append(fresh.choose(is_tall))
        fresh = fresh.choose(~is_tall)
        fresh = fresh.choose(np.lexsort((fresh.first, fresh.last_row)))
        _put(fresh, fitted, final, box, options)
        # Whoever may be a neighbor of these is complete by now, or too tall.
        _align(fitted, fitted.take(swept[0] - wide), final, box, options)
        which = final.take(swept[0] - wide - near)
        if which.stop > which.start:
            out = _parted(final, which, options)
            # Only what is as tall as this already, or was, can reach down to objects that are let go.
            is_open = regions.oldest is not None and regions.oldest <= swept[0] - TALLEST
            if is_open or any(map(len, tall)):
                released.append(out.polygons)
            yield out
        # And nobody who is still to come can be a neighbor of those.
        fitted.forget(swept[0] - 2 * wide)
        final.forget(swept[0] - wide - 2 * near)
    _align(fitted, fitted.take(None), final, box, options)
    out = _parted(final, final.take(None), options)
    yield out
    rest = Shapes.join(tall)
    if len(rest):
        others = np.concatenate([*released, out.polygons])
        rest = rest.choose(np.lexsort((rest.first, rest.last_row)))
        if options.cut_overlaps:
            polygons = without(rest.polygons, others)
            rest = replace(rest, polygons=polygons, fit=iou_of(polygons, rest.polygons))
        yield rest


def _height(shapes: Shapes, width: int) -> NDArray[np.int64]:
    return shapes.last_row - shapes.first // width + 1


def _contours(
    regions: Regions, rows: RowBuffer | None, box: GeoBox, level: float | None, options: ObjectOptions
) -> Iterator[Shapes]:
    """Contours of regions and of their parts, without what is too small or too faint."""
    if not len(regions):
        return
    whole = regions
    if rows is not None and options.seeds is not None and level is not None:
        is_split, parts = find_parts(regions, rows, options.seeds, level, TALLEST)
        if parts is not None:
            whole = regions.choose(~is_split)
            yield _drawn(parts.regions, parts.width, box, options, parts)
    yield _drawn(whole, box.width, box, options, None)


def _drawn(regions: Regions, width: int, box: GeoBox, options: ObjectOptions, parts: Parts | None) -> Shapes:
    if not len(regions):
        return Shapes.none()
    assert regions.detail is not None
    rings, region_start = outline(regions, width)
    known = regions.components
    if parts is not None:
        # Whole pixels are added to multiples of 1/256: no bit is lost.
        owner = np.repeat(np.arange(len(regions)), np.diff(region_start))
        moved = rings.xy + np.repeat(parts.offset[owner], np.diff(rings.start), axis=0)
        rings = replace(rings, xy=moved)
        known = replace(known, first=parts.first[:, 0] * box.width + parts.first[:, 1])
    polygons = polygons_of(rings, region_start)
    shapes = Shapes.of(Regions(polygons, known, regions.detail), polygons, edge_contrast(regions), "contour")
    pixel_area = _frames(shapes, box).pixel_area
    shapes = replace(shapes, polygons=_filled(rings, region_start, polygons, pixel_area, options))
    area = shapely.area(shapes.polygons)
    kept = (area * pixel_area >= options.min_area) & (area >= options.min_pixels)
    return shapes.choose(kept & (regions.detail.peak >= options.peak))


def _frames(shapes: Shapes, box: GeoBox) -> Frames:
    """The ground at the middle of each object."""
    bounds = shapely.bounds(shapes.polygons).reshape(-1, 4)
    return ground_frames(box, (bounds[:, :2] + bounds[:, 2:]) / 2)


def _filled(
    rings: Rings,
    region_start: NDArray[np.int64],
    polygons: NDArray[np.object_],
    pixel_area: NDArray[np.float64],
    options: ObjectOptions,
) -> NDArray[np.object_]:
    """Polygons without their small holes."""
    count = np.diff(region_start)
    if not (count > 1).any():
        return polygons
    owner = np.repeat(np.arange(count.size), count)
    area = shapely.area(shapely.polygons(shapely.get_rings(polygons)))
    kept = (area * pixel_area[owner] >= options.min_hole) & (area >= options.min_hole_pixels)
    kept[region_start[:-1]] = True
    if kept.all():
        return polygons
    size = np.diff(rings.start)
    some = Rings(
        rings.xy[np.repeat(kept, size)],
        np.concatenate([[0], np.cumsum(size[kept])]),
        rings.node[np.repeat(kept, size)],
        rings.fixed[np.repeat(kept, size)],
    )
    return polygons_of(some, np.concatenate([[0], np.cumsum(kept)])[region_start])


def _put(fresh: Shapes, fitted: Waiting, final: Waiting, box: GeoBox, options: ObjectOptions) -> None:
    """Fit contours, and let them wait for what comes next."""
    nowhere = np.full(len(fresh), np.nan)
    if options.regularize is None or not len(fresh):
        final.add(fresh, fresh.polygons, nowhere)
        return
    frames = _frames(fresh, box)
    found = options.regularize(frames.to_frame(fresh.polygons))
    queue = fitted if options.realign else final
    queue.add(_laid(fresh, found, frames, box), fresh.polygons, found.direction)


def _align(fitted: Waiting, which: slice, final: Waiting, box: GeoBox, options: ObjectOptions) -> None:
    """Fit objects again with what their neighbors know of their direction."""
    if options.realign is None or which.stop == which.start:
        return
    own = fitted.shapes.choose(np.arange(len(fitted.shapes))[which])
    contours = fitted.contours[which]
    frames = _frames(replace(fitted.shapes, polygons=fitted.contours), box)
    known = Fitted(
        frames.to_frame(fitted.shapes.polygons), fitted.shapes.kind, fitted.shapes.fit, fitted.direction
    )
    again, found = options.realign(frames.to_frame(fitted.contours), known, which)
    chosen = own.choose(again)
    laid = _laid(replace(chosen, polygons=contours[again]), found, frames.choose(which).choose(again), box)
    out = Shapes.join([own.choose(np.flatnonzero(~np.isin(np.arange(len(own)), again))), laid])
    order = np.lexsort((out.first, out.last_row))
    final.add(out.choose(order), contours, np.full(len(out), np.nan))


def _laid(contours: Shapes, found: Fitted, frames: Frames, box: GeoBox) -> Shapes:
    """Contours replaced by what was made of them."""
    polygons, clipped = within_scene(frames.to_pixels(found.polygons), box)
    iou = np.where(clipped, iou_of(polygons, contours.polygons), found.iou)
    return replace(contours, polygons=polygons, kind=found.kind, fit=iou)


def _parted(waiting: Waiting, which: slice, options: ObjectOptions) -> Shapes:
    """Some of the objects held, without what belongs to their neighbors."""
    held, contours = waiting.shapes, waiting.contours
    out = held.choose(np.arange(len(held))[which])
    if options.regularize is None or not options.cut_overlaps or not len(out):
        return out
    wanted = np.zeros(len(held), np.bool_)
    wanted[which] = True
    polygons, lost = part_neighbors(held.polygons, contours, wanted)
    return replace(out, polygons=polygons, fit=np.where(lost, iou_of(polygons, contours[which]), out.fit))

"""The store becomes polygons: which way, with which options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.arrays import Int64, Objects, UInt8
from geoseg.config.units import Area
from geoseg.config.vectorize import Regularization, Vectorize
from geoseg.grid.encoding import SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.polygons.coverage.coverage import find_coverage
from geoseg.polygons.objects.objects import Fitted, ObjectOptions, Realign, Regularize, find_objects
from geoseg.polygons.objects.watershed import Seeds
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.trace.subpixel import edge_contrast
from geoseg.polygons.walls.align import align_directions
from geoseg.polygons.walls.fit import Fits, WallOptions, fit_rectangles, fit_walls

__all__ = ["Store", "find_shapes"]


@dataclass(frozen=True, slots=True)
class Store:
    """Stored probabilities of a scene, from the top."""

    grid: GeoBox
    """The grid of their pixels."""
    layout: ProbabilityEncoding
    """Its bands, and how classes follow from them."""
    strips: Callable[[], Iterator[UInt8]]
    """Rows from the top, each time anew: uint8 (planes, rows, width)."""

    def classified(self) -> Iterator[Strip]:
        """The same rows with classes and their scores."""
        for stored in self.strips():
            classes = self.layout.decide(stored)
            confidence, bands = self.layout.confidence(stored, classes), len(self.layout.bands)
            yield Strip(classes, confidence, stored[:bands], stored[-1] if self.layout.border else None)


def find_shapes(store: Store, classes: Sequence[int], options: Vectorize) -> Iterator[Shapes]:
    """Polygons of a scene.

    Args:
        store: the scene's probabilities.
        classes: ids to make polygons of.
        options: how; nothing in it is ``auto``.

    Yields:
        Polygons in pixels, with what is known of them.

    Raises:
        GridError: a polygon has no place on the ground.
    """
    pixel = ground_resolution(store.grid).mean
    if options.mode == "objects":
        return find_objects(
            store.classified(), store.grid, classes, store.layout.level, object_options(options, pixel)
        )
    assert isinstance(options.min_area, Area)
    if options.mode == "coverage":
        least = options.min_area.pixels(pixel**2)
        return find_coverage(
            store.classified,
            store.grid.width,
            classes,
            store.layout.level,
            min_pixels=int(np.ceil(least)),
            tolerance=options.simplify.pixels(pixel),
        )
    return _exact(store, classes, options.min_area.pixels(pixel**2))


def _exact(store: Store, classes: Sequence[int], min_pixels: float) -> Iterator[Shapes]:
    """Outlines along the pixels."""
    for regions in trace_regions(store.classified(), store.grid.width, classes, level=store.layout.level):
        shapes = Shapes.of(regions, regions.polygons, edge_contrast(regions), "exact")
        yield shapes.choose(shapes.pixels >= min_pixels)


def object_options(options: Vectorize, pixel: float) -> ObjectOptions:
    """What a config means for objects of pixels of some size (m)."""
    assert isinstance(options.min_area, Area)
    assert options.split.method != "auto"
    seeds = None
    if options.split.method in ("border", "seeds"):
        least = max(1, round(options.split.min_seed.pixels(pixel**2)))
        border = max(1, round(options.split.max_border * SCALE)) if options.split.method == "border" else None
        seeds = Seeds(round(options.split.seed * SCALE), least, border=border)
    elif options.split.method == "necks":
        seeds = Seeds(0, 1, max(options.split.neck.pixels(pixel), 0.125))
    return ObjectOptions(
        min_area=options.min_area.value if options.min_area.unit == "m2" else 0.0,
        min_pixels=options.min_area.value if options.min_area.unit == "px" else 0.0,
        min_hole=options.min_hole.value if options.min_hole.unit == "m2" else 0.0,
        min_hole_pixels=options.min_hole.value if options.min_hole.unit == "px" else 0.0,
        least_max_score=round(options.peak * SCALE),
        seeds=seeds,
        regularize=regularization(options.regularize, pixel),
        realign=realignment(options.regularize, pixel),
        reach=options.regularize.align.pixels(pixel),
        cut_overlaps=options.overlaps == "cut",
    )


def regularization(options: Regularization, pixel: float) -> Regularize | None:
    """What a config means for outlines in pixels of some size (m)."""
    if options.method == "none":
        return None
    if options.method == "rectangle":
        return _rectangles
    walls = _walls(options, pixel)
    return lambda contours: _fitted(fit_walls(contours, walls))


def realignment(options: Regularization, pixel: float) -> Realign | None:
    """What a config means for fits whose neighbors are known, in pixels of some size (m)."""
    reach = options.align.pixels(pixel)
    if options.method != "walls" or reach == 0:
        return None
    walls = _walls(options, pixel)

    def realign(contours: Objects, known: Fitted, which: slice) -> tuple[Int64, Fitted]:
        fits = Fits(known.polygons, known.kind, known.iou, known.direction)
        direction = align_directions(fits, contours, reach=reach)[which]
        again = np.flatnonzero(np.isfinite(direction))
        return again, _fitted(fit_walls(contours[which][again], walls, direction[again]))

    return realign


def _walls(options: Regularization, pixel: float) -> WallOptions:
    return WallOptions(
        tolerance=options.tolerance.pixels(pixel),
        min_wall=options.min_wall.pixels(pixel),
        min_diagonal=options.min_diagonal.pixels(pixel),
        min_iou=options.min_iou,
    )


def _fitted(fits: Fits) -> Fitted:
    return Fitted(fits.polygons, fits.kind, fits.iou, fits.direction)


def _rectangles(contours: Objects) -> Fitted:
    return _fitted(fit_rectangles(contours))

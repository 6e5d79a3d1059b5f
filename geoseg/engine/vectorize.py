"""Probabilities, or class ids, become polygons: which way, with which options.

A map of class ids has no probability: its outlines lie half-way between the centers of two pixels of
different classes, and in a coverage a small region goes to the class with which it has the longest border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from geoseg.arrays import Int64, Objects, UInt8
from geoseg.config.units import Area
from geoseg.config.vectorize import Regularization, Split, Vectorize
from geoseg.grid.encoding import NODATA, SCALE, ProbabilityEncoding
from geoseg.grid.geobox import GeoBox
from geoseg.grid.ground import ground_resolution
from geoseg.polygons.coverage.coverage import find_coverage
from geoseg.polygons.coverage.shared_borders import shared_sides
from geoseg.polygons.coverage.sieve import plan_sieve
from geoseg.polygons.objects.objects import ObjectOptions, Realign, Regularize, find_objects
from geoseg.polygons.objects.sections import Section, find_joint, find_section, join_sections
from geoseg.polygons.objects.watershed import Seeds
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.walls.align import align_directions
from geoseg.polygons.walls.fit import Fits, WallOptions, fit_rectangles, fit_walls
from geoseg.stages import stage

__all__ = [
    "CLASS_IDS",
    "ClassMap",
    "ProbabilityRaster",
    "SceneRows",
    "find_class_shapes",
    "find_objects_across",
    "find_objects_between",
    "find_shapes",
    "join_objects",
]


CLASS_IDS: Final = ProbabilityEncoding(classes=2, background=0)
"""Encoding whose one band, equal everywhere, has the crossing of any two classes half-way."""
_EVIDENCE_BYTES: Final = 1 << 22
"""Bytes of border lengths that are held at a time."""


@dataclass(frozen=True, slots=True)
class ProbabilityRaster:
    """Encoded probabilities of a scene, from the top."""

    grid: GeoBox
    encoding: ProbabilityEncoding
    """Their bands, and how classes follow from them."""
    strips: Callable[[], Iterator[UInt8]]
    """Each call reads the rows again, from the top: uint8 (bands, rows, width)."""

    def classified(self) -> Iterator[Strip]:
        """The same rows with classes and their scores."""
        for stored in self.strips():
            with stage("classify"):
                classes = self.encoding.classify(stored)
                confidence, count = self.encoding.confidence(stored, classes), len(self.encoding.class_ids)
            yield Strip(classes, confidence, stored[:count], stored[-1] if self.encoding.border else None)


@dataclass(frozen=True, slots=True)
class ClassMap(ProbabilityRaster):
    """Class ids of a scene instead of probabilities: ``strips`` holds them in one band, 255 for no data."""

    classes: int
    """Ids are 0 … classes - 1, at most 255 of them."""
    least: int = 0
    """Regions of fewer pixels become part of their surroundings."""

    def classified(self) -> Iterator[Strip]:
        """The rows, small regions gone, with scores that put all crossings half-way."""
        certain = (_certain(ids) for (ids,) in self.strips())
        if self.least <= 1:
            return certain
        sieve = plan_sieve(self._borders(), self.grid.width, self.least)
        return sieve.apply(certain, self.encoding.level)

    def _borders(self) -> Iterator[Strip]:
        """The rows with the lengths of borders in place of scores, a few at a time."""
        rows = max(1, _EVIDENCE_BYTES // (self.classes * self.grid.width))
        blank = np.full(self.grid.width, NODATA, np.uint8)
        above, held = blank, blank[:0].reshape(0, self.grid.width)
        for (ids,) in self.strips():
            for first in range(0, len(ids), rows):
                piece = ids[first : first + rows]
                if len(held):
                    yield _bordered(held, above, piece[0], self.classes)
                    above = held[-1]
                held = piece
        yield _bordered(held, above, blank, self.classes)


def _bordered(ids: UInt8, above: UInt8, below: UInt8, classes: int) -> Strip:
    return Strip(ids, ids, shared_sides(ids, above, below, classes))


def _certain(ids: UInt8) -> Strip:
    scores = np.where(ids == NODATA, np.uint8(NODATA), np.uint8(SCALE))
    return Strip(ids, scores, scores[None])


def find_shapes(raster: ProbabilityRaster, classes: Sequence[int], options: Vectorize) -> Iterator[Shapes]:
    """Polygons of a scene's classes, in pixels, with what is known of them; no option is ``auto``."""
    pixel = ground_resolution(raster.grid).mean
    if options.mode == "objects":
        return find_objects(
            raster.classified(), raster.grid, classes, raster.encoding.level, object_options(options, pixel)
        )
    assert isinstance(options.min_area, Area)
    if options.mode == "coverage":
        least = options.min_area.pixels(pixel**2)
        return find_coverage(
            raster.classified,
            raster.grid.width,
            classes,
            raster.encoding.level,
            min_pixels=int(np.ceil(least)),
            tolerance=options.simplify.pixels(pixel),
        )
    return _exact(raster, classes, options.min_area.pixels(pixel**2))


def find_objects_between(
    raster: ProbabilityRaster, rows: tuple[int, int], classes: Sequence[int], options: Vectorize
) -> Section:
    """The objects inside some rows of a scene; ``raster`` has the strips of these rows alone."""
    assert options.mode == "objects"
    pixel = ground_resolution(raster.grid).mean
    level, given = raster.encoding.level, object_options(options, pixel)
    return find_section(raster.classified(), rows, raster.grid, classes, level, given)


@dataclass(frozen=True, slots=True)
class SceneRows:
    """Rows of a scene, read as they are asked for."""

    grid: GeoBox
    encoding: ProbabilityEncoding
    strips: Callable[[int, int], Iterator[UInt8]]
    """Gives the rows from one to before another, some at a time."""

    def classified(self, first: int, stop: int) -> Iterator[Strip]:
        """The same with classes and their scores."""
        return ProbabilityRaster(self.grid, self.encoding, lambda: self.strips(first, stop)).classified()


def find_objects_across(
    rows: SceneRows, upper: Section, lower: Section, classes: Sequence[int], options: Vectorize
) -> Section:
    """The objects that two sections share, as far as they lie inside both together."""
    given, level = object_options(options, ground_resolution(rows.grid).mean), rows.encoding.level
    return find_joint(upper, lower, rows.classified, rows.grid, classes, level, given)


def join_objects(
    rows: SceneRows,
    sections: Sequence[Section],
    joints: Sequence[Section],
    classes: Sequence[int],
    options: Vectorize,
) -> Iterator[Shapes]:
    """The polygons that :func:`find_shapes` gives, of the objects of the sections and joints of a scene."""
    given, level = object_options(options, ground_resolution(rows.grid).mean), rows.encoding.level
    return join_sections(sections, joints, rows.classified, rows.grid, classes, level, given)


def _exact(raster: ProbabilityRaster, classes: Sequence[int], min_pixels: float) -> Iterator[Shapes]:
    """Outlines along the pixels."""
    for regions in trace_regions(
        raster.classified(), raster.grid.width, classes, level=raster.encoding.level, deformed=False
    ):
        shapes = Shapes.of(regions, "exact")
        yield shapes.choose(shapes.pixels >= min_pixels)


def find_class_shapes(raster: ClassMap, classes: Sequence[int], options: Vectorize) -> Iterator[Shapes]:
    """Polygons of a class map (in the encoding ``CLASS_IDS``), as :func:`find_shapes` makes them.

    Objects are not split: no pixel is surer than another. ``score``, ``low`` and ``contrast`` mean nothing.
    """
    assert isinstance(options.min_area, Area)
    changes: dict[str, object] = {"split": Split(method="none")}
    if options.mode == "coverage":
        least = np.ceil(options.min_area.pixels(ground_resolution(raster.grid).mean ** 2))
        raster = replace(raster, least=int(least))
        changes["min_area"] = Area(0, "px")  # done by the map itself
    return find_shapes(raster, classes, options.model_copy(update=changes))


def object_options(options: Vectorize, pixel: float) -> ObjectOptions:
    """What the options mean for objects of pixels of some size (m)."""
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
    """What the options mean for outlines in pixels of some size (m)."""
    if options.method == "none":
        return None
    if options.method == "rectangle":
        return fit_rectangles
    walls = _walls(options, pixel)
    return lambda contours: fit_walls(contours, walls)


def realignment(options: Regularization, pixel: float) -> Realign | None:
    """What the options mean for fits whose neighbors are known, in pixels of some size (m)."""
    reach = options.align.pixels(pixel)
    if options.method != "walls" or reach == 0:
        return None
    walls = _walls(options, pixel)

    def realign(contours: Objects, known: Fits, which: slice) -> tuple[Int64, Fits]:
        direction = align_directions(known, contours, reach=reach)[which]
        again = np.flatnonzero(np.isfinite(direction))
        return again, fit_walls(contours[which][again], walls, direction[again])

    return realign


def _walls(options: Regularization, pixel: float) -> WallOptions:
    return WallOptions(
        tolerance=options.tolerance.pixels(pixel),
        min_wall=options.min_wall.pixels(pixel),
        min_diagonal=options.min_diagonal.pixels(pixel),
        min_iou=options.min_iou,
    )

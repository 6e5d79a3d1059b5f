"""Objects of a scene found section by section, by several workers, and joined.

A section is some consecutive rows of a scene. A region that lies inside it, off its first and last row, is
the same whatever is above and below, so its objects are traced, split and fitted with nothing but the
section. What touches a row where two sections meet is found in their *joint*, in a band of rows around that
place, as far as it lies inside both; what is longer is left to the end:

    section 0   ┌──────────────┐ ─ ─ ─ ─ ─ ─
                │  ▒▒   ▒▒▒    │   ▒ inside: found in the section
                │          ▓▓  │ ┐
                ├──────────▓▓──┤ │ joint: read again, and ▓ found there
    section 1   │ ▓▓       ▓▓  │ │
                │      ▒▒      │ ┘
                └──────────────┘ ─ ─ ─ ─ ─ ─

Law (held by a test): joined sections are, bit for bit, what ``objects.find_objects`` makes of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely

from geoseg.arrays import Array, Bool, Int64, Objects, UInt8
from geoseg.grid.geobox import GeoBox
from geoseg.polygons.objects.objects import Fitted, ObjectOptions, Sweep, too_tall
from geoseg.polygons.shapes import Shapes
from geoseg.polygons.trace.edges import STEPS
from geoseg.polygons.trace.exact import trace_regions
from geoseg.polygons.trace.regions import Strip
from geoseg.polygons.walls.fit import KINDS
from geoseg.stages import each

__all__ = ["Section", "find_joint", "find_section", "join_sections"]

_KINDS: Final = ("contour", *KINDS)
_STEP: Final = 256
"""Rows of which stored objects are taken at a time."""
_COLUMNS: Final = (
    "first",
    "last_row",
    "class_id",
    "pixels",
    "score",
    "p10",
    "contrast",
    "touches_edge",
    "fit",
)
_ROW: Final = np.dtype(
    [
        ("first", np.int64),
        ("last_row", np.int64),
        ("class_id", np.uint8),
        ("pixels", np.int64),
        ("score", np.int64),
        ("p10", np.uint8),
        ("contrast", np.float64),
        ("touches_edge", np.bool_),
        ("fit", np.float64),
        ("kind", np.uint8),
        ("direction", np.float64),
    ]
)
_PAIRS: Final = (-1, 2)
_TYPES: Final[tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]] = (
    (_ROW, (-1,)),
    (np.dtype(np.int32), _PAIRS),
    (np.dtype(np.float64), _PAIRS),
    (np.dtype(np.int64), (-1,)),
    (np.dtype(np.int64), (-1,)),
)
"""Of the arrays of a section."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """The objects inside some rows, as plain arrays, and how far what is left reaches into them."""

    rows: tuple[int, int]
    """First row, and the row after the last."""
    open_above: int
    """Row after the last of what touches the first row; the first row where nothing does."""
    open_below: int
    """First row of what touches the last row; the row after it where nothing does."""
    objects: Array
    """What is known of each object, in the order of (last row, first pixel), a structured array (n,)."""
    contours: Array
    """Vertices of what was fitted, in steps, int32 (k, 2)."""
    fits: Array
    """Vertices of what was fitted to it, in pixels, float64 (m, 2)."""
    rings: Array
    """Where each ring of the contours starts, then of the fits, and k + m, int64."""
    parts: Array
    """Where each polygon's rings start in ``rings``: those of the contours, then of the fits; and their
    number, int64 (2 n + 1,)."""

    @classmethod
    def of(cls, rows: tuple[int, int], open_above: int, open_below: int, found: Fitted) -> Section:
        """Put objects into arrays."""
        table = np.empty(len(found), _ROW)
        for name in _COLUMNS:
            table[name] = getattr(found.shapes, name)
        number = {kind: index for index, kind in enumerate(_KINDS)}
        table["kind"] = [number[kind] for kind in found.shapes.kind.tolist()]
        table["direction"] = found.direction
        both = np.concatenate([found.contours, found.shapes.polygons])
        points: Array = np.zeros((0, 2))
        rings: Array = np.zeros(1, np.int64)
        parts: Array = np.zeros(1, np.int64)
        if len(found):
            _, points, (rings, parts) = shapely.to_ragged_array(both)
        split = int(rings[parts[len(found)]])
        steps = points[:split] * STEPS
        contours = steps.astype(np.int32)
        assert np.array_equal(contours, steps), "vertices of contours lie on steps"
        return cls(
            rows, open_above, open_below, table, contours, points[split:],
            rings.astype(np.int64), parts.astype(np.int64),
        )  # fmt: skip

    def pack(self) -> UInt8:
        """All of it as bytes, for :meth:`unpack`."""
        arrays = self.objects, self.contours, self.fits, self.rings, self.parts
        held = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
        sizes = [array.size for array in held]
        head = np.array([*self.rows, self.open_above, self.open_below, *sizes], np.int64).view(np.uint8)
        return np.concatenate([head, *(np.pad(array, (0, -array.size % 8)) for array in held)])

    @classmethod
    def unpack(cls, packed: UInt8) -> Section:
        """What :meth:`pack` gave, in memory or mapped from a file; its objects are read as they are taken."""
        count = 4 + len(_TYPES)
        first, stop, above, below, *sizes = packed[: 8 * count].view(np.int64).tolist()
        at, arrays = 8 * count, []
        for size, (dtype, shape) in zip(sizes, _TYPES, strict=True):
            arrays.append(packed[at : at + size].view(dtype).reshape(shape))
            at += size + -size % 8
        return cls((first, stop), above, below, *arrays)

    def take(self, chosen: slice) -> Fitted:
        """Some of the objects."""
        table, count = np.asarray(self.objects[chosen]), len(self.objects)
        contours = self._polygons(chosen.start, chosen.stop, self.contours, 0, STEPS)
        split = len(self.contours)
        polygons = self._polygons(count + chosen.start, count + chosen.stop, self.fits, split, 1)
        kinds = np.array(_KINDS, np.object_)[table["kind"]]
        known = {name: np.ascontiguousarray(table[name]) for name in _COLUMNS}
        shapes = Shapes(polygons=polygons, kind=kinds, **known)
        return Fitted(shapes, contours, np.ascontiguousarray(table["direction"]))

    def _polygons(self, first: int, stop: int, points: Array, offset: int, steps: int) -> Objects:
        """Some polygons: their points are counted from ``offset``, and so many steps are a pixel."""
        parts = np.asarray(self.parts[first : stop + 1])
        rings = np.asarray(self.rings[parts[0] : parts[-1] + 1])
        some = points[rings[0] - offset : rings[-1] - offset] / steps
        polygons: Objects = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, some, (rings - rings[0], parts - parts[0])
        )
        return polygons


def find_section(
    strips: Iterable[Strip],
    rows: tuple[int, int],
    box: GeoBox,
    classes: Collection[int],
    level: float | None,
    options: ObjectOptions,
) -> Section:
    """The objects inside some rows of a scene; see :func:`geoseg.polygons.objects.objects.find_objects`.

    ``strips`` are the rows from ``rows[0]`` to before ``rows[1]``. Memory: their objects as arrays, too.
    """
    first, stop = rows
    sweep = Sweep(box, level, options)
    sweep.skip(first)
    above, below, found = first, stop, [Fitted.join([])]
    for regions in each(
        "trace",
        trace_regions(sweep.pieces(strips), box.width, classes, level=level, touching=False, row=first),
    ):
        if not len(regions):
            continue
        begins, ends = regions.components.first // box.width, regions.components.last_row
        is_above = (begins == first) & (first > 0)
        is_below = (ends == stop - 1) & (stop < box.height)
        above = max(above, int(ends[is_above].max(initial=-1)) + 1)
        below = min(below, int(begins[is_below].min(initial=stop)))
        inside = ~(is_above | is_below)
        found.append(sweep.fit(regions if inside.all() else regions.choose(inside)))
    return Section.of(rows, above, below, Fitted.join(found))


def find_joint(
    upper: Section,
    lower: Section,
    strips: Callable[[int, int], Iterable[Strip]],
    box: GeoBox,
    classes: Collection[int],
    level: float | None,
    options: ObjectOptions,
) -> Section:
    """The objects that touch the rows where two sections meet and lie inside both together.

    ``strips`` reads some rows of the sections again. The joint's own rows are none, at the place where the
    sections meet; ``open_below`` and ``open_above`` are the first row of what goes on beyond both sections,
    and the row after its last one, as far as it is in them.
    """
    (first, at), stop = upper.rows, lower.rows[1]
    begin, end, found = at, at, [Fitted.join([])]
    if upper.open_below != lower.open_above:
        band = max(upper.open_below - 1, first), min(lower.open_above + 1, stop)
        sweep = Sweep(box, level, options)
        sweep.skip(band[0])
        pieces = sweep.pieces(strips(*band))
        traced = trace_regions(pieces, box.width, classes, level=level, touching=False, row=band[0])
        for regions in each("trace", traced):
            begins, ends = regions.components.first // box.width, regions.components.last_row
            meets = (begins <= at) & (ends >= at - 1)
            goes_on = ((begins == first) & (first > 0)) | ((ends == stop - 1) & (stop < box.height))
            begin = min(begin, int(begins[meets & goes_on].min(initial=at)))
            end = max(end, int(ends[meets & goes_on].max(initial=-1)) + 1)
            found.append(sweep.fit(regions.choose(meets & ~goes_on)))
    return Section.of((at, at), end, begin, Fitted.join(found))


def join_sections(
    sections: Sequence[Section],
    joints: Sequence[Section],
    strips: Callable[[int, int], Iterable[Strip]],
    box: GeoBox,
    classes: Collection[int],
    level: float | None,
    options: ObjectOptions,
) -> Iterator[Shapes]:
    """The objects of a scene, in the order of :func:`geoseg.polygons.objects.objects.find_objects`.

    ``sections`` are those of all its rows, from the top, ``joints`` those of each two that meet; ``strips``
    reads some rows again, around what is longer than two sections.
    """
    sweep, known = Sweep(box, level, options), _Known([*sections, *joints], box)
    starts = np.array([joint.rows[0] for joint in joints], np.int64)
    for first, stop in (*_bands(joints, box.height), (box.height, box.height)):
        # Between bands there is nothing but what was found.
        for row in (*range(sweep.row + _STEP, first, _STEP), first):
            sweep.skip(row)
            yield from sweep.advance(known.take(row - 1), row, known.oldest(row))
        pieces = sweep.pieces(strips(first, stop) if stop > first else ())
        traced = trace_regions(pieces, box.width, classes, level=level, touching=False, row=first)
        for regions in each("trace", traced):
            if not len(regions):
                continue
            begins, ends = regions.components.first // box.width, regions.components.last_row
            long = sweep.fit(regions.choose(_is_long(starts, begins, ends)))
            row = int(ends[-1])
            these = Fitted.join([long, known.take(row, int(regions.components.first[-1]))])
            oldest = [one for one in (regions.oldest, known.oldest(sweep.row)) if one is not None]
            yield from sweep.advance(these, row, min(oldest, default=None))
    yield from sweep.finish()


def _bands(joints: Sequence[Section], height: int) -> list[tuple[int, int]]:
    """Rows that hold all that is longer than two sections, and one row more on both sides."""
    bands: list[tuple[int, int]] = []
    for joint in joints:
        if joint.open_below == joint.open_above:
            continue  # nothing is
        first, stop = max(joint.open_below - 1, 0), min(joint.open_above + 1, height)
        if bands and first <= bands[-1][1]:
            first, stop = min(bands[-1][0], first), max(bands[-1][1], stop)
            bands.pop()
        bands.append((first, stop))
    return bands


def _is_long(starts: Int64, begins: Int64, ends: Int64) -> Bool:
    """Which regions touch rows where sections meet at two places or more, by their first and last rows."""
    last = np.iinfo(np.int64).max
    second = np.append(starts, [last, last])[np.searchsorted(starts, begins) + 1]
    long: Bool = second <= ends + 1
    return long


class _Known:
    """Objects of sections and joints, taken in the order of (last row, first pixel)."""

    def __init__(self, parts: Sequence[Section], box: GeoBox) -> None:
        self._box, self._key = box, -1
        self._parts = sorted((part for part in parts if len(part.objects)), key=lambda part: part.rows)
        self._taken = [0] * len(self._parts)
        self._tall = [
            (self._keys(part.objects)[tall], part.objects["first"][tall] // box.width)
            for part in self._parts
            if (tall := too_tall(part.objects["first"], part.objects["last_row"], box.width)).any()
        ]

    def _keys(self, objects: Array) -> Int64:
        """Numbers that have the order of the objects."""
        keys: Int64 = objects["last_row"] * np.int64(self._box.window.pixels) + objects["first"]
        return keys

    def take(self, last_row: int, first: int | None = None) -> Fitted:
        """Those up to one that ends in a row and has some first pixel; None: all that end in that row."""
        pixels = self._box.window.pixels
        self._key = last_row * pixels + (pixels - 1 if first is None else first)
        found = []
        for number, part in enumerate(self._parts):
            before, objects = self._taken[number], part.objects
            if before == len(objects) or int(objects["last_row"][before]) > last_row:
                continue
            stop = int(np.searchsorted(self._keys(objects), self._key, side="right"))
            if stop > before:
                found.append(part.take(slice(before, stop)))
            self._taken[number] = stop
        return Fitted.join(found)

    def oldest(self, stop: int) -> int | None:
        """First row of the first one that is too tall, begins above a row and was not taken; None: none."""
        rows = [row for keys, begins in self._tall for row in begins[(keys > self._key) & (begins < stop)]]
        return min(map(int, rows), default=None)

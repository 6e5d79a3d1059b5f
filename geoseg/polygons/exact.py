"""Exact polygons of class pixels, from strips of rows, without the scene in memory.

Every 4-connected component of equal class pixels becomes one polygon along the pixels' edges, holes included.
A strip is cut into runs; runs that touch, in the strip or across its upper edge, are one component; a
component that does not reach the strip's last row is complete: its outline is traced and it leaves memory.

Laws (held by tests): rasterizing the polygons gives the pixels back; the areas are the pixel counts; polygons
and statistics do not depend on how the scene is cut into strips.

Memory: about 15 bytes per pixel of the strip (up to 470 where every pixel differs from its neighbours), 27
bytes per corner plus 60 per component of what reaches the strip's last row, and about 200 per corner of the
polygons being traced. The scene's size does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import GridError
from geoseg.polygons.corners import Corners, find_corners, trace
from geoseg.polygons.runs import Runs, find_runs, group, touching_rows

__all__ = ["NODATA", "Components", "Regions", "exact_polygons", "to_ground"]

NODATA = 255
"""Value of a pixel without data, in classes and in scores."""


_BATCH = 1 << 16
"""Most components traced at a time: polygons take far more memory than what they are made of."""


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Statistics of 4-connected components, as equal-length arrays."""

    first: NDArray[np.int64]
    """Flat index, ``row × width + column``, of the first pixel in raster order: unique in a scene."""
    class_id: NDArray[np.uint8]
    """Class."""
    pixels: NDArray[np.int64]
    """Number of pixels."""
    score: NDArray[np.int64]
    """Sum of the stored scores of these pixels."""
    touches_edge: NDArray[np.bool_]
    """Whether a pixel lies on the scene's edge or beside a pixel without data: the object may go on there."""
    last_row: NDArray[np.int64]
    """Row of the last pixel in raster order."""

    def __len__(self) -> int:
        return self.first.size

    @classmethod
    def none(cls) -> Self:
        """No components."""
        number = np.zeros(0, np.int64)
        return cls(number, np.zeros(0, np.uint8), number, number, np.zeros(0, np.bool_), number)

    def choose(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The components of a mask or of indices."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def merged(self, other: Components, count: int, number: NDArray[np.int64]) -> Self:
        """These components and others, those with the same number made one.

        Args:
            other: components of pixels that are not in these.
            count: how many there are afterwards.
            number: which one each becomes, shape (len(self) + len(other),), every one in 0 .. count - 1 used.
        """
        both = [np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)]
        first, class_id, pixels, score, touches_edge, last_row = both
        out = type(self)(
            np.full(count, np.iinfo(np.int64).max),
            np.zeros(count, np.uint8),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.bool_),
            np.zeros(count, np.int64),
        )
        np.minimum.at(out.first, number, first)
        out.class_id[number] = class_id
        np.add.at(out.pixels, number, pixels)
        np.add.at(out.score, number, score)
        out.touches_edge[number[touches_edge]] = True
        np.maximum.at(out.last_row, number, last_row)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Complete components with their polygons."""

    polygons: NDArray[np.object_]
    """Shapely Polygons in pixel coordinates (x: column, y: row), shape (n,); see :func:`to_ground`."""
    components: Components
    """Their statistics, in the same order."""

    def __len__(self) -> int:
        return self.polygons.size


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """What is carried from strip to strip: components that reach the last row seen."""

    components: Components
    corners: Corners
    """Their corners so far; ``region`` is the component's number."""
    classes: NDArray[np.uint8]
    """The last row's pixels with one without data on both sides, shape (width + 2,)."""
    of_runs: NDArray[np.int64]
    """Number of the component of each run of that row that is of a class, from the left."""


def exact_polygons(
    strips: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    width: int,
    classes: Collection[int],
) -> Iterator[Regions]:
    """Polygons and statistics of every 4-connected component of a scene.

    Args:
        strips: class ids and stored scores of consecutive rows from the top, each uint8 of shape
            (any number of rows, width); the heights may differ.
        width: columns of the scene.
        classes: ids to make polygons of, 0 to 254; pixels of other ids are left out.

    Yields:
        The components as they become complete, up to 65,536 at a time. Through all of them the order is that
        of (last row, first pixel), whatever the strips.

    Raises:
        GridError: strips of another shape or type, a class id out of range, or a class pixel whose score is
            nodata (the two rasters do not belong together).
    """
    is_class = np.zeros(256, np.bool_)
    for class_id in classes:
        if not 0 <= class_id < NODATA:
            raise GridError(f"class id {class_id} is out of range; a class raster holds 0 to 254")
        is_class[class_id] = True
    state = _Open(
        Components.none(), Corners.none(), np.full(width + 2, NODATA, np.uint8), np.zeros(0, np.int64)
    )
    row = 0
    for strip, scores in strips:
        for array in (strip, scores):
            if array.dtype != np.uint8 or array.shape != (strip.shape[0], width) or not strip.shape[0]:
                raise GridError(
                    f"rows from {row} came as {array.dtype} of shape {array.shape}; "
                    f"needed uint8, {width} wide, classes and scores of the same height"
                )
        state, done = _advance(state, strip, scores, row, is_class)
        row += strip.shape[0]
        yield from done
    # A row without data below the scene completes what is left.
    blank = np.full((1, width), NODATA, np.uint8)
    _, done = _advance(state, blank, blank, row, is_class)
    yield from done


def _advance(
    before: _Open,
    strip: NDArray[np.uint8],
    scores: NDArray[np.uint8],
    row: int,
    is_class: NDArray[np.bool_],
) -> tuple[_Open, Iterator[Regions]]:
    """Take one strip in, whose first row is the scene's row ``row``; give out what is complete."""
    height, width = strip.shape
    padded = np.full((height + 1, width + 2), NODATA, np.uint8)
    padded[0] = before.classes
    padded[1:, 1:-1] = strip

    runs = find_runs(padded)
    of_class = is_class[runs.value]
    is_new = of_class & (runs.start >= width + 2)
    node = np.full(runs.start.size, -1, np.int64)
    node[of_class & ~is_new] = before.of_runs
    node[is_new] = len(before.components) + np.arange(int(np.count_nonzero(is_new)))

    matters = (of_class | (runs.value == NODATA)) & (runs.start < height * (width + 2))
    upper, lower = touching_rows(runs, np.flatnonzero(matters))
    same = of_class[upper] & (runs.value[upper] == runs.value[lower])
    at_edge = _beside_nodata(runs.value, of_class, upper, lower)
    fresh = _statistics(runs, is_new, at_edge, scores, row)

    nodes = len(before.components) + len(fresh)
    count, number = group(nodes, node[upper[same]], node[lower[same]])
    components = before.components.merged(fresh, count, number)
    components.touches_edge[number[node[at_edge & of_class & ~is_new]]] = True

    found, beside = find_corners(padded, is_class)
    found = Corners(
        node[runs.of(beside)], found.row + (row - 1), found.col - 1, found.right, found.down, found.below
    )
    corners = Corners.join(before.corners, found).renumber(number)

    is_open = np.zeros(count, np.bool_)
    in_last_row = of_class & (runs.start >= height * (width + 2))
    is_open[number[node[in_last_row]]] = True
    rank = np.cumsum(is_open) - 1
    after = _Open(
        components.choose(is_open),
        corners.choose(is_open[corners.region]).renumber(rank),
        padded[-1].copy(),
        rank[number[node[in_last_row]]],
    )
    return after, _complete(components, corners, ~is_open)


def _beside_nodata(
    value: NDArray[np.uint8],
    of_class: NDArray[np.bool_],
    upper: NDArray[np.int64],
    lower: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which runs of a class have a pixel without data on any of their four sides."""
    blank = value == NODATA
    beside = np.zeros(value.size, np.bool_)
    beside[1:] |= blank[:-1]  # the padding ends each row with a pixel without data, so no run looks past it
    beside[:-1] |= blank[1:]
    beside[upper[blank[lower]]] = True
    beside[lower[blank[upper]]] = True
    return beside & of_class


def _statistics(
    runs: Runs,
    chosen: NDArray[np.bool_],
    at_edge: NDArray[np.bool_],
    scores: NDArray[np.uint8],
    row: int,
) -> Components:
    """Each chosen run of a padded strip as a component of its own."""
    start, length = runs.start[chosen], (runs.stop - runs.start)[chosen]
    if not start.size:
        return Components.none()
    width = scores.shape[1]
    rows, cols = np.divmod(start, width + 2)
    first = (rows - 1) * width + (cols - 1)
    ends = np.stack([first, first + length], axis=1).reshape(-1)
    flat = scores.reshape(-1)
    # Sums between neighbouring ends: of the run, of the gap behind it, and so on; only the runs' are kept.
    inside = ends[:-1] if ends[-1] == flat.size else ends
    total = np.add.reduceat(flat, inside, dtype=np.int64)[0::2]
    if int(np.maximum.reduceat(flat, inside)[0::2].max()) == NODATA:
        raise GridError(
            f"between rows {row} and {row + scores.shape[0]} a pixel has a class but no score; "
            "classes and scores must come from the same run"
        )
    return Components(first + row * width, runs.value[chosen], length, total, at_edge[chosen], rows - 1 + row)


def _complete(components: Components, corners: Corners, chosen: NDArray[np.bool_]) -> Iterator[Regions]:
    """The chosen components with their polygons, in order, some at a time."""
    done = np.flatnonzero(chosen)
    done = done[np.lexsort((components.first[done], components.last_row[done]))]
    position = np.full(len(components), -1, np.int64)
    position[done] = np.arange(done.size)
    corners = corners.choose(chosen[corners.region]).renumber(position)
    corners = corners.choose(np.argsort(corners.region, kind="stable"))
    for start in range(0, done.size, _BATCH):
        batch = done[start : start + _BATCH]
        span = slice(*np.searchsorted(corners.region, (start, start + batch.size)))
        yield Regions(trace(corners.choose(span)), components.choose(batch))


def to_ground(polygons: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Polygons in pixel coordinates, laid on the ground.

    Args:
        polygons: as :func:`exact_polygons` makes them; exteriors counter-clockwise in the plane of
            (column, row).
        transform: (column, row) → (x, y) in CRS units; any that is not singular.

    Returns:
        New polygons in CRS units, in the axis order of rasters (x: easting or longitude): exteriors
        counter-clockwise, holes clockwise, whichever way the rows run.
    """
    col, row = shapely.get_coordinates(polygons).T
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    moved = shapely.set_coordinates(polygons.copy(), np.stack([x, y], axis=1))
    return shapely.reverse(moved) if transform.determinant < 0 else moved

"""Regions of class pixels with their outlines, from strips of rows, without the scene in memory.

Every 4-connected component of equal class pixels becomes one region, with outlines along the pixels' edges or
deformed to where the scores cross, holes included. A strip is cut into runs; runs that touch, in the strip or
across its upper edge, are one component; a component that does not reach the strip's last row is complete:
its outline is walked and it leaves memory.

Laws (held by tests): rasterizing the exact polygons gives the pixels back; their areas are the pixel counts;
outlines and statistics do not depend on how the scene is cut into strips.

Memory: about 4 bytes per pixel of the strip (330 where every pixel differs from its neighbors), 32 bytes per
unit of outline plus 66 per component of what reaches the strip's last row, and about 100 per unit of the
outlines being walked. The scene's size does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from geoseg.arrays import Bool, Int64, UInt8
from geoseg.errors import GridError
from geoseg.grid.encoding import NODATA
from geoseg.polygons.trace.components import Components, ScoreCounts
from geoseg.polygons.trace.edges import Course, Edges, find_edges, no_ends
from geoseg.polygons.trace.regions import Detail, Regions, Strip
from geoseg.polygons.trace.rings import walk_rings
from geoseg.polygons.trace.runs import find_runs, join_runs

__all__ = ["exact_polygons", "trace_regions"]

_PIECE: Final = 1 << 19
"""Pixels that exact polygons are traced of at a time: what they take then stays near the processor."""


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """What is carried from strip to strip: components that reach the last row seen, each by its number."""

    components: Components
    counts: ScoreCounts
    edges: Edges
    ends: Int64
    """What is left open at the row's lower edge: see :func:`~geoseg.polygons.trace.edges.find_edges`."""
    classes: UInt8
    """The last row's pixels with one without data on both sides, shape (width + 2,)."""
    stored: UInt8
    """Stored scores of that row, shape (bands, width)."""
    of_runs: Int64
    """Number of the component of each run of that row that is of a class, from the left."""


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """What is traced, and how; see :func:`trace_regions`."""

    width: int
    is_class: Bool
    course: Course


def exact_polygons(
    strips: Iterable[tuple[UInt8, UInt8]], width: int, classes: Collection[int]
) -> Iterator[Regions]:
    """Polygons and statistics of every 4-connected component of a scene, of pixels of these classes.

    Strips are class ids and stored scores of consecutive rows from the top, each uint8 of shape (any number
    of rows, width); the heights may differ.

    Yields:
        The components as they become complete, up to 65,536 at a time. Through all of them the order is that
        of (last row, first pixel), whatever the strips.

    Raises:
        GridError: strips of another shape or type, a class id out of range, or a class pixel whose score is
            nodata (the two rasters do not belong together).
    """
    return trace_regions(_pieces(strips, max(1, _PIECE // width)), width, classes, deformed=False)


def _pieces(strips: Iterable[tuple[UInt8, UInt8]], rows: int) -> Iterator[Strip]:
    """The strips, the tall ones in pieces of so many rows; what is wrong stays as it came."""
    for classes, scores in strips:
        if len(classes) != len(scores) or len(classes) <= rows:
            yield Strip(classes, scores)
            continue
        for first in range(0, len(classes), rows):
            yield Strip(classes[first : first + rows], scores[first : first + rows])


def trace_regions(
    strips: Iterable[Strip],
    width: int,
    classes: Collection[int],
    *,
    level: float | None = None,
    touching: bool = True,
    row: int = 0,
    deformed: bool = True,
) -> Iterator[Regions]:
    """The same, with what the scores tell where the strips have all bands.

    Args:
        strips: as above; all with bands or none.
        width: of the scene.
        classes: ids of the classes.
        level: the stored value that separates foreground from background in the only band; None: there is a
            band per class.
        touching: whether regions that meet at a point only share that point, as is needed where nothing may
            be left between polygons; else each of them is cut off before it.
        row: the scene's row of the first strip, above which all is as if it had no data.
        deformed: whether outlines run where the scores cross; else along the pixels.
    """
    is_class = np.zeros(256, np.bool_)
    for class_id in classes:
        if not 0 <= class_id < NODATA:
            raise GridError(f"class id {class_id} is out of range; a class raster holds 0 to 254")
        is_class[class_id] = True
    wanted = _Wanted(width, is_class, Course(deformed, level, touching))
    state: _Open | None = None
    for strip in strips:
        for array in (strip.classes, strip.scores, *(() if strip.stored is None else strip.stored)):
            if array.dtype != np.uint8 or array.shape != (len(strip.classes), width) or not len(array):
                raise GridError(
                    f"rows from {row} came as {array.dtype} of shape {array.shape}; "
                    f"needed uint8, {width} wide, classes and scores of the same height"
                )
        if state is None:
            state = _nothing(width, 0 if strip.stored is None else len(strip.stored))
        state, done = _advance(state, strip, row, wanted)
        row += strip.classes.shape[0]
        yield from done
    if state is None:
        return
    # A row without data below the scene completes what is left.
    blank = np.full((1, width), NODATA, np.uint8)
    bands = np.repeat(blank[None], len(state.stored), axis=0) if len(state.stored) else None
    _, done = _advance(state, Strip(blank, blank, bands), row, wanted)
    yield from done


def _nothing(width: int, bands: int) -> _Open:
    """What is above a scene."""
    return _Open(
        Components.none(),
        ScoreCounts.none(),
        Edges.none(),
        no_ends(width),
        np.full(width + 2, NODATA, np.uint8),
        np.full((bands, width), NODATA, np.uint8),
        np.zeros(0, np.int64),
    )


def _advance(before: _Open, strip: Strip, row: int, wanted: _Wanted) -> tuple[_Open, Iterator[Regions]]:
    """Take one strip in, whose first row is the scene's row ``row``; give out what is complete.

    before.classes   ▒ A A ▒ B ▒      the last row of the strip above, ▒ no data on both sides
    strip            ▒ A C C B ▒      A goes on from above: one component
                     ▒ D C C ▒ ▒      A and B do not reach the last row: complete
    """
    height, width = strip.classes.shape
    padded = np.full((height + 1, width + 2), NODATA, np.uint8)
    padded[0] = before.classes
    padded[1:, 1:-1] = strip.classes

    # Nodes of a graph are the open components, then the new runs; runs that touch are joined.
    runs = find_runs(padded)
    of_class = wanted.is_class[runs.value]
    is_new = of_class & (runs.start >= width + 2)
    known = len(before.components)
    node = np.full(runs.start.size, -1, np.int64)
    node[of_class & ~is_new] = before.of_runs
    nodes = known + int(np.count_nonzero(is_new))
    node[is_new] = np.arange(known, nodes)
    count, of_node, at_edge = join_runs(runs.start, runs.stop, runs.value, node, nodes, runs.width)
    number = np.append(of_node, -1)[node]

    of_old = of_node[:known]
    components = before.components.merged(count, of_old)
    components.add_runs(runs, number, at_edge, strip.scores, row)
    is_open = np.zeros(count, np.bool_)
    in_last_row = of_class & (runs.start >= height * (width + 2))
    is_open[number[in_last_row]] = True

    stored = np.zeros((0, height, width), np.uint8) if strip.stored is None else strip.stored
    stored = np.ascontiguousarray(stored)
    above, scores = (before.edges.renumber(of_old), before.ends), (before.stored, stored)
    edges, ends = find_edges(runs, number, scores, row, above, wanted.course)
    counts, detail = before.counts, None
    if len(stored):
        components.add_contrast(runs, number, scores, wanted.course.level)
        counts, p10, max_score = counts.add_runs(of_old, runs, number, strip.scores, is_open)
        clear = np.full(count, np.nan)
        np.divide(components.contrast, 100.0 * components.sides, out=clear, where=components.sides > 0)
        detail = Detail(p10, max_score, clear)

    rank = np.cumsum(is_open) - 1
    open_edges, open_ends = edges.keep_open(is_open, rank, ends)
    after = _Open(
        components.choose(is_open),
        counts.renumber(rank),
        open_edges,
        open_ends,
        padded[-1].copy(),
        stored[:, -1].copy(),
        rank[number[in_last_row]],
    )
    oldest = int(after.components.first.min()) // width if len(after.components) else None
    return after, _complete(components, detail, edges, ~is_open, wanted, oldest)


def _complete(
    components: Components,
    detail: Detail | None,
    edges: Edges,
    chosen: Bool,
    wanted: _Wanted,
    oldest: int | None,
) -> Iterator[Regions]:
    """The chosen components with their outlines, in order, some at a time."""
    done = np.flatnonzero(chosen)
    done = done[np.lexsort((components.first[done], components.last_row[done]))]
    place = np.full(len(components), -1, np.int64)
    place[done] = np.arange(done.size)
    start = 0
    deformed = wanted.course.deformed
    for rings, ring_start in walk_rings(edges, place, done.size, wanted.width, deformed=deformed):
        batch = done[start : start + ring_start.size - 1]
        known = None if detail is None else detail.choose(batch)
        yield Regions(rings, ring_start, components.choose(batch), known, oldest)
        start += batch.size
